// Walking paths: dots, slashes, links in the middle, and limits.
#include "observe.h"

static void peek(const char *path) {
    char buffer[32];
    int fd = open(path, O_RDONLY);
    ssize_t len = fd < 0 ? -1 : read(fd, buffer, sizeof buffer);
    if (len < 0)
        printf("%.60s: %s\n", path, error_name(errno));
    else
        printf("%.60s: %.*s\n", path, (int)len, buffer);
    if (fd >= 0)
        close(fd);
}

int main(void) {
    const char *base = fresh_dir("/tmp");
    MUST(mkdir("a", 0755));
    MUST(mkdir("a/b", 0755));
    put_file("file", "top");
    put_file("a/file", "in a");
    put_file("a/b/file", "in b");
    MUST(symlink("a/b", "to b"));
    MUST(symlink("../file", "a/up"));
    MUST(symlink("to b", "to to b"));
    MUST(symlink(".", "here"));
    MUST(symlink("x", "y"));
    MUST(symlink("y", "x"));
    peek("./file");
    peek("a//b///file");
    peek("a/./b/.././file");
    peek("a/b/../../../../../../../../../../tmp/../proc/self/../../etc/../tmp");
    peek("to b/file");
    peek("to b/../file");
    peek("to to b/file");
    peek("a/up");
    peek("to b/../up");
    peek("here/here/here/a/../here/file");
    peek("file/");
    peek("file/.");
    peek("file/..");
    peek("a/.");
    peek("a/absent/../file");
    peek("x");
    peek("x/file");
    peek("");
    peek("/");
    peek("/../../..");
    peek("//");
    char path[PATH_MAX + 200];
    snprintf(path, sizeof path, "/..//../%s/file", base);
    CHECK(access(path, F_OK) == 0);

    // Forty links are followed, forty-one are not.
    MUST(symlink("file", "chain0"));
    for (int i = 1; i < 42; i++) {
        char from[16], to[16];
        snprintf(to, sizeof to, "chain%d", i - 1);
        snprintf(from, sizeof from, "chain%d", i);
        MUST(symlink(to, from));
    }
    peek("chain39");
    peek("chain40");
    // Names of up to 255 bytes, paths of up to 4095.
    char name[300];
    memset(name, 'n', sizeof name);
    name[255] = 0;
    put_file(name, "long name");
    peek(name);
    name[255] = 'n';
    name[256] = 0;
    peek(name);
    memset(path, '/', sizeof path);
    strcpy(path + PATH_MAX - 1 - strlen(base) - 5, base);
    strcat(path, "/file");
    printf("%zu bytes\n", strlen(path));
    CHECK(access(path, F_OK) == 0);
    memmove(path + 1, path, strlen(path) + 1);
    printf("%zu bytes\n", strlen(path));
    TRY(access(path, F_OK));
    // The kernel's own longest path, unterminated before unmapped memory.
    char *pages = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MUST(munmap(pages + 4096, 4096));
    memset(pages, 'a', 4096);
    TRY(access(pages + 4000, F_OK));
    strcpy(pages + 4096 - 5, "file");
    TRY(access(pages + 4096 - 5, F_OK));
    return 0;
}
