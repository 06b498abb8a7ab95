# From one stack to another.

# switch_stacks(rdi = where the old stack pointer goes, rsi = the new stack pointer)
#
# Saves what the C calling convention lets a callee keep; the caller has lost all the rest anyway. Interrupts are off.
.section .text.switch, "ax"
.global switch_stacks
switch_stacks:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

# The first thing that runs on the stack of a new thread: above is the frame of its program. rsp is a multiple of 16.
.global thread_entry
thread_entry:
    xor ebp, ebp
    call nacre_thread_entry
    jmp return_to_program

# The first thing that runs on the stack of a worker. rsp is a multiple of 16; r15 is what it does, r14 its CPU.
.global worker_entry
worker_entry:
    xor ebp, ebp
    mov rdi, r15
    mov esi, r14d
    call nacre_worker_entry
    ud2
