// What the rows of the benchmark are made of.
#ifndef BENCH_H
#define BENCH_H
#define _GNU_SOURCE
#include <errno.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

// One operation to measure. Either `once` does it, or `many` does it some number of times and returns how many times that was
// in the end.
struct row {
	const char *name;
	void (*once)(void);
	unsigned (*many)(unsigned count);
	// Makes what the operation needs; false with errno set when this system has no such thing.
	bool (*prepare)(void);
	// Takes it away again.
	void (*finish)(void);
	// The partner thread runs on the second processor; without one the row is left out.
	bool two_processors;
	// More is never done in one run; 0 for no limit.
	unsigned count_max;
	// Subtracted from the time of each operation: what it was told to wait, in ns.
	unsigned waits_ns;
};

struct rows {
	const struct row *row;
	size_t count;
};

extern const struct rows call_rows, file_rows, memory_rows, time_rows, event_rows, signal_rows, thread_rows,
	network_rows, process_rows, system_rows;

#define ROWS(array) { array, sizeof array / sizeof *array }

// A partner: a second thread that answers the measuring one until it is told to stop. `body` runs on the second processor if
// the row wants that, else on the first, where the measuring thread always is.
bool partner_start(void (*body)(void));
void partner_join(void);
extern atomic_bool partner_stops;

#ifdef CALLS_BY_LIBRARY
// System calls through the C library, as programs have them: what a library can do without trapping.
static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	long result = syscall(number, a, b, c, d, e, f);
	return result == -1 ? -errno : result;
}

static inline long call3(long number, long a, long b, long c)
{
	long result = syscall(number, a, b, c);
	return result == -1 ? -errno : result;
}
#else
// System calls without the C library.
static inline long call6(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;
	__asm__ volatile("syscall"
		: "=a"(result)
		: "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
		: "rcx", "r11", "memory");
	return result;
}

static inline long call3(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}
#endif

// Tells whether a call worked that answers as the kernel does, and sets errno.
static inline bool worked(long result)
{
	if (result < 0 && result > -4096) {
		errno = (int)-result;
		return false;
	}
	return true;
}

#endif
