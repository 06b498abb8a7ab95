/* A system call by the instruction, for callers that expect a C function. The vDSO has the same, byte for byte. */
.text
.global __nacre_by_syscall
.hidden __nacre_by_syscall
.type __nacre_by_syscall,@function
__nacre_by_syscall:
	mov %rcx,%r10
	syscall
	ret
