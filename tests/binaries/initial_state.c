//@ static-pie
// What a program finds when it starts: registers, flags, stack, signals, descriptors.
#include "observe.h"
#include <sys/auxv.h>
#include <elf.h>

int main(int argc, char **argv) {
    unsigned mxcsr;
    unsigned short control;
    unsigned long flags;
    __asm__ volatile("stmxcsr %0; fnstcw %1; pushf; pop %2" : "=m"(mxcsr), "=m"(control), "=r"(flags));
    printf("mxcsr %x, x87 control %x, flags %lx\n", mxcsr & 0xffc0, control, flags & ~0x8d5ul);
    uintptr_t *words = (uintptr_t *)argv - 1;
    CHECK((uintptr_t)words % 16 == 0 && words[0] == (uintptr_t)argc);
    extern char **environ;
    CHECK(environ == argv + argc + 1 && argv[argc] == NULL);
    char **end = environ;
    while (*end)
        end++;
    Elf64_auxv_t *auxv = (Elf64_auxv_t *)(end + 1);
    printf("types:");
    for (; auxv->a_type != AT_NULL; auxv++)
        // The first is there only with a vDSO, 27 and 28 only with restartable sequences.
        if (auxv->a_type != AT_SYSINFO_EHDR && auxv->a_type != 27 && auxv->a_type != 28)
            printf(" %ld", auxv->a_type);
    printf("\n");
    printf("page %lu, ticks %lu, phent %lu, base %lu, flags %lu, secure %lu\n", getauxval(AT_PAGESZ),
           getauxval(AT_CLKTCK), getauxval(AT_PHENT), getauxval(AT_BASE), getauxval(AT_FLAGS), getauxval(AT_SECURE));
    printf("ids %lu %lu %lu %lu\n", getauxval(AT_UID), getauxval(AT_EUID), getauxval(AT_GID), getauxval(AT_EGID));
    printf("platform %s\n", (char *)getauxval(AT_PLATFORM));
    CHECK(strchr((char *)getauxval(AT_EXECFN), '/') != NULL);
    CHECK(getauxval(51) >= 1024 && getauxval(51) < 65536);
    const unsigned char *random = (unsigned char *)getauxval(AT_RANDOM);
    int nonzero = 0;
    for (int i = 0; i < 16; i++)
        nonzero += random[i] != 0;
    CHECK(nonzero > 8);
    const Elf64_Phdr *headers = (Elf64_Phdr *)getauxval(AT_PHDR);
    int loads = 0, entry_inside = 0;
    uintptr_t bias = 0;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        if (headers[i].p_type == PT_LOAD && headers[i].p_offset == 0)
            bias = (uintptr_t)headers - 64 - headers[i].p_vaddr;
    for (unsigned long i = 0; i < getauxval(AT_PHNUM); i++)
        if (headers[i].p_type == PT_LOAD) {
            loads++;
            uintptr_t start = headers[i].p_vaddr + bias;
            if (headers[i].p_flags & PF_X)
                entry_inside |= getauxval(AT_ENTRY) - start < headers[i].p_memsz;
        }
    printf("%d segments, entry inside %d\n", loads, entry_inside);
    // The strings lie together: arguments, then environment, then the file name.
    CHECK(argv[0] < (char *)getauxval(AT_EXECFN));
    CHECK((char *)random < argv[0] && (char *)getauxval(AT_PLATFORM) == (char *)random + 16);
    uint64_t mask, pending;
    syscall(SYS_rt_sigprocmask, SIG_BLOCK, NULL, &mask, 8);
    syscall(SYS_rt_sigpending, &pending, 8);
    printf("blocked %lx, pending %lx\n", mask, pending);
    for (int number = 1; number < 32; number++) {
        struct {
            void *handler;
            unsigned long flags;
            void *restorer;
            uint64_t mask;
        } action;
        syscall(SYS_rt_sigaction, number, NULL, &action, 8);
        if (action.handler)
            printf("signal %d is not at its default\n", number);
    }
    for (int fd = 0; fd < 64; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            printf("descriptor %d, flags %d, mode %d\n", fd, fcntl(fd, F_GETFD), fcntl(fd, F_GETFL) & O_ACCMODE);
    return 0;
}
