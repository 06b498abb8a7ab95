// /proc: meminfo, cpuinfo, stat, uptime, loadavg, version, filesystems and sys/kernel.
#include "observe.h"
#include <sys/utsname.h>
#include <time.h>

static char text[65536];

static ssize_t load(const char *path) {
    int fd = open(path, O_RDONLY);
    size_t total = 0;
    if (fd < 0) {
        printf("%s: %s\n", path, error_name(errno));
        return text[0] = 0, -1;
    }
    for (ssize_t n; total < sizeof text - 1 && (n = read(fd, text + total, sizeof text - 1 - total)) > 0;)
        total += n;
    text[total] = 0;
    close(fd);
    return total;
}

static long kilobytes(const char *name) {
    char *at = strstr(text, name);
    return at ? atol(at + strlen(name)) : -1;
}

int main(void) {
    load("/proc/meminfo");
    long all = kilobytes("MemTotal:"), free_now = kilobytes("MemFree:"), available = kilobytes("MemAvailable:");
    CHECK(all > 1024 && free_now > 0 && free_now <= all && available > 0 && available <= all);
    CHECK(strncmp(text, "MemTotal:       ", 16) == 0 && strstr(text, " kB\n") != NULL);
    CHECK(kilobytes("SwapTotal:") >= 0 && kilobytes("Cached:") >= 0);
    load("/proc/cpuinfo");
    CHECK(strncmp(text, "processor\t: 0\n", 14) == 0);
    CHECK(strstr(text, "\nvendor_id\t: ") && strstr(text, "\nflags\t\t: ") && strstr(text, " sse2 "));
    load("/proc/stat");
    CHECK(strncmp(text, "cpu  ", 5) == 0 && strstr(text, "\ncpu0 ") && strstr(text, "\nbtime "));
    double up, idle, up_later;
    load("/proc/uptime");
    CHECK(sscanf(text, "%lf %lf\n", &up, &idle) == 2 && up > 0 && idle >= 0);
    nanosleep(&(struct timespec){0, 60000000}, NULL);
    load("/proc/uptime");
    CHECK(sscanf(text, "%lf", &up_later) == 1 && up_later > up && up_later < up + 20);
    double one, five, fifteen;
    int running, threads, last;
    load("/proc/loadavg");
    CHECK(sscanf(text, "%lf %lf %lf %d/%d %d\n", &one, &five, &fifteen, &running, &threads, &last) == 6);
    CHECK(running >= 1 && threads >= running);
    struct utsname name;
    uname(&name);
    load("/proc/version");
    CHECK(strncmp(text, "Linux version ", 14) == 0 && strstr(text, name.release) == text + 14);
    load("/proc/sys/kernel/osrelease");
    text[strcspn(text, "\n")] = 0;
    CHECK(strcmp(text, name.release) == 0);
    load("/proc/sys/kernel/ostype");
    printf("%s", text);
    load("/proc/sys/kernel/hostname");
    text[strcspn(text, "\n")] = 0;
    CHECK(strcmp(text, name.nodename) == 0);
    char uuid[40], boot[40];
    load("/proc/sys/kernel/random/uuid");
    memcpy(uuid, text, 37);
    CHECK(strlen(text) == 37 && text[8] == '-' && text[14] == '4' && text[36] == '\n');
    load("/proc/sys/kernel/random/uuid");
    CHECK(memcmp(uuid, text, 37) != 0);
    load("/proc/sys/kernel/random/boot_id");
    memcpy(boot, text, 37);
    load("/proc/sys/kernel/random/boot_id");
    CHECK(memcmp(boot, text, 37) == 0 && strlen(text) == 37);
    load("/proc/sys/vm/overcommit_memory");
    CHECK(strlen(text) == 2 && text[0] >= '0' && text[0] <= '2');
    CHECK(load("/proc/sys/kernel/pid_max") > 0 && atol(text) >= 32768);
    load("/proc/filesystems");
    CHECK(strstr(text, "nodev\tproc\n") && strstr(text, "nodev\ttmpfs\n"));
    load("/proc/absent");
    int fd = MUST(open("/proc/version", O_RDONLY));
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o size %ld\n", status.st_mode, (long)status.st_size);
    TRY(read(fd, text, 5));
    TRY(lseek(fd, 6, SEEK_SET));
    TRY(read(fd, text, 7));
    print_bytes("from 6", text, 7);
    TRY(pread(fd, text, 5, 0));
    print_bytes("from 0", text, 5);
    return 0;
}
