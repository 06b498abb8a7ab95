//@ stdin: 12 0x1f word\nsecond line\n\nlast without newline
// libc's streams over the calls below them.
#include "observe.h"
#include <wchar.h>

int main(void) {
    fresh_dir("/tmp");
    int number, hexadecimal;
    char word[16], *line = NULL;
    size_t capacity = 0;
    printf("%d\n", scanf("%d %i %15s", &number, &hexadecimal, word));
    printf("%d %d %s\n", number, hexadecimal, word);
    for (ssize_t len; (len = getline(&line, &capacity, stdin)) >= 0;)
        print_bytes("line", line, len);
    CHECK(feof(stdin) && !ferror(stdin));
    FILE *file = fopen("file", "w+");
    for (int i = 0; i < 1000; i++)
        fprintf(file, "%04d\n", i);
    printf("at %ld\n", ftell(file));
    fseek(file, 500 * 5, SEEK_SET);
    printf("%s", fgets(word, sizeof word, file));
    fputs("over\n", file);
    fflush(file);
    fseek(file, -5, SEEK_CUR);
    printf("%s", fgets(word, sizeof word, file));
    ungetc('#', file);
    printf("%c", fgetc(file));
    printf("%s", fgets(word, sizeof word, file));
    rewind(file);
    char block[100];
    printf("%zu items\n", fread(block, 10, 10, file));
    setvbuf(file, NULL, _IONBF, 0);
    fseek(file, 0, SEEK_END);
    fputc('!', file);
    fclose(file);
    struct stat status;
    MUST(stat("file", &status));
    printf("size %ld\n", (long)status.st_size);
    CHECK(fopen("absent", "r") == NULL && errno == ENOENT);
    CHECK(freopen("other", "w", file = fopen("file", "r")) != NULL);
    fputs("reopened", file);
    fclose(file);
    show_file("other");
    FILE *temporary = tmpfile();
    fputs("scratch", temporary);
    rewind(temporary);
    printf("%s\n", fgets(word, sizeof word, temporary));
    CHECK(remove("file") == 0 && rename("other", "file") == 0 && remove("other") == -1);
    char *memory;
    size_t len;
    file = open_memstream(&memory, &len);
    fprintf(file, "%ls %.3f %a", L"wide", 3.14159, 1.0);
    fclose(file);
    print_bytes("memory", memory, len);
    free(memory);
    free(line);
    fprintf(stderr, "to standard error\n");
    return 0;
}
