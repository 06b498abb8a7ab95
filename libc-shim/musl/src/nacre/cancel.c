/* Where a thread is that pthread_cancel has interrupted.
 *
 * musl acts on a cancellation in __syscall_cp_asm alone, between its two labels: before the system call, or while it waits and
 * would be restarted. Here the call is a function call, so such a thread is found in that function, at the instruction
 * or before, with its return address on the stack.
 *
 * The handler of musl asks a context for its place twice: it reads the place, and may write another. A thread in such a function
 * is shown at the start of __syscall_cp_asm, by a word of the context that counts for nothing when it is restored; only when the
 * handler writes is the thread moved.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <ucontext.h>

#define hidden __attribute__((__visibility__("hidden")))

extern hidden const char __cp_begin[1], __cp_end[1], __nacre_by_syscall[1];
extern hidden const char *__nacre_kernel_by_syscall;

/* Offset of the instruction in either function. */
#define SYSCALL_AT 3

/* The register that says where a thread is. */
hidden int __nacre_place(void *context)
{
	ucontext_t *uc = context;
	greg_t *registers = uc->uc_mcontext.gregs;
	uintptr_t at = registers[REG_RIP];
	int is_in_call = at - (uintptr_t)__nacre_by_syscall <= SYSCALL_AT
		|| (__nacre_kernel_by_syscall && at - (uintptr_t)__nacre_kernel_by_syscall <= SYSCALL_AT);
	if (!is_in_call || *(uintptr_t *)registers[REG_RSP] != (uintptr_t)__cp_end)
		return REG_RIP;
	if (registers[REG_TRAPNO] != (greg_t)__cp_begin) {
		registers[REG_TRAPNO] = (greg_t)__cp_begin;
		return REG_TRAPNO;
	}
	registers[REG_RSP] += sizeof(uintptr_t);
	return REG_RIP;
}
