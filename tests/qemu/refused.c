// Memory is there, but hardly two pages in a row: what needs many in a row is refused, and the program goes on.
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>

enum { PAGE = 4096, LEFT = 256 * PAGE, SOCKETS = 100, MESSAGES = 3, LEN = 60000 };

static char message[LEN];

static unsigned long free_bytes(void) {
    struct sysinfo info;
    return sysinfo(&info) ? 0 : info.freeram * info.mem_unit;
}

int main(void) {
    unsigned long len = free_bytes() / PAGE * PAGE, used = 0;
    char *memory = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    for (; used < len && free_bytes() > LEFT; used += PAGE)
        memory[used] = 1;
    for (unsigned long at = 0; at < used; at += 2 * PAGE)
        madvise(memory + at, PAGE, MADV_DONTNEED);
    if (free_bytes() < used / 3)
        return puts("the pages did not come back"), 1;
    int refused = 0;
    for (int i = 0; i < SOCKETS; i++) {
        int fd = socket(AF_INET, SOCK_DGRAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t size = sizeof address;
        if (bind(fd, (struct sockaddr *)&address, size) || getsockname(fd, (struct sockaddr *)&address, &size))
            return perror("bind"), 1;
        for (int j = 0; j < MESSAGES; j++)
            if (sendto(fd, message, LEN, MSG_DONTWAIT, (struct sockaddr *)&address, size) < 0) {
                if (errno != ENOBUFS)
                    return perror("sendto"), 1;
                refused++;
            }
    }
    puts(refused ? "some were refused" : "none was refused");
    return 0;
}
