/* long __syscall_cp_asm(volatile int *cancel, long number, long u, long v, long w, long x, long y, long z): a system call at which
 * the thread can be cancelled. Between the labels a cancellation still takes effect; see src/nacre/cancel.c for the call. */
.text
.global __cp_begin
.hidden __cp_begin
.global __cp_end
.hidden __cp_end
.global __cp_cancel
.hidden __cp_cancel
.hidden __cancel
.hidden __nacre_calls
.global __syscall_cp_asm
.hidden __syscall_cp_asm
.type   __syscall_cp_asm,@function
__syscall_cp_asm:
__cp_begin:
	mov (%rdi),%eax
	test %eax,%eax
	jnz __cp_cancel
	mov %rsi,%rax
	mov %rdx,%rdi
	mov %rcx,%rsi
	mov %r8,%rdx
	mov %r9,%rcx
	mov 8(%rsp),%r8
	mov 16(%rsp),%r9
	mov __nacre_calls(%rip),%r11
	call *48(%r11)
__cp_end:
	ret
__cp_cancel:
	jmp __cancel
