//@ run: bind
//@ run: recursive
//@ run: unbindable
//@ run: move
//@ run: remount
// Bind mounts, with what is below or without, and mounts that move.
#include "mounts.h"

static const char *base;

static void make_tree(void) {
    mkdir("t", 0700);
    TRY(mount("tree", "t", "tmpfs", 0, NULL));
    TRY(chdir("t"));
    static const char *const folders[] = {"a", "a/b", "a/b/c", "x", "y"};
    for (size_t i = 0; i < ARRAY_LEN(folders); i++)
        mkdir(folders[i], 0700);
    put_file("a/f", "file");
    put_file("a/b/g", "deep");
    put_file("p", "place");
}

static void bind(void) {
    TRY(mount("a", "x", NULL, MS_BIND, NULL));
    TRY(access("x/b/g", F_OK));
    put_file("x/new", "");
    TRY(access("a/new", F_OK));
    TRY(link("x/f", "a/link"));
    TRY(rename("x/f", "a/f2"));
    TRY(link("x/f", "x/link"));
    TRY(mount("a/f", "p", "ignored", MS_BIND | MS_RDONLY, "ignored"));
    TRY(open("p", O_WRONLY | O_TRUNC));
    TRY(mount("a", "p", NULL, MS_BIND, NULL));
    TRY(mount("a/f", "y", NULL, MS_BIND, NULL));
    TRY(mount("absent", "y", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "y", NULL, MS_BIND, NULL));
    TRY(mount("", "y", NULL, MS_BIND, NULL));
    TRY(mount("x", "x", NULL, MS_BIND, NULL));
    TRY(unlink("p"));
    TRY(rmdir("y"));
    TRY(rename("a", "z"));
    TRY(rmdir("x"));
    show_mounts(base);
    // A removed folder goes on to be shown, but nothing can be mounted there.
    TRY(mkdir("gone", 0700));
    mkdir("w", 0700);
    TRY(mount("gone", "w", NULL, MS_BIND, NULL));
    TRY(rmdir("gone"));
    TRY(mount("gone", "x", NULL, MS_BIND, NULL));
    TRY(mkdir("w/d", 0700));
    TRY(umount2("w", 0));
    int fd = open("z", O_PATH);
    TRY(umount2("p", 0));
    close(fd);
}

static void recursive(void) {
    TRY(mount("inner", "a/b", "tmpfs", 0, NULL));
    TRY(mkdir("a/b/i", 0700));
    TRY(mount("innermost", "a/b/i", "tmpfs", MS_NOEXEC, NULL));
    TRY(mount("a", "x", NULL, MS_BIND, NULL));
    show_mounts(base);
    TRY(umount2("x", 0));
    TRY(mount("a", "x", NULL, MS_BIND | MS_REC, NULL));
    put_file("x/b/i/f", "");
    TRY(access("a/b/i/f", F_OK));
    show_mounts(base);
    TRY(umount2("a/b/i", 0));
    TRY(access("x/b/i/f", F_OK));
    TRY(umount2("x", 0));
    TRY(umount2("x", MNT_DETACH));
    TRY(mount(".", "y", NULL, MS_BIND | MS_REC, NULL));
    show_mounts(base);
}

static void unbindable(void) {
    TRY(mount("inner", "a/b", "tmpfs", 0, NULL));
    TRY(mount(NULL, "a/b", NULL, MS_UNBINDABLE, NULL));
    TRY(mount(NULL, "a", NULL, MS_UNBINDABLE, NULL));
    TRY(mount(NULL, "a/b", NULL, MS_UNBINDABLE | MS_PRIVATE, NULL));
    TRY(mount(NULL, "a/b", NULL, MS_UNBINDABLE | MS_NOSUID, NULL));
    show_mounts(base);
    TRY(mount("a/b", "x", NULL, MS_BIND, NULL));
    TRY(mount("a", "x", NULL, MS_BIND | MS_REC, NULL));
    show_mounts(base);
    TRY(mount(NULL, "a/b", NULL, MS_PRIVATE, NULL));
    TRY(mount("a/b", "y", NULL, MS_BIND, NULL));
    TRY(mount(NULL, ".", NULL, MS_UNBINDABLE | MS_REC | MS_SILENT, NULL));
    TRY(mount(NULL, ".", NULL, MS_SLAVE | MS_REC, NULL));
    show_mounts(base);
}

static void move(void) {
    TRY(mount("one", "x", "tmpfs", 0, NULL));
    mkdir("x/in", 0700);
    put_file("x/f", "");
    TRY(mount("two", "x/in", "tmpfs", 0, NULL));
    int fd = open("x/f", O_RDWR);
    TRY(mount("x", "y", NULL, MS_MOVE, NULL));
    show_mounts(base);
    TRY(access("x/f", F_OK));
    TRY(access("y/f", F_OK));
    printf("write %ld\n", (long)write(fd, "x", 1));
    close(fd);
    TRY(mount("y/f", "a", NULL, MS_MOVE, NULL));
    TRY(mount("a", "x", NULL, MS_MOVE, NULL));
    TRY(mount("y", "y/in", NULL, MS_MOVE, NULL));
    TRY(mount("y", "p", NULL, MS_MOVE, NULL));
    TRY(mount("y", "absent", NULL, MS_MOVE, NULL));
    TRY(mount(NULL, "x", NULL, MS_MOVE, NULL));
    TRY(mount("y/in", "a/b", NULL, MS_MOVE, NULL));
    show_mounts(base);
    TRY(umount2("y", 0));
    TRY(umount2("a/b", 0));
}

static void remount(void) {
    TRY(mount("a", "x", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "x", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOATIME, NULL));
    TRY(mkdir("x/d", 0700));
    TRY(mkdir("a/d", 0700));
    int fd = open("a/f", O_RDWR);
    TRY(mount(NULL, "x", NULL, MS_BIND | MS_REMOUNT, NULL));
    show_mounts(base);
    TRY(mount("x", "y", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "x", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    close(fd);
    TRY(mount(NULL, "x", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    TRY(mkdir("a/e", 0700));
    TRY(mkdir("y/e", 0700));
    show_mounts(base);
    show_flags("a");
    show_flags("y");
    TRY(mount(NULL, "y", NULL, MS_REMOUNT, NULL));
    TRY(mkdir("a/e", 0700));
    TRY(mkdir("x/e2", 0700));
    show_mounts(base);
}

int main(int argc, char **argv) {
    own_mounts();
    base = fresh_dir("/tmp");
    make_tree();
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "bind") == 0)
        bind();
    else if (strcmp(part, "recursive") == 0)
        recursive();
    else if (strcmp(part, "unbindable") == 0)
        unbindable();
    else if (strcmp(part, "move") == 0)
        move();
    else if (strcmp(part, "remount") == 0)
        remount();
    chdir("/");
    char top[128];
    snprintf(top, sizeof top, "%s/t", base);
    TRY(umount2(top, MNT_DETACH) == 0);
    return 0;
}
