// Event counters, and waiting for many files.
#include "bench.h"

#include <poll.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>

enum { MANY = 10000 };

static int counter = -1, watcher = -1;
static int *idle;
static unsigned idle_count;

static bool make_counter(void) { return (counter = eventfd(0, EFD_NONBLOCK)) >= 0; }
static void remove_counter(void) { close(counter); }

static void write_read(void)
{
	uint64_t value = 1;
	call3(SYS_write, counter, (long)&value, sizeof value);
	call3(SYS_read, counter, (long)&value, sizeof value);
}

static bool watch(int file)
{
	struct epoll_event event = { .events = EPOLLIN, .data.fd = file };
	return epoll_ctl(watcher, EPOLL_CTL_ADD, file, &event) == 0;
}

static bool watch_one_ready(void)
{
	watcher = epoll_create1(0);
	counter = eventfd(1, EFD_NONBLOCK);
	return watcher >= 0 && counter >= 0 && watch(counter);
}

static bool watch_many(void)
{
	struct rlimit limit = { MANY + 100, MANY + 100 };
	if (setrlimit(RLIMIT_NOFILE, &limit) || !(idle = malloc(MANY * sizeof *idle)) || !watch_one_ready())
		return false;
	for (idle_count = 0; idle_count < MANY - 1; idle_count++) {
		idle[idle_count] = eventfd(0, EFD_NONBLOCK);
		if (idle[idle_count] < 0 || !watch(idle[idle_count]))
			return false;
	}
	return true;
}

static void unwatch(void)
{
	close(watcher);
	close(counter);
	while (idle_count)
		close(idle[--idle_count]);
	free(idle);
	idle = NULL;
}

static void wait_ready(void)
{
	struct epoll_event events[8];
	call6(SYS_epoll_wait, watcher, (long)events, 8, -1, 0, 0);
}

static void poll_ready(void)
{
	struct pollfd file = { .fd = counter, .events = POLLIN };
	call3(SYS_poll, (long)&file, 1, -1);
}

// The last of many has something.
static void poll_many(void)
{
	struct pollfd files[20];
	for (int index = 0; index < 20; index++)
		files[index] = (struct pollfd){ .fd = counter, .events = index < 19 ? POLLPRI : POLLIN };
	call3(SYS_poll, (long)files, 20, -1);
}

static void select_ready(void)
{
	unsigned long set[16] = { 0 };
	set[counter / 64] = 1UL << counter % 64;
	call6(SYS_select, counter + 1, (long)set, 0, 0, 0, 0);
}

static const struct row rows[] = {
	{ .name = "eventfd_write_read", .once = write_read, .prepare = make_counter, .finish = remove_counter },
	{ .name = "epoll_wait_one_ready", .once = wait_ready, .prepare = watch_one_ready, .finish = unwatch },
	{ .name = "epoll_wait_one_of_10000", .once = wait_ready, .prepare = watch_many, .finish = unwatch },
	{ .name = "poll_one_ready", .once = poll_ready, .prepare = watch_one_ready, .finish = unwatch },
	{ .name = "poll_twenty_one_ready", .once = poll_many, .prepare = watch_one_ready, .finish = unwatch },
	{ .name = "select_one_ready", .once = select_ready, .prepare = watch_one_ready, .finish = unwatch },
};
const struct rows event_rows = ROWS(rows);
