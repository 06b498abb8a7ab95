// What the calls of nacre.h cost beside those that Linux has for the same, in instructions: linked by scripts/nacre-gcc and run under -icount, where the time
// stamp counter counts them. `scripts/bench-native.sh` does so; libc-shim/README.md has the figures.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/futex.h>
#include <nacre.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { ROUNDS = 200, LENGTH = 65536, PIECES = 64, WORD = 2 | FUTEX_PRIVATE_FLAG };

static uint64_t now(void)
{
	uint32_t low, high;
	__asm__ volatile ("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static void show(const char *name, uint64_t sum, unsigned count) { printf("%-44s %9.1f\n", name, (double)sum / count); }

static int ends[2];

static void connect_here(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0);
	bind(listener, (struct sockaddr *)&address, length);
	listen(listener, 1);
	getsockname(listener, (struct sockaddr *)&address, &length);
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	connect(ends[0], (struct sockaddr *)&address, length);
	ends[1] = accept(listener, NULL, NULL);
}

static void receive(void)
{
	static char bytes[LENGTH];
	struct nacre_piece pieces[PIECES];
	uint64_t copied = 0, lent = 0, sent = 0;
	connect_here();
	for (int i = 0; i < ROUNDS; i++) {
		send(ends[1], bytes, LENGTH, 0);
		uint64_t start = now();
		for (size_t done = 0; done < LENGTH;)
			done += recv(ends[0], bytes, LENGTH, 0);
		copied += now() - start;
	}
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t before = now();
		send(ends[1], bytes, LENGTH, 0);
		uint64_t start = now();
		for (size_t done = 0; done < LENGTH;) {
			int count = nacre_receive(ends[0], pieces, PIECES, NULL, NULL, 0);
			for (int j = 0; j < count; j++)
				done += pieces[j].length;
			nacre_give_back(pieces, count);
		}
		lent += now() - start;
		sent += start - before;
	}
	show("recv of 64 KiB", copied, ROUNDS);
	show("nacre_receive and nacre_give_back of 64 KiB", lent, ROUNDS);
	show("  (send of 64 KiB)", sent, ROUNDS);
}

static _Atomic uint32_t word;
static int event, idle, queue;

static void wake(void) { syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

// The partner waits for a word that this thread changes, by futex calls alone, and answers by changing it again.
static void *answer_by_word(void *unused)
{
	for (uint32_t turn = 0; turn < 2 * ROUNDS; turn += 2) {
		while (word == turn)
			syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, turn, NULL, NULL, 0);
		word = turn + 2;
		wake();
	}
	return unused;
}

static void *answer_by_event(void *unused)
{
	for (uint32_t turn = 0; turn < 2 * ROUNDS; turn += 2) {
		while (word == turn)
			syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, turn, NULL, NULL, 0);
		word = turn + 2;
		eventfd_write(event, 1);
	}
	return unused;
}

static void wait(void)
{
	pthread_t thread;
	struct epoll_event found[4], watched = { .events = EPOLLIN };
	uint64_t start, sum;
	eventfd_t count;
	event = eventfd(0, 0);
	idle = eventfd(0, 0);
	queue = epoll_create1(0);
	epoll_ctl(queue, EPOLL_CTL_ADD, event, &watched);
	epoll_ctl(queue, EPOLL_CTL_ADD, idle, &watched);

	eventfd_write(event, 1);
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		epoll_wait(queue, found, 4, -1);
	show("epoll_wait, one of two ready", now() - start, ROUNDS);
	struct nacre_thing things[3] = {
		{ NACRE_DESCRIPTOR, POLLIN, event, 0, 0, 0 },
		{ NACRE_DESCRIPTOR, POLLIN, idle, 0, 0, 0 },
		{ NACRE_WORD, WORD, (uintptr_t)&word, 0, 0, 0 },
	};
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		nacre_wait_many(things, 3, NULL);
	show("nacre_wait_many, one of three ready", now() - start, ROUNDS);
	eventfd_read(event, &count);

	word = 0;
	pthread_create(&thread, NULL, answer_by_event, NULL);
	sum = now();
	for (uint32_t turn = 0; turn < 2 * ROUNDS; turn += 2) {
		word = turn + 1;
		wake();
		epoll_wait(queue, found, 4, -1);
		eventfd_read(event, &count);
	}
	show("to and fro: epoll_wait, answer by eventfd", now() - sum, ROUNDS);
	pthread_join(thread, NULL);

	word = 0;
	pthread_create(&thread, NULL, answer_by_word, NULL);
	sum = now();
	for (uint32_t turn = 0; turn < 2 * ROUNDS; turn += 2) {
		word = turn + 1;
		wake();
		things[2].value = turn + 1;
		while (word == turn + 1)
			nacre_wait_many(things, 3, NULL);
	}
	show("to and fro: nacre_wait_many, answer by word", now() - sum, ROUNDS);
	pthread_join(thread, NULL);
}

static void calls(void)
{
	static struct nacre_call many[100];
	uint64_t start = now();
	for (int i = 0; i < ROUNDS; i++)
		getppid();
	show("getppid", now() - start, ROUNDS);
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		syscall(SYS_getppid);
	show("syscall(SYS_getppid)", now() - start, ROUNDS);
	for (int i = 0; i < 100; i++)
		many[i].number = SYS_getppid;
	start = now();
	nacre_batch(many, 100, 0);
	show("getppid of a batch of 100", now() - start, 100);
	unsigned sum = 0;
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		sum += sched_getcpu();
	show("sched_getcpu", now() - start, ROUNDS);
	start = now();
	for (int i = 0; i < ROUNDS; i++)
		sum += nacre_cpu();
	show("nacre_cpu", now() - start, ROUNDS);
	if (sum > 4096 * ROUNDS)
		printf("no processors\n");
}

int main(void)
{
	calls();
	wait();
	receive();
	return 0;
}
