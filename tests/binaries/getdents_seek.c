// telldir and seekdir: a remembered position in a folder leads back to the same entry.
#include "observe.h"
#include <dirent.h>

int main(void) {
    fresh_dir("/tmp");
    char name[32], names[64][32];
    long positions[64];
    for (int i = 0; i < 40; i++) {
        snprintf(name, sizeof name, "entry %d", i);
        put_file(name, "");
    }
    DIR *folder = opendir(".");
    int count = 0;
    for (struct dirent *entry;; count++) {
        positions[count] = telldir(folder);
        if (!(entry = readdir(folder)))
            break;
        strcpy(names[count], entry->d_name);
    }
    printf("%d entries\n", count);
    int same = 0;
    for (int i = count - 1; i >= 0; i -= 3) {
        seekdir(folder, positions[i]);
        struct dirent *entry = readdir(folder);
        same += entry && strcmp(entry->d_name, names[i]) == 0;
    }
    printf("%d positions led back\n", same);
    seekdir(folder, positions[count]);
    CHECK(readdir(folder) == NULL);
    // A position survives the removal of other entries.
    for (int i = 0; i < 10; i++)
        if (names[i][0] != '.')
            MUST(unlink(names[i]));
    seekdir(folder, positions[20]);
    CHECK(strcmp(readdir(folder)->d_name, names[20]) == 0);
    int fd = dirfd(folder);
    TRY(lseek(fd, -1, SEEK_SET));
    TRY(lseek(fd, 0, SEEK_SET));
    return 0;
}
