// Signals to the thread itself and to another.
#include "bench.h"
#include "turn.h"

#include <pthread.h>
#include <signal.h>

static struct turn answered;
static atomic_int partner_tid;
static atomic_bool has_heard;

static void ignore(int number) { (void)number; }
static void answer(int number)
{
	(void)number;
	has_heard = partner_stops;
	turn_give(&answered);
}

static bool handle(void (*handler)(int))
{
	struct sigaction action = { .sa_handler = handler };
	return sigaction(SIGUSR1, &action, NULL) == 0;
}

static bool handle_here(void) { return handle(ignore); }
static void signal_self(void) { raise(SIGUSR1); }

static void mask_twice(void)
{
	uint64_t mask = 1 << (SIGUSR1 - 1);
	call6(SYS_rt_sigprocmask, SIG_BLOCK, (long)&mask, 0, sizeof mask, 0, 0);
	call6(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&mask, 0, sizeof mask, 0, 0);
}

// The partner lets signals in only while it waits for them, so that none is lost, and leaves after one that told it to stop.
static void pause_partner(void)
{
	sigset_t none;
	sigemptyset(&none);
	partner_tid = (int)syscall(SYS_gettid);
	has_heard = false;
	turn_give(&answered);
	while (!has_heard)
		sigsuspend(&none);
}

static void block(int how)
{
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(how, &set, NULL);
}

static bool start_pausing(void)
{
	block(SIG_BLOCK);
	bool is_started = handle(answer) && partner_start(pause_partner);
	block(SIG_UNBLOCK);
	if (is_started)
		turn_take(&answered);
	return is_started;
}

static void signal_partner(void)
{
	call3(SYS_tgkill, getpid(), partner_tid, SIGUSR1);
	turn_take(&answered);
}

static void stop_pausing(void)
{
	partner_stops = true;
	signal_partner();
	partner_join();
}

static const struct row rows[] = {
	{ .name = "signal_self", .once = signal_self, .prepare = handle_here },
	{ .name = "sigprocmask_twice", .once = mask_twice },
	{ .name = "signal_ping_pong", .once = signal_partner, .prepare = start_pausing, .finish = stop_pausing },
	{ .name = "signal_ping_pong_two_cpus", .once = signal_partner, .prepare = start_pausing, .finish = stop_pausing,
	  .two_processors = true },
};
const struct rows signal_rows = ROWS(rows);
