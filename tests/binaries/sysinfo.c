// sysinfo agrees with /proc.
#include "observe.h"
#include <sys/sysinfo.h>

int main(void) {
    struct sysinfo info;
    TRY(sysinfo(&info));
    CHECK(info.uptime > 0 && info.totalram > 0 && info.freeram <= info.totalram && info.mem_unit >= 1);
    CHECK(info.procs >= 1);
    char text[64];
    int fd = MUST(open("/proc/uptime", O_RDONLY));
    MUST(read(fd, text, sizeof text));
    CHECK(labs(atol(text) - (long)info.uptime) <= 2);
    fd = MUST(open("/proc/meminfo", O_RDONLY));
    MUST(read(fd, text, sizeof text));
    CHECK((unsigned long)atol(text + 9) == info.totalram * info.mem_unit / 1024);
    CHECK(get_nprocs() >= 1 && get_phys_pages() > 0 && sysconf(_SC_PAGESIZE) == 4096);
    TRY(syscall(SYS_sysinfo, 16));
    return 0;
}
