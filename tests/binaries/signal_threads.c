//@ cpus: 1 2 4
//@ timeout: 120
// Signals of a process with several threads: who takes them, what waits where, values and order, stacks, faults.
#include "observe.h"
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <time.h>

static sem_t go, done;
static volatile int taken;
static volatile int taker;
static volatile int tids[4];
static __thread int number = -1;

static int gettid_(void) { return (int)syscall(SYS_gettid); }

static sigset_t set_of(int signal) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal);
    return set;
}

static void block(int how, int signal) {
    sigset_t set = set_of(signal);
    pthread_sigmask(how, &set, 0);
}

static void note(int signal) {
    (void)signal;
    taker = number;
    __atomic_add_fetch(&taken, 1, __ATOMIC_SEQ_CST);
}

static void handle(int signal, void (*handler)(int), int flags) {
    struct sigaction action = {.sa_handler = handler, .sa_flags = flags};
    sigaction(signal, &action, 0);
}

// ---- One thread takes a signal of the process; who unblocks it gets what waits ---------------------------------------

static void *unblock_in_turn(void *argument) {
    number = (int)(size_t)argument;
    sem_wait(&go);
    block(SIG_UNBLOCK, SIGUSR1);
    block(SIG_BLOCK, SIGUSR1);
    sem_post(&done);
    return 0;
}

static void waiting_for_a_taker(void) {
    pthread_t threads[3];
    sigset_t pending;
    taken = 0;
    taker = -1;
    block(SIG_BLOCK, SIGUSR1);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, unblock_in_turn, (void *)(i + 1));
    MUST(kill(getpid(), SIGUSR1));
    MUST(kill(getpid(), SIGUSR1));
    sigpending(&pending);
    printf("all block it: %d taken, pending %d\n", taken, sigismember(&pending, SIGUSR1));
    for (int i = 0; i < 3; i++) {
        sem_post(&go);
        sem_wait(&done);
        sigpending(&pending);
        printf("after %d threads unblocked it: %d taken, pending %d\n", i + 1, taken, sigismember(&pending, SIGUSR1));
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
}

// ---- Signals of a thread are that thread's ---------------------------------------------------------------------------

static void *with_own_signal(void *argument) {
    sigset_t pending;
    number = 1;
    (void)argument;
    tids[1] = gettid_();
    sem_post(&done);
    sem_wait(&go);
    sigpending(&pending);
    printf("the thread it was sent to: pending %d\n", sigismember(&pending, SIGUSR1));
    block(SIG_UNBLOCK, SIGUSR1);
    return 0;
}

static void signal_of_a_thread(void) {
    pthread_t thread;
    sigset_t pending;
    taken = 0;
    block(SIG_BLOCK, SIGUSR1);
    pthread_create(&thread, 0, with_own_signal, 0);
    sem_wait(&done);
    TRY(syscall(SYS_tgkill, getpid(), tids[1], SIGUSR1));
    sigpending(&pending);
    printf("another thread: pending %d\n", sigismember(&pending, SIGUSR1));
    block(SIG_UNBLOCK, SIGUSR1);
    printf("another thread unblocks: %d taken\n", taken);
    sem_post(&go);
    pthread_join(thread, 0);
    printf("%d taken, by %d\n", taken, taker);
    int gone = tids[1];
    for (int i = 0; i < 10000 && syscall(SYS_tgkill, getpid(), gone, 0) == 0; i++)
        usleep(1000);
    TRY(syscall(SYS_tgkill, getpid(), gone, 0));
    TRY(syscall(SYS_tgkill, getpid() + 1000000, gettid_(), 0));
    TRY(syscall(SYS_tgkill, getpid(), gettid_(), 65));
    TRY(syscall(SYS_tgkill, getpid(), 0, 0));
    TRY(syscall(SYS_tgkill, -1, gettid_(), 0));
    TRY(syscall(SYS_tkill, gettid_(), 0));
    TRY(syscall(SYS_tkill, -1, 0));
}

// ---- Every signal is taken by one of the threads that want it, while they change their minds --------------------------

static volatile int is_over;

static void *change_mind(void *argument) {
    number = (int)(size_t)argument;
    while (!is_over) {
        block(SIG_UNBLOCK, SIGUSR1);
        sched_yield();
        block(SIG_BLOCK, SIGUSR1);
    }
    return 0;
}

static void *want_briefly(void *argument) {
    (void)argument;
    block(SIG_UNBLOCK, SIGUSR1);
    return 0;
}

static void changing_minds(void) {
    enum { ROUNDS = 1000 };
    pthread_t threads[3];
    taken = 0;
    is_over = 0;
    block(SIG_BLOCK, SIGUSR1);
    for (size_t i = 0; i < 3; i++)
        pthread_create(&threads[i], 0, change_mind, (void *)i);
    for (int i = 0; i < ROUNDS; i++) {
        MUST(kill(getpid(), SIGUSR1));
        while (taken <= i)
            sched_yield();
    }
    is_over = 1;
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], 0);
    printf("%d of %d taken by threads that change their minds\n", taken, ROUNDS);

    // Threads that end at once hand on what they were told of.
    taken = 0;
    for (int i = 0; i < 200; i++) {
        pthread_t brief;
        pthread_create(&brief, 0, want_briefly, 0);
        MUST(kill(getpid(), SIGUSR1));
        pthread_join(brief, 0);
        block(SIG_UNBLOCK, SIGUSR1);
        block(SIG_BLOCK, SIGUSR1);
        if (taken != i + 1)
            printf("round %d: %d taken\n", i, taken);
        taken = i + 1;
    }
    printf("%d of 200 taken by threads that end, or after them\n", taken);
}

// ---- Queues ----------------------------------------------------------------------------------------------------------

static void queue_to_process(int signal, int value) {
    siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE};
    info.si_value.sival_int = value;
    info.si_pid = getpid();
    MUST(syscall(SYS_rt_sigqueueinfo, getpid(), signal, &info));
}

static void queue_to_thread(int tid, int signal, int value) {
    siginfo_t info = {.si_signo = signal, .si_code = SI_QUEUE};
    info.si_value.sival_int = value;
    MUST(syscall(SYS_rt_tgsigqueueinfo, getpid(), tid, signal, &info));
}

static void *take_queue(void *argument) {
    sigset_t set;
    siginfo_t info;
    (void)argument;
    tids[1] = gettid_();
    sem_post(&done);
    sem_wait(&go);
    sigemptyset(&set);
    for (int signal = SIGRTMIN; signal <= SIGRTMIN + 3; signal++)
        sigaddset(&set, signal);
    struct timespec no_time = {0, 0};
    int signal;
    while ((signal = sigtimedwait(&set, &info, &no_time)) > 0)
        printf("  SIGRTMIN+%d value %d code %d\n", signal - SIGRTMIN, info.si_value.sival_int, info.si_code);
    printf("  then %s\n", error_name(errno));
    return 0;
}

static void queues(void) {
    pthread_t thread;
    for (int signal = SIGRTMIN; signal <= SIGRTMIN + 3; signal++)
        block(SIG_BLOCK, signal);
    pthread_create(&thread, 0, take_queue, 0);
    sem_wait(&done);
    queue_to_process(SIGRTMIN + 1, 11);
    queue_to_process(SIGRTMIN + 2, 21);
    queue_to_thread(tids[1], SIGRTMIN + 2, 121);
    queue_to_process(SIGRTMIN + 1, 12);
    queue_to_thread(tids[1], SIGRTMIN + 1, 111);
    queue_to_process(SIGRTMIN, 1);
    queue_to_thread(tids[1], SIGRTMIN + 3, 131);
    queue_to_thread(tids[1], SIGRTMIN + 2, 122);
    puts("signals of the thread come first, then by number, then by age:");
    sem_post(&go);
    pthread_join(thread, 0);

    siginfo_t info = {.si_signo = SIGUSR1, .si_code = SI_USER};
    TRY(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid_(), 0, &info));
    info.si_code = SI_TKILL;
    TRY(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid_(), 0, &info));
    TRY(syscall(SYS_rt_tgsigqueueinfo, getpid(), 0, 0, &info));
    TRY(syscall(SYS_rt_tgsigqueueinfo, getpid(), gettid_(), 99, &info));
}

// ---- Several threads wait for one signal ------------------------------------------------------------------------------

static volatile int sum, waiters;

static void *wait_for_it(void *argument) {
    sigset_t set = set_of(SIGRTMIN);
    siginfo_t info;
    (void)argument;
    __atomic_add_fetch(&waiters, 1, __ATOMIC_SEQ_CST);
    int signal = sigwaitinfo(&set, &info);
    __atomic_add_fetch(&sum, signal == SIGRTMIN ? info.si_value.sival_int : 1000, __ATOMIC_SEQ_CST);
    sem_post(&done);
    return 0;
}

static void several_wait(void) {
    pthread_t threads[4];
    for (int round = 0; round < 50; round++) {
        sum = waiters = 0;
        for (int i = 0; i < 4; i++)
            pthread_create(&threads[i], 0, wait_for_it, 0);
        if (round % 2)
            while (waiters < 4)
                sched_yield();
        for (int i = 0; i < 4; i++)
            queue_to_process(SIGRTMIN, 1 << i);
        for (int i = 0; i < 4; i++)
            pthread_join(threads[i], 0);
        for (int i = 0; i < 4; i++)
            sem_wait(&done);
        if (sum != 15)
            printf("round %d: sum %d\n", round, sum);
    }
    printf("four waited, each got one: sum %d\n", sum);
}

// ---- Stacks and faults belong to a thread ------------------------------------------------------------------------------

static __thread char *stack_base;
static __thread char *fault_address;
static volatile int own_stack, own_address, own_thread;

static void on_fault(int signal, siginfo_t *info, void *context) {
    char here;
    (void)signal;
    __atomic_add_fetch(&own_stack, &here >= stack_base && &here < stack_base + 65536, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&own_address, info->si_addr == fault_address, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&own_thread, tids[number] == gettid_(), __ATOMIC_SEQ_CST);
    // Beyond the store: `movb $1, (%rax)` has three bytes.
    ((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP] += 3;
}

static void *fault_often(void *argument) {
    number = (int)(size_t)argument;
    tids[number] = gettid_();
    stack_base = malloc(65536);
    stack_t stack = {.ss_sp = stack_base, .ss_size = 65536}, old;
    sigaltstack(0, &old);
    if (old.ss_flags != SS_DISABLE)
        printf("a new thread has an alternate stack\n");
    sigaltstack(&stack, 0);
    fault_address = mmap(0, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 250; i++)
        __asm__ volatile("movb $1, (%0)" : : "a"(fault_address) : "memory");
    stack.ss_flags = SS_DISABLE;
    sigaltstack(&stack, 0);
    munmap(fault_address, 4096);
    free(stack_base);
    return 0;
}

static void faults(void) {
    pthread_t threads[4];
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigaction(SIGSEGV, &action, 0);
    for (size_t i = 0; i < 4; i++)
        pthread_create(&threads[i], 0, fault_often, (void *)i);
    for (int i = 0; i < 4; i++)
        pthread_join(threads[i], 0);
    printf("1000 faults: %d on the thread's stack, %d at its address, %d in its thread\n", own_stack, own_address,
           own_thread);
}

// ---- A mask is inherited, pending signals are not ----------------------------------------------------------------------

static void *look(void *argument) {
    sigset_t mask, pending;
    (void)argument;
    pthread_sigmask(SIG_BLOCK, 0, &mask);
    sigpending(&pending);
    printf("a new thread: blocks %d %d, pending %d %d\n", sigismember(&mask, SIGUSR1), sigismember(&mask, SIGUSR2),
           sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2));
    return 0;
}

static void inheritance(void) {
    pthread_t thread;
    block(SIG_BLOCK, SIGUSR1);
    block(SIG_BLOCK, SIGUSR2);
    MUST(syscall(SYS_tgkill, getpid(), gettid_(), SIGUSR2));
    MUST(kill(getpid(), SIGUSR1));
    pthread_create(&thread, 0, look, 0);
    pthread_join(thread, 0);
    handle(SIGUSR1, SIG_IGN, 0);
    handle(SIGUSR2, SIG_IGN, 0);
    sigset_t pending;
    sigpending(&pending);
    printf("ignored, they are gone: %d %d\n", sigismember(&pending, SIGUSR1), sigismember(&pending, SIGUSR2));
}

int main(void) {
    sem_init(&go, 0, 0);
    sem_init(&done, 0, 0);
    number = 0;
    handle(SIGUSR1, note, SA_RESTART);
    waiting_for_a_taker();
    signal_of_a_thread();
    changing_minds();
    queues();
    several_wait();
    faults();
    inheritance();
    return 0;
}
