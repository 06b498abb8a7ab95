//@ cpus: 1 2 4
// What /proc shows of each thread, and which thread may be named by whom.
#include "spawn.h"
#include <dirent.h>
#include <sys/prctl.h>

static volatile int ready, go, child_tid;
static int first;

static void wait_named(void *argument) {
    (void)argument;
    raw(SYS_prctl, PR_SET_NAME, "second", 0, 0);
    tell(&ready, 1);
    await_value(&go, 1);
}

static char *path_of(int tid, const char *name) {
    static char path[128];
    snprintf(path, sizeof path, "/proc/self/task/%d/%s", tid, name);
    return path;
}

static const char *read_all(const char *path) {
    static char text[16384];
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return error_name(errno);
    ssize_t len = 0, part;
    while ((part = read(fd, text + len, sizeof text - 1 - (size_t)len)) > 0)
        len += part;
    if (part < 0)
        snprintf(text, sizeof text, "%s", error_name(errno));
    else
        text[len] = 0;
    close(fd);
    return text;
}

// One line of a status file; numbers of threads and processes by what they are.
static void status_line(int tid, const char *name) {
    const char *line = strstr(read_all(path_of(tid, "status")), name);
    if (!line) {
        printf("%s missing\n", name);
        return;
    }
    int number = atoi(line + strlen(name));
    if (strstr(name, "id:"))
        printf("%s %s\n", name,
               number == first ? "that of the process" : number == tid ? "that of the thread" : "another");
    else
        printf("%.*s\n", (int)strcspn(line, "\n"), line);
}

static void list(const char *label, const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        printf("%s: %s\n", label, error_name(errno));
        return;
    }
    int count = 0, known = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        if (entry->d_name[0] == '.')
            continue;
        count++;
        int number = atoi(entry->d_name);
        known += number == first || number == child_tid;
        if (entry->d_type != DT_DIR)
            printf("%s is no folder\n", entry->d_name);
    }
    closedir(folder);
    printf("%s: %d entries, %d known\n", label, count, known);
}

static void compare_links(void) {
    char name[64], expected[64];
    ssize_t len = MUST(readlink("/proc/thread-self", name, sizeof name - 1));
    name[len] = 0;
    snprintf(expected, sizeof expected, "%d/task/%d", getpid(), (int)syscall(SYS_gettid));
    printf("thread-self: %s\n", strcmp(name, expected) ? "another" : "this thread");
}

static void look_at_self(void *argument) {
    char name[64], expected[64];
    (void)argument;
    long len = raw(SYS_readlink, "/proc/thread-self", name, sizeof name - 1, 0);
    name[len > 0 ? len : 0] = 0;
    snprintf(expected, sizeof expected, "%d/task/%d", first, (int)raw(SYS_gettid, 0, 0, 0, 0));
    printf("thread-self of the other: %s\n", strcmp(name, expected) ? "another" : "this thread");
}

static void write_name(const char *path, const char *name) {
    int fd = open(path, O_WRONLY);
    if (fd < 0) {
        printf("%s\n", error_name(errno));
        return;
    }
    printf("write \"%s\": %zd\n", name, write(fd, name, strlen(name)));
    close(fd);
}

int main(void) {
    first = getpid();
    MUST(prctl(PR_SET_NAME, "first"));
    list("task", "/proc/self/task");
    compare_links();
    child_tid = 1;
    int tid = (int)spawn_raw(THREAD_FLAGS | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID, spawn_stack(), NULL,
                             (int *)&child_tid, NULL, wait_named, NULL);
    await_value(&ready, 1);
    list("task", "/proc/self/task");
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", tid);
    list("the folder by the thread's number", path);

    for (size_t i = 0; i < 2; i++) {
        int shown = i ? tid : first;
        const char *lines[] = {"Name:", "Tgid:", "Pid:", "Threads:", "SigBlk:"};
        for (size_t line = 0; line < ARRAY_LEN(lines); line++)
            status_line(shown, lines[line]);
        printf("comm %s", read_all(path_of(shown, "comm")));
        const char *stat = read_all(path_of(shown, "stat"));
        const char *name = strchr(stat, '(');
        printf("stat begins with its number: %s, name %.*s\n", atoi(stat) == shown ? "yes" : "no",
               name ? (int)strcspn(name, " ") : 0, name ? name : "");
    }
    // The files of one kind are those of the other but for a few.
    const char *files[] = {"auxv",    "cgroup",    "children",   "cmdline",  "comm",    "cwd",     "environ", "exe",
                           "fd",      "fdinfo",    "io",         "limits",   "maps",    "mounts",  "mountinfo", "mountstats",
                           "net",     "oom_score", "oom_score_adj", "root",  "schedstat", "smaps", "smaps_rollup", "stat",
                           "statm",   "status",    "task",       "wchan",    "uid_map", "setgroups"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        struct stat of_process, of_thread;
        snprintf(path, sizeof path, "/proc/self/%s", files[i]);
        int in_process = stat(path, &of_process) == 0;
        int in_thread = stat(path_of(tid, files[i]), &of_thread) == 0;
        printf("%s: process %o, thread %o\n", files[i], in_process ? of_process.st_mode : 0,
               in_thread ? of_thread.st_mode : 0);
    }
    // Names that others give.
    write_name(path_of(tid, "comm"), "renamed\n");
    printf("comm %s", read_all(path_of(tid, "comm")));
    write_name(path_of(tid, "comm"), "a name that is much too long");
    printf("comm %s", read_all(path_of(tid, "comm")));
    printf("first comm %s", read_all("/proc/self/comm"));
    // A thread has a folder of its own beside those of processes, which is not listed.
    snprintf(path, sizeof path, "/proc/%d/comm", tid);
    printf("directly: comm %s", read_all(path));
    DIR *proc = opendir("/proc");
    int is_listed = 0;
    for (struct dirent *entry; (entry = readdir(proc));)
        is_listed |= atoi(entry->d_name) == tid;
    closedir(proc);
    printf("listed among processes: %d\n", is_listed);
    printf("task of another: %s\n", read_all("/proc/self/task/1999999999/comm"));

    int fd = (int)MUST(open(path_of(tid, "comm"), O_RDONLY));
    int folder = (int)MUST(open(path_of(tid, "."), O_RDONLY | O_DIRECTORY));
    char text[64];
    tell(&go, 1);
    await_clear(&child_tid);
    // On Linux the number may be in the table for a moment longer.
    while (access(path_of(tid, "comm"), F_OK) == 0)
        raw(SYS_sched_yield, 0, 0, 0, 0);
    TRY(pread(fd, text, sizeof text, 0));
    TRY(openat(folder, "comm", O_RDONLY));
    list("task", "/proc/self/task");
    spawn_and_wait(THREAD_FLAGS, look_at_self, NULL);
    return 0;
}
