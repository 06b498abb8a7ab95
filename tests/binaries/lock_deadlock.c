//@ cpus: 1 2 4
// Record locks of threads with descriptor tables of their own: who waits for a lock, and who would wait for ever. And what
// /proc/locks shows of all of it.
#include "observe.h"

#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <sys/file.h>

static int fd;
static sem_t begin, has_first;
static ino_t inode;

static long lock(int command, short type, off_t start, off_t len) {
    struct flock request = {.l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len};
    return fcntl(fd, command, &request);
}

// Prints the lines of the file, without what the host decides.
static void show_locks(const char *title) {
    char line[200], *lines[32], who[8];
    size_t count = 0;
    FILE *file = fopen("/proc/locks", "r");
    printf("-- %s\n", title);
    while (fgets(line, sizeof line, file)) {
        char number[16], call[16], advisory[16], kind[16], range[64], *at = line, arrow[4] = "";
        int pid;
        unsigned major, minor, length = 0;
        unsigned long found;
        sscanf(at, "%15s %n", number, &length);
        at += length;
        if (strncmp(at, "-> ", 3) == 0) {
            strcpy(arrow, "-> ");
            at += 3;
        }
        if (sscanf(at, "%15s %15s %15s %d %x:%x:%lu %63[^\n]", call, advisory, kind, &pid, &major, &minor, &found, range) != 8 || found != inode)
            continue;
        snprintf(who, sizeof who, pid == getpid() ? "own" : pid == -1 ? "-1" : "other");
        char *text = malloc(300);
        snprintf(text, 300, "%s%s %s %s %s %s", arrow, call, advisory, kind, who, range);
        // In order of their text: the host has an order of its own.
        size_t place = count++;
        for (; place > 0 && strcmp(lines[place - 1], text) > 0; place--)
            lines[place] = lines[place - 1];
        lines[place] = text;
    }
    for (size_t i = 0; i < count; i++)
        puts(lines[i]);
    fclose(file);
}

static int shows_wait(void) {
    char line[200];
    int waits = 0;
    FILE *file = fopen("/proc/locks", "r");
    char text[32];
    snprintf(text, sizeof text, ":%lu ", (unsigned long)inode);
    while (fgets(line, sizeof line, file))
        waits |= strstr(line, "->") && strstr(line, text);
    fclose(file);
    return waits;
}

static long other_result;

static void *other_thread(void *argument) {
    (void)argument;
    MUST(unshare(CLONE_FILES));
    sem_wait(&begin);
    MUST(lock(F_SETLK, F_WRLCK, 10, 10));
    sem_post(&has_first);
    other_result = lock(F_SETLKW, F_WRLCK, 0, 10);
    // The table outlives what others see of the end of the thread.
    lock(F_SETLK, F_UNLCK, 0, 0);
    return NULL;
}

static void nothing(int signal) {
    (void)signal;
}

static void *waiter(void *argument) {
    MUST(unshare(CLONE_FILES));
    sem_post(&has_first);
    long result = lock(F_SETLKW, F_RDLCK, 0, 5);
    *(long *)argument = result < 0 ? errno : 0;
    lock(F_SETLK, F_UNLCK, 0, 0);
    return NULL;
}

static void wait_for_wait(void) {
    while (!shows_wait())
        usleep(1000);
}

int main(void) {
    fresh_dir("/dev/shm");
    fd = (int)MUST(open("file", O_RDWR | O_CREAT, 0644));
    struct stat status;
    MUST(fstat(fd, &status));
    inode = status.st_ino;
    sem_init(&begin, 0, 0);
    sem_init(&has_first, 0, 0);

    pthread_t thread;
    pthread_create(&thread, NULL, other_thread, NULL);
    MUST(lock(F_SETLK, F_WRLCK, 0, 10));
    sem_post(&begin);
    sem_wait(&has_first);
    TRY(lock(F_SETLK, F_RDLCK, 15, 1));
    wait_for_wait();
    show_locks("one waits");
    TRY(lock(F_SETLKW, F_WRLCK, 15, 1));
    TRY(lock(F_SETLKW, F_RDLCK, 12, 1));
    TRY(lock(F_SETLKW, F_RDLCK, 30, 1));
    TRY(lock(F_SETLKW, F_UNLCK, 0, 0));
    pthread_join(thread, NULL);
    printf("the other: %ld\n", other_result);
    show_locks("nothing");

    long error = -1;
    struct sigaction action = {.sa_handler = nothing};
    sigaction(SIGUSR1, &action, NULL);
    MUST(lock(F_SETLK, F_WRLCK, 0, 10));
    pthread_create(&thread, NULL, waiter, &error);
    sem_wait(&has_first);
    wait_for_wait();
    pthread_kill(thread, SIGUSR1);
    pthread_join(thread, NULL);
    printf("interrupted: %s\n", error_name((int)error));

    pthread_create(&thread, NULL, waiter, &error);
    sem_wait(&has_first);
    wait_for_wait();
    MUST(lock(F_SETLK, F_RDLCK, 2, 1));
    wait_for_wait();
    show_locks("a part is shared");
    MUST(lock(F_SETLK, F_RDLCK, 0, 5));
    pthread_join(thread, NULL);
    printf("shared: %ld\n", error);

    MUST(flock(fd, LOCK_SH));
    int second = (int)MUST(open("file", O_RDWR));
    struct flock request = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100, .l_len = 0};
    MUST(fcntl(second, F_OFD_SETLK, &request));
    show_locks("all kinds");
    MUST(close(second));
    show_locks("after closing another descriptor of the file");
    return 0;
}
