// Loads a server in another machine and says how it did.
//
//   load wait ADDRESS PORT SECONDS                     until the port takes connections
//   load rr ADDRESS PORT SIZE SECONDS                  round trips of SIZE bytes, one connection
//   load udp ADDRESS PORT SIZE SECONDS                 the same by datagrams; a lost one counts after 200 ms
//   load send|receive ADDRESS PORT CONNECTIONS SECONDS streams to port 7002, or from port 7003, of serve.c
//   load connect ADDRESS PORT SECONDS                  connect, one byte there and back, close
//   load memcached ADDRESS PORT CONNECTIONS DEPTH SECONDS [set] get or set, DEPTH of them in flight on each connection
//   load echo ADDRESS PORT CONNECTIONS DEPTH SECONDS          64 bytes there and back, on port 7001 of serve.c
//   load http ADDRESS PORT CONNECTIONS DEPTH SECONDS PATH     GET, on connections that are kept
//
// Output: a line of NAME VALUE pairs. "rate" is operations a second, for streams bytes a second; "p50", "p99" and "max" are
// microseconds that an operation, or a batch of DEPTH, took; "lost" is datagrams. Status 1 when the server misbehaves.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { SAMPLES_MAX = 1 << 22, CONNECTIONS_MAX = 4096, RESPONSE_MAX = 64 << 10, SILENCE_MAX_S = 10 };

static struct sockaddr_in server;
static double *samples;
static size_t sample_count;

static void fail(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static double now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return time.tv_sec + time.tv_nsec * 1e-9;
}

static int connect_to_server(void)
{
	int one = 1, file = socket(AF_INET, SOCK_STREAM, 0);
	struct timeval silence = { SILENCE_MAX_S, 0 };
	if (file < 0)
		fail("socket");
	setsockopt(file, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	setsockopt(file, SOL_SOCKET, SO_RCVTIMEO, &silence, sizeof silence);
	setsockopt(file, SOL_SOCKET, SO_SNDTIMEO, &silence, sizeof silence);
	if (connect(file, (struct sockaddr *)&server, sizeof server)) {
		int error = errno;
		close(file);
		errno = error;
		return -1;
	}
	return file;
}

static int must_connect(void)
{
	int file = connect_to_server();
	if (file < 0)
		fail("connect");
	return file;
}

static void send_all(int file, const char *bytes, size_t size)
{
	for (size_t sent = 0; sent < size;) {
		ssize_t count = send(file, bytes + sent, size - sent, MSG_NOSIGNAL);
		if (count <= 0)
			fail("send");
		sent += count;
	}
}

static void receive_all(int file, char *bytes, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t count = recv(file, bytes + got, size - got, 0);
		if (count == 0)
			errno = EPIPE;
		if (count <= 0)
			fail("receive");
		got += count;
	}
}

static void note(double seconds)
{
	if (sample_count < SAMPLES_MAX)
		samples[sample_count++] = seconds * 1e6;
}

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static void report(double count, double seconds)
{
	printf("rate %.1f count %.0f", count / seconds, count);
	if (sample_count) {
		qsort(samples, sample_count, sizeof *samples, by_size);
		printf(" p50 %.1f p99 %.1f max %.1f", samples[sample_count / 2], samples[sample_count * 99 / 100],
		       samples[sample_count - 1]);
	}
}

static void wait_for_port(double seconds)
{
	double end = now() + seconds;
	for (;;) {
		int file = connect_to_server();
		if (file >= 0) {
			close(file);
			return;
		}
		if (now() > end)
			fail("connect");
		usleep(50000);
	}
}

static void round_trips(size_t size, double seconds)
{
	int file = must_connect();
	char *sent = malloc(size), *got = malloc(size);
	double start = now(), begin = start, end = start + seconds;
	size_t count = 0;
	memset(sent, 'r', size);
	while (begin < end) {
		send_all(file, sent, size);
		receive_all(file, got, size);
		double done = now();
		note(done - begin);
		begin = done;
		count++;
	}
	close(file);
	report(count, begin - start);
}

static void datagrams(size_t size, double seconds)
{
	int file = socket(AF_INET, SOCK_DGRAM, 0);
	char *sent = calloc(1, size), *got = malloc(size);
	double start = now(), begin = start, end = start + seconds;
	size_t count = 0, lost = 0;
	uint32_t number = 0;
	if (file < 0 || connect(file, (struct sockaddr *)&server, sizeof server))
		fail("socket");
	while (begin < end) {
		struct pollfd ready = { .fd = file, .events = POLLIN };
		number++;
		memcpy(sent, &number, size < sizeof number ? size : sizeof number);
		if (send(file, sent, size, 0) < 0 && errno != ECONNREFUSED)
			fail("send");
		// What comes late is not counted again.
		while (poll(&ready, 1, 200) == 1 && recv(file, got, size, 0) == (ssize_t)size && memcmp(sent, got, size))
			;
		double done = now();
		if (memcmp(sent, got, size)) {
			lost++;
		} else {
			note(done - begin);
			count++;
		}
		begin = done;
	}
	report(count, begin - start);
	printf(" lost %zu", lost);
}

// Streams: a thread each.

static pthread_barrier_t together;
static atomic_bool is_over;
static atomic_ullong moved;
static char block[128 << 10];

static void *send_stream(void *unused)
{
	(void)unused;
	int file = must_connect();
	uint64_t sent = 0, taken;
	pthread_barrier_wait(&together);
	while (!is_over) {
		send_all(file, block, sizeof block);
		sent += sizeof block;
	}
	shutdown(file, SHUT_WR);
	receive_all(file, (char *)&taken, sizeof taken);
	if (taken != sent) {
		fprintf(stderr, "load: of %llu bytes %llu arrived\n", (unsigned long long)sent, (unsigned long long)taken);
		exit(1);
	}
	moved += sent;
	close(file);
	return NULL;
}

static void *receive_stream(void *unused)
{
	(void)unused;
	int file = must_connect();
	uint64_t forever = 0, got = 0;
	char *buffer = malloc(sizeof block);
	pthread_barrier_wait(&together);
	send_all(file, (char *)&forever, sizeof forever);
	while (!is_over) {
		ssize_t count = recv(file, buffer, sizeof block, 0);
		if (count == 0)
			errno = EPIPE;
		if (count <= 0)
			fail("receive");
		// Byte i of the stream is i ^ i >> 8, which repeats itself.
		unsigned char expected = (got & 0xffff) ^ (got & 0xffff) >> 8;
		if ((unsigned char)buffer[0] != expected) {
			fprintf(stderr, "load: byte %llu is wrong\n", (unsigned long long)got);
			exit(1);
		}
		got += count;
	}
	moved += got;
	close(file);
	return NULL;
}

static void streams(void *(*body)(void *), int connections, double seconds)
{
	pthread_t threads[CONNECTIONS_MAX];
	pthread_barrier_init(&together, NULL, connections + 1);
	for (int i = 0; i < connections; i++)
		if (pthread_create(&threads[i], NULL, body, NULL))
			fail("pthread_create");
	pthread_barrier_wait(&together);
	double start = now();
	usleep(seconds * 1e6);
	is_over = true;
	for (int i = 0; i < connections; i++)
		pthread_join(threads[i], NULL);
	report(moved, now() - start);
}

static void connections_in_turn(double seconds)
{
	double start = now(), begin = start, end = start + seconds;
	size_t count = 0;
	while (begin < end) {
		char byte = 'c';
		int file = must_connect();
		send_all(file, &byte, 1);
		receive_all(file, &byte, 1);
		close(file);
		double done = now();
		note(done - begin);
		begin = done;
		count++;
	}
	report(count, begin - start);
}

// Requests that all have answers of the same length: batches of them, on many connections.

struct connection {
	int file;
	size_t missing;
	double begin;
};

static void batches(const char *request, size_t answer, int count, int depth, double seconds)
{
	static struct connection connections[CONNECTIONS_MAX];
	size_t size = strlen(request);
	char *batch = malloc(size * depth), *buffer = malloc(sizeof block);
	int watcher = epoll_create1(0);
	for (int i = 0; i < depth; i++)
		memcpy(batch + i * size, request, size);
	for (int i = 0; i < count; i++) {
		struct epoll_event event = { .events = EPOLLIN, .data.u32 = i };
		connections[i].file = must_connect();
		epoll_ctl(watcher, EPOLL_CTL_ADD, connections[i].file, &event);
	}
	double start = now(), end = start + seconds;
	size_t batches_done = 0;
	int running = count;
	for (int i = 0; i < count; i++) {
		connections[i].missing = answer * depth;
		connections[i].begin = now();
		send_all(connections[i].file, batch, size * depth);
	}
	while (running) {
		struct epoll_event events[64];
		int ready = epoll_wait(watcher, events, 64, SILENCE_MAX_S * 1000);
		if (ready == 0)
			errno = ETIMEDOUT;
		if (ready <= 0)
			fail("answers");
		for (int i = 0; i < ready; i++) {
			struct connection *connection = &connections[events[i].data.u32];
			ssize_t got = recv(connection->file, buffer, sizeof block, 0);
			if (got <= 0)
				fail("answers");
			if ((size_t)got > connection->missing) {
				errno = EPROTO;
				fail("answers");
			}
			connection->missing -= got;
			if (connection->missing)
				continue;
			double done = now();
			note(done - connection->begin);
			batches_done++;
			if (done >= end) {
				running--;
				continue;
			}
			connection->missing = answer * depth;
			connection->begin = done;
			send_all(connection->file, batch, size * depth);
		}
	}
	report((double)batches_done * depth, now() - start);
}

// Reads until `ending` comes; the length of all before it and of itself.
static size_t receive_until(int file, char *buffer, const char *ending)
{
	size_t got = 0;
	for (;;) {
		ssize_t count = recv(file, buffer + got, RESPONSE_MAX - got, 0);
		if (count <= 0)
			fail("answer");
		got += count;
		buffer[got] = 0;
		char *end = strstr(buffer, ending);
		if (end)
			return end - buffer + strlen(ending);
	}
}

static void memcached(bool sets, int connections, int depth, double seconds)
{
	static char buffer[RESPONSE_MAX + 1];
	int file = must_connect();
	const char *set = "set nacre 0 0 32\r\n0123456789abcdef0123456789abcdef\r\n", *get = "get nacre\r\n";
	send_all(file, set, strlen(set));
	size_t stored = receive_until(file, buffer, "STORED\r\n");
	send_all(file, get, strlen(get));
	size_t answer = receive_until(file, buffer, "END\r\n");
	close(file);
	batches(sets ? set : get, sets ? stored : answer, connections, depth, seconds);
}

static void http(const char *path, int connections, int depth, double seconds)
{
	static char buffer[RESPONSE_MAX + 1];
	char request[512];
	int file = must_connect();
	snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: nacre\r\n\r\n", path);
	send_all(file, request, strlen(request));
	size_t head = receive_until(file, buffer, "\r\n\r\n");
	char *length = strcasestr(buffer, "\r\ncontent-length:");
	if (strncmp(buffer, "HTTP/1.1 200", 12) || !length) {
		fprintf(stderr, "load: %s\n", buffer);
		exit(1);
	}
	close(file);
	batches(request, head + strtoul(length + 17, NULL, 10), connections, depth, seconds);
}

int main(int argc, char **argv)
{
	const char *what = argc > 1 ? argv[1] : "";
	double numbers[3] = { 0 };
	if (argc < 5 || inet_pton(AF_INET, argv[2], &server.sin_addr) != 1)
		goto usage;
	server.sin_family = AF_INET;
	server.sin_port = htons(atoi(argv[3]));
	for (int i = 4; i < argc && i < 7; i++)
		numbers[i - 4] = atof(argv[i]);
	samples = malloc(SAMPLES_MAX * sizeof *samples);
	if (!strcmp(what, "wait")) {
		wait_for_port(numbers[0]);
		return 0;
	} else if (!strcmp(what, "rr") && argc == 6) {
		round_trips(numbers[0], numbers[1]);
	} else if (!strcmp(what, "udp") && argc == 6) {
		datagrams(numbers[0], numbers[1]);
	} else if (!strcmp(what, "send") && argc == 6) {
		streams(send_stream, numbers[0], numbers[1]);
	} else if (!strcmp(what, "receive") && argc == 6) {
		streams(receive_stream, numbers[0], numbers[1]);
	} else if (!strcmp(what, "connect")) {
		connections_in_turn(numbers[0]);
	} else if (!strcmp(what, "memcached") && (argc == 7 || (argc == 8 && !strcmp(argv[7], "set")))) {
		memcached(argc == 8, numbers[0], numbers[1], numbers[2]);
	} else if (!strcmp(what, "echo") && argc == 7) {
		char bytes[65];
		memset(bytes, 'n', 64);
		bytes[64] = 0;
		batches(bytes, 64, numbers[0], numbers[1], numbers[2]);
	} else if (!strcmp(what, "http") && argc == 8) {
		http(argv[7], numbers[0], numbers[1], numbers[2]);
	} else {
		goto usage;
	}
	putchar('\n');
	return 0;
usage:
	fputs("load: see the beginning of load.c\n", stderr);
	return 2;
}
