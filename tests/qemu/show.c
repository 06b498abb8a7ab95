// Shows how it was started: arguments, environment, working directory, a file and its attributes.
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

int main(int argc, char **argv) {
    char path[256], text[256] = "";
    struct stat status;
    FILE *file;

    for (int i = 0; i < argc; i++)
        printf("argument [%s]\n", argv[i]);
    for (char **setting = environ; *setting; setting++)
        printf("environment [%s]\n", *setting);
    printf("directory %s\n", getcwd(path, sizeof path));
    if (stat("/data/file", &status) == 0)
        printf("mode %o links %d size %d time %ld owner %d\n", status.st_mode, (int)status.st_nlink, (int)status.st_size,
               (long)status.st_mtime, status.st_uid);
    file = fopen("/data/link", "r");
    if (file && fgets(text, sizeof text, file))
        printf("text %s", text);
    file = fopen("/etc/passwd", "r");
    if (file && fgets(text, sizeof text, file))
        printf("passwd %s", text);
    return 7;
}
