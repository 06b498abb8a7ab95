/* Records what Linux answers to random sequences of system calls on files, for tests/files.rs.
 *
 * usage (as root): record_files CASES SEED DIRECTORY > data/files.txt
 * The record in the tree has 150 cases of seed 1, of a Linux with fs.protected_hardlinks=1.
 *
 * DIRECTORY is on a tmpfs; each case runs in a process of its own whose root is a fresh folder in it. A line is one call:
 *   name argument... = result [what was written to memory]
 * Arguments: iN integer, pTEXT path, dHEX bytes, oN buffer to be filled, sN stat buffer, gN directory buffer, q two
 * descriptors, ON offset, Ltype,whence,start,len record lock, Pfd:events,... poll array, x bad pointer, n null pointer.
 * A line "case" begins a case.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t state;
static uint32_t next(void) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    return state >> 33;
}
static int below(int n) { return next() % n; }
static int chance(int percent) { return below(100) < percent; }
#define PICK(array) array[below(sizeof(array) / sizeof(array[0]))]

static FILE *out;

/* One argument: its token, its value, and what is shown of it afterwards. */
struct arg {
    char token[400];
    long value;
    char kind;
    long size;
};
static struct arg args[6];
static int arg_count;
static char memory[6][8192];

static struct arg *add(const char *format, ...) {
    struct arg *arg = &args[arg_count];
    va_list list;
    va_start(list, format);
    vsnprintf(arg->token, sizeof arg->token, format, list);
    va_end(list);
    arg->kind = arg->token[0];
    arg_count++;
    return arg;
}
static void integer(long value) { add("i%ld", value)->value = value; }
static int bad(void) {
    if (!chance(1)) return 0;
    if (chance(50)) add("x")->value = 1; else add("n")->value = 0;
    return 1;
}
static void path(const char *text) {
    if (bad()) return;
    char *at = memory[arg_count];
    strcpy(at, text);
    add("p%s", text)->value = (long)at;
}
static void data(int size) {
    char *at = memory[arg_count], hex[400] = "";
    for (int i = 0; i < size; i++) {
        at[i] = 'a' + below(26);
        sprintf(hex + 2 * i, "%02x", at[i] & 255);
    }
    add("d%s", hex)->value = (long)at;
}
static void buffer(char kind, int size) {
    if (bad()) return;
    char *at = memory[arg_count];
    struct arg *arg = add("%c%d", kind, size);
    arg->value = (long)at;
    arg->size = size;
}

static int compare(const void *a, const void *b) { return strcmp(*(char **)a, *(char **)b); }

static void show(struct arg *arg, long result) {
    unsigned char *at = (void *)arg->value;
    switch (arg->kind) {
    case 'o':
        fprintf(out, " ");
        for (long i = 0; i < result && i < arg->size; i++) fprintf(out, "%02x", at[i]);
        break;
    case 's': {
        struct stat *s = (void *)at;
        fprintf(out, " %o,%lu,%u,%u,", s->st_mode, (long)s->st_nlink, s->st_uid, s->st_gid);
        if (S_ISDIR(s->st_mode)) fprintf(out, "-"); else fprintf(out, "%ld,%ld", (long)s->st_size, (long)s->st_blocks);
        break;
    }
    case 'g': {
        char *names[200];
        int count = 0;
        for (long i = 0; i < result;) {
            struct dirent64 *entry = (void *)(at + i);
            char *name = malloc(300);
            snprintf(name, 300, "%s:%d", entry->d_name, entry->d_type);
            names[count++] = name;
            i += entry->d_reclen;
        }
        qsort(names, count, sizeof *names, compare);
        for (int i = 0; i < count; i++) fprintf(out, " %s", names[i]);
        break;
    }
    case 'q': fprintf(out, " %d,%d", ((int *)at)[0], ((int *)at)[1]); break;
    case 'O': fprintf(out, " %ld", *(long *)at); break;
    case 'L': {
        struct flock *l = (void *)at;
        fprintf(out, " %d,%d,%ld,%ld,%d", l->l_type, l->l_whence, (long)l->l_start, (long)l->l_len, l->l_pid > 0 ? 1 : l->l_pid);
        break;
    }
    case 'P':
        fprintf(out, " ");
        for (long i = 0; i < arg->size; i++) fprintf(out, "%x,", ((struct pollfd *)at)[i].revents & 0xffff);
        break;
    }
}

static long call(const char *name, long number) {
    for (int i = arg_count; i < 6; i++) args[i].value = 0;
    long result = syscall(number, args[0].value, args[1].value, args[2].value, args[3].value, args[4].value, args[5].value);
    if (result < 0) result = -errno;
    fprintf(out, "%s", name);
    for (int i = 0; i < arg_count; i++) fprintf(out, " %s", args[i].token);
    int is_listing = number == SYS_getdents64 && result >= 0;
    fprintf(out, " = %ld", is_listing ? 0 : result);
    if (result >= 0)
        for (int i = 0; i < arg_count; i++) show(&args[i], result);
    fprintf(out, "\n");
    arg_count = 0;
    return result;
}
#define CALL(name) call(#name, SYS_##name)

static const char *NAMES[] = {"a", "b", "c", "d", "d/a", "d/b", "d/e", "d/e/f", "l", "m", "a/x", "d/", "a/", "./a", "d/../b", "d/.", "d/..",
    "l/a", "m/", "/w/a", "/w/d/a", "/w", "..", ".", "", "d/e/..", "l/../a", "nothing/a", "loop", "loop/a", "f", "d//a", "b/..", "f/x",
    "/w/../w/b", "d/e/", "l/"};
static const char *some_path(void) {
    static char long_name[300];
    if (chance(1)) {
        int len = chance(50) ? 255 : 256;
        memset(long_name, 'n', len);
        long_name[len] = 0;
        return long_name;
    }
    return below(3) ? NAMES[below(11)] : PICK(NAMES);
}
static const char *TARGETS[] = {"a", "b", "d", "d/a", "nothing", "../a", "/w/d", "loop", "l", "m", "..", ".", "d/", "/w/a/", "/nothing/x"};
static int some_fd(void) { return chance(4) ? (chance(50) ? -1 : 99) : below(9); }
static int some_directory(void) { return chance(60) ? AT_FDCWD : some_fd(); }
/* A descriptor, but not of an eventfd: Linux versions differ in whether its attributes change, and all share one inode. */
static int some_typed_fd(void) {
    struct stat stat;
    int fd = some_fd();
    return fstat(fd, &stat) == 0 && (stat.st_mode & S_IFMT) == 0 ? -1 : fd;
}
static int has_allocated;
static int some_mode(void) {
    static const int modes[] = {0644, 0600, 0755, 0777, 0700, 0, 0444, 0555, 0111, 0222, 01777, 0666, 0070, 0007};
    return PICK(modes);
}

static int open_flags(void) {
    int flags = PICK(((int[]){O_RDONLY, O_RDONLY, O_WRONLY, O_RDWR, O_RDWR, O_RDWR})) | O_NONBLOCK;
    if (chance(1)) flags |= 3;
    static const struct { int flag, percent; } extra[] = {{O_CREAT, 45}, {O_EXCL, 10}, {O_TRUNC, 12}, {O_APPEND, 10}, {O_DIRECTORY, 8},
        {O_NOFOLLOW, 12}, {O_PATH, 5}, {O_CLOEXEC, 10}, {O_NOATIME, 3}, {O_SYNC, 3}, {O_NOCTTY, 2}, {O_TMPFILE, 2}};
    for (unsigned i = 0; i < sizeof extra / sizeof *extra; i++)
        if (chance(extra[i].percent)) flags |= extra[i].flag;
    return flags;
}

static void one_call(void) {
    arg_count = 0;
    switch (below(62)) {
    case 0: case 1: case 2: case 3: case 4: case 5:
        integer(some_directory()); path(some_path()); integer(open_flags()); integer(some_mode()); CALL(openat); break;
    case 6: path(some_path()); integer(open_flags()); integer(some_mode()); CALL(open); break;
    case 7: path(some_path()); integer(O_NONBLOCK | O_CREAT | O_TRUNC | O_WRONLY); integer(some_mode()); CALL(open); break;
    case 8: case 9: integer(some_fd()); CALL(close); break;
    case 10: case 11: { int n = below(40); integer(some_fd()); buffer('o', n); integer(n); CALL(read); break; }
    case 12: case 13: case 14: { int n = below(30); integer(some_fd()); data(n); integer(n); CALL(write); break; }
    case 15: { int n = below(40); integer(some_fd()); buffer('o', n); integer(n); integer(chance(5) ? -1 : below(50)); CALL(pread64); break; }
    case 16: { int n = below(30); integer(some_fd()); data(n); integer(n); integer(chance(5) ? -1 : chance(10) ? 100000 : below(50)); CALL(pwrite64); break; }
    case 17: case 18: {
        struct stat stat;
        int fd = some_fd();
        if (fstat(fd, &stat) == 0 && S_ISDIR(stat.st_mode)) { integer(fd); integer(0); integer(0); CALL(lseek); break; }
        integer(fd); integer(chance(10) ? -5 : below(60)); integer(chance(3) ? 9 : below(has_allocated ? 3 : 5)); CALL(lseek); break;
    }
    case 19: case 20: path(some_path()); buffer('s', 144); CALL(stat); break;
    case 21: path(some_path()); buffer('s', 144); CALL(lstat); break;
    case 22: integer(some_fd()); buffer('s', 144); CALL(fstat); break;
    case 23: integer(some_directory()); path(some_path()); buffer('s', 144);
        integer(PICK(((int[]){0, 0, AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW, 1}))); CALL(newfstatat); break;
    case 24: case 25: integer(some_directory()); path(some_path()); integer(chance(10) ? 02777 : some_mode()); CALL(mkdirat); break;
    case 26: path(some_path()); CALL(rmdir); break;
    case 27: integer(some_directory()); path(some_path()); integer(PICK(((int[]){0, 0, 0, AT_REMOVEDIR, 1}))); CALL(unlinkat); break;
    case 28: path(some_path()); CALL(unlink); break;
    case 29: path(some_path()); path(some_path()); CALL(rename); break;
    case 30: integer(some_directory()); path(some_path()); integer(some_directory()); path(some_path());
        integer(PICK(((int[]){0, 1, 2, 3, 8}))); CALL(renameat2); break;
    case 31: path(some_path()); path(some_path()); CALL(link); break;
    case 32: integer(some_directory()); path(some_path()); integer(some_directory()); path(some_path());
        integer(PICK(((int[]){0, AT_SYMLINK_FOLLOW, 1}))); CALL(linkat); break;
    case 33: case 34: path(PICK(TARGETS)); path(some_path()); CALL(symlink); break;
    case 35: path(some_path()); buffer('o', 40); integer(chance(10) ? below(3) - 1 : 40); CALL(readlink); break;
    case 36: integer(some_directory()); path(some_path()); integer(some_mode()); CALL(fchmodat); break;
    case 37: integer(some_typed_fd()); integer(some_mode()); CALL(fchmod); break;
    case 38: integer(some_directory()); path(some_path()); integer(PICK(((int[]){-1, 0, 1000, 1001}))); integer(PICK(((int[]){-1, 0, 1000})));
        integer(PICK(((int[]){0, 0, AT_SYMLINK_NOFOLLOW}))); CALL(fchownat); break;
    case 39: integer(some_typed_fd()); integer(PICK(((int[]){-1, 0, 1000}))); integer(PICK(((int[]){-1, 0, 1000}))); CALL(fchown); break;
    case 40: path(some_path()); integer(chance(3) ? 8 : below(8)); CALL(access); break;
    case 41: integer(some_directory()); path(some_path()); integer(below(8)); integer(PICK(((int[]){0, 0x200, 0x100, 0x1000, 1}))); CALL(faccessat2); break;
    case 42: path(some_path()); integer(chance(5) ? -1 : below(9000)); CALL(truncate); break;
    case 43: integer(some_fd()); integer(chance(5) ? -1 : below(9000)); CALL(ftruncate); break;
    case 44: has_allocated = 1; integer(some_fd()); integer(PICK(((int[]){0, 0, 1, 2, 3, 8, 32, 64}))); integer(chance(4) ? -1 : below(3) * 4096 + below(2)); integer(chance(4) ? 0 : 1 + below(3) * 4096); CALL(fallocate); break;
    case 45: case 46: {
        /* Whether names made since the last read are seen differs. */
        int fd = some_fd();
        integer(fd); integer(0); integer(0); CALL(lseek);
        integer(fd); buffer('g', 8192); integer(8192); CALL(getdents64); break;
    }
    case 47: { int n = chance(20) ? below(4) : 100; buffer('o', 100); integer(n); CALL(getcwd); break; }
    case 48: path(some_path()); CALL(chdir); break;
    case 49: path("/w"); CALL(chdir); break;
    case 50: integer(some_fd()); CALL(fchdir); break;
    case 51: switch (below(3)) {
        case 0: integer(some_fd()); CALL(dup); break;
        case 1: integer(some_fd()); integer(below(9)); CALL(dup2); break;
        default: integer(some_fd()); integer(below(9)); integer(PICK(((int[]){0, O_CLOEXEC, 1}))); CALL(dup3); break;
        } break;
    case 52: integer(some_fd()); integer(PICK(((int[]){F_GETFD, F_GETFL, F_GETFL, F_DUPFD, F_DUPFD_CLOEXEC, F_GETPIPE_SZ, F_GETOWN, F_GETSIG, F_GETLEASE, 77}))); integer(chance(5) ? 5000 : below(12)); CALL(fcntl); break;
    case 53: if (chance(50)) { integer(some_fd()); integer(F_SETFD); integer(below(3)); }
        else { integer(some_fd()); integer(F_SETFL); integer(O_NONBLOCK | (chance(50) ? O_APPEND : 0) | (chance(10) ? O_CREAT : 0)); }
        CALL(fcntl); break;
    case 54: {
        struct flock *lock = (void *)memory[2];
        integer(some_typed_fd());
        integer(PICK(((int[]){F_GETLK, F_SETLK, F_SETLK, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLK})));
        memset(lock, 0, sizeof *lock);
        lock->l_type = chance(4) ? 7 : below(3);
        lock->l_whence = chance(4) ? 5 : below(3);
        lock->l_start = chance(10) ? -3 : below(20);
        lock->l_len = chance(20) ? 0 : below(10) - 2;
        add("L%d,%d,%ld,%ld", lock->l_type, lock->l_whence, (long)lock->l_start, (long)lock->l_len)->value = (long)lock;
        CALL(fcntl); break;
    }
    case 55: integer(some_typed_fd()); integer(PICK(((int[]){1, 2, 8, 1, 2, 8, 3, 0})) | 4); CALL(flock); break;
    case 56: switch (below(4)) {
        case 0: buffer('q', 8); integer(O_NONBLOCK | PICK(((int[]){0, O_CLOEXEC, O_DIRECT, 1}))); CALL(pipe2); break;
        case 1: integer(below(5)); integer(O_NONBLOCK | PICK(((int[]){0, 1, O_CLOEXEC, 2}))); CALL(eventfd2); break;
        case 2: integer(some_fd()); integer(0x541b); buffer('o', 4); CALL(ioctl); break;
        default: integer(some_fd()); if (chance(50)) CALL(fsync); else CALL(fdatasync); break;
        } break;
    case 57: integer(some_directory()); path(some_path()); integer(PICK(((int[]){S_IFIFO, S_IFREG, 0, S_IFDIR, S_IFLNK, S_IFSOCK, S_IFCHR})) | some_mode()); integer(0x103); CALL(mknodat); break;
    case 58: integer(below(2) ? 0 : 1000); CALL(setfsuid); break;
    case 59: {
        struct pollfd *polled = (void *)memory[0];
        char token[200] = "P";
        int n = 1 + below(4);
        for (int i = 0; i < n; i++) {
            polled[i] = (struct pollfd){some_fd(), PICK(((short[]){POLLIN, POLLOUT, POLLIN | POLLOUT, POLLPRI, 0, 0x1ff})), 0x7777};
            sprintf(token + strlen(token), "%d:%d,", polled[i].fd, polled[i].events);
        }
        struct arg *arg = add("%s", token);
        arg->value = (long)polled;
        arg->size = n;
        integer(n); integer(0); CALL(poll); break;
    }
    case 60: {
        int from = some_fd(), to = some_fd();
        struct stat one, other;
        /* Bytes copied onto themselves are undefined. */
        if (fstat(from, &one) == 0 && fstat(to, &other) == 0 && one.st_ino == other.st_ino) break;
        if (chance(50)) {
            integer(to); integer(from);
            if (chance(50)) { *(long *)memory[2] = below(20); add("O%ld", *(long *)memory[2])->value = (long)memory[2]; } else add("n")->value = 0;
            integer(below(40)); CALL(sendfile);
        } else {
            integer(from);
            if (chance(50)) { *(long *)memory[1] = below(20); add("O%ld", *(long *)memory[1])->value = (long)memory[1]; } else add("n")->value = 0;
            integer(to);
            if (chance(50)) { *(long *)memory[3] = below(20); add("O%ld", *(long *)memory[3])->value = (long)memory[3]; } else add("n")->value = 0;
            integer(below(40)); integer(chance(5)); CALL(copy_file_range);
        }
        break;
    }
    case 61: if (chance(50)) { integer(below(512)); CALL(umask); } else { integer(some_fd()); integer(below(3)); integer(below(40)); integer(chance(5) ? 9 : below(6)); CALL(fadvise64); } break;
    }
}

/* Something to work on: a few files, folders, links and descriptors. */
static void prelude(void) {
    static const char *folders[] = {"d", "d/e"};
    for (int i = 0; i < 2; i++) { integer(AT_FDCWD); path(folders[i]); integer(0777); CALL(mkdirat); }
    static const char *files[] = {"a", "d/a", "d/b", "b", "d/e/f"};
    for (int i = 0; i < 5; i++)
        if (chance(70)) { integer(AT_FDCWD); path(files[i]); integer(O_CREAT | PICK(((int[]){O_RDWR, O_WRONLY, O_RDWR | O_APPEND}))); integer(some_mode() | 0600); CALL(openat); }
    for (int fd = 3; fd < 6; fd++) { int n = 1 + below(39); integer(fd); data(n); integer(n); CALL(write); }
    static const char *links[][2] = {{"d", "l"}, {"a", "m"}, {"loop", "loop"}, {"../b", "d/c"}};
    for (int i = 0; i < 4; i++) if (chance(80)) { path(links[i][0]); path(links[i][1]); CALL(symlink); }
    if (chance(60)) { integer(AT_FDCWD); path("f"); integer(S_IFIFO | 0666); integer(0); CALL(mknodat); }
    if (chance(30)) { integer(AT_FDCWD); path("d"); integer(O_RDONLY | O_DIRECTORY); integer(0); CALL(openat); }
    if (chance(30)) { buffer('q', 8); integer(O_NONBLOCK); CALL(pipe2); }
}

int main(int argc, char **argv) {
    if (argc != 4) return 2;
    int cases = atoi(argv[1]);
    uint64_t seed = atoll(argv[2]);
    for (int number = 0; number < cases; number++) {
        char root[500];
        snprintf(root, sizeof root, "%s/%d", argv[3], number);
        mkdir(root, 0755);
        fflush(stdout);
        pid_t child = fork();
        if (child == 0) {
            state = seed * 1000003 + number * 7919 + 12345;
            for (int i = 0; i < 10; i++) next();
            umask(022);
            signal(SIGPIPE, SIG_IGN);
            if (mount("none", root, "tmpfs", 0, "mode=755") != 0 || chroot(root) != 0 || chdir("/") != 0) return 1;
            mkdir("/w", 0755);
            close(creat("/program", 0755));
            mkdir("/proc", 0555);
            mkdir("/sys", 0555);
            chown("/w", 1000, 1000);
            chdir("/w");
            struct rlimit limit = {1024, 1024};
            setrlimit(RLIMIT_NOFILE, &limit);
            int log = dup2(1, 1000);
            for (int fd = 0; fd < 1000; fd++) close(fd);
            out = fdopen(log, "w");
            setvbuf(out, malloc(1 << 20), _IOFBF, 1 << 20);
            int ends[3][2];
            for (int i = 0; i < 3; i++) pipe(ends[i]);
            for (int i = 0; i < 3; i++) dup2(ends[i][0], 100 + i);
            for (int fd = 0; fd < 100; fd++) close(fd);
            for (int i = 0; i < 3; i++) { dup2(100 + i, i); close(100 + i); }
            fprintf(out, "case\n");
            prelude();
            int calls = 20 + below(100);
            for (int i = 0; i < calls; i++) one_call();
            fclose(out);
            _exit(0);
        }
        int status;
        waitpid(child, &status, 0);
        umount2(root, MNT_DETACH);
        rmdir(root);
        if (status != 0) return 3;
    }
    return 0;
}
