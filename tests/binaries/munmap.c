// munmap: whole areas, parts of them, several at once, holes.
#include "observe.h"
#include <setjmp.h>

static sigjmp_buf back;

static void handler(int number, siginfo_t *info, void *context) {
    (void)context, (void)number;
    siglongjmp(back, info->si_code + 1);
}

static void show(const char *what, volatile char *area) {
    printf("%s:", what);
    for (int i = 0; i < 8; i++)
        switch (sigsetjmp(back, 1)) {
        case 0: printf(" %d", area[i * 4096]); break;
        case 2: printf(" -"); break;
        default: printf(" ?");
        }
    printf("\n");
}

int main(void) {
    struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO};
    sigaction(SIGSEGV, &action, NULL);
    char *area = mmap(NULL, 8 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (int i = 0; i < 8; i++)
        area[i * 4096] = i + 1;
    show("mapped", area);
    TRY(munmap(area, 4096));
    show("without its start", area);
    TRY(munmap(area + 7 * 4096, 1));
    show("without its end", area);
    TRY(munmap(area + 3 * 4096, 8192));
    show("without its middle", area);
    TRY(munmap(area, 4 * 4096));
    show("across holes", area);
    TRY(munmap(area, 8 * 4096));
    show("all", area);
    TRY(munmap(area, 8 * 4096));
    TRY(munmap(area + 1, 4096));
    TRY(munmap(area, 0));
    TRY(munmap(area, (size_t)-4096));
    TRY(munmap((void *)0x7ffffffff000, 4096));
    // Mapped again, the pages are new.
    CHECK(mmap(area, 8 * 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == area);
    show("again", area);
    return 0;
}
