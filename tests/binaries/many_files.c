// A thousand files in one folder, made, found, changed and removed.
#include "observe.h"
#include <dirent.h>

int main(void) {
    fresh_dir("/tmp");
    char name[32], buffer[32];
    for (int i = 0; i < 1000; i++) {
        snprintf(name, sizeof name, "%d", i * 7919 % 1000);
        snprintf(buffer, sizeof buffer, "content %d", i);
        put_file(name, buffer);
    }
    int entries = 0, sum = 0;
    DIR *folder = opendir(".");
    for (struct dirent *entry; (entry = readdir(folder));)
        entries++, sum += atoi(entry->d_name);
    closedir(folder);
    printf("%d entries, sum %d\n", entries, sum);
    for (int i = 0; i < 1000; i += 100) {
        snprintf(name, sizeof name, "%d", i);
        show_file(name);
    }
    for (int i = 0; i < 1000; i += 2) {
        snprintf(name, sizeof name, "%d", i);
        snprintf(buffer, sizeof buffer, "%d", i + 1);
        MUST(rename(name, buffer));
    }
    TRY(access("500", F_OK));
    show_file("501");
    for (int i = 1; i < 1000; i += 2) {
        snprintf(name, sizeof name, "%d", i);
        MUST(unlink(name));
    }
    MUST(mkdir("sub", 0755));
    TRY(rmdir("sub"));
    return 0;
}
