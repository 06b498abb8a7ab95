// /proc and /sys: what has a fixed form has Linux's, but for its numbers; and what may be written.
#include "observe.h"
#include <dirent.h>
#include <sys/sysinfo.h>

static char text[1 << 18];

static ssize_t load(const char *path) {
    int fd = open(path, O_RDONLY);
    size_t total = 0;
    if (fd < 0)
        return text[0] = 0, -1;
    for (ssize_t n; total < sizeof text - 1 && (n = read(fd, text + total, sizeof text - 1 - total)) > 0;)
        total += n;
    text[total] = 0;
    close(fd);
    return total;
}

// Prints a line with # for each number and one blank for several.
static void print_masked(const char *line, size_t len) {
    char last = 0;
    for (size_t i = 0; i < len; i++) {
        char now = line[i] >= '0' && line[i] <= '9' ? '#' : line[i];
        if ((now == '#' && last == '#') || (now == ' ' && last == ' '))
            continue;
        putchar(now == '\t' ? '~' : now);
        last = now;
    }
    putchar('\n');
}

// Prints the first lines of a file, masked.
static void show(const char *path, int lines) {
    ssize_t len = load(path);
    printf("%s:%s\n", path, len < 0 ? " absent" : "");
    for (char *at = text; lines-- && *at;) {
        size_t end = strcspn(at, "\n");
        print_masked(at, end);
        at += end + (at[end] == '\n');
    }
}

static void show_exactly(const char *path) {
    ssize_t len = load(path);
    print_bytes(path, text, len < 0 ? 0 : len);
}

// Prints which of these names begin lines of a file, in the order of the file.
static void show_names(const char *path, const char *const *names) {
    load(path);
    printf("%s:", path);
    for (char *at = text; *at;) {
        for (const char *const *name = names; *name; name++)
            if (strncmp(at, *name, strlen(*name)) == 0 && strchr(": \t", at[strlen(*name)]))
                printf(" %s", *name);
        at += strcspn(at, "\n");
        at += *at == '\n';
    }
    printf("\n");
}

static int fields(const char *line) {
    int count = 0;
    for (size_t i = 0; line[i] && line[i] != '\n'; i++)
        count += line[i] != ' ' && (i == 0 || line[i - 1] == ' ');
    return count;
}

static void put(const char *path, const char *value) {
    int fd = open(path, O_WRONLY);
    ssize_t result = fd < 0 ? -1 : write(fd, value, strlen(value));
    printf("%s > %s: %s\n", value, path, result < 0 ? error_name(errno) : "taken");
    if (fd >= 0)
        close(fd);
}

static void files_of_the_process(void) {
    show("/proc/self/statm", 9);
    show("/proc/self/schedstat", 9);
    show("/proc/self/io", 9);
    show("/proc/self/limits", 20);
    show_exactly("/proc/self/oom_score_adj");
    show_exactly("/proc/self/coredump_filter");
    show_exactly("/proc/self/timerslack_ns");
    show_exactly("/proc/self/personality");
    show_exactly("/proc/self/uid_map");
    show_exactly("/proc/self/wchan");
    show("/proc/self/loginuid", 1);
    load("/proc/self/stat");
    printf("stat has %d fields\n", fields(strrchr(text, ')')) + 1);
    load("/proc/self/cgroup");
    CHECK(strstr(text, "0::/") != NULL);
    static const char *const status[] = {
        "Name", "Umask", "State", "Tgid", "Ngid", "Pid", "PPid", "TracerPid", "Uid", "Gid", "FDSize", "Groups", "VmPeak", "VmSize",
        "VmLck", "VmPin", "VmHWM", "VmRSS", "RssAnon", "RssFile", "RssShmem", "VmData", "VmStk", "VmExe", "VmLib", "VmPTE", "VmSwap",
        "Threads", "SigQ", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt", "CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb",
        "NoNewPrivs", "Cpus_allowed", "Cpus_allowed_list", "Mems_allowed_list", "voluntary_ctxt_switches",
        "nonvoluntary_ctxt_switches", NULL};
    show_names("/proc/self/status", status);
    static const char *const rollup[] = {"Rss", "Pss", "Shared_Clean", "Shared_Dirty", "Private_Clean", "Private_Dirty", "Referenced",
                                         "Anonymous", "LazyFree", "AnonHugePages", "Swap", "SwapPss", "Locked", NULL};
    show_names("/proc/self/smaps_rollup", rollup);
    // Every line has at least nine fields and one more for each kind of propagation, which ends in a separator.
    int lines = 0, sound = 0;
    load("/proc/self/mountinfo");
    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1) {
        char *separator = strstr(at, " - ");
        sound += separator && separator < end && fields(at) >= 9;
        lines++;
    }
    CHECK(lines > 0 && sound == lines);
    load("/proc/self/numa_maps");
    CHECK(strstr(text, " default ") && strstr(text, "N0="));
    char link[64];
    static const char *const spaces[] = {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts"};
    for (size_t i = 0; i < ARRAY_LEN(spaces); i++) {
        char path[64];
        snprintf(path, sizeof path, "/proc/self/ns/%s", spaces[i]);
        ssize_t len = readlink(path, link, sizeof link);
        print_masked(link, len < 0 ? 0 : len);
    }
}

static void writing(void) {
    put("/proc/self/comm", "renamed");
    show_exactly("/proc/self/comm");
    put("/proc/self/comm", "a name that is too long\n");
    show_exactly("/proc/self/comm");
    static const char *const adjustments[] = {"500", "700\n", " 800 ", "1000", "1001", "-1001", "x"};
    for (size_t i = 0; i < ARRAY_LEN(adjustments); i++) {
        put("/proc/self/oom_score_adj", adjustments[i]);
        show_exactly("/proc/self/oom_score_adj");
        show_exactly("/proc/self/oom_adj");
    }
    static const char *const old[] = {"15", "16", "-18", "x"};
    for (size_t i = 0; i < ARRAY_LEN(old); i++) {
        put("/proc/self/oom_adj", old[i]);
        show_exactly("/proc/self/oom_score_adj");
    }
    put("/proc/self/coredump_filter", "0x33");
    put("/proc/self/coredump_filter", "x");
    put("/proc/self/timerslack_ns", "1000");
    show_exactly("/proc/self/timerslack_ns");
    put("/proc/self/timerslack_ns", "0");
    show_exactly("/proc/self/timerslack_ns");
    put("/proc/self/clear_refs", "5");
    put("/proc/self/clear_refs", "9");
    put("/proc/self/status", "x");
    put("/proc/sys/kernel/randomize_va_space", "x");
    put("/proc/sys/kernel/pid_max", "300");
    put("/proc/sys/kernel/pid_max", "x");
    put("/proc/sys/net/ipv4/ip_local_port_range", "50000 40000");
    put("/proc/sys/vm/drop_caches", "0");
    put("/proc/sys/vm/overcommit_memory", "3");
    put("/proc/sys/absent", "3");
}

static void files_of_the_system(void) {
    show("/proc/loadavg", 9);
    show("/proc/uptime", 9);
    show("/proc/swaps", 1);
    show("/proc/sysvipc/shm", 1);
    show("/proc/net/dev", 2);
    show("/proc/sys/fs/file-nr", 1);
    show("/proc/sys/fs/dentry-state", 1);
    show("/proc/sys/fs/inode-nr", 1);
    show("/proc/sys/fs/inode-state", 1);
    show("/proc/sys/net/ipv4/ip_local_port_range", 1);
    show("/proc/sys/net/ipv4/tcp_rmem", 1);
    show("/proc/sys/kernel/sem", 1);
    show("/proc/sys/fs/mount-max", 1);
    show("/proc/sys/fs/overflowuid", 1);
    show("/proc/sys/kernel/panic_on_warn", 1);
    show("/proc/sys/vm/dirty_expire_centisecs", 1);
    show("/proc/sys/vm/dirty_writeback_centisecs", 1);
    show("/proc/sys/vm/laptop_mode", 1);
    load("/proc/diskstats");
    CHECK(!*text || fields(text) == 20);
    static const char *const memory[] = {"MemTotal", "MemFree", "MemAvailable", "Buffers", "Cached", "SwapCached", "Active", "Inactive",
                                         "Active(anon)", "Inactive(anon)", "Active(file)", "Inactive(file)", "SwapTotal", "SwapFree",
                                         "Dirty", "Writeback", "AnonPages", "Mapped", "Shmem", "Slab", "PageTables", "CommitLimit",
                                         "Committed_AS", "VmallocTotal", "VmallocUsed", NULL};
    show_names("/proc/meminfo", memory);
    static const char *const pages[] = {"nr_free_pages", "nr_anon_pages", "nr_mapped", "nr_file_pages", "nr_dirty", "nr_writeback",
                                        "nr_shmem", "nr_dirtied", "nr_written", "pgpgin", "pgpgout", "pswpin", "pswpout", "pgfault", "pgmajfault", NULL};
    show_names("/proc/vmstat", pages);
    static const char *const figures[] = {"cpu", "cpu0", "intr", "ctxt", "btime", "processes", "procs_running", "procs_blocked",
                                          "softirq", NULL};
    show_names("/proc/stat", figures);
    show("/sys/devices/system/cpu/isolated", 1);
    show("/sys/devices/system/cpu/cpu0/topology/core_id", 1);
    show("/sys/devices/system/cpu/cpu0/topology/thread_siblings_list", 1);
    show_exactly("/sys/class/net/lo/address");
    show_exactly("/sys/class/net/lo/operstate");
    show_exactly("/sys/class/net/lo/ifindex");
    show_exactly("/sys/class/net/lo/uevent");
    show("/sys/class/net/lo/statistics/rx_bytes", 1);
    CHECK(load("/sys/class/net/lo/speed") <= 0);
    char link[128];
    ssize_t len = readlink("/sys/class/net/lo", link, sizeof link);
    print_bytes("lo", link, len < 0 ? 0 : len);
    len = readlink("/sys/dev/char/1:3", link, sizeof link);
    print_bytes("1:3", link, len < 0 ? 0 : len);
    show_exactly("/sys/devices/virtual/mem/null/dev");
    show_exactly("/sys/devices/virtual/mem/null/uevent");
    struct stat status;
    MUST(stat("/sys/class/net/lo/mtu", &status));
    printf("mode %o size %ld\n", status.st_mode, (long)status.st_size);
}

static void system_figures(void) {
    struct sysinfo info;
    double loads[3];
    MUST(sysinfo(&info));
    load("/proc/loadavg");
    CHECK(sscanf(text, "%lf %lf %lf", &loads[0], &loads[1], &loads[2]) == 3);
    for (int i = 0; i < 3; i++)
        CHECK(info.loads[i] / 65536.0 - loads[i] < 1 && loads[i] - info.loads[i] / 65536.0 < 1);
    // Shared memory counts.
    fresh_dir("/dev/shm");
    int fd = MUST(open("file", O_RDWR | O_CREAT, 0600));
    unsigned long before = info.sharedram * info.mem_unit;
    static char data[4 << 20];
    memset(data, 1, sizeof data);
    MUST(write(fd, data, sizeof data));
    MUST(sysinfo(&info));
    CHECK(info.sharedram * info.mem_unit >= before + sizeof data / 2);
    char *at = load("/proc/meminfo") > 0 ? strstr(text, "Shmem:") : NULL;
    CHECK(at && atol(at + 6) >= 3 << 10);
}

int main(void) {
    files_of_the_process();
    files_of_the_system();
    system_figures();
    writing();
    return 0;
}
