// The server of many connections. It listens on port 7001, says "serving", and never ends by itself. What it is told on a connection, byte by byte:
//
//   m  it answers how many KiB of memory are free, in ten characters and a line feed
//   anything else comes back
//
// One thread serves all of them.
#define _GNU_SOURCE
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { PORT = 7001, BACKLOG = 4096, EVENTS = 256, FILES_MAX = 1 << 16 };

static void check(int is_good, const char *what)
{
	if (!is_good) {
		perror(what);
		exit(1);
	}
}

static long free_kib(void)
{
	char line[200];
	long kib = -1;
	FILE *file = fopen("/proc/meminfo", "r");
	check(file != NULL, "/proc/meminfo");
	while (fgets(line, sizeof line, file))
		if (sscanf(line, "MemFree: %ld", &kib) == 1)
			break;
	fclose(file);
	return kib;
}

static void serve(int file)
{
	char bytes[64];
	ssize_t count = recv(file, bytes, sizeof bytes, 0);
	if (count <= 0) {
		close(file);
		return;
	}
	if (bytes[0] == 'm') {
		count = snprintf(bytes, sizeof bytes, "%10ld\n", free_kib());
	}
	if (send(file, bytes, count, MSG_NOSIGNAL) != count)
		close(file);
}

int main(void)
{
	struct rlimit limit = {FILES_MAX, FILES_MAX};
	check(setrlimit(RLIMIT_NOFILE, &limit) == 0, "setrlimit");
	signal(SIGPIPE, SIG_IGN);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), one = 1;
	check(listener >= 0, "socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(PORT)};
	check(bind(listener, (struct sockaddr *)&address, sizeof address) == 0, "bind");
	check(listen(listener, BACKLOG) == 0, "listen");
	int poller = epoll_create1(0);
	check(poller >= 0, "epoll_create1");
	struct epoll_event event = {.events = EPOLLIN, .data.fd = listener}, events[EVENTS];
	check(epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event) == 0, "epoll_ctl");
	puts("serving");
	fflush(stdout);
	for (;;) {
		int count = epoll_wait(poller, events, EVENTS, -1);
		check(count >= 0, "epoll_wait");
		for (int i = 0; i < count; i++) {
			if (events[i].data.fd != listener) {
				serve(events[i].data.fd);
				continue;
			}
			for (int file; (file = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0;) {
				event.data.fd = file;
				check(epoll_ctl(poller, EPOLL_CTL_ADD, file, &event) == 0, "epoll_ctl");
			}
		}
	}
}
