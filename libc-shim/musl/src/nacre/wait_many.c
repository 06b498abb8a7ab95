/* Waiting for many things at once.
 *
 * Linux has calls for descriptors alone and for words alone, which serve where they can. For a mixture, and for threads, it is looked at everything
 * in turn, every millisecond; then a wake that does not change its word is not noticed.
 */
#include <nacre.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#include "numbers.h"
#include "syscall.h"

#define THINGS_MAX 1024
#define WORDS_MAX 128
#define SYS_futex_waitv_ 449
#define SLICE_NS 1000000

struct word {
	uint64_t value, address;
	uint32_t flags, reserved;
};

/* Descriptors of things, others left out. */
static int look_at_descriptors(struct nacre_thing *things, size_t count, struct pollfd *polled, const struct timespec *timeout)
{
	for (size_t i = 0; i < count; i++) {
		int is_descriptor = things[i].kind == NACRE_DESCRIPTOR;
		polled[i] = (struct pollfd){ is_descriptor ? (int)things[i].subject : -1, is_descriptor ? things[i].events : 0, 0 };
	}
	long ready = __syscall_cp(SYS_ppoll, polled, count, timeout, 0, _NSIG / 8);
	if (ready < 0) return ready;
	for (size_t i = 0; i < count; i++)
		if (things[i].kind == NACRE_DESCRIPTOR) things[i].found = (unsigned short)polled[i].revents;
	return ready;
}

/* Words and threads. */
static int look_at_others(struct nacre_thing *things, size_t count)
{
	int ready = 0;
	for (size_t i = 0; i < count; i++) {
		struct nacre_thing *thing = things + i;
		if (thing->kind == NACRE_WORD)
			thing->found |= *(volatile uint32_t *)(uintptr_t)thing->subject != (uint32_t)thing->value ? NACRE_CHANGED : 0;
		else if (thing->kind == NACRE_THREAD)
			thing->found = __syscall(SYS_tgkill, __syscall(SYS_getpid), thing->subject, 0) == -ESRCH ? NACRE_ENDED : 0;
		else
			continue;
		ready += thing->found != 0;
	}
	return ready;
}

static int check(struct nacre_thing *things, size_t count, size_t kinds[4])
{
	if (count > THINGS_MAX) return -EINVAL;
	for (size_t i = 0; i < count; i++) {
		struct nacre_thing *thing = things + i;
		if (thing->kind > NACRE_THREAD || thing->reserved || (thing->value && thing->kind != NACRE_WORD)) return -EINVAL;
		if (thing->kind == NACRE_WORD && ((thing->events & ~128) != 2 || thing->value > UINT32_MAX || thing->subject % 4)) return -EINVAL;
		if (thing->kind == NACRE_THREAD && thing->events) return -EINVAL;
		thing->found = 0;
		kinds[thing->kind]++;
	}
	return 0;
}

/* The time until an absolute one. */
static struct timespec until(const struct timespec *end)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	now.tv_sec = end->tv_sec - now.tv_sec;
	now.tv_nsec = end->tv_nsec - now.tv_nsec;
	if (now.tv_nsec < 0) now.tv_nsec += 1000000000, now.tv_sec--;
	return now.tv_sec < 0 ? (struct timespec){ 0 } : now;
}

/* Waits for words alone. */
static int wait_for_words(struct nacre_thing *things, size_t count, const struct timespec *end)
{
	struct word words[WORDS_MAX];
	size_t places[WORDS_MAX], words_count = 0;
	for (size_t i = 0; i < count; i++)
		if (things[i].kind == NACRE_WORD) {
			places[words_count] = i;
			words[words_count++] = (struct word){ things[i].value, things[i].subject, things[i].events, 0 };
		}
	long woken = __syscall_cp(SYS_futex_waitv_, words, words_count, 0, end, CLOCK_MONOTONIC);
	if (woken >= 0) things[places[woken]].found = NACRE_WOKEN;
	return woken == -EAGAIN || woken == -ETIMEDOUT || woken >= 0 ? 0 : woken;
}

static int wait_here(struct nacre_thing *things, size_t count, const struct timespec *timeout)
{
	size_t kinds[4] = { 0 };
	struct timespec end = { 0 };
	int result = check(things, count, kinds);
	if (result) return result;
	if (timeout) {
		if (timeout->tv_sec < 0 || (unsigned long)timeout->tv_nsec >= 1000000000) return -EINVAL;
		clock_gettime(CLOCK_MONOTONIC, &end);
		end.tv_sec += timeout->tv_sec;
		end.tv_nsec += timeout->tv_nsec;
		if (end.tv_nsec >= 1000000000) end.tv_nsec -= 1000000000, end.tv_sec++;
	}
	struct pollfd *polled = calloc(count + !count, sizeof *polled);
	if (!polled) return -ENOMEM;
	int waits_for_words = kinds[NACRE_WORD] && kinds[NACRE_WORD] <= WORDS_MAX && !kinds[NACRE_DESCRIPTOR] && !kinds[NACRE_THREAD];
	int is_mixed = kinds[NACRE_WORD] || kinds[NACRE_THREAD];
	struct timespec wait = { 0 };
	for (;;) {
		result = look_at_descriptors(things, count, polled, is_mixed || timeout ? &wait : 0);
		if (result < 0) break;
		result += look_at_others(things, count);
		int is_over = timeout && !wait.tv_sec && !wait.tv_nsec && !(wait = until(&end)).tv_sec && !wait.tv_nsec;
		if (result || is_over) break;
		if (waits_for_words && (result = wait_for_words(things, count, timeout ? &end : 0)) != -ENOSYS) {
			if (result < 0) break;
			wait = (struct timespec){ 0 };
			continue;
		}
		if (timeout) wait = until(&end);
		if (is_mixed && (!timeout || wait.tv_sec || wait.tv_nsec > SLICE_NS)) wait = (struct timespec){ 0, SLICE_NS };
	}
	free(polled);
	return result;
}

int nacre_wait_many(struct nacre_thing *things, size_t count, const struct timespec *timeout)
{
	long result = __syscall_cp(SYS_nacre_wait_many, things, count, timeout, 0);
	if (result == -ENOSYS) result = wait_here(things, count, timeout);
	return __syscall_ret(result);
}
