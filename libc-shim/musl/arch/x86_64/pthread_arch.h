/* The thread pointer, and where a thread is that is to be cancelled. */
static inline uintptr_t __get_tp(void)
{
	uintptr_t pointer;
	__asm__ ("mov %%fs:0,%0" : "=r"(pointer));
	return pointer;
}

/* The handler of pthread_cancel asks a context `uc` for the place of the interrupted code. A thread in the function that makes its
 * system call is to be seen in the caller, __syscall_cp_asm: src/nacre/cancel.c. */
extern __attribute__((__visibility__("hidden"))) int __nacre_place(void *context);
#define MC_PC gregs[__nacre_place(uc)]
