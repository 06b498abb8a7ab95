//@ run: errors
//@ run: options
//@ run: flags
//@ run: remount
//@ run: busy
//@ run: expire
//@ run: links
//@ run: stack
// mount and umount2 of a tmpfs: options, flags, errors, who keeps it busy, and the ways to unmount.
#include "mounts.h"

static const char *base;

static void touch(const char *path) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    printf("make %s: %s\n", path, fd < 0 ? error_name(errno) : "done");
    if (fd >= 0)
        close(fd);
}

static void errors(void) {
    TRY(mount("x", "m", "tmpfs", 0, "color=red"));
    TRY(mount("x", "m", "nosuchfs", 0, NULL));
    TRY(mount("x", "m", NULL, 0, NULL));
    TRY(mount("x", "absent", "tmpfs", 0, NULL));
    TRY(mount("x", "file", "tmpfs", 0, NULL));
    TRY(mount("x", NULL, "tmpfs", 0, NULL));
    TRY(mount("x", (char *)1, "tmpfs", 0, NULL));
    TRY(mount((char *)1, "m", "tmpfs", 0, NULL));
    TRY(mount("x", "m", (char *)1, 0, NULL));
    TRY(mount("x", "m", "tmpfs", 0, (char *)1));
    TRY(mount("x", "m", "tmpfs", MS_REMOUNT, NULL));
    TRY(mount("x", "m", "tmpfs", MS_REMOUNT | MS_BIND, NULL));
    TRY(umount2("m", 0));
    TRY(umount2("absent", 0));
    TRY(umount2("file", 0));
    TRY(umount2("m", 16));
    TRY(umount2("m", MNT_EXPIRE | MNT_DETACH));
    TRY(umount2("/", MNT_EXPIRE));
}

static void options(void) {
    static const char *const all[] = {"", "size=64k", "size=1m,nr_inodes=9,mode=0750", "uid=5,gid=6", "nr_blocks=3", "size=0"};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        struct stat status;
        struct statfs statistics;
        printf("%s: %ld\n", all[i], (long)mount("some source", "m", "tmpfs", 0, all[i]));
        stat("m", &status);
        statfs("m", &statistics);
        printf("  mode %o, owner %d, group %d\n", status.st_mode, status.st_uid, status.st_gid);
        if (strstr(all[i], "size=") || strstr(all[i], "nr_blocks"))
            printf("  blocks %ld, free %ld\n", (long)statistics.f_blocks, (long)statistics.f_bfree);
        if (strstr(all[i], "nr_inodes"))
            printf("  files %ld, free %ld\n", (long)statistics.f_files, (long)statistics.f_ffree);
        show_mounts(base);
        TRY(umount2("m", 0));
    }
}

static void flags(void) {
    static const unsigned long all[] = {
        MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_NOATIME, MS_NODIRATIME, MS_RELATIME, MS_STRICTATIME, MS_NOATIME | MS_STRICTATIME,
        MS_SYNCHRONOUS, MS_NOSYMFOLLOW, MS_SILENT, MS_MGC_VAL | MS_NOSUID, MS_NOATIME | MS_RELATIME};
    for (size_t i = 0; i < ARRAY_LEN(all); i++) {
        printf("flags %lx: %ld\n", all[i], (long)mount("x", "m", "tmpfs", all[i], NULL));
        show_mounts(base);
        show_flags("m");
        TRY(umount2("m", 0));
    }
}

static void remount(void) {
    TRY(mount("x", "m", "tmpfs", MS_NOATIME, "size=64k"));
    int fd = open("m/f", O_CREAT | O_RDWR, 0600);
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY, NULL));
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    show_mounts(base);
    close(fd);
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL));
    show_mounts(base);
    touch("m/g");
    TRY(open("m/f", O_RDWR));
    TRY(mkdir("m/d", 0700));
    TRY(unlink("m/f"));
    TRY(rename("m/f", "m/h"));
    TRY(chmod("m/f", 0644));
    TRY(truncate("m/f", 0));
    TRY(access("m/f", W_OK));
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_BIND | MS_NODEV, NULL));
    show_mounts(base);
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID, "size=128k"));
    show_mounts(base);
    touch("m/g");
    TRY(mount(NULL, "m", NULL, MS_REMOUNT | MS_STRICTATIME, "nr_inodes=100"));
    show_mounts(base);
    touch("m/g");
    TRY(mount(NULL, "m", NULL, MS_REMOUNT, "size=x"));
    TRY(umount2("m", 0));
}

static void busy(void) {
    char where[PATH_MAX];
    TRY(mount("x", "m", "tmpfs", 0, NULL));
    TRY(mkdir("m/n", 0700));
    int fd = open("m/f", O_CREAT | O_RDWR, 0600);
    TRY(umount2("m", 0));
    TRY(umount2("m", MNT_FORCE));
    void *mapped = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    TRY(umount2("m", 0));
    munmap(mapped, 4096);
    TRY(chdir("m/n"));
    TRY(umount2("../../m", 0));
    TRY(chdir("../.."));
    TRY(mount("y", "m/n", "tmpfs", 0, NULL));
    TRY(umount2("m", 0));
    show_mounts(base);
    TRY(umount2("m/n", 0));
    TRY(rmdir("m"));
    TRY(rename("m", "k"));
    TRY(umount2("m", 0));
    TRY(umount2("m", 0));

    TRY(mount("x", "m", "tmpfs", 0, NULL));
    TRY(mkdir("m/n", 0700));
    TRY(mount("y", "m/n", "tmpfs", 0, NULL));
    fd = open("m/n/f", O_CREAT | O_RDWR, 0600);
    TRY(chdir("m"));
    TRY(umount2("../m", MNT_DETACH));
    printf("cwd %s\n", syscall(SYS_getcwd, where, sizeof where) > 0 ? where : error_name(errno));
    show_mounts(base);
    printf("write %ld\n", (long)write(fd, "text", 4));
    TRY(access("n/f", F_OK));
    touch("here");
    TRY(mount("x", "n", "tmpfs", 0, NULL));
    close(fd);
    TRY(chdir(base));
}

static void expire(void) {
    TRY(mount("x", "m", "tmpfs", 0, NULL));
    TRY(umount2("m", MNT_EXPIRE));
    TRY(access("m/x", F_OK));
    TRY(umount2("m", MNT_EXPIRE));
    int fd = open("m", O_RDONLY);
    TRY(umount2("m", MNT_EXPIRE));
    close(fd);
    TRY(umount2("m", MNT_EXPIRE));
    TRY(umount2("m", MNT_EXPIRE));
    TRY(umount2("m", MNT_EXPIRE));
}

static void links(void) {
    TRY(symlink("m", "l"));
    TRY(mount("x", "l", "tmpfs", MS_NOSYMFOLLOW, NULL));
    TRY(symlink("f", "m/l"));
    touch("m/f");
    TRY(access("m/l", F_OK));
    TRY(umount2("l", UMOUNT_NOFOLLOW));
    TRY(umount2("l", 0));
}

static void stack(void) {
    TRY(mount("one", "m", "tmpfs", 0, NULL));
    touch("m/one");
    TRY(mount("two", "m", "tmpfs", 0, NULL));
    TRY(access("m/one", F_OK));
    show_mounts(base);
    TRY(umount2("m", 0));
    TRY(access("m/one", F_OK));
    TRY(umount2("m", 0));
    TRY(access("m/one", F_OK));
    // The same file system twice at one place.
    TRY(mount("s", "m", "sysfs", 0, NULL));
    TRY(access("m/class", F_OK));
    TRY(mount("s", "m", "sysfs", 0, NULL));
    TRY(umount2("m", 0));
    TRY(mount("p", "m", "proc", 0, NULL));
    TRY(access("m/self/stat", F_OK));
    TRY(umount2("m", 0));
}

int main(int argc, char **argv) {
    own_mounts();
    base = fresh_dir("/tmp");
    mkdir("m", 0700);
    close(open("file", O_CREAT | O_WRONLY, 0600));
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "errors") == 0)
        errors();
    else if (strcmp(part, "options") == 0)
        options();
    else if (strcmp(part, "flags") == 0)
        flags();
    else if (strcmp(part, "remount") == 0)
        remount();
    else if (strcmp(part, "busy") == 0)
        busy();
    else if (strcmp(part, "expire") == 0)
        expire();
    else if (strcmp(part, "links") == 0)
        links();
    else if (strcmp(part, "stack") == 0)
        stack();
    return 0;
}
