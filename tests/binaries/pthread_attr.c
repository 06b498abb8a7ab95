//@ cpus: 1 2 4
// Attributes of threads: every getter and setter, what the thread then has, its stack and the guard below it.
#include "pthread_observe.h"
#include <setjmp.h>

static char own_stack[256 << 10] __attribute__((aligned(4096)));

static void show(const pthread_attr_t *attr) {
    size_t size = 0;
    int value = 0;
    struct sched_param param = {.sched_priority = -1};
    ANSWER(pthread_attr_getstacksize(attr, &size));
    printf("stack size %zu\n", size);
    ANSWER(pthread_attr_getguardsize(attr, &size));
    printf("guard size %zu\n", size);
    ANSWER(pthread_attr_getdetachstate(attr, &value));
    printf("detach state %d\n", value);
    ANSWER(pthread_attr_getscope(attr, &value));
    printf("scope %d\n", value);
    ANSWER(pthread_attr_getschedpolicy(attr, &value));
    printf("policy %d\n", value);
    ANSWER(pthread_attr_getinheritsched(attr, &value));
    printf("inherits %d\n", value);
    ANSWER(pthread_attr_getschedparam(attr, &param));
    printf("priority %d\n", param.sched_priority);
}

static void *look_at_stack(void *argument) {
    (void)argument;
    pthread_attr_t attr;
    void *base = NULL;
    size_t size = 0, guard = 0;
    int state = -1;
    char here;
    ANSWER(pthread_getattr_np(pthread_self(), &attr));
    ANSWER(pthread_attr_getstack(&attr, &base, &size));
    ANSWER(pthread_attr_getguardsize(&attr, &guard));
    ANSWER(pthread_attr_getdetachstate(&attr, &state));
    printf("on its stack: %s, size %zu, guard %zu, detached %d, own %d\n",
           &here >= (char *)base && &here < (char *)base + size ? "yes" : "no", size / 4096 * 4096, guard, state,
           &here >= own_stack && &here < own_stack + sizeof own_stack);
    pthread_attr_destroy(&attr);
    return NULL;
}

static sigjmp_buf back;
static volatile sig_atomic_t faults;
static char *guard_start, *guard_end;

static void on_fault(int number, siginfo_t *info, void *context) {
    (void)number, (void)context;
    char *address = info->si_addr;
    faults += address >= guard_start && address < guard_end ? 1 : 100;
    siglongjmp(back, 1);
}

// Writes just below the stack's lowest byte, into the guard.
static void *hit_guard(void *argument) {
    (void)argument;
    pthread_attr_t attr;
    void *base = NULL;
    size_t size = 0, guard = 0;
    pthread_getattr_np(pthread_self(), &attr);
    pthread_attr_getstack(&attr, &base, &size);
    pthread_attr_getguardsize(&attr, &guard);
    guard_end = base;
    guard_start = guard_end - guard;
    if (sigsetjmp(back, 1) == 0)
        *(volatile char *)(guard_end - 1) = 1;
    if (sigsetjmp(back, 1) == 0)
        *(volatile char *)guard_start = 1;
    *(volatile char *)guard_end = 1;
    return NULL;
}

static void run(const char *what, pthread_attr_t *attr, void *(*function)(void *)) {
    pthread_t thread;
    printf("-- %s\n", what);
    int error = pthread_create(&thread, attr, function, NULL);
    if (error == 0)
        join_thread(thread);
    printf("create: %s\n", error ? error_name(error) : "0");
}

int main(void) {
    pthread_attr_t attr, standard;
    ANSWER(pthread_attr_init(&attr));
    show(&attr);
    run("default", &attr, look_at_stack);
    ANSWER(pthread_attr_setstacksize(&attr, 1));
    ANSWER(pthread_attr_setstacksize(&attr, 64 << 10));
    run("64 KiB", &attr, look_at_stack);
    ANSWER(pthread_attr_setstacksize(&attr, 5 << 20));
    ANSWER(pthread_attr_setguardsize(&attr, 3 * 4096));
    run("5 MiB, 12 KiB guard", &attr, look_at_stack);

    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    run("the guard", &attr, hit_guard);
    printf("faults in the guard %d\n", (int)faults);

    ANSWER(pthread_attr_setguardsize(&attr, 0));
    run("no guard", &attr, look_at_stack);
    ANSWER(pthread_attr_setguardsize(&attr, SIZE_MAX));
    ANSWER(pthread_attr_setstack(&attr, own_stack, 100));
    ANSWER(pthread_attr_setstack(&attr, own_stack, sizeof own_stack));
    void *base = NULL;
    size_t size = 0;
    ANSWER(pthread_attr_getstack(&attr, &base, &size));
    printf("own stack %d, %zu\n", base == own_stack, size);
    run("a stack of its own", &attr, look_at_stack);

    ANSWER(pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED));
    ANSWER(pthread_attr_setdetachstate(&attr, 7));
    ANSWER(pthread_attr_setscope(&attr, PTHREAD_SCOPE_SYSTEM));
    ANSWER(pthread_attr_setscope(&attr, PTHREAD_SCOPE_PROCESS));
    ANSWER(pthread_attr_setscope(&attr, 7));
    ANSWER(pthread_attr_setinheritsched(&attr, PTHREAD_EXPLICIT_SCHED));
    ANSWER(pthread_attr_setinheritsched(&attr, 7));
    ANSWER(pthread_attr_setschedpolicy(&attr, SCHED_RR));
    struct sched_param param = {.sched_priority = 3};
    ANSWER(pthread_attr_setschedparam(&attr, &param));
    pthread_attr_setstacksize(&attr, 128 << 10);
    show(&attr);
    ANSWER(pthread_attr_destroy(&attr));

    // The stack of the first thread.
    ANSWER(pthread_getattr_np(pthread_self(), &attr));
    ANSWER(pthread_attr_getstack(&attr, &base, &size));
    char here;
    CHECK(&here >= (char *)base && &here < (char *)base + size);
    CHECK(size >= 4096);
    pthread_attr_destroy(&attr);

    // What threads get without attributes.
    ANSWER(pthread_getattr_default_np(&standard));
    show(&standard);
    pthread_attr_setstacksize(&standard, 300 << 10);
    pthread_attr_setguardsize(&standard, 8192);
    ANSWER(pthread_setattr_default_np(&standard));
    run("new default", NULL, look_at_stack);
    pthread_attr_setdetachstate(&standard, PTHREAD_CREATE_DETACHED);
    ANSWER(pthread_setattr_default_np(&standard));

    // More than there is.
    pthread_attr_init(&attr);
    ANSWER(pthread_attr_setstacksize(&attr, SIZE_MAX / 8));
    run("hopelessly large", &attr, look_at_stack);
    return 0;
}
