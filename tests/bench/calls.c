// What system calls cost, in cycles of the time stamp counter: instructions under the emulator's -icount shift=0.
//
// Prints "NAME CYCLES" a line: the least of several runs of many calls each, divided by the number of calls, less what the
// loop costs around an operation that does nothing. The first line is
// the counter itself at the start of main, which under -icount is the number of instructions since the machine's reset.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

enum { RUNS = 5 };

static inline uint64_t cycles(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline long call3(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}

static int zero, null, file;
static char buffer[4096];

static void getppid_raw(void) { call3(SYS_getppid, 0, 0, 0); }
static void read_zero(void) { call3(SYS_read, zero, (long)buffer, 1); }
static void write_null(void) { call3(SYS_write, null, (long)buffer, 1); }
static void yield(void) { call3(SYS_sched_yield, 0, 0, 0); }
static void time_call(void) { struct timespec now; call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0); }
static void open_close(void) { call3(SYS_close, call3(SYS_open, (long)"/tmp/bench", O_RDONLY, 0), 0, 0); }
static void stat_file(void) { struct stat status; call3(SYS_stat, (long)"/tmp/bench", (long)&status, 0); }
static void write_page(void) { syscall(SYS_pwrite64, file, buffer, sizeof buffer, 0); }
static void read_page(void) { syscall(SYS_pread64, file, buffer, sizeof buffer, 0); }

static void map_touch_unmap(void)
{
	char *page = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*(volatile char *)page = 1;
	munmap(page, 4096);
}

static void map_touch_many(void)
{
	size_t size = 64 << 20;
	char *pages = mmap(0, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (pages == MAP_FAILED)
		return;
	for (size_t at = 0; at < size; at += 4096)
		((volatile char *)pages)[at] = 1;
	munmap(pages, size);
}

static void handler(int signal) { (void)signal; }
static void signal_self(void) { raise(SIGUSR1); }

static void nothing(void) { __asm__ volatile(""); }

static uint64_t least_of(void (*operation)(void), unsigned count)
{
	uint64_t least = UINT64_MAX;
	operation();
	for (int run = 0; run < RUNS; run++) {
		uint64_t start = cycles();
		for (unsigned i = 0; i < count; i++)
			operation();
		uint64_t taken = cycles() - start;
		if (taken < least)
			least = taken;
	}
	return least / count;
}

static void measure(const char *name, void (*operation)(void), unsigned count)
{
	static uint64_t loop;
	if (!loop)
		loop = least_of(nothing, 10000);
	printf("%s %llu\n", name, (unsigned long long)(least_of(operation, count) - loop));
	fflush(stdout);
}

int main(int argc, char **argv)
{
	uint64_t start = cycles();
	printf("start %llu\n", (unsigned long long)start);
	fflush(stdout);
	if (argc > 1 && !strcmp(argv[1], "start"))
		return 0;
	zero = open("/dev/zero", O_RDONLY);
	null = open("/dev/null", O_WRONLY);
	file = open("/tmp/bench", O_RDWR | O_CREAT, 0600);
	if (zero < 0 || null < 0 || file < 0) {
		perror("bench: open");
		return 1;
	}
	signal(SIGUSR1, handler);
	measure("getppid", getppid_raw, 10000);
	measure("clock_gettime", time_call, 10000);
	measure("read_1_zero", read_zero, 10000);
	measure("write_1_null", write_null, 10000);
	measure("sched_yield", yield, 10000);
	measure("open_close_tmpfs", open_close, 2000);
	measure("stat_tmpfs", stat_file, 2000);
	measure("write_4k_tmpfs", write_page, 2000);
	measure("read_4k_tmpfs", read_page, 2000);
	measure("mmap_touch_munmap_4k", map_touch_unmap, 2000);
	measure("signal_self", signal_self, 2000);
	measure("mmap_touch_munmap_64m", map_touch_many, 1);
	return 0;
}
