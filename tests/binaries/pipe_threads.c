//@ cpus: 1 2 4
// Pipes and threads: who wakes for how much, writers that wait, ends that close under waiting threads, whole small writes.
#include "waiters.h"

static int ends[2];

static long read_byte(struct waiter *waiter) {
    char byte = 0;
    long result = read(ends[0], &byte, 1);
    waiter->value = (uint64_t)byte;
    return result;
}

static long write_page(struct waiter *waiter) {
    static const char page[4096];
    waiter->value = 4096;
    return write(ends[1], page, sizeof page);
}

static long write_much(struct waiter *waiter) {
    static const char much[300000];
    long result = write(ends[1], much, sizeof much);
    waiter->value = (uint64_t)result;
    return result;
}

static void readers(void) {
    MUST(pipe(ends));
    start_waiters(6, read_byte, 0);
    MUST(write(ends[1], "A", 1));
    printf("one byte: %d\n", settle());
    MUST(write(ends[1], "BCD", 3));
    printf("three bytes at once: %d\n", settle());
    show_answers("readers");
    close(ends[1]);
    join_waiters();
    int ended = 0;
    for (int i = 0; i < 6; i++)
        ended += waiters[i].result == 0;
    printf("ended by the last writer: %d\n", ended);
    close(ends[0]);
}

static void drain(size_t len) {
    static char buffer[1 << 20];
    while (len > 0) {
        ssize_t done = MUST(read(ends[0], buffer, len < sizeof buffer ? len : sizeof buffer));
        len -= (size_t)done;
    }
}

static void writers(void) {
    static const char full[65536];
    MUST(pipe(ends));
    MUST(write(ends[1], full, sizeof full));
    start_waiters(5, write_page, 0);
    drain(4096);
    printf("room for one: %d\n", settle());
    drain(3 * 4096);
    // Linux wakes writers of a full pipe only: the first of these reads.
    CHECK(settle() >= 2);
    drain(65536 + 5 * 4096 - 4 * 4096);
    join_waiters();
    signal(SIGPIPE, SIG_IGN);
    MUST(write(ends[1], full, sizeof full));
    start_waiters(3, write_page, 0);
    close(ends[0]);
    settle();
    show_answers("the last reader left");
    join_waiters();
    close(ends[1]);
}

static void large(void) {
    MUST(pipe(ends));
    start_waiters(3, write_much, 0);
    printf("large writes: %d\n", settle());
    drain(3 * 300000);
    settle();
    show_answers("after all was read");
    join_waiters();
    close(ends[0]);
    close(ends[1]);
}

static void interrupted(void) {
    MUST(pipe(ends));
    interrupt_waits();
    struct waiter *first = start_waiter(read_byte, 0);
    start_waiters(2, read_byte, 0);
    pthread_kill(first->thread, SIGUSR1);
    settle();
    show_answers("interrupted");
    MUST(write(ends[1], "xy", 2));
    settle();
    show_answers("the others");
    join_waiters();
    close(ends[0]);
    close(ends[1]);
}

// Writes of at most PIPE_BUF bytes are never mixed.
enum { RECORD = 500, RECORDS = 400, KINDS = 4 };

static void *write_records(void *argument) {
    char record[RECORD];
    memset(record, *(const char *)argument, sizeof record);
    for (int i = 0; i < RECORDS; i++)
        MUST(write(ends[1], record, sizeof record));
    return NULL;
}

static _Atomic int records_of[KINDS], mixed;

// Several readers: a read takes what is there, in one piece.
static void *read_records(void *argument) {
    char record[RECORD];
    for (;;) {
        ssize_t done = MUST(read(ends[0], record, sizeof record));
        if (done == 0)
            return argument;
        for (int i = 1; i < done; i++)
            mixed += record[i] != record[0];
        mixed += done != RECORD;
        records_of[record[0] - 'a']++;
    }
}

static void records(void) {
    static char names[KINDS] = "abcd";
    pthread_t writing[KINDS], reading[2];
    MUST(pipe(ends));
    for (int i = 0; i < 2; i++)
        pthread_create(&reading[i], NULL, read_records, NULL);
    for (int i = 0; i < KINDS; i++)
        pthread_create(&writing[i], NULL, write_records, &names[i]);
    for (int i = 0; i < KINDS; i++)
        pthread_join(writing[i], NULL);
    close(ends[1]);
    for (int i = 0; i < 2; i++)
        pthread_join(reading[i], NULL);
    printf("records %d %d %d %d, mixed %d\n", records_of[0], records_of[1], records_of[2], records_of[3], mixed);
    close(ends[0]);
}

int main(void) {
    readers();
    writers();
    large();
    interrupted();
    records();
}
