// Removing and adding entries while a folder is being read: what is neither removed nor added is seen exactly once.
#include "observe.h"
#include <dirent.h>

enum { FILES = 500 };

int main(void) {
    fresh_dir("/tmp");
    char name[32];
    static int seen[FILES];
    for (int i = 0; i < FILES; i++) {
        snprintf(name, sizeof name, "file-%03d", i);
        put_file(name, "");
    }
    // Every other entry is removed as soon as it is seen.
    DIR *folder = opendir(".");
    int removed = 0;
    for (struct dirent *entry; (entry = readdir(folder));) {
        int number;
        if (sscanf(entry->d_name, "file-%d", &number) != 1)
            continue;
        seen[number]++;
        if (number % 2 == 0 && unlink(entry->d_name) == 0)
            removed++;
    }
    int once = 0;
    for (int i = 0; i < FILES; i++)
        once += seen[i] == 1;
    printf("seen once: %d, removed: %d\n", once, removed);

    // What rm -r does: read, remove everything seen, until nothing is left.
    rewinddir(folder);
    int passes = 0, left;
    do {
        left = 0;
        for (struct dirent *entry; (entry = readdir(folder));)
            if (entry->d_name[0] != '.') {
                left++;
                MUST(unlink(entry->d_name));
            }
        rewinddir(folder);
        passes += left > 0;
    } while (left > 0);
    printf("emptied: %s\n", passes > 0 ? "yes" : "no");

    // Adding while reading ends.
    put_file("grow", "");
    rewinddir(folder);
    int added = 0;
    for (struct dirent *entry; (entry = readdir(folder)) && added < 2000;) {
        snprintf(name, sizeof name, "grown-%d", added++);
        if (added < 300)
            put_file(name, "");
    }
    printf("reading a growing folder ended: %s\n", added < 2000 ? "yes" : "no");
    closedir(folder);
    return 0;
}
