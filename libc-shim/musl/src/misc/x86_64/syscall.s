/* long syscall(long number, ...): any call. In C it would store its arguments and load them again to get at them. */
.text
.hidden __nacre_calls
.hidden __syscall_ret
.global syscall
.type syscall,@function
syscall:
	mov %rdi,%rax
	mov %rsi,%rdi
	mov %rdx,%rsi
	mov %rcx,%rdx
	mov %r8,%rcx
	mov %r9,%r8
	mov 8(%rsp),%r9
	mov __nacre_calls(%rip),%r11
	call *48(%r11)
	cmp $-4095,%rax
	jae 1f
	ret
1:	mov %rax,%rdi
	jmp __syscall_ret
