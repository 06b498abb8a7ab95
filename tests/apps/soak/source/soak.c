// Mixed torture of threads, locks, futexes, signals, timers, descriptors and memory, with seeded randomness.
//
// usage: soak SECONDS SEED [WORKERS]
//
// Every few seconds all workers end and the free memory and the number of threads are looked at: where this program is alone on
// its machine, they must be what they were. A watchdog says where each thread is when one makes no progress for too long.
// Standard output has no random part; standard error tells the story.
#include "soak.h"
#include <dirent.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/sysinfo.h>

#define WORKERS_DEFAULT 6
// So long a thread may be at one place, in seconds: the host may be busy.
#define PATIENCE 120
// Memory that caches of a kernel may keep, in KiB.
#define SLACK_KIB 768

struct place places[PLACES_MAX];
_Thread_local struct place *me;
atomic_int should_stop;

static int seconds, workers = WORKERS_DEFAULT;
static uint64_t seed;
static atomic_ulong tasks_done;
static const struct task *all_tasks[64];
static int all_count;
// What each task took, for the curious.
static atomic_ulong task_runs[64], task_us[64];

uint32_t pick(uint32_t limit) {
    // xorshift64*
    uint64_t x = me->random;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    me->random = x;
    return limit ? (uint32_t)((x * 0x2545f4914f6cdd1dull) >> 32) % limit : 0;
}

static uint64_t mix(uint64_t number) {
    number += 0x9e3779b97f4a7c15ull;
    number = (number ^ (number >> 30)) * 0xbf58476d1ce4e5b9ull;
    number = (number ^ (number >> 27)) * 0x94d049bb133111ebull;
    return (number ^ (number >> 31)) | 1;
}

void sleep_us(long us) {
    struct timespec time = {us / 1000000, us % 1000000 * 1000};
    while (nanosleep(&time, &time) != 0)
        ;
}

struct timespec after_us(clockid_t clock, long us) {
    struct timespec time;
    clock_gettime(clock, &time);
    time.tv_sec += us / 1000000;
    time.tv_nsec += us % 1000000 * 1000;
    if (time.tv_nsec >= 1000000000) {
        time.tv_sec++;
        time.tv_nsec -= 1000000000;
    }
    return time;
}

static void show_places(void) {
    for (int i = 0; i < PLACES_MAX; i++) {
        struct place *place = &places[i];
        int tid = place->tid;
        if (tid <= 0)
            continue;
        char line[300];
        const char *task = place->task, *doing = place->doing;
        int len = snprintf(line, sizeof line, "  thread %d: task %s, %s, step %lu, %ld signals\n", tid, task ? task : "?",
                           doing ? doing : "?", place->steps, place->handled);
        (void)!write(2, line, (size_t)len);
    }
}

void fail(const char *file, int line, const char *what, long value) {
    static atomic_int failed;
    char text[300];
    if (atomic_exchange(&failed, 1))
        for (;;)
            pause();
    int len = snprintf(text, sizeof text, "soak: seed %llu: %s:%d: %s: saw %ld; thread %d\n", (unsigned long long)seed, file, line,
                       what, value, me ? me->tid : 0);
    (void)!write(2, text, (size_t)len);
    show_places();
    _exit(3);
}

static void take_place(const char *task, uint64_t random) {
    int tid = (int)syscall(SYS_gettid);
    for (int i = 0; i < PLACES_MAX; i++) {
        int none = 0;
        // Negative while it is made ready.
        if (atomic_compare_exchange_strong(&places[i].tid, &none, -1)) {
            places[i].random = random;
            places[i].steps = 0;
            places[i].handled = 0;
            places[i].task = task;
            places[i].doing = "begins";
            me = &places[i];
            places[i].tid = tid;
            return;
        }
    }
    fail(__FILE__, __LINE__, "no place", 0);
}

static void leave_place(void *argument) {
    (void)argument;
    me->tid = 0;
}

static void *run_helper(void *argument) {
    struct helper *helper = argument;
    int old;
    // A cancellation waits until there is a place to leave.
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &old);
    take_place(helper->task, helper->seed);
    pthread_cleanup_push(leave_place, NULL);
    pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &old);
    helper->run(helper->argument, helper->number);
    pthread_cleanup_pop(1);
    return helper;
}

void start_helper(struct helper *helper, void (*run)(void *, int), void *argument, int number) {
    *helper = (struct helper){.run = run, .argument = argument, .number = number, .task = me->task, .seed = mix(pick(UINT32_MAX))};
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, 65536);
    int error = pthread_create(&helper->thread, &attr, run_helper, helper);
    if (error != 0)
        fail(__FILE__, __LINE__, "pthread_create", error);
    pthread_attr_destroy(&attr);
}

void join_helper(struct helper *helper) {
    at("joins a helper");
    ENSURE_IS(pthread_join(helper->thread, NULL), 0);
}

static void *work(void *argument) {
    take_place("none", mix(seed * 1000003u + (uint64_t)(long)argument));
    while (!should_stop) {
        uint32_t number = pick((uint32_t)all_count);
        struct timespec begin = after_us(CLOCK_MONOTONIC, 0), end;
        me->task = all_tasks[number]->name;
        at("begins its task");
        all_tasks[number]->run();
        end = after_us(CLOCK_MONOTONIC, 0);
        task_runs[number]++;
        task_us[number] += (unsigned long)((end.tv_sec - begin.tv_sec) * 1000000 + (end.tv_nsec - begin.tv_nsec) / 1000);
        tasks_done++;
    }
    leave_place(NULL);
    return NULL;
}

// Sends signals to any thread, moves it to other processors, and changes its nice value.
static void *disturb(void *argument) {
    cpu_set_t all, some;
    take_place("disturber", mix(seed ^ (uint64_t)(long)argument));
    sched_getaffinity(0, sizeof all, &all);
    while (!should_stop) {
        struct place *place = &places[pick(PLACES_MAX) % (8u + 8u * (unsigned)workers)];
        int tid = place->tid;
        at("disturbs");
        if (tid > 0 && place != me) {
            // The thread may end at any moment; its number is not used again so soon.
            switch (pick(4)) {
            case 0:
                syscall(SYS_tgkill, getpid(), tid, SIGUSR1);
                break;
            case 1:
                CPU_ZERO(&some);
                for (int cpu = 0; cpu < 64; cpu++)
                    if (CPU_ISSET(cpu, &all) && pick(2))
                        CPU_SET(cpu, &some);
                syscall(SYS_sched_setaffinity, tid, sizeof some, CPU_COUNT(&some) ? &some : &all);
                break;
            case 2:
                syscall(SYS_setpriority, PRIO_PROCESS, tid, (int)pick(11) - 5);
                break;
            default:
                kill(getpid(), SIGALRM);
            }
        }
        sleep_us(pick(3000));
    }
    leave_place(NULL);
    return NULL;
}

static void *watch(void *argument) {
    static unsigned long steps[PLACES_MAX];
    static int tids[PLACES_MAX], still[PLACES_MAX];
    sigset_t set;
    (void)argument;
    sigfillset(&set);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    for (;;) {
        sleep(1);
        for (int i = 0; i < PLACES_MAX; i++) {
            int tid = places[i].tid;
            if (tid <= 0 || tid != tids[i] || steps[i] != places[i].steps) {
                tids[i] = tid;
                steps[i] = places[i].steps;
                still[i] = 0;
            } else if (++still[i] == PATIENCE) {
                char text[200];
                int len = snprintf(text, sizeof text, "soak: seed %llu: thread %d makes no progress\n", (unsigned long long)seed, tid);
                (void)!write(2, text, (size_t)len);
                show_places();
                _exit(4);
            }
        }
    }
    return NULL;
}

static long free_kib(void) {
    struct sysinfo info;
    sysinfo(&info);
    return (long)((uint64_t)info.freeram * info.mem_unit / 1024);
}

static int count_threads(void) {
    DIR *folder = opendir("/proc/self/task");
    int count = 0;
    for (struct dirent *entry; folder != NULL && (entry = readdir(folder)) != NULL;)
        count += entry->d_name[0] != '.';
    if (folder != NULL)
        closedir(folder);
    return count;
}

static void run_for(int time, int round) {
    pthread_t threads[64];
    int count = 0;
    should_stop = 0;
    for (long i = 0; i < workers; i++)
        ENSURE_IS(pthread_create(&threads[count++], NULL, work, (void *)(i + 100 * (long)round)), 0);
    ENSURE_IS(pthread_create(&threads[count++], NULL, disturb, (void *)(long)round), 0);
    struct timespec until = after_us(CLOCK_MONOTONIC, (long)time * 1000000);
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        ;
    should_stop = 1;
    for (int i = 0; i < count; i++)
        ENSURE_IS(pthread_join(threads[i], NULL), 0);
}

static void add_tasks(const struct task *tasks) {
    for (; tasks->name != NULL; tasks++)
        all_tasks[all_count++] = tasks;
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: soak SECONDS SEED [WORKERS]\n");
        return 1;
    }
    seconds = atoi(argv[1]);
    seed = strtoull(argv[2], NULL, 0);
    if (argc > 3)
        workers = atoi(argv[3]);
    if (workers < 1 || workers > 60)
        return 1;
    add_tasks(lock_tasks);
    add_tasks(futex_tasks);
    add_tasks(signal_tasks);
    add_tasks(file_tasks);
    add_tasks(memory_tasks);
    add_tasks(thread_tasks);
    prepare_signals();
    prepare_memory();
    // One place for what the main thread does; it takes no part.
    static struct place main_place;
    me = &main_place;
    me->random = mix(seed);
    pthread_t watchdog;
    ENSURE_IS(pthread_create(&watchdog, NULL, watch, NULL), 0);
    fprintf(stderr, "soak: seed %llu, %d s, %d workers, %d tasks\n", (unsigned long long)seed, seconds, workers, all_count);

    // The first round fills caches and heaps; then the memory must stay as it is.
    int rounds = seconds >= 100 ? seconds / 20 : 5, length = seconds / rounds > 0 ? seconds / rounds : 1;
    long least = 0, first = 0, last = 0;
    for (int round = 0; round < rounds; round++) {
        run_for(length, round);
        last = free_kib();
        if (round == 1)
            first = last;
        if (round == 1 || (round > 1 && last < least))
            least = last;
        fprintf(stderr, "soak: round %d of %d: %lu tasks, %ld KiB free, %d threads\n", round + 1, rounds, tasks_done, last,
                count_threads());
        ENSURE_IS(count_threads(), 2);
    }
    for (int i = 0; i < all_count; i++)
        fprintf(stderr, "soak: %s: %lu times, %lu us each\n", all_tasks[i]->name, task_runs[i],
                task_us[i] / (task_runs[i] ? task_runs[i] : 1));
    // The first process is alone on its machine.
    if (getpid() == 1 && last + SLACK_KIB < first)
        fail(__FILE__, __LINE__, "memory was lost, KiB", first - last);
    printf("the soak is over\n");
    return 0;
}
