//@ env: HOME=/ ONE=1 PATH=/bin TWO='two words'
//@ run: first 'second one' ''
//@ static-pie
// /proc/self: exe, cmdline, environ, fd, cwd, root, comm, status, stat, statm, auxv, limits, mounts.
#include "observe.h"
#include <dirent.h>
#include <elf.h>
#include <sys/auxv.h>

static char text[65536];

static ssize_t load(const char *path) {
    int fd = open(path, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    if (fd >= 0)
        close(fd);
    text[len < 0 ? 0 : len] = 0;
    return len;
}

static const char *line(const char *name) {
    static char value[256];
    char *at = strstr(text, name);
    if (!at || (at != text && at[-1] != '\n'))
        return "absent";
    at += strlen(name);
    snprintf(value, sizeof value, "%.*s", (int)strcspn(at, "\n"), at);
    return value;
}

int main(int argc, char **argv) {
    const char *base = fresh_dir("/tmp");
    char path[PATH_MAX];
    (void)argc;
    ssize_t len = readlink("/proc/self/exe", path, sizeof path - 1);
    path[len] = 0;
    CHECK(len > 0 && path[0] == '/');
    // argv[0] is the caller's choice, the file's name is not.
    const char *executed = strrchr((char *)getauxval(AT_EXECFN), '/') + 1;
    CHECK(strcmp(strrchr(path, '/') + 1, executed) == 0);
    int fd = MUST(open("/proc/self/exe", O_RDONLY));
    MUST(read(fd, path, 4));
    print_bytes("exe begins", path, 4);
    MUST(close(fd));

    len = load("/proc/self/cmdline");
    print_bytes("cmdline after argv[0]", text + strlen(argv[0]) + 1, len - strlen(argv[0]) - 1);
    len = load("/proc/self/environ");
    print_bytes("environ", text, len);
    len = readlink("/proc/self/cwd", path, sizeof path - 1);
    path[len] = 0;
    CHECK(strcmp(path, base) == 0);
    len = readlink("/proc/self/root", path, sizeof path - 1);
    print_bytes("root", path, len);
    CHECK(load("/proc/self/comm") > 0 && strncmp(text, executed, 9) == 0);

    load("/proc/self/status");
    CHECK(atoi(line("Pid:")) == getpid() && atoi(line("Tgid:")) == getpid());
    CHECK(atoi(line("PPid:")) == getppid());
    printf("Uid:%s\n", line("Uid:"));
    printf("Gid:%s\n", line("Gid:"));
    printf("Threads:%s\n", line("Threads:"));
    long vm_size = atol(line("VmSize:")), vm_rss = atol(line("VmRSS:"));
    CHECK(vm_rss > 0 && vm_size >= vm_rss);
    CHECK(strstr(line("State:"), "R (running)") != NULL);
    CHECK(strcmp(line("SigBlk:"), "absent") != 0 && strcmp(line("Umask:"), "absent") != 0);

    load("/proc/self/stat");
    int pid, parent;
    char state, *after = strrchr(text, ')');
    CHECK(sscanf(text, "%d (", &pid) == 1 && pid == getpid());
    CHECK(after && sscanf(after, ") %c %d", &state, &parent) == 2 && state == 'R' && parent == getppid());
    int fields = 2;
    for (char *word = strtok(after + 1, " \n"); word; word = strtok(NULL, " \n"))
        fields++;
    printf("stat has %d fields\n", fields);
    load("/proc/self/statm");
    long size, resident;
    CHECK(sscanf(text, "%ld %ld", &size, &resident) == 2 && size >= resident && resident > 0);

    len = load("/proc/self/auxv");
    Elf64_auxv_t *entry = (Elf64_auxv_t *)text;
    int same = 1;
    for (; entry->a_type != AT_NULL; entry++)
        same &= entry->a_type == AT_SYSINFO_EHDR || getauxval(entry->a_type) == entry->a_un.a_val;
    printf("auxv is the program's: %d\n", same && (char *)(entry + 1) - text <= len);

    load("/proc/self/limits");
    CHECK(strncmp(text, "Limit                     Soft Limit           Hard Limit           Units     \n", 79) == 0);
    CHECK(strstr(text, "\nMax open files ") && strstr(text, "\nMax stack size "));
    load("/proc/self/mounts");
    CHECK(strstr(text, " /proc proc ") && strstr(text, " / "));
    CHECK(load("/proc/self/mountinfo") > 0 && strstr(text, " /proc "));
    CHECK(load("/proc/mounts") > 0 && strstr(text, " /proc proc "));

    int count = 0;
    DIR *folder = opendir("/proc/self/fd");
    for (struct dirent *item; (item = readdir(folder));)
        count += item->d_name[0] != '.';
    printf("%d descriptors\n", count);
    closedir(folder);
    snprintf(path, sizeof path, "/proc/%d/cmdline", getpid());
    CHECK(load(path) > 0);
    len = readlink("/proc/self", path, sizeof path);
    path[len] = 0;
    CHECK(atoi(path) == getpid());
    TRY(open("/proc/self/absent", O_RDONLY));
    TRY(open("/proc/99999999", O_RDONLY));
    TRY(mkdir("/proc/new", 0700));
    TRY(unlink("/proc/self/status"));
    TRY(open("/proc/self/new", O_WRONLY | O_CREAT, 0600));
    return 0;
}
