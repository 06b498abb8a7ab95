// The server of the network's tests and measurements. It listens on these ports, says "serving", and never ends by itself:
//
//   7001  sends back what it gets
//   7002  takes everything, and at its end answers how many bytes these were (eight bytes, lowest first)
//   7003  gets a count of bytes (eight bytes, lowest first; 0: until the peer leaves) and sends so many: byte i is i ^ i >> 8
//   7004  for each connection: gets one byte, sends it back, closes; one after the other
//   7005  UDP: sends datagrams back
//
// A thread serves each connection of the first three ports.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 64 << 10, STACK = 128 << 10, BACKLOG = 1024 };

static unsigned char pattern[1 << 16];

static void check(int is_good, const char *what)
{
	if (!is_good) {
		perror(what);
		exit(1);
	}
}

static int send_all(int file, const void *bytes, size_t size)
{
	for (size_t sent = 0; sent < size;) {
		ssize_t count = send(file, (const char *)bytes + sent, size - sent, MSG_NOSIGNAL);
		if (count <= 0)
			return 0;
		sent += count;
	}
	return 1;
}

static void echo(int file)
{
	char *buffer = malloc(BUFFER);
	ssize_t count;
	while ((count = recv(file, buffer, BUFFER, 0)) > 0 && send_all(file, buffer, count))
		;
	free(buffer);
}

static void sink(int file)
{
	char *buffer = malloc(BUFFER);
	uint64_t total = 0;
	ssize_t count;
	while ((count = recv(file, buffer, BUFFER, 0)) > 0)
		total += count;
	free(buffer);
	send_all(file, &total, sizeof total);
}

static void source(int file)
{
	uint64_t wanted;
	if (recv(file, &wanted, sizeof wanted, MSG_WAITALL) != sizeof wanted)
		return;
	for (uint64_t sent = 0; !wanted || sent < wanted;) {
		uint64_t count = sizeof pattern;
		if (wanted && wanted - sent < count)
			count = wanted - sent;
		if (!send_all(file, pattern, count))
			break;
		sent += count;
	}
}

struct connection {
	void (*serve)(int);
	int file;
};

static void *run_connection(void *argument)
{
	struct connection connection = *(struct connection *)argument;
	free(argument);
	connection.serve(connection.file);
	close(connection.file);
	return NULL;
}

static int listen_on(int port)
{
	int one = 1, file = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	check(file >= 0, "socket");
	check(!setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
	check(!bind(file, (struct sockaddr *)&address, sizeof address), "bind");
	check(!listen(file, BACKLOG), "listen");
	return file;
}

static pthread_attr_t small;

static void start(void *(*body)(void *), void *argument)
{
	pthread_t thread;
	int error = pthread_create(&thread, &small, body, argument);
	if (error)
		fprintf(stderr, "pthread_create: %d\n", error);
}

static void *accept_always(void *argument)
{
	struct connection listener = *(struct connection *)argument;
	for (;;) {
		int one = 1, file = accept(listener.file, NULL, NULL);
		if (file < 0)
			continue;
		setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct connection *connection = malloc(sizeof *connection);
		*connection = (struct connection){ listener.serve, file };
		start(run_connection, connection);
	}
	return NULL;
}

static void *answer_one_byte(void *argument)
{
	int listener = *(int *)argument;
	for (;;) {
		char byte;
		int file = accept(listener, NULL, NULL);
		if (file < 0)
			continue;
		if (recv(file, &byte, 1, 0) == 1)
			send(file, &byte, 1, MSG_NOSIGNAL);
		close(file);
	}
	return NULL;
}

static void *echo_datagrams(void *argument)
{
	int file = *(int *)argument;
	char *buffer = malloc(BUFFER);
	for (;;) {
		struct sockaddr_storage from;
		socklen_t length = sizeof from;
		ssize_t count = recvfrom(file, buffer, BUFFER, 0, (struct sockaddr *)&from, &length);
		if (count >= 0)
			sendto(file, buffer, count, 0, (struct sockaddr *)&from, length);
	}
	return NULL;
}

int main(void)
{
	static struct connection listeners[] = { { echo, 7001 }, { sink, 7002 }, { source, 7003 } };
	static int single, datagrams;
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(7005) };

	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = i ^ i >> 8;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);

	for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++)
		listeners[i].file = listen_on(listeners[i].file);
	single = listen_on(7004);
	datagrams = socket(AF_INET, SOCK_DGRAM, 0);
	check(datagrams >= 0, "socket");
	check(!bind(datagrams, (struct sockaddr *)&address, sizeof address), "bind");

	for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++)
		start(accept_always, &listeners[i]);
	start(answer_one_byte, &single);
	start(echo_datagrams, &datagrams);
	puts("serving");
	fflush(stdout);
	for (;;)
		pause();
}
