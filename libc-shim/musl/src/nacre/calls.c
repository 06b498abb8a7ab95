/* Where system calls go: to the kernel's functions for that, which Nacre's vDSO tells of, or else to the instruction. */
#include <stddef.h>

#define hidden __attribute__((__visibility__("hidden")))

hidden void *__vdsosym(const char *version, const char *name);
hidden void __nacre_by_syscall(void);

/* The entries for no argument up to six. The kernel's own table may change while the program runs, so it is never copied. */
static void *const by_syscall[7] = {
	__nacre_by_syscall, __nacre_by_syscall, __nacre_by_syscall, __nacre_by_syscall,
	__nacre_by_syscall, __nacre_by_syscall, __nacre_by_syscall,
};

hidden void *const *__nacre_calls = by_syscall;

/* The kernel's function that makes a call by the instruction, in the vDSO; NULL without one. */
hidden const char *__nacre_kernel_by_syscall;

__attribute__((__constructor__)) static void find_calls(void)
{
	void *const *(*table)(void) = (void *const *(*)(void))__vdsosym("NACRE_1", "__nacre_calls");
	void *const *calls = table ? table() : NULL;
	if (!calls) return;
	__nacre_kernel_by_syscall = __vdsosym("NACRE_1", "__nacre_by_syscall");
	__nacre_calls = calls;
}
