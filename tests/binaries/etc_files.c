// The users and groups that every system has.
#include "observe.h"
#include <grp.h>
#include <pwd.h>

int main(void) {
    struct passwd *root = getpwuid(0), *named = getpwnam("root");
    if (!root || !named) {
        puts("no root");
        return 1;
    }
    printf("%s %d:%d %s\n", root->pw_name, root->pw_uid, root->pw_gid, root->pw_dir);
    CHECK(named->pw_uid == 0);
    struct group *group = getgrgid(0);
    printf("%s %d\n", group ? group->gr_name : "no group", group ? (int)group->gr_gid : -1);
    CHECK(getpwnam("no such user") == NULL);
    FILE *hosts = fopen("/etc/hosts", "r");
    char line[512];
    int found = 0;
    while (hosts && fgets(line, sizeof line, hosts))
        found |= strstr(line, "127.0.0.1") && strstr(line, "localhost");
    CHECK(found);
    TRY(access("/etc/passwd", R_OK));
    struct stat status;
    MUST(stat("/tmp", &status));
    printf("/tmp is %o\n", status.st_mode);
    MUST(stat("/dev/shm", &status));
    printf("/dev/shm is %o\n", status.st_mode);
    MUST(stat("/", &status));
    printf("/ is %o\n", status.st_mode);
    return 0;
}
