// What somebody who is not root may do, by owner, group and others.
#include "observe.h"
#include <grp.h>

static void file(const char *name, int uid, int gid, int mode) {
    put_file(name, "text");
    MUST(chown(name, uid, gid));
    MUST(chmod(name, mode));
}

int main(void) {
    fresh_dir("/tmp");
    MUST(chmod(".", 0755));
    file("mine", 1000, 1000, 0600);
    file("mine unreadable", 1000, 1000, 0077);
    file("group", 0, 1000, 0640);
    file("supplementary", 0, 2000, 0060);
    file("group refused", 0, 1000, 0604);
    file("others", 0, 0, 0604);
    file("roots", 0, 0, 0600);
    MUST(mkdir("no search", 0755));
    file("no search/file", 0, 0, 0644);
    MUST(chmod("no search", 0644));
    MUST(mkdir("no list", 0755));
    file("no list/file", 0, 0, 0644);
    MUST(chmod("no list", 0711));
    MUST(mkdir("sticky", 0777));
    MUST(chmod("sticky", 01777));
    file("sticky/roots", 0, 0, 0666);
    file("sticky/mine", 1000, 1000, 0600);
    MUST(mkdir("open", 0777));
    MUST(chmod("open", 0777));
    file("open/roots", 0, 0, 0600);

    MUST(setgroups(1, (gid_t[]){2000}));
    MUST(setresgid(1000, 1000, 0));
    MUST(setresuid(1000, 1000, 0));
    TRY(open("mine", O_RDWR) >= 0);
    TRY(open("mine unreadable", O_RDONLY));
    TRY(open("group", O_RDONLY) >= 0);
    TRY(open("group", O_WRONLY));
    TRY(open("supplementary", O_RDWR) >= 0);
    TRY(open("group refused", O_RDONLY));
    TRY(open("others", O_RDONLY) >= 0);
    TRY(open("others", O_RDWR));
    TRY(open("roots", O_RDONLY));
    TRY(open("roots", O_PATH) >= 0);
    TRY(open("no search", O_RDONLY) >= 0);
    TRY(open("no search/file", O_RDONLY));
    TRY(chdir("no search"));
    TRY(open("no list", O_RDONLY));
    TRY(open("no list/file", O_RDONLY) >= 0);
    TRY(open("new", O_RDWR | O_CREAT, 0600));
    TRY(open("mine", O_RDWR | O_CREAT, 0600) >= 0);
    TRY(mkdir("new", 0700));
    TRY(symlink("x", "new"));
    TRY(link("mine", "new"));
    TRY(unlink("mine"));
    TRY(rename("mine", "new"));
    TRY(truncate("others", 0));
    TRY(unlink("sticky/roots"));
    TRY(rename("sticky/roots", "sticky/new"));
    TRY(rename("sticky/mine", "sticky/roots"));
    TRY(unlink("sticky/mine"));
    TRY(unlink("open/roots"));
    TRY(chmod("roots", 0666));
    TRY(chmod("mine", 0640));
    TRY(chown("mine", 0, -1));
    TRY(chown("mine", -1, 2000));
    TRY(chown("mine", -1, 3000));
    TRY(chown("roots", -1, 1000));
    TRY(utimensat(AT_FDCWD, "others", NULL, 0));
    TRY(utimensat(AT_FDCWD, "supplementary", NULL, 0));
    TRY(utimensat(AT_FDCWD, "supplementary", (struct timespec[]){{1, 0}, {2, 0}}, 0));
    TRY(chroot("."));
    MUST(setresuid(0, 0, 0));
    return 0;
}
