//@ cpus: 1 2
// What clone, clone3 and unshare refuse, and with which error.
#include "spawn.h"

#define KERNEL_HALF 0xffff800000000000UL

#ifndef CLONE_CLEAR_SIGHAND
#define CLONE_CLEAR_SIGHAND 0x100000000ULL
#endif
#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

static void answer(const char *text, long result) {
    printf("%s: %s\n", text, result < 0 ? error_name((int)-result) : "a thread");
}

static int word;

#define CLONE(flags) answer("clone " #flags, raw6(SYS_clone, (long)(flags), 0, (long)&word, (long)&word, 0, 0))

static void old_call(void) {
    CLONE(CLONE_THREAD);
    CLONE(CLONE_THREAD | CLONE_VM);
    CLONE(CLONE_THREAD | CLONE_SIGHAND);
    CLONE(CLONE_SIGHAND);
    CLONE(CLONE_SIGHAND | SIGCHLD);
    CLONE(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWUSER);
    CLONE(CLONE_THREAD | CLONE_SIGHAND | CLONE_VM | CLONE_NEWPID);
    CLONE(THREAD_FLAGS | CLONE_NEWNS);
    CLONE(CLONE_NEWNS | CLONE_FS);
    CLONE(CLONE_NEWUSER | CLONE_FS);
    CLONE(CLONE_PIDFD | CLONE_PARENT_SETTID);
    CLONE(CLONE_PIDFD | CLONE_DETACHED);
    CLONE(THREAD_FLAGS | CLONE_PIDFD | CLONE_DETACHED);
    CLONE(THREAD_FLAGS | CLONE_PIDFD | CLONE_PARENT_SETTID);
    answer("a thread pointer in the kernel's half",
           raw6(SYS_clone, THREAD_FLAGS | CLONE_SETTLS, 0, 0, 0, (long)KERNEL_HALF, 0));
    answer("a thread pointer right behind the program's half",
           raw6(SYS_clone, THREAD_FLAGS | CLONE_SETTLS, 0, 0, 0, 0x7ffffffff000, 0));
}

static void new(const char *text, const struct clone_arguments *arguments, size_t size) {
    answer(text, raw(SYS_clone3, arguments, size, 0, 0));
}

#define CLONE3(size, ...)                                        \
    do {                                                         \
        struct clone_arguments arguments = {__VA_ARGS__};              \
        new ("clone3 " #size " " #__VA_ARGS__, &arguments, size); \
    } while (0)

static void new_call(void) {
    static char page[8192] __attribute__((aligned(4096)));
    // Threads without signal handlers in common are refused, but only after the structure was understood.
    CLONE3(0, .flags = CLONE_THREAD);
    CLONE3(63, .flags = CLONE_THREAD);
    CLONE3(64, .flags = CLONE_THREAD);
    CLONE3(72, .flags = CLONE_THREAD);
    CLONE3(88, .flags = CLONE_THREAD);
    CLONE3(104, .flags = CLONE_THREAD);
    CLONE3(96, .flags = CLONE_THREAD, .more = {1});
    CLONE3(104, .flags = CLONE_THREAD, .more = {0, 1});
    CLONE3(97, .flags = CLONE_THREAD, .more = {0, 1});
    ((struct clone_arguments *)page)->flags = CLONE_THREAD;
    new ("a page", (struct clone_arguments *)page, 4096);
    new ("more than a page", (struct clone_arguments *)page, 4097);
    page[4095] = 1;
    new ("a page that is not empty", (struct clone_arguments *)page, 4096);
    new ("nowhere", NULL, 88);
    new ("the kernel's half", (struct clone_arguments *)KERNEL_HALF, 88);
    new ("a bad size comes first", NULL, 4097);

    CLONE3(88, .flags = THREAD_FLAGS, .stack = 4096);
    CLONE3(88, .flags = THREAD_FLAGS, .stack_size = 4096);
    CLONE3(88, .flags = THREAD_FLAGS, .stack = KERNEL_HALF, .stack_size = 4096);
    CLONE3(88, .flags = THREAD_FLAGS, .stack = 4096, .stack_size = ~0UL);
    CLONE3(88, .flags = THREAD_FLAGS, .stack = 4096, .stack_size = 0x7ffffffff000);
    CLONE3(88, .flags = THREAD_FLAGS, .exit_signal = SIGCHLD);
    CLONE3(88, .flags = CLONE_THREAD, .exit_signal = 1);
    CLONE3(88, .flags = CLONE_PARENT, .exit_signal = SIGCHLD);
    CLONE3(88, .exit_signal = 65);
    CLONE3(88, .exit_signal = 256);
    CLONE3(88, .exit_signal = 1ULL << 32);
    CLONE3(88, .flags = CLONE_DETACHED);
    CLONE3(88, .flags = 1);
    CLONE3(88, .flags = SIGCHLD);
    CLONE3(88, .flags = 1ULL << 34);
    CLONE3(88, .flags = 1ULL << 63);
    CLONE3(88, .flags = CLONE_SIGHAND | CLONE_VM | CLONE_CLEAR_SIGHAND);
    CLONE3(88, .flags = THREAD_FLAGS | CLONE_CLEAR_SIGHAND);
    CLONE3(88, .flags = CLONE_INTO_CGROUP, .cgroup = ~0UL);
    CLONE3(80, .flags = CLONE_INTO_CGROUP);
    CLONE3(88, .flags = CLONE_PIDFD | CLONE_PARENT_SETTID, .pidfd = (uintptr_t)&word, .parent_tid = (uintptr_t)&word);

    static int numbers[40] = {1};
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers);
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid_size = 1);
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers, .set_tid_size = 33);
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = KERNEL_HALF, .set_tid_size = 1);
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = 1, .set_tid_size = 1);
    numbers[0] = 0;
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers, .set_tid_size = 1);
    numbers[0] = -5;
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers, .set_tid_size = 1);
    numbers[0] = 4194304;
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers, .set_tid_size = 1);
    numbers[0] = getpid();
    CLONE3(88, .flags = THREAD_FLAGS, .set_tid = (uintptr_t)numbers, .set_tid_size = 1);
    CLONE3(72, .flags = CLONE_THREAD, .set_tid = (uintptr_t)numbers, .set_tid_size = 1);
}

static void parting(void) {
    TRY(syscall(SYS_unshare, 0));
    TRY(syscall(SYS_unshare, CLONE_FS | CLONE_FILES | CLONE_SYSVSEM));
    TRY(syscall(SYS_unshare, CLONE_THREAD | CLONE_SIGHAND | CLONE_VM));
    TRY(syscall(SYS_unshare, CLONE_PARENT));
    TRY(syscall(SYS_unshare, CLONE_SETTLS));
    TRY(syscall(SYS_unshare, 1));
    TRY(syscall(SYS_unshare, 1UL << 40));
}

int main(void) {
    old_call();
    new_call();
    parting();
    CHECK(getpid() == syscall(SYS_gettid));
    return 0;
}
