// uname: what the system calls itself.
#include "observe.h"
#include <sys/utsname.h>

int main(void) {
    struct utsname name;
    TRY(uname(&name));
    printf("%s %s\n", name.sysname, name.machine);
    int major, minor;
    CHECK(sscanf(name.release, "%d.%d", &major, &minor) == 2 && major >= 6);
    CHECK(name.version[0] == '#');
    CHECK(name.nodename[0] != 0 && strlen(name.nodename) < 65);
    char host[65];
    CHECK(gethostname(host, sizeof host) == 0 && strcmp(host, name.nodename) == 0);
    CHECK(sizeof name == 390);
    TRY(syscall(SYS_uname, 16));
    return 0;
}
