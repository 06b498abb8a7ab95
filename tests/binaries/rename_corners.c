// renameat2 and its relatives: the errors at the corners.
#include "observe.h"

#define NOREPLACE 1
#define EXCHANGE 2
#define WHITEOUT 4

static long again(const char *from, const char *to, unsigned flags) {
    return syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, flags);
}

static int forget(const char *path, const struct stat *status, int kind, struct FTW *walk) {
    (void)status, (void)kind;
    return walk->level == 0 ? 0 : remove(path);
}

// The same files and folders each time.
static void make_all(void) {
    MUST(nftw(".", forget, 16, FTW_DEPTH | FTW_PHYS));
    MUST(mkdir("a", 0700));
    MUST(mkdir("a/b", 0700));
    MUST(mkdir("empty", 0700));
    MUST(mkdir("full", 0700));
    put_file("full/x", "");
    put_file("file", "");
    put_file("other", "");
    MUST(link("file", "same"));
    MUST(symlink("a", "link"));
    MUST(symlink("absent", "dangling"));
    MUST(symlink("loop", "loop"));
}

int main(void) {
    fresh_dir("/dev/shm");
    make_all();
    static const char *const names[] = {"a",    "a/",    "a/.",  "a/..", "a/b",  "a/b/c/",   ".",    "..",    "/", "full",   "full/x",
                                        "full/x/", "file", "file/", "same", "new", "new/", "link/", "dangling/", "loop/", "", "absent/x", "file/x"};
    static const unsigned flags[] = {0, NOREPLACE, EXCHANGE, WHITEOUT, NOREPLACE | EXCHANGE, NOREPLACE | WHITEOUT, 8};
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        for (size_t j = 0; j < ARRAY_LEN(names); j++) {
            printf("%s to %s:", names[i], names[j]);
            for (size_t k = 0; k < ARRAY_LEN(flags); k++) {
                long result = again(names[i], names[j], flags[k]);
                printf(" %s", result == 0 ? "done" : error_name(errno));
                if (result == 0)
                    make_all();
            }
            printf("\n");
        }
    TRY(again("a", "a/b/c", 0));
    TRY(again("a/b", "a", 0));
    TRY(again("file", "a", 0));
    TRY(again("a", "file", 0));
    TRY(again("empty", "full", 0));
    TRY(again("a", "empty", 0));
    TRY(again("file", "same", 0));
    TRY(access("file", F_OK));
    TRY(again("file", "file", 0));
    TRY(again("absent", "file/x", 0));
    TRY(again("file", "/proc/x", 0));
    TRY(again("/proc/self", "x", 0));
    TRY(again("file", "new/", 0));
    TRY(again("other/", "new", 0));
    TRY(again("empty/", "renamed/", 0));
    static char longest[300];
    memset(longest, 'n', 256);
    TRY(again("file", longest, 0));
    TRY(again("file", longest, NOREPLACE));
    TRY(again(longest, "file", 0));
    // link, unlink, mkdir, rmdir, symlink: the ends of names.
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        printf("%s:", names[i]);
        static const char *const calls[] = {"mkdir", "link", "symlink", "mknod", "rmdir of file", "unlink of folder"};
        for (size_t j = 0; j < ARRAY_LEN(calls); j++) {
            long result;
            const char *name = names[i];
            if (j == 0 && (result = mkdir(name, 0700)) == 0)
                rmdir(name);
            if (j == 1 && (result = link("other", name)) == 0)
                unlink(name);
            if (j == 2 && (result = symlink("x", name)) == 0)
                unlink(name);
            if (j == 3 && (result = mknod(name, S_IFREG | 0600, 0)) == 0)
                unlink(name);
            struct stat status;
            int is_folder = lstat(name, &status) == 0 && S_ISDIR(status.st_mode);
            if (j == 4) {
                if (is_folder && strchr(name, '.') == NULL && strcmp(name, "/") != 0 && strcmp(name, "full") != 0)
                    continue;
                result = rmdir(name);
            }
            if (j == 5) {
                size_t len = strlen(name);
                if (!is_folder && len && name[len - 1] != '/' && name[len - 1] != '.')
                    continue;
                result = unlink(name);
            }
            printf(" %s %s;", calls[j], result == 0 ? "done" : error_name(errno));
        }
        printf("\n");
    }
    return 0;
}
