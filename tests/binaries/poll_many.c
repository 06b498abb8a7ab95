// poll of more descriptors than a few: what is found, what is written, and what cannot be.
#include "observe.h"
#include <poll.h>
#include <pthread.h>
#include <sys/mman.h>

#define MANY 200

static struct pollfd all[MANY];
static int p[2], q[2];

static void describe(int count) {
    for (int index = 0; index < count; index++) {
        int fd = index % 5 == 0 ? p[0] : index % 5 == 1 ? p[1] : index % 5 == 2 ? -1 - index : index % 5 == 3 ? q[0] : 900;
        all[index] = (struct pollfd){.fd = fd, .events = index % 3 ? POLLIN | POLLOUT : 0, .revents = 0x7777};
    }
}

static void show(int count) {
    unsigned long sum = 0;
    int changed = 0;
    for (int index = 0; index < count; index++) {
        sum = sum * 31 + (unsigned short)all[index].revents;
        changed += all[index].events != (index % 3 ? POLLIN | POLLOUT : 0);
    }
    printf("  %lx, %d changed, first %x %x %x %x %x\n", sum, changed, all[0].revents, all[1].revents, all[2].revents, all[3].revents,
           all[4].revents);
}

static void *writer(void *unused) {
    usleep(20000);
    MUST(write(q[1], "y", 1));
    return unused;
}

int main(void) {
    MUST(pipe(p));
    MUST(pipe(q));
    static const int counts[] = {1, 4, 5, 63, 64, 65, MANY};
    for (int index = 0; index < 7; index++) {
        describe(counts[index]);
        TRY(poll(all, counts[index], 0));
        show(counts[index]);
    }
    // Nothing is found until a thread writes.
    for (int index = 0; index < 7; index++) {
        for (int one = 0; one < counts[index]; one++)
            all[one] = (struct pollfd){.fd = one % 2 ? p[0] : q[0], .events = POLLIN, .revents = 0x7777};
        TRY(poll(all, counts[index], 10));
        show(counts[index]);
        pthread_t thread;
        MUST(pthread_create(&thread, NULL, writer, NULL));
        TRY(poll(all, counts[index], -1));
        printf("  %x %x\n", all[0].revents, all[counts[index] - 1].revents);
        MUST(pthread_join(thread, NULL));
        char byte;
        MUST(read(q[0], &byte, 1));
    }
    // An array at the end of what is there, and one that cannot be written.
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(pages == MAP_FAILED ? -1 : 0);
    MUST(munmap(pages + 4096, 4096));
    struct pollfd *end = (struct pollfd *)(pages + 4096);
    for (int count = 1; count <= 70; count += 23) {
        for (int one = 1; one <= count; one++)
            end[-one] = (struct pollfd){.fd = p[1], .events = POLLOUT};
        TRY(poll(end - count, count, 0));
        TRY(poll(end - count, count + 1, 0));
        printf("  %x\n", end[-1].revents);
    }
    MUST(mprotect(pages, 4096, PROT_READ));
    TRY(poll(end - 1, 1, 0));
    TRY(poll(end - 50, 50, 0));
    TRY(poll(NULL, 0, 0));
    TRY(poll(NULL, 1, 0));
    return 0;
}
