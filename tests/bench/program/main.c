// What operations of the system cost, one line each.
//
//   bench instructions|ns|ns2|forever [PART-OF-A-NAME|=NAME...]
//
// "instructions" counts by the time stamp counter, which under the emulator's -icount shift=0 is instructions; "ns" takes the
// monotonic clock, and so does "ns2", for rows of two processors alone; "forever" measures nothing and repeats the first row
// for somebody to look at. Lines of the output:
//
//   start CYCLES                  the counter at the start of main: under -icount, instructions since the machine's reset
//   row NAME LEAST MEDIAN COUNT   of RUNS runs of COUNT operations each, what one operation took
//   row NAME - REASON             this system cannot do that
//   end
//
// An operation that is one function has the cost of a loop around an empty function subtracted. COUNT is chosen so that a run
// takes about as long as the unit's aim.
#include "bench.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { RUNS = 7 };

static const struct rows *const tables[] = {
	&call_rows, &time_rows, &file_rows, &memory_rows, &event_rows, &signal_rows, &thread_rows, &network_rows, &process_rows,
	&system_rows,
};

static uint64_t (*now)(void);
static double aim;
static double loop_cost;
static bool has_two_processors, only_two_processors;

static uint64_t cycles(void)
{
	uint32_t low, high;
	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static uint64_t clock_ns(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static bool pin(int processor)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(processor, &set);
	return sched_setaffinity(0, sizeof set, &set) == 0;
}

static pthread_t partner;
static void (*partner_body)(void);
static int partner_processor;
static sem_t partner_runs;
atomic_bool partner_stops;

static void *partner_main(void *unused)
{
	(void)unused;
	if (has_two_processors)
		pin(partner_processor);
	sem_post(&partner_runs);
	partner_body();
	return NULL;
}

bool partner_start(void (*body)(void))
{
	partner_stops = false;
	partner_body = body;
	sem_init(&partner_runs, 0, 0);
	int error = pthread_create(&partner, NULL, partner_main, NULL);
	if (error) {
		errno = error;
		return false;
	}
	while (sem_wait(&partner_runs))
		;
	return true;
}

void partner_join(void)
{
	pthread_join(partner, NULL);
}

// What one of `count` operations takes. Never specialized: its own cost must be the same for all.
__attribute__((noipa)) static double run(const struct row *row, unsigned count)
{
	uint64_t start = now();
	unsigned done = count;
	if (row->many)
		done = row->many(count);
	else
		for (unsigned i = 0; i < count; i++)
			row->once();
	return (double)(now() - start) / done;
}

// How many operations make a run of about the right length.
static unsigned choose_count(const struct row *row)
{
	unsigned max = row->count_max ? row->count_max : 100000;
	unsigned count = 1;
	for (;;) {
		// The first run finds everything cold.
		double first = run(row, count), second = run(row, count);
		double taken = (first < second ? first : second) * count;
		if (count >= max || taken > aim / 2)
			return count;
		double wanted = taken > 0 ? count * aim / taken : max;
		unsigned next = wanted > 16.0 * count ? 16 * count : (unsigned)wanted + 1;
		count = next < max ? next : max;
	}
}

static int by_size(const void *a, const void *b)
{
	double left = *(const double *)a, right = *(const double *)b;
	return (left > right) - (left < right);
}

static void print_absent(const char *name, const char *reason)
{
	printf("row %s - %s\n", name, reason);
}

static void measure(const struct row *row)
{
	double taken[RUNS];
	if (row->two_processors && !has_two_processors) {
		print_absent(row->name, "one processor");
		return;
	}
	partner_processor = row->two_processors ? 1 : 0;
	errno = 0;
	if (row->prepare && !row->prepare()) {
		print_absent(row->name, strerror(errno));
		return;
	}
	unsigned count = choose_count(row);
	for (int i = 0; i < RUNS; i++)
		taken[i] = run(row, count);
	if (row->finish)
		row->finish();
	qsort(taken, RUNS, sizeof *taken, by_size);
	double around = row->waits_ns + (row->once ? loop_cost : 0);
	printf("row %s %.1f %.1f %u\n", row->name, taken[0] - around, taken[RUNS / 2] - around, count);
}

static void nothing(void)
{
	__asm__ volatile("");
}

static bool is_wanted(const struct row *row, int count, char **parts)
{
	if (only_two_processors && !row->two_processors)
		return false;
	for (int i = 0; i < count; i++)
		if (parts[i][0] == '=' ? !strcmp(row->name, parts[i] + 1) : !!strstr(row->name, parts[i]))
			return true;
	return count <= 0;
}

int main(int argc, char **argv)
{
	printf("start %llu\n", (unsigned long long)cycles());
	fflush(stdout);
	const char *unit = argc > 1 ? argv[1] : "ns";
	bool is_instructions = !strcmp(unit, "instructions");
	bool is_forever = !strcmp(unit, "forever");
	only_two_processors = !strcmp(unit, "ns2");
	if (!is_instructions && !only_two_processors && !is_forever && strcmp(unit, "ns")) {
		puts("end");
		return 0;
	}
	now = is_instructions ? cycles : clock_ns;
	aim = is_instructions ? 300e3 : 3e6;
	cpu_set_t set;
	has_two_processors = sched_getaffinity(0, sizeof set, &set) == 0 && CPU_ISSET(0, &set) && CPU_ISSET(1, &set) && pin(0);
	static const struct row empty = { .once = nothing };
	loop_cost = run(&empty, 10000);
	for (int i = 0; i < RUNS; i++) {
		double cost = run(&empty, 10000);
		if (cost < loop_cost)
			loop_cost = cost;
	}
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
		for (size_t j = 0; j < tables[i]->count; j++)
			if (is_wanted(&tables[i]->row[j], argc - 2, argv + 2)) {
				do
					measure(&tables[i]->row[j]);
				while (is_forever);
				fflush(stdout);
			}
	puts("end");
	return 0;
}
