/* Being told that memory is short. On Linux it is pressure-stall information (Documentation/accounting/psi.rst), where that is. */
#define _GNU_SOURCE
#include <nacre.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "numbers.h"
#include "syscall.h"

int nacre_memory_events(int level, int flags)
{
	long result = __syscall(SYS_nacre_memory_events, level, flags);
	if (result != -ENOSYS) return __syscall_ret(result);
	if (level < NACRE_MEMORY_LOW || level > NACRE_MEMORY_CRITICAL || flags & ~(O_CLOEXEC | O_NONBLOCK)) return __syscall_ret(-EINVAL);
	/* A tenth of a second lost in a second, by somebody or by all. */
	const char *trigger = level == NACRE_MEMORY_LOW ? "some 100000 1000000" : "full 100000 1000000";
	int events = open("/proc/pressure/memory", O_RDWR | flags);
	if (events >= 0 && write(events, trigger, strlen(trigger) + 1) < 0) {
		int error = errno;
		close(events);
		errno = error;
		return -1;
	}
	return events;
}

int nacre_memory_wait(int events, struct nacre_memory_event *event)
{
	if (nacre_is_native()) return read(events, event, sizeof *event) < 0 ? -1 : 0;
	struct pollfd polled = { events, POLLPRI, 0 };
	if (poll(&polled, 1, fcntl(events, F_GETFL) & O_NONBLOCK ? 0 : -1) < 0) return -1;
	if (!(polled.revents & POLLPRI)) {
		errno = EAGAIN;
		return -1;
	}
	*event = (struct nacre_memory_event){ NACRE_MEMORY_LOW, 0, 0 };
	return 0;
}

struct shrinker {
	int events;
	void (*shrink)(const struct nacre_memory_event *, void *);
	void *argument;
};

static void *run(void *context)
{
	struct shrinker shrinker = *(struct shrinker *)context;
	struct nacre_memory_event event;
	free(context);
	for (;;) {
		if (!nacre_memory_wait(shrinker.events, &event)) shrinker.shrink(&event, shrinker.argument);
		else if (errno != EINTR) break;
	}
	close(shrinker.events);
	return 0;
}

int nacre_on_shortage(int level, void (*shrink)(const struct nacre_memory_event *, void *), void *argument)
{
	struct shrinker *shrinker = malloc(sizeof *shrinker);
	pthread_t thread;
	if (!shrinker) return -1;
	*shrinker = (struct shrinker){ nacre_memory_events(level, O_CLOEXEC), shrink, argument };
	if (shrinker->events < 0) {
		free(shrinker);
		return -1;
	}
	int error = pthread_create(&thread, 0, run, shrinker);
	if (error) {
		close(shrinker->events);
		free(shrinker);
		errno = error;
		return -1;
	}
	pthread_detach(thread);
	return 0;
}
