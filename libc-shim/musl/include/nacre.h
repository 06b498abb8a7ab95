/* What programs can have of Nacre beyond Linux. All of it works on Linux too, by the calls that Linux has; README.md of
 * libc-shim says what that costs. Functions return -1 and set errno as those of the C library do.
 */
#ifndef NACRE_H
#define NACRE_H

#include <poll.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Whether this is Nacre. */
int nacre_is_native(void);

/* ---- Many calls by one ---- */

struct nacre_call {
	unsigned long number;
	unsigned long arguments[6];
	/* What the call answered; -4095 to -1 are negated errors. */
	long answer;
};

/* No call is made behind one that fails. */
#define NACRE_STOP_ON_ERROR 1

/*
 * Makes the calls in order and returns how many were made. Calls that work on the caller's registers (clone, execve, rt_sigreturn)
 * answer EOPNOTSUPP on Nacre.
 */
ssize_t nacre_batch(struct nacre_call *calls, size_t count, int flags);

/* ---- The processor ---- */

/* The number of the processor that ran this, in two instructions. */
static inline unsigned nacre_cpu(void)
{
	unsigned limit = 0;
	__asm__ volatile ("lsl %1, %0" : "+r"(limit) : "r"(0x7b) : "cc");
	return limit & 0xfff;
}

/* ---- Waiting for many things ---- */

enum {
	NACRE_NOTHING = 0,
	/* `subject` is a descriptor, `events` and `found` are those of poll. */
	NACRE_DESCRIPTOR = 1,
	/* `subject` is the address of a word of 32 bits, `events` are FUTEX2_SIZE_U32 (2), perhaps with
	 * FUTEX_PRIVATE_FLAG (128), `value` is what the word has as long as there is reason to wait. */
	NACRE_WORD = 2,
	/* `subject` is the number of a thread of this process, as gettid returns it. */
	NACRE_THREAD = 3,
};

/* Found of a word: it has another value; somebody woke this thread. */
#define NACRE_CHANGED 1
#define NACRE_WOKEN 2
/* Found of a thread: it has ended, and its stack may be freed. */
#define NACRE_ENDED 1

struct nacre_thing {
	uint32_t kind;
	uint32_t events;
	uint64_t subject;
	uint64_t value;
	/* What was found; 0 for nothing. */
	uint32_t found;
	uint32_t reserved;
};

/* Waits until at least one of up to 1024 things has something to tell, and returns how many have; 0 when the time is
 * up. */
int nacre_wait_many(struct nacre_thing *things, size_t count, const struct timespec *timeout);

/* ---- Receiving in place ---- */

/* Bytes that were received, where they lie. They may be read until they are given back. */
struct nacre_piece {
	const void *bytes;
	size_t length;
	uint64_t loan;
};

/* Receives what there is of a TCP stream, or one datagram, in up to `count` pieces (64 suffice for any datagram), and
 * returns how many; 0 at the end of a stream, and for an empty datagram. `flags` may have MSG_DONTWAIT. Address and its
 * length are as recvfrom has them. Pieces count against the socket's receive buffer until they are given back: who
 * keeps them slows his peer down. */
int nacre_receive(int socket, struct nacre_piece *pieces, size_t count, struct sockaddr *address,
		  socklen_t *address_length, int flags);

/* Gives pieces back, in any order, from any thread; also after the socket was closed. */
int nacre_give_back(const struct nacre_piece *pieces, size_t count);

/* ---- Memory ---- */

/* Memory gets short; programs are about to be refused memory. */
#define NACRE_MEMORY_LOW 1
#define NACRE_MEMORY_CRITICAL 2

struct nacre_memory_event {
	uint32_t level;
	uint32_t reserved;
	/* So much given back would end the shortage; 0 where nobody knows. */
	uint64_t wanted_bytes;
};

/* A descriptor that tells of a shortage of this level, or a worse one: POLLPRI of poll, epoll and nacre_wait_many.
 * `flags` may have O_CLOEXEC and O_NONBLOCK. */
int nacre_memory_events(int level, int flags);

/* Waits for a shortage and tells of it. A further one is told of when memory is asked for meanwhile. */
int nacre_memory_wait(int events, struct nacre_memory_event *event);

/* Starts a thread that calls `shrink` with each shortage. No lock of the program is held by the caller, and no signal is
 * blocked that was not: `shrink` may lock and free as any function of the program's own threads. */
int nacre_on_shortage(int level, void (*shrink)(const struct nacre_memory_event *, void *), void *argument);

#ifdef __cplusplus
}
#endif

#endif
