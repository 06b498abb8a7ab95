# Every way of a program into a system call, and back. There are three, and one table of handlers behind them:
#
#   1. `syscall_entry`: the instruction `syscall`.
#   2. `site_entry`, `site_entry_full`: a call site that was rewritten. The site jumps to a stub beside its image, the stub sets
#      rcx to the return address and jumps here through `site_entries` (mm/src/rewrite).
#   3. `call_entry_0` to `call_entry_6`: a call of a function, found in `call_entries`: one for each number of arguments.
#
# What every way keeps:
#
# 1. Nothing is pushed before the stack is the thread's kernel stack: the program's may be a goroutine's, its red zone is in use,
#    or it is not there at all.
# 2. The program finds all registers as they were but those its way in is documented to change. Vector registers are not
#    touched: the kernel is compiled without them. What Rust code saves by itself, rbx, rbp and r12 to r15, is not saved here.
#    It is put in the frame when something wants to look at it.
# 3. The handler is an entry of linux::dispatch::ENTRIES, called with the thread and the frame, with interrupts on. Its answer
#    is in rax. A call that was interrupted leaves the attention word set, as do signals and a wish to run another thread:
#    one word is looked at on the way out.
# 4. No event is lost between that look and the program's next instruction, and what an interrupted program is seen to do is
#    always something it does: `sort_event` has for every instruction of this file what an event there means. An instruction that it
#    does not name is the kernel's.
#    - A window, `*_window` to `*_window_end`: from the look to the last instruction that needs the frame. Interrupts are on. What
#      is in the frame stays there until the end, so an event starts the window again, with its look.
#    - Behind it every register is the program's but rsp or rip, and the event is one of the program.
#    - At the first instruction of the second and third way the program has not done anything yet: the event is one
#      of the program that is about to do the same by `syscall`. So it is also with a single step, which never goes on in here.
#
# `rsp` is written as an address of the frame throughout: FRAME_* are offsets from its start (frame.s).

# Functions have a type and a size, for profiles and backtraces; the labels in them concern only `sort_event` and the tests.
# `*_quiet` to `*_quiet_end` is code in which interrupts are off. All else is interrupted by the test call-interrupts.

.section .entry.text, "ax"

.macro FUNCTION name
.type \name, @function
\name:
.endm
.macro END name
.size \name, . - \name
.endm

.balign 64
syscall_code_start:

# 1. The instruction `syscall`.
#
# The CPU has done: rcx = the address after it, r11 = flags, IF TF DF AC NT = 0. rsp is still the program's. There is no register
# left to hold it, so it goes through a word of the CPU's own; interrupts are off, so nobody else uses it meanwhile.
.global syscall_entry
FUNCTION syscall_entry
syscall_entry_quiet:
    mov gs:[CPU_SCRATCH], rsp
    mov rsp, gs:[CPU_PROGRAM_FRAME]     # from here on the kernel stack
    mov [rsp + FRAME_RIP], rcx
    mov rcx, gs:[CPU_SCRATCH]
    mov [rsp + FRAME_RSP], rcx
    mov [rsp + FRAME_RFLAGS], r11
    sti                                 # the program's state is safe: others may run
syscall_entry_quiet_end:
syscall_call:
    mov [rsp + FRAME_ORIGINAL_RAX], rax # the number, for a restart
    mov [rsp + FRAME_RDI], rdi          # the arguments, for the handler, for a restart, and to be given back
    mov [rsp + FRAME_RSI], rsi
    mov [rsp + FRAME_RDX], rdx
    mov [rsp + FRAME_R8], r8
    mov [rsp + FRAME_R9], r9
    mov [rsp + FRAME_R10], r10
    mov rdi, gs:[CPU_THREAD]            # first argument of the handler; ours wherever we run by now
    mov rsi, rsp                        # second argument: the frame
    mov eax, eax                        # only the low half is the number
    cmp eax, {SYSCALL_COUNT}
    jae syscall_absent
    lea rcx, [rip + {syscall_entries}]
    call [rcx + rax * 8]
# Everything in the frame is as it was; rax is the answer; rbx, rbp, r12 to r15 are the program's.
syscall_window:
    mov rcx, gs:[CPU_ATTENTION]         # the look
    cmp dword ptr [rcx], 0
    jne syscall_slow_exit
    mov r11, [rsp + FRAME_RFLAGS]       # r11 is what `syscall` left there
    test r11d, RFLAGS_BY_IRETQ          # TF, NT: `iretq` loads them so that they count from the program on; RF
    jne syscall_slow_exit
    mov r10, [rsp + FRAME_R10]
    mov r9, [rsp + FRAME_R9]
    mov r8, [rsp + FRAME_R8]
    mov rdx, [rsp + FRAME_RDX]
    mov rsi, [rsp + FRAME_RSI]
    mov rdi, [rsp + FRAME_RDI]
    mov rcx, [rsp + FRAME_RIP]          # rcx is what `syscall` left there, too
    add rsp, FRAME_RFLAGS
    popfq                               # status flags, DF, AC, ID; IF is on and stays so
syscall_window_end:
    pop rsp                             # FRAME_RSP is the next word
syscall_exit_window_jump:
    jmp rcx                             # not `sysret`, which leads to ring 3

# A number beyond the table.
syscall_absent:
    call {syscall_absent}
    jmp syscall_window
END syscall_entry

# There is something to do before the program goes on. The frame is completed, and linux::syscall_exit does it.
FUNCTION syscall_slow_exit
    cli                                 # this CPU's attention pointer is looked at
syscall_slow_exit_quiet:
    mov [rsp + FRAME_RAX], rax
    mov rcx, [rsp + FRAME_RIP]
    mov [rsp + FRAME_RCX], rcx
    mov r11, [rsp + FRAME_RFLAGS]
    mov [rsp + FRAME_R11], r11
    mov [rsp + FRAME_RBX], rbx
    mov [rsp + FRAME_RBP], rbp
    mov [rsp + FRAME_R12], r12
    mov [rsp + FRAME_R13], r13
    mov [rsp + FRAME_R14], r14
    mov [rsp + FRAME_R15], r15
    mov qword ptr [rsp + FRAME_CS], LINUX_CS
    mov qword ptr [rsp + FRAME_SS], LINUX_SS
    mov rdi, rsp
    xor ebp, ebp                        # backtraces end here
    call nacre_syscall_exit
syscall_slow_exit_quiet_end:
    jmp return_to_program
END syscall_slow_exit

# The same for a thread with a gs base of its own. The way back is the slow one, which swaps the bases again.
.balign 16
.global syscall_entry_own_gs
FUNCTION syscall_entry_own_gs
syscall_entry_own_gs_quiet:
    swapgs
    mov gs:[CPU_SCRATCH], rsp
    mov rsp, gs:[CPU_PROGRAM_FRAME]
    mov [rsp + FRAME_RIP], rcx
    mov rcx, gs:[CPU_SCRATCH]
    mov [rsp + FRAME_RSP], rcx
    mov [rsp + FRAME_RFLAGS], r11
    mov [rsp + FRAME_ORIGINAL_RAX], rax
    mov [rsp + FRAME_RDI], rdi
    mov [rsp + FRAME_RSI], rsi
    mov [rsp + FRAME_RDX], rdx
    mov [rsp + FRAME_R8], r8
    mov [rsp + FRAME_R9], r9
    mov [rsp + FRAME_R10], r10
    mov rdi, gs:[CPU_THREAD]
    mov rsi, rsp
    sti
    mov eax, eax                        # `sti` takes effect behind it
syscall_entry_own_gs_quiet_end:
    cmp eax, {SYSCALL_COUNT}
    jae 1f
    lea rcx, [rip + {syscall_entries}]
    call [rcx + rax * 8]
    jmp syscall_slow_exit
1:  call {syscall_absent}
    jmp syscall_slow_exit
END syscall_entry_own_gs

# 2. A rewritten call site whose status flags and r11 nobody reads after the call.
#
# rcx = the address after the `syscall`; all else is the program's, interrupts are on, and so may be every flag. r11 is free, as
# `syscall` would change it. The words of the CPU's own are not: an interrupt could move the thread to another CPU.
# No interrupt does before rsp is in the kernel stack; behind that, nothing of this CPU's is held in a register.
#
# A `syscall` stands before the address in rcx: in the program's text, or in the stub. Whoever cannot come this way goes that one.
.balign 64
.global site_entry
FUNCTION site_entry
    mov r11, rsp
    mov rsp, gs:[CPU_PROGRAM_FRAME]     # the kernel stack
    pushfq
    pop [rsp + FRAME_RFLAGS]            # the address counts from rsp after the pop: the frame
    test dword ptr [rsp + FRAME_RFLAGS], RFLAGS_BY_SYSCALL
    jne site_by_syscall_with_flags      # DF would break the kernel's copies; TF, AC and NT want the full treatment
    mov [rsp + FRAME_RSP], r11
    mov [rsp + FRAME_RIP], rcx
    mov [rsp + FRAME_ORIGINAL_RAX], rax
    mov [rsp + FRAME_RDI], rdi
    mov [rsp + FRAME_RSI], rsi
    mov [rsp + FRAME_RDX], rdx
    mov [rsp + FRAME_R8], r8
    mov [rsp + FRAME_R9], r9
    mov [rsp + FRAME_R10], r10
    mov rdi, gs:[CPU_THREAD]
    mov rsi, rsp
    mov eax, eax
    cmp eax, {SYSCALL_COUNT}
    jae site_absent
    lea rcx, [rip + {syscall_entries}]
    call [rcx + rax * 8]
site_window:
    mov rcx, gs:[CPU_ATTENTION]
    cmp dword ptr [rcx], 0
    jne syscall_slow_exit               # from there on it is a `syscall` like any other
    mov r10, [rsp + FRAME_R10]
    mov r9, [rsp + FRAME_R9]
    mov r8, [rsp + FRAME_R8]
    mov rdx, [rsp + FRAME_RDX]
    mov rsi, [rsp + FRAME_RSI]
    mov rdi, [rsp + FRAME_RDI]
    mov rcx, [rsp + FRAME_RIP]
    mov rsp, [rsp + FRAME_RSP]          # DF, AC, ID and IF never changed: no `popfq`, which is slow
site_window_end:
    jmp rcx

site_absent:
    call {syscall_absent}
    jmp site_window
END site_entry

# The same where the status flags or r11 may be read: saved before anything changes them, given back as `syscall` gives them.
.balign 16
.global site_entry_full
FUNCTION site_entry_full
    mov r11, rsp
    mov rsp, gs:[CPU_PROGRAM_FRAME]
    pushfq
    pop [rsp + FRAME_RFLAGS]
    test dword ptr [rsp + FRAME_RFLAGS], RFLAGS_BY_SYSCALL
    jne site_by_syscall_with_flags
    mov [rsp + FRAME_RSP], r11
    mov [rsp + FRAME_RIP], rcx
    jmp syscall_call
END site_entry_full

# The flags as they were, the stack as it was, and the `syscall` itself.
FUNCTION site_by_syscall_with_flags
    push [rsp + FRAME_RFLAGS]
    popfq
    mov rsp, r11
END site_by_syscall_with_flags
# What stubs are led to when a thread has a gs base of its own: gs is not to be used before it is known to be the CPU's.
.global site_by_syscall
FUNCTION site_by_syscall
    lea rcx, [rcx - 2]                  # changes no flag
site_by_syscall_jump:
    jmp rcx
END site_by_syscall

# 3. A call of a function.
#
#   rax = the number; rdi, rsi, rdx, rcx, r8, r9 = the arguments, as many as the name of the entry says. The answer is in rax.
#   rbx, rbp, r12 to r15, rsp and all vector registers stay; the other registers and the status flags do not. DF is clear, as
#   the convention of C has it.
#
# The return address is on the program's stack. Nothing else there is read or written.
.macro CALL_ENTRY count
.balign 16
FUNCTION call_entry_\count
    cmp rax, {SYSCALL_COUNT}            # all of rax counts
    jae call_by_syscall
    mov r11, rsp
    mov rsp, gs:[CPU_PROGRAM_FRAME]     # the kernel stack
    .if \count >= 6
    mov [rsp + FRAME_R9], r9
    .endif
    .if \count >= 5
    mov [rsp + FRAME_R8], r8
    .endif
    .if \count >= 4
    mov [rsp + FRAME_R10], rcx          # where `syscall` has the fourth
    .endif
    .if \count >= 3
    mov [rsp + FRAME_RDX], rdx
    .endif
    .if \count >= 2
    mov [rsp + FRAME_RSI], rsi
    .endif
    .if \count >= 1
    mov [rsp + FRAME_RDI], rdi
    jmp call_handler
    .endif
END call_entry_\count
.endm

.balign 64
    CALL_ENTRY 6
    CALL_ENTRY 5
    CALL_ENTRY 4
    CALL_ENTRY 3
    CALL_ENTRY 2
    CALL_ENTRY 1
    CALL_ENTRY 0
FUNCTION call_handler
    mov [rsp + FRAME_RSP], r11          # at the return address
    mov [rsp + FRAME_ORIGINAL_RAX], rax
    mov rdi, gs:[CPU_THREAD]
    mov rsi, rsp
    lea r10, [rip + {syscall_entries}]
    call [r10 + rax * 8]
call_window:
    mov rcx, gs:[CPU_ATTENTION]
    cmp dword ptr [rcx], 0
    jne call_slow_exit
    mov rsp, [rsp + FRAME_RSP]
call_window_end:
    ret                                 # from the program's stack
END call_handler

# The program is seen as if it had called `call_by_syscall` and were behind its `syscall` now. Programs know nothing of this file: linux
# shows them the vDSO's copy of it (linux::rewrite), which is there for a restart as well.
FUNCTION call_slow_exit
    pushfq                              # no kernel code changes DF, AC, NT or ID for longer than a few instructions
    pop [rsp + FRAME_RFLAGS]
    lea rcx, [rip + call_return]
    mov [rsp + FRAME_RIP], rcx
    jmp syscall_slow_exit
END call_slow_exit

# The same function by the instruction: for numbers beyond the table, and for everybody once a thread has its own gs base.
.global call_by_syscall
FUNCTION call_by_syscall
    mov r10, rcx
call_syscall:
    syscall
.global call_return
call_return:
    ret
END call_by_syscall

syscall_code_end:

.set EVENT_START, 0
.set EVENT_END, 4
.set EVENT_KIND, 8
.set EVENT_TARGET, 12
.set EVENT_BYTES, 16

.set EVENT_AGAIN, 0                     # the kernel's, at `target` with rsp at the frame
.set EVENT_THERE, 1                     # the program's, at `target`
.set EVENT_JUMP, 2                      # the program's, at rcx
.set EVENT_POP, 3                       # the same, with rsp from the stack
.set EVENT_SYSCALL, 4                   # the program's, at the `syscall` before rcx

# What an event at an instruction of this file means. The frame is at rsp + 8. Answers carry = 1 for an event of the kernel, 0 for
# one of the program, and changes the frame's rip and rsp to where either goes on. Clobbers rax, rcx, rdx, rsi.
FUNCTION sort_event
    mov rcx, [rsp + 8 + FRAME_RIP]
    lea rdx, [rip + syscall_code_start]
    sub rcx, rdx                        # offset in the file
    lea rsi, [rip + events]
1:  cmp ecx, [rsi + EVENT_START]
    jb 2f                               # ordered by address: nobody names this instruction
    cmp ecx, [rsi + EVENT_END]
    jb 3f
    add rsi, EVENT_BYTES
    jmp 1b
2:  stc
    ret
3:  mov eax, [rsi + EVENT_TARGET]
    add rax, rdx
    mov ecx, [rsi + EVENT_KIND]
    cmp ecx, EVENT_AGAIN
    je 4f
    cmp ecx, EVENT_THERE
    je 6f
    mov rax, [rsp + 8 + FRAME_RCX]
    cmp ecx, EVENT_POP
    jne 5f
    mov rcx, [rsp + 8 + FRAME_RSP]      # before the pop: the program's rsp is still on the kernel stack
    mov rcx, [rcx]
    mov [rsp + 8 + FRAME_RSP], rcx
    jmp 6f
4:  mov rcx, gs:[CPU_PROGRAM_FRAME]
    mov [rsp + 8 + FRAME_RSP], rcx
    mov [rsp + 8 + FRAME_RIP], rax
    stc
    ret
5:  cmp ecx, EVENT_SYSCALL
    jne 6f
    sub rax, 2
6:  mov [rsp + 8 + FRAME_RIP], rax
    clc
    ret
END sort_event

.macro EVENT start, end, kind, target
    .long \start - syscall_code_start, \end - syscall_code_start, \kind, \target - syscall_code_start
.endm
# An event at exactly one instruction: the second byte of it is as good an end as any.
.macro EVENT_AT place, kind, target
    EVENT \place, \place + 1, \kind, \target
.endm

.section .rodata
.balign 16
events:
    EVENT syscall_window, syscall_window_end, EVENT_AGAIN, syscall_window
    EVENT_AT syscall_window_end, EVENT_POP, syscall_code_start
    EVENT_AT syscall_exit_window_jump, EVENT_JUMP, syscall_code_start
    EVENT_AT site_entry, EVENT_SYSCALL, syscall_code_start
    EVENT site_window, site_window_end, EVENT_AGAIN, site_window
    EVENT_AT site_window_end, EVENT_JUMP, syscall_code_start
    EVENT_AT site_entry_full, EVENT_SYSCALL, syscall_code_start
    EVENT_AT site_by_syscall, EVENT_SYSCALL, syscall_code_start
    EVENT_AT site_by_syscall_jump, EVENT_JUMP, syscall_code_start
    EVENT_AT call_entry_6, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_5, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_4, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_3, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_2, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_1, EVENT_THERE, call_by_syscall
    EVENT_AT call_entry_0, EVENT_THERE, call_by_syscall
    EVENT call_window, call_window_end, EVENT_AGAIN, call_window
    EVENT_AT call_window_end, EVENT_THERE, call_return
    EVENT_AT call_by_syscall, EVENT_THERE, call_by_syscall
    EVENT_AT call_syscall, EVENT_THERE, call_syscall
    EVENT_AT call_return, EVENT_THERE, call_return
    .long -1, -1, 0, 0

.section .data
# Where stubs and calls go. A thread with a gs base of its own makes everybody go by `syscall` (arch/percpu.rs).
.balign 8
.global site_entries
site_entries:
    .quad site_entry
    .quad site_entry_full
.global call_entries
call_entries:
    .quad call_entry_0
    .quad call_entry_1
    .quad call_entry_2
    .quad call_entry_3
    .quad call_entry_4
    .quad call_entry_5
    .quad call_entry_6
