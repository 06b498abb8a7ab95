/* Many calls by one; on Linux they are made one by one. */
#include <nacre.h>
#include <errno.h>
#include "numbers.h"
#include "syscall.h"

#define hidden __attribute__((__visibility__("hidden")))

extern hidden const char *__nacre_kernel_by_syscall;

/* As the kernel has it. */
#define CALLS_MAX 1024

int nacre_is_native(void)
{
	/* Only a kernel that has functions for its calls tells of one. */
	return __nacre_kernel_by_syscall != 0;
}

static size_t one_by_one(struct nacre_call *calls, size_t count, int flags)
{
	for (size_t i = 0; i < count; i++) {
		unsigned long *a = calls[i].arguments;
		calls[i].answer = __syscall(calls[i].number, a[0], a[1], a[2], a[3], a[4], a[5]);
		if ((flags & NACRE_STOP_ON_ERROR) && calls[i].answer < 0 && calls[i].answer > -4096)
			return i + 1;
	}
	return count;
}

ssize_t nacre_batch(struct nacre_call *calls, size_t count, int flags)
{
	size_t done = 0;
	if (flags & ~NACRE_STOP_ON_ERROR) return __syscall_ret(-EINVAL);
	while (done < count) {
		size_t part = count - done < CALLS_MAX ? count - done : CALLS_MAX;
		long made = __syscall(SYS_nacre_batch, calls + done, part, flags);
		if (made == -ENOSYS) made = one_by_one(calls + done, part, flags);
		if (made < 0) return done ? (ssize_t)done : __syscall_ret(made);
		done += made;
		if ((size_t)made < part) break;
	}
	return done;
}
