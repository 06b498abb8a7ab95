// The server of the network's tests and measurements. It listens on these ports, says "serving", and never ends by itself:
//
//   7001  sends back what it gets
//   7002  takes everything, and at its end answers how many bytes these were (eight bytes, lowest first)
//   7003  gets a count of bytes (eight bytes, lowest first; 0: until the peer leaves) and sends so many: byte i is i ^ i >> 8
//   7004  for each connection: gets one byte, sends it back, closes; one after the other
//   7005  UDP: sends datagrams back
//   7006  gets a line and does what it says:
//           read PATH                         sends the file
//           connect DEVICE ADDRESS PORT COUNT connects there, through the device unless it is -, sends so many bytes, those of 7003, waits
//                                             for the peer to end, and tells of itself: its address and the path's MTU, or of the error
//
// A thread serves each connection of the first three ports and the last. With the argument `both` it listens by IPv6 for both families.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BUFFER = 64 << 10, STACK = 128 << 10, BACKLOG = 1024, LINE = 256 };

static unsigned char pattern[1 << 16];
static int family = AF_INET;

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

static int send_pattern(int file, uint64_t wanted)
{
	for (uint64_t sent = 0; !wanted || sent < wanted;) {
		uint64_t count = sizeof pattern;
		if (wanted && wanted - sent < count)
			count = wanted - sent;
		if (!send_all(file, pattern, count))
			return 0;
		sent += count;
	}
	return 1;
}

static void source(int file)
{
	uint64_t wanted;
	if (recv(file, &wanted, sizeof wanted, MSG_WAITALL) == sizeof wanted)
		send_pattern(file, wanted);
}

// Connects and sends; 0 and `errno` if that fails. The text is of the socket then.
static int call(const char *device, const char *address, int port, uint64_t count, char *text)
{
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	int is_six = inet_pton(AF_INET6, address, &six.sin6_addr) == 1;
	if (!is_six)
		inet_pton(AF_INET, address, &four.sin_addr);
	struct sockaddr *to = is_six ? (struct sockaddr *)&six : (struct sockaddr *)&four;
	socklen_t length = is_six ? sizeof six : sizeof four, mtu_length = sizeof(int);
	int mtu = 0, file = socket(to->sa_family, SOCK_STREAM, 0);
	char own[INET6_ADDRSTRLEN] = "", rest;
	int is_done = file >= 0
		&& (!strcmp(device, "-") || !setsockopt(file, SOL_SOCKET, SO_BINDTODEVICE, device, strlen(device)))
		&& !connect(file, to, length) && send_pattern(file, count) && !shutdown(file, SHUT_WR)
		&& recv(file, &rest, 1, 0) >= 0 && !getsockname(file, to, &length)
		&& !getsockopt(file, is_six ? IPPROTO_IPV6 : IPPROTO_IP, is_six ? IPV6_MTU : IP_MTU, &mtu, &mtu_length)
		&& inet_ntop(to->sa_family, is_six ? (void *)&six.sin6_addr : (void *)&four.sin_addr, own, sizeof own);
	int error = errno;
	close(file);
	errno = error;
	snprintf(text, LINE, "from %s mtu %d\n", own, mtu);
	return is_done;
}

static void obey(int file)
{
	char line[LINE] = "", first[LINE], second[LINE], text[LINE];
	int port;
	unsigned long count;
	for (size_t length = 0; length < sizeof line - 1 && !strchr(line, '\n'); length++)
		if (recv(file, line + length, 1, 0) != 1)
			return;
	if (sscanf(line, "read %255s", first) == 1) {
		int from = open(first, O_RDONLY);
		char *buffer = malloc(BUFFER);
		ssize_t part;
		while ((part = read(from, buffer, BUFFER)) > 0 && send_all(file, buffer, part))
			;
		free(buffer);
		close(from);
	} else if (sscanf(line, "connect %255s %255s %d %lu", first, second, &port, &count) == 4) {
		if (!call(first, second, port, count, text))
			snprintf(text, sizeof text, "%s\n", strerror(errno));
		send_all(file, text, strlen(text));
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

// A socket of any address.
static int bound(int type, int port)
{
	int one = 1, zero = 0, file = socket(family, type, 0);
	struct sockaddr_in four = { .sin_family = AF_INET, .sin_port = htons(port) };
	struct sockaddr_in6 six = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	int is_six = family == AF_INET6;
	check(file >= 0, "socket");
	check(!setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one), "SO_REUSEADDR");
	check(!is_six || !setsockopt(file, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero), "IPV6_V6ONLY");
	check(!bind(file, is_six ? (void *)&six : (void *)&four, is_six ? sizeof six : sizeof four), "bind");
	return file;
}

static int listen_on(int port)
{
	int file = bound(SOCK_STREAM, port);
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

int main(int count, char **arguments)
{
	static struct connection listeners[] = { { echo, 7001 }, { sink, 7002 }, { source, 7003 }, { obey, 7006 } };
	static int single, datagrams;

	if (count > 1 && !strcmp(arguments[1], "both"))
		family = AF_INET6;
	signal(SIGPIPE, SIG_IGN);
	for (size_t i = 0; i < sizeof pattern; i++)
		pattern[i] = i ^ i >> 8;
	pthread_attr_init(&small);
	pthread_attr_setstacksize(&small, STACK);
	pthread_attr_setdetachstate(&small, PTHREAD_CREATE_DETACHED);

	for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++)
		listeners[i].file = listen_on(listeners[i].file);
	single = listen_on(7004);
	datagrams = bound(SOCK_DGRAM, 7005);

	for (size_t i = 0; i < sizeof listeners / sizeof *listeners; i++)
		start(accept_always, &listeners[i]);
	start(answer_one_byte, &single);
	start(echo_datagrams, &datagrams);
	puts("serving");
	fflush(stdout);
	for (;;)
		pause();
}
