// Clocks, sleeps and timers.
#include "bench.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>

enum { NAP_NS = 100000 };

static const struct itimerspec in_an_hour = { .it_value = { .tv_sec = 3600 } };
static int timer_file;

static void clock_libc(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
}

static void clock_call(void)
{
	struct timespec now;
	call3(SYS_clock_gettime, CLOCK_MONOTONIC, (long)&now, 0);
}

static void sleep_past(void)
{
	static const struct timespec past = { .tv_nsec = 1 };
	call6(SYS_clock_nanosleep, CLOCK_MONOTONIC, TIMER_ABSTIME, (long)&past, 0, 0, 0);
}

// Linux rounds sleeps up by 50 us unless told otherwise.
static bool sleep_exactly(void)
{
	prctl(PR_SET_TIMERSLACK, 1);
	return true;
}

static void nap(void)
{
	static const struct timespec time = { .tv_nsec = NAP_NS };
	call3(SYS_nanosleep, (long)&time, 0, 0);
}

static void timer_arm_delete(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_NONE };
	int timer;
	call3(SYS_timer_create, CLOCK_MONOTONIC, (long)&event, (long)&timer);
	call6(SYS_timer_settime, timer, 0, (long)&in_an_hour, 0, 0, 0);
	call3(SYS_timer_delete, timer, 0, 0);
}

static bool make_timer_file(void) { return (timer_file = timerfd_create(CLOCK_MONOTONIC, 0)) >= 0; }
static void remove_timer_file(void) { close(timer_file); }
static void arm_timer_file(void) { call6(SYS_timerfd_settime, timer_file, 0, (long)&in_an_hour, 0, 0, 0); }

static const struct row rows[] = {
	{ .name = "clock_gettime_libc", .once = clock_libc },
	{ .name = "clock_gettime", .once = clock_call },
	{ .name = "clock_nanosleep_past", .once = sleep_past },
	{ .name = "nanosleep_100us_beyond", .once = nap, .prepare = sleep_exactly, .waits_ns = NAP_NS, .count_max = 30 },
	{ .name = "timer_create_settime_delete", .once = timer_arm_delete },
	{ .name = "timerfd_settime", .once = arm_timer_file, .prepare = make_timer_file, .finish = remove_timer_file },
};
const struct rows time_rows = ROWS(rows);
