// umask takes bits away from the modes of new files.
#include "observe.h"

int main(void) {
    fresh_dir("/tmp");
    umask(022);
    TRY(umask(0777));
    TRY(umask(07777));
    TRY(umask(0x12345000));
    TRY(umask(0));
    struct stat status;
    static const int masks[] = {0, 022, 077, 0777, 0111};
    for (size_t i = 0; i < ARRAY_LEN(masks); i++) {
        char name[16];
        umask(masks[i]);
        snprintf(name, sizeof name, "file%zu", i);
        MUST(close(MUST(open(name, O_WRONLY | O_CREAT, 06777))));
        MUST(stat(name, &status));
        printf("%o: file %o", masks[i], status.st_mode & 07777);
        snprintf(name, sizeof name, "folder%zu", i);
        MUST(mkdir(name, 01777));
        MUST(stat(name, &status));
        printf(" folder %o\n", status.st_mode & 07777);
    }
    return 0;
}
