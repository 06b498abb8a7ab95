// nacre_wait_many: descriptors, words and threads together, time-outs, and arguments that make no sense.
#define _GNU_SOURCE
#include <errno.h>
#include <linux/futex.h>
#include <nacre.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORD = 2 | FUTEX_PRIVATE_FLAG };

static _Atomic uint32_t word, other_word;
static int event, pipe_ends[2];

static void show(const char *what, int result, const struct nacre_thing *things, size_t count)
{
	printf("%s: %d", what, result);
	if (result < 0)
		printf(" errno %d", errno);
	else
		for (size_t i = 0; i < count; i++)
			printf(" %#x", things[i].found);
	printf("\n");
}

static struct timespec milliseconds(long count) { return (struct timespec){ count / 1000, count % 1000 * 1000000 }; }

static void pause_ms(long count)
{
	struct timespec time = milliseconds(count);
	nanosleep(&time, NULL);
}

static void wake(_Atomic uint32_t *address) { syscall(SYS_futex, address, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

static void *write_event(void *unused)
{
	pause_ms(20);
	eventfd_write(event, 1);
	return unused;
}

static void *change_word(void *unused)
{
	pause_ms(20);
	word++;
	wake(&word);
	return unused;
}

static _Atomic int tid;

static void *just_end(void *unused)
{
	tid = gettid();
	pause_ms(20);
	return unused;
}

static struct nacre_thing descriptor(int fd, uint32_t events) { return (struct nacre_thing){ NACRE_DESCRIPTOR, events, fd, 0, 0, 0 }; }

static struct nacre_thing of_word(_Atomic uint32_t *address)
{
	return (struct nacre_thing){ NACRE_WORD, WORD, (uintptr_t)address, *address, 0, 0 };
}

static void sources(void)
{
	pthread_t thread;
	struct timespec time = milliseconds(10);
	struct nacre_thing things[4] = { descriptor(event, POLLIN), of_word(&word), of_word(&other_word), { 0 } };
	show("nothing in time", nacre_wait_many(things, 4, &time), things, 4);
	show("no thing in time", nacre_wait_many(NULL, 0, &time), things, 0);

	pthread_create(&thread, NULL, write_event, NULL);
	show("a descriptor", nacre_wait_many(things, 4, NULL), things, 4);
	pthread_join(thread, NULL);
	things[1].value++;
	show("a value and a descriptor", nacre_wait_many(things, 4, NULL), things, 4);
	eventfd_t count;
	eventfd_read(event, &count);
	things[1].value = word;

	pthread_create(&thread, NULL, change_word, NULL);
	int result = nacre_wait_many(things, 4, NULL);
	// Somebody who looks between the change and the wake sees the one without the other.
	things[1].found &= NACRE_CHANGED;
	show("a word", result, things, 4);
	pthread_join(thread, NULL);
	things[1].value = word;

	pthread_create(&thread, NULL, just_end, NULL);
	while (!tid)
		pause_ms(1);
	things[3] = (struct nacre_thing){ NACRE_THREAD, 0, tid, 0, 0, 0 };
	show("a thread", nacre_wait_many(things, 4, NULL), things, 4);
	pthread_join(thread, NULL);
	show("a thread that has ended", nacre_wait_many(things + 3, 1, NULL), things + 3, 1);

	struct nacre_thing self = { NACRE_THREAD, 0, gettid(), 0, 0, 0 };
	show("itself", nacre_wait_many(&self, 1, &time), &self, 1);
	struct nacre_thing ends[2] = { descriptor(pipe_ends[0], POLLIN), descriptor(pipe_ends[1], POLLOUT) };
	show("a pipe", nacre_wait_many(ends, 2, NULL), ends, 2);
	struct nacre_thing closed = descriptor(1000, POLLIN);
	show("no descriptor", nacre_wait_many(&closed, 1, NULL), &closed, 1);
}

// Two threads hand a word to and fro while descriptors are there as well: no wake is lost.
enum { ROUNDS = 300 };

static void *answer(void *unused)
{
	struct nacre_thing things[2] = { descriptor(event, POLLIN) };
	for (uint32_t round = 1; round < 2 * ROUNDS; round += 2) {
		while (word != round) {
			things[1] = of_word(&word);
			if (things[1].value != round)
				nacre_wait_many(things, 2, NULL);
		}
		word = round + 1;
		wake(&word);
	}
	return unused;
}

static void ping_pong(void)
{
	pthread_t thread;
	word = 0;
	pthread_create(&thread, NULL, answer, NULL);
	for (uint32_t round = 0; round < 2 * ROUNDS; round += 2) {
		word = round + 1;
		wake(&word);
		while (word != round + 2) {
			struct nacre_thing things[1] = { of_word(&word) };
			if (things[0].value != round + 2)
				nacre_wait_many(things, 1, NULL);
		}
	}
	pthread_join(thread, NULL);
	printf("to and fro: %u\n", (unsigned)word);
}

static void handler(int number) { (void)number; }

static void *signal_main(void *main_thread)
{
	pause_ms(20);
	pthread_kill(*(pthread_t *)main_thread, SIGUSR1);
	return NULL;
}

static void signals(void)
{
	struct sigaction action = { .sa_handler = handler };
	sigaction(SIGUSR1, &action, NULL);
	pthread_t self = pthread_self(), thread;
	pthread_create(&thread, NULL, signal_main, &self);
	struct nacre_thing things[1] = { descriptor(event, POLLIN) };
	show("a signal", nacre_wait_many(things, 1, NULL), things, 1);
	pthread_join(thread, NULL);
}

static void senseless(void)
{
	struct timespec none = { 0 }, bad = { 0, 1000000000 }, negative = { -1, 0 };
	struct nacre_thing thing = { 0 };
	show("nothing at all", nacre_wait_many(&thing, 1, &none), &thing, 1);
	show("too many", nacre_wait_many(&thing, 1025, &none), &thing, 1);
	show("no time", nacre_wait_many(&thing, 1, &bad), &thing, 1);
	show("time before", nacre_wait_many(&thing, 1, &negative), &thing, 1);
	thing = (struct nacre_thing){ 4, 0, 0, 0, 0, 0 };
	show("no kind", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ 0, 0, 0, 0, 0, 1 };
	show("reserved", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ NACRE_DESCRIPTOR, 0, event, 1, 0, 0 };
	show("a value of a descriptor", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ NACRE_WORD, WORD, (uintptr_t)&word + 1, 0, 0, 0 };
	show("a word across words", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ NACRE_WORD, 0, (uintptr_t)&word, 0, 0, 0 };
	show("a word without a size", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ NACRE_WORD, WORD, (uintptr_t)&word, 1ULL << 32, 0, 0 };
	show("a long value", nacre_wait_many(&thing, 1, &none), &thing, 1);
	thing = (struct nacre_thing){ NACRE_THREAD, 1, 1, 0, 0, 0 };
	show("events of a thread", nacre_wait_many(&thing, 1, &none), &thing, 1);
}

// Anything at all may be passed: the answer is an error or a number, never the end.
static void hostile(void)
{
	if (!nacre_is_native())
		return;
	uint64_t seed = 7;
	char *edge = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	munmap(edge + 4096, 4096);
	for (int i = 0; i < 20000; i++) {
		long arguments[6];
		for (int j = 0; j < 6; j++) {
			seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
			long choices[] = { seed >> 33, (long)seed, 0, -1, (long)edge, (long)edge + 4096 - (long)(seed >> 40 & 255), 2048,
				(long)0xffff800000000000, 1L << 47, 64, event, pipe_ends[0] };
			arguments[j] = choices[(seed >> 20) % 12];
		}
		for (int j = 0; j < 64; j++)
			((uint64_t *)edge)[448 + j] = seed >> (j & 31) & 3;
		// Not the descriptors of this program's own output, and no wait without an end.
		long number = 0x4e0000 + (long)(seed >> 50) % 8;
		if (number == 0x4e0000)
			continue;
		if (number == 0x4e0001)
			arguments[2] = (long)&(struct timespec){ 0 };
		if (number == 0x4e0004)
			arguments[1] |= 04000;
		long result = syscall(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5] | MSG_DONTWAIT);
		if (number == 0x4e0004 && result >= 0)
			close(result);
	}
	munmap(edge, 4096);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	event = eventfd(0, 0);
	if (pipe(pipe_ends))
		return 1;
	sources();
	signals();
	senseless();
	hostile();
	ping_pong();
	return 0;
}
