// A turn that one thread gives and another takes, on a futex and nothing else.
#ifndef TURN_H
#define TURN_H
#include "bench.h"

enum { FUTEX_WAIT_PRIVATE = 128, FUTEX_WAKE_PRIVATE = 129 };

struct turn {
	_Alignas(64) atomic_uint is_given;
};

static inline void turn_give(struct turn *turn)
{
	atomic_store(&turn->is_given, 1);
	call3(SYS_futex, (long)&turn->is_given, FUTEX_WAKE_PRIVATE, 1);
}

static inline void turn_take(struct turn *turn)
{
	while (!atomic_exchange(&turn->is_given, 0))
		call6(SYS_futex, (long)&turn->is_given, FUTEX_WAIT_PRIVATE, 0, 0, 0, 0);
}

#endif
