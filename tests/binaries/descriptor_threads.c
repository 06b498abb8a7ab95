//@ cpus: 1 2 4
// One descriptor table and several threads: a number that dup2 replaces is never free, closed ones end their file at once, and
// the table grows under those who look things up.
#include "observe.h"
#include <pthread.h>
#include <stdatomic.h>

enum { ROUNDS = 20000, LOOKERS = 3, GROWERS = 2, HIGH = 400 };

static int files[2], replaced;
static _Atomic int is_over, misses, wrong;
static ino_t inodes[2];

static void *look(void *argument) {
    while (!is_over) {
        struct stat status;
        if (fstat(replaced, &status) != 0)
            misses++;
        else if (status.st_ino != inodes[0] && status.st_ino != inodes[1])
            wrong++;
    }
    return argument;
}

static void *replace(void *argument) {
    for (int i = 0; i < ROUNDS; i++)
        MUST(dup2(files[i % 2], replaced));
    is_over = 1;
    return argument;
}

// Numbers that come and go, high and low.
static void *grow(void *argument) {
    int minimum = 100 + (int)(long)argument * HIGH;
    for (int i = 0; !is_over; i = (i + 37) % HIGH) {
        int fd = MUST(fcntl(files[0], F_DUPFD, minimum + i));
        struct stat status;
        if (fstat(fd, &status) != 0 || status.st_ino != inodes[0])
            wrong++;
        MUST(close(fd));
        if (fstat(fd, &status) != -1 || errno != EBADF)
            wrong++;
    }
    return argument;
}

// The last close of a pipe's end is seen by its peer when it returns, whoever looks the descriptor up meanwhile.
static int ends[2];
static _Atomic int turn;

static void *write_to_nobody(void *argument) {
    for (;;) {
        int seen = turn;
        if (seen < 0)
            return argument;
        (void)!fcntl(ends[1], F_GETFL);
    }
}

static void ends_of_pipes(void) {
    pthread_t thread;
    int early = 0;
    MUST(pipe(ends));
    pthread_create(&thread, NULL, write_to_nobody, NULL);
    for (int i = 0; i < 2000; i++) {
        char byte;
        close(ends[1]);
        // A look that is under way may hold the end for a moment; then this waits for it.
        if (read(ends[0], &byte, 1) != 0)
            early++;
        close(ends[0]);
        MUST(pipe(ends));
        turn++;
    }
    turn = -1;
    pthread_join(thread, NULL);
    printf("reads of pipes without writers that found something: %d\n", early);
}

// Threads that never enter the kernel hold up nobody who closes.
static volatile int is_spinning = 1;

static void *spin(void *argument) {
    while (is_spinning)
        continue;
    return argument;
}

static void beside_spinners(void) {
    pthread_t spinners[3];
    for (int i = 0; i < 3; i++)
        pthread_create(&spinners[i], NULL, spin, NULL);
    for (int i = 0; i < 1000; i++)
        MUST(close(MUST(dup(files[0]))));
    is_spinning = 0;
    for (int i = 0; i < 3; i++)
        pthread_join(spinners[i], NULL);
    printf("closed beside threads that spin\n");
}

int main(void) {
    pthread_t looking[LOOKERS], growing[GROWERS], replacing;
    char name[2][32] = {"/tmp/descriptors_XXXXXX", "/tmp/descriptors_XXXXXX"};
    for (int i = 0; i < 2; i++) {
        struct stat status;
        files[i] = MUST(mkstemp(name[i]));
        MUST(fstat(files[i], &status));
        inodes[i] = status.st_ino;
        unlink(name[i]);
    }
    replaced = MUST(dup(files[0]));
    for (long i = 0; i < LOOKERS; i++)
        pthread_create(&looking[i], NULL, look, NULL);
    for (long i = 0; i < GROWERS; i++)
        pthread_create(&growing[i], NULL, grow, (void *)i);
    pthread_create(&replacing, NULL, replace, NULL);
    pthread_join(replacing, NULL);
    for (int i = 0; i < LOOKERS; i++)
        pthread_join(looking[i], NULL);
    for (int i = 0; i < GROWERS; i++)
        pthread_join(growing[i], NULL);
    printf("misses %d, wrong %d\n", misses, wrong);
    ends_of_pipes();
    beside_spinners();
}
