//@ run: swap
//@ run: in_place
//@ run: errors
// pivot_root: the old root is put where it is wanted, and who was there goes on at the new one.
#include "mounts.h"

static long pivot(const char *new_root, const char *put_old) {
    return syscall(SYS_pivot_root, new_root, put_old);
}

static void show_cwd(void) {
    char where[PATH_MAX];
    printf("cwd %s\n", syscall(SYS_getcwd, where, sizeof where) > 0 ? where : error_name(errno));
}

// Those of the old root differ from one Linux to another.
static void show_names(void) {
    char line[4096], place[1024];
    FILE *file = fopen("/proc/self/mounts", "r");
    while (file && fgets(line, sizeof line, file))
        if (sscanf(line, "%*s %1023s", place) == 1 && strncmp(place, "/old/", 5) != 0)
            printf("  %s\n", place);
    if (file)
        fclose(file);
}

int main(int argc, char **argv) {
    own_mounts();
    fresh_dir("/tmp");
    mkdir("base", 0700);
    TRY(mount("base", "base", "tmpfs", 0, NULL));
    TRY(chdir("base"));
    const char *part = argc > 1 ? argv[1] : "";
    mkdir("n", 0700);
    TRY(mount("new", "n", "tmpfs", 0, NULL));
    mkdir("n/old", 0700);
    mkdir("n/proc", 0700);
    put_file("n/file", "");
    if (strcmp(part, "errors") == 0) {
        mkdir("plain", 0700);
        TRY(pivot("plain", "n/old"));
        TRY(pivot("n", "plain"));
        TRY(pivot("n", "n/file"));
        TRY(pivot("n", "n/absent"));
        TRY(pivot("absent", "n/old"));
        TRY(pivot("n/old", "n/old"));
        TRY(pivot("/", "n/old"));
        TRY(pivot("n", "/"));
        TRY(pivot((char *)1, "n"));
        TRY(umount2("n", 0));
        return 0;
    }
    TRY(mount("p", "n/proc", "proc", 0, NULL));
    TRY(chdir("n"));
    if (strcmp(part, "swap") == 0) {
        TRY(pivot(".", "old"));
        show_cwd();
        TRY(access("/file", F_OK));
        TRY(access("/old/proc/self", F_OK));
        show_names();
        TRY(umount2("/old", 0));
        TRY(umount2("/old", MNT_DETACH));
    } else {
        TRY(pivot(".", "."));
        show_cwd();
        TRY(umount2(".", MNT_DETACH));
        show_cwd();
    }
    show_names();
    TRY(access("/file", F_OK));
    TRY(access("/old/proc", F_OK));
    TRY(chdir("/"));
    TRY(access("old", F_OK));
    return 0;
}
