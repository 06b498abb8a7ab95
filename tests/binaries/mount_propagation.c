//@ run: kinds
//@ run: peers
//@ run: slaves
//@ run: trees
// Propagation: what is mounted on one mount appears on its peers and slaves, and goes there when it is unmounted.
#include "mounts.h"

static const char *base;
static int groups[256], group_count;

// Groups are numbered as they first appear among the lines.
static int group_number(int group) {
    for (int i = 0; i < group_count; i++)
        if (groups[i] == group)
            return i + 1;
    groups[group_count] = group;
    return ++group_count;
}

struct shown {
    char place[256], rest[512];
    size_t number;
};

// Mounts on each other stay in the order in which they were made. The number of a group says nothing.
static int by_place(const void *one, const void *other) {
    const struct shown *left = one, *right = other;
    int order = strcmp(left->place, right->place);
    return order != 0 ? order : (left->number > right->number) - (left->number < right->number);
}

// The lines in the order of their places.
static void show(void) {
    static struct shown lines[64];
    char line[4096], root[1024], place[1024];
    size_t count = 0;
    FILE *file = fopen("/proc/self/mountinfo", "r");
    while (file && count < ARRAY_LEN(lines) && fgets(line, sizeof line, file)) {
        int rest = 0;
        if (sscanf(line, "%*d %*d %*s %1023s %1023s %*s %n", root, place, &rest) == 2 && rest &&
            strncmp(place, base, strlen(base)) == 0) {
            snprintf(lines[count].place, sizeof lines[0].place, ".%.200s:", place + strlen(base));
            snprintf(lines[count].rest, sizeof lines[0].rest, "%.500s", line + rest);
            lines[count].number = count;
            count++;
        }
    }
    if (file)
        fclose(file);
    qsort(lines, count, sizeof lines[0], by_place);
    group_count = 0;
    for (size_t i = 0; i < count; i++) {
        printf("  %s", lines[i].place);
        for (char *word = strtok(lines[i].rest, " "); word && strcmp(word, "-") != 0; word = strtok(NULL, " ")) {
            int group;
            char kind[32];
            if (sscanf(word, "%31[a-z]:%d", kind, &group) == 2)
                printf(" %s:%d", kind, group_number(group));
            else
                printf(" %s", word);
        }
        printf("\n");
    }
}

static void folders(const char *const *names) {
    for (; *names; names++)
        MUST(mkdir(*names, 0700));
}

static void kinds(void) {
    folders((const char *const[]){"m", "n", "o", NULL});
    TRY(mount("one", "m", "tmpfs", 0, NULL));
    static const unsigned long flags[] = {MS_SHARED, MS_SLAVE, MS_SHARED, MS_PRIVATE, MS_UNBINDABLE, MS_SLAVE, MS_SHARED,
        MS_UNBINDABLE, MS_PRIVATE, MS_SHARED | MS_PRIVATE, MS_SHARED | MS_NOEXEC, MS_SHARED | MS_REC, MS_SHARED | MS_SILENT, MS_SHARED};
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        printf("%lx: ", flags[i]);
        TRY(mount(NULL, "m", NULL, flags[i], NULL));
        show();
    }
    TRY(mount("m", "n", NULL, MS_BIND, NULL));
    show();
    TRY(mount(NULL, "n", NULL, MS_SLAVE, NULL));
    show();
    TRY(mount(NULL, "n", NULL, MS_SHARED, NULL));
    TRY(mount("n", "o", NULL, MS_BIND, NULL));
    show();
    TRY(mount(NULL, "m", NULL, MS_PRIVATE, NULL));
    show();
    TRY(mount(NULL, "o", NULL, MS_SLAVE, NULL));
    show();
    TRY(umount2("n", 0));
    show();
    TRY(mount(NULL, "m", NULL, MS_UNBINDABLE, NULL));
    TRY(mount("m", "n", NULL, MS_BIND, NULL));
    TRY(mkdir("m/plain", 0700));
    TRY(mount(NULL, "m/plain", NULL, MS_SHARED, NULL));
    uint64_t attributes[4] = {0, 0, MS_SHARED, 0};
    TRY(syscall(442, AT_FDCWD, "m", 0, attributes, sizeof attributes));
    show();
    attributes[2] = MS_SHARED | MS_SLAVE;
    TRY(syscall(442, AT_FDCWD, "m", 0, attributes, sizeof attributes));
}

static void peers(void) {
    folders((const char *const[]){"m", "n", "o", "p", NULL});
    TRY(mount("one", "m", "tmpfs", 0, NULL));
    TRY(mount(NULL, "m", NULL, MS_SHARED, NULL));
    folders((const char *const[]){"m/in", "m/in/deep", "m/other", NULL});
    TRY(mount("m", "n", NULL, MS_BIND, NULL));
    TRY(mount("m/in", "o", NULL, MS_BIND, NULL));
    show();
    TRY(mount("two", "m/in", "tmpfs", MS_NOSUID, NULL));
    show();
    put_file("m/in/file", "text");
    show_file("n/in/file");
    TRY(umount2("n/in", 0));
    show();
    TRY(mount("three", "o/deep", "tmpfs", 0, NULL));
    show();
    int fd = (int)MUST(open("n/in/deep", O_RDONLY));
    TRY(umount2("m/in/deep", 0));
    close(fd);
    TRY(umount2("m/in/deep", 0));
    show();
    // Moved to, and not away from.
    TRY(mount("four", "p", "tmpfs", 0, NULL));
    TRY(mount("p", "m/other", NULL, MS_MOVE, NULL));
    show();
    TRY(mount("m/other", "p", NULL, MS_MOVE, NULL));
    // Lazily, with what is on it.
    TRY(mkdir("n/other/x", 0700));
    TRY(mount("five", "n/other/x", "tmpfs", 0, NULL));
    show();
    TRY(umount2("m/other", 0));
    TRY(umount2("m/other", MNT_DETACH));
    show();
    TRY(umount2("m", 0));
    show();
}

static void slaves(void) {
    folders((const char *const[]){"m", "n", "o", "p", NULL});
    TRY(mount("one", "m", "tmpfs", 0, NULL));
    TRY(mount(NULL, "m", NULL, MS_SHARED, NULL));
    folders((const char *const[]){"m/in", "m/other", NULL});
    TRY(mount("m", "n", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "n", NULL, MS_SLAVE, NULL));
    TRY(mount("n", "o", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "o", NULL, MS_SHARED, NULL));
    TRY(mount("o", "p", NULL, MS_BIND, NULL));
    show();
    TRY(mount("two", "m/in", "tmpfs", 0, NULL));
    show();
    TRY(mount("three", "o/other", "tmpfs", 0, NULL));
    show();
    TRY(mount("four", "m/other", "tmpfs", 0, NULL));
    show();
    TRY(umount2("m/other", 0));
    show();
    TRY(umount2("n/in", 0));
    show();
    TRY(umount2("m/in", 0));
    show();
    TRY(umount2("m", 0));
    show();
}

static void trees(void) {
    folders((const char *const[]){"m", "n", "t", "u", NULL});
    TRY(mount("one", "m", "tmpfs", 0, NULL));
    TRY(mount(NULL, "m", NULL, MS_SHARED, NULL));
    folders((const char *const[]){"m/in", "m/other", NULL});
    TRY(mount("m", "n", NULL, MS_BIND, NULL));
    TRY(mount("tree", "t", "tmpfs", 0, NULL));
    folders((const char *const[]){"t/a", "t/b", NULL});
    TRY(mount("leaf", "t/a", "tmpfs", 0, NULL));
    TRY(mount("leaf", "t/b", "tmpfs", 0, NULL));
    TRY(mount(NULL, "t/b", NULL, MS_UNBINDABLE, NULL));
    TRY(mount("t", "m/in", NULL, MS_BIND | MS_REC, NULL));
    show();
    TRY(mount("t", "m/other", NULL, MS_MOVE, NULL));
    TRY(umount2("t/b", 0));
    TRY(mount("t", "m/other", NULL, MS_MOVE, NULL));
    show();
    TRY(mount(NULL, "m", NULL, MS_REC | MS_SLAVE, NULL));
    show();
    TRY(mount(NULL, "n", NULL, MS_REC | MS_PRIVATE, NULL));
    show();
    TRY(umount2("n", MNT_DETACH));
    show();
    // A mount on itself.
    TRY(mount("u", "u", NULL, MS_BIND, NULL));
    TRY(mount(NULL, "u", NULL, MS_SHARED, NULL));
    TRY(mount("u", "u", NULL, MS_BIND, NULL));
    show();
    TRY(umount2("u", 0));
    show();
    TRY(umount2("u", 0));
    show();
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    own_mounts();
    base = fresh_dir("/tmp");
    if (strcmp(part, "kinds") == 0)
        kinds();
    else if (strcmp(part, "peers") == 0)
        peers();
    else if (strcmp(part, "slaves") == 0)
        slaves();
    else if (strcmp(part, "trees") == 0)
        trees();
    umount2(base, MNT_DETACH);
    return 0;
}
