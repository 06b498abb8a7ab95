// Two threads that wait for each other in every way, and making threads.
#include "bench.h"
#include "turn.h"

#include <pthread.h>

// By pipes.

static int there[2], back[2];

static void echo_pipe(void)
{
	char byte;
	while (call3(SYS_read, there[0], (long)&byte, 1) == 1)
		call3(SYS_write, back[1], (long)&byte, 1);
}

static bool start_pipe(void) { return pipe(there) == 0 && pipe(back) == 0 && partner_start(echo_pipe); }

static void round_pipe(void)
{
	char byte = 0;
	call3(SYS_write, there[1], (long)&byte, 1);
	call3(SYS_read, back[0], (long)&byte, 1);
}

static void stop_pipe(void)
{
	close(there[1]);
	partner_join();
	close(there[0]);
	close(back[0]);
	close(back[1]);
}

// By futexes.

static struct turn ours, theirs;

static void echo_futex(void)
{
	for (;;) {
		turn_take(&theirs);
		if (partner_stops)
			return;
		turn_give(&ours);
	}
}

static bool start_futex(void) { return partner_start(echo_futex); }

static void round_futex(void)
{
	turn_give(&theirs);
	turn_take(&ours);
}

static void stop_futex(void)
{
	partner_stops = true;
	turn_give(&theirs);
	partner_join();
}

static void wake_nobody(void) { call3(SYS_futex, (long)&ours.is_given, FUTEX_WAKE_PRIVATE, 1); }

static void wait_for_changed(void)
{
	call6(SYS_futex, (long)&ours.is_given, FUTEX_WAIT_PRIVATE, 7, 0, 0, 0);
}

// By a condition variable.

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool is_theirs;

static void echo_condition(void)
{
	pthread_mutex_lock(&mutex);
	while (!partner_stops) {
		if (is_theirs) {
			is_theirs = false;
			pthread_cond_signal(&changed);
		}
		pthread_cond_wait(&changed, &mutex);
	}
	pthread_mutex_unlock(&mutex);
}

static bool start_condition(void)
{
	is_theirs = false;
	return partner_start(echo_condition);
}

static void round_condition(void)
{
	pthread_mutex_lock(&mutex);
	is_theirs = true;
	pthread_cond_signal(&changed);
	while (is_theirs)
		pthread_cond_wait(&changed, &mutex);
	pthread_mutex_unlock(&mutex);
}

static void stop_condition(void)
{
	pthread_mutex_lock(&mutex);
	partner_stops = true;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&mutex);
	partner_join();
}

// By a mutex, free or fought for.

static void lock_unlock(void)
{
	pthread_mutex_lock(&mutex);
	pthread_mutex_unlock(&mutex);
}

static void fight(void)
{
	while (!partner_stops)
		lock_unlock();
}

static bool start_fight(void) { return partner_start(fight); }

static void stop_and_join(void)
{
	partner_stops = true;
	partner_join();
}

// By giving up the processor. What one switch costs: both threads' calls count.

static atomic_uint partner_yields;

static void yield_always(void)
{
	while (!partner_stops) {
		partner_yields++;
		call3(SYS_sched_yield, 0, 0, 0);
	}
}

static bool start_yielding(void) { return partner_start(yield_always); }

static unsigned yield_in_turn(unsigned count)
{
	unsigned before = partner_yields;
	for (unsigned i = 0; i < count; i++)
		call3(SYS_sched_yield, 0, 0, 0);
	return count + (partner_yields - before);
}

// Making threads.

static void *return_at_once(void *argument) { return argument; }

static void create_join(void)
{
	pthread_t thread;
	if (!pthread_create(&thread, NULL, return_at_once, NULL))
		pthread_join(thread, NULL);
}

static bool can_create(void)
{
	pthread_t thread;
	errno = pthread_create(&thread, NULL, return_at_once, NULL);
	return errno == 0 && pthread_join(thread, NULL) == 0;
}

static const struct row rows[] = {
	{ .name = "mutex_uncontended", .once = lock_unlock },
	{ .name = "futex_wake_nobody", .once = wake_nobody },
	{ .name = "futex_wait_changed", .once = wait_for_changed },
	{ .name = "pthread_create_join", .once = create_join, .prepare = can_create },
	{ .name = "sched_yield_two_threads", .many = yield_in_turn, .prepare = start_yielding, .finish = stop_and_join },
	{ .name = "pipe_ping_pong", .once = round_pipe, .prepare = start_pipe, .finish = stop_pipe },
	{ .name = "futex_ping_pong", .once = round_futex, .prepare = start_futex, .finish = stop_futex },
	{ .name = "condition_ping_pong", .once = round_condition, .prepare = start_condition, .finish = stop_condition },
	{ .name = "pipe_ping_pong_two_cpus", .once = round_pipe, .prepare = start_pipe, .finish = stop_pipe, .two_processors = true },
	{ .name = "futex_ping_pong_two_cpus", .once = round_futex, .prepare = start_futex, .finish = stop_futex, .two_processors = true },
	{ .name = "condition_ping_pong_two_cpus", .once = round_condition, .prepare = start_condition, .finish = stop_condition,
	  .two_processors = true },
	{ .name = "mutex_contended_two_cpus", .once = lock_unlock, .prepare = start_fight, .finish = stop_and_join,
	  .two_processors = true },
};
const struct rows thread_rows = ROWS(rows);
