//@ run: list
//@ run: tell
//@ run: groups
//@ run: root
//@ run: errors
// What listmount and statmount say of mounts.
#include "mounts.h"
#include <stddef.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>

struct request {
    uint32_t size, ns_fd;
    uint64_t id, param, ns_id;
};

struct status {
    uint32_t size, options;
    uint64_t mask;
    uint32_t major, minor;
    uint64_t magic;
    uint32_t flags, type;
    uint64_t id, parent;
    uint32_t old_id, old_parent;
    uint64_t attributes, propagation, peers, master, from;
    uint32_t root, point;
    uint64_t ns_id;
    uint32_t subtype, source, option_count, option_array, label_count, label_array;
    uint64_t supported;
    uint32_t uid_count, uids, gid_count, gids;
    uint64_t spare[43];
    char text[4096];
};

enum { FIXED = offsetof(struct status, text) };
static struct status status;
static uint64_t ids[256];

static long list(uint64_t id, uint64_t after, size_t count, unsigned flags) {
    struct request request = {sizeof request, 0, id, after, 0};
    return syscall(458, &request, ids, count, flags);
}

static long tell(uint64_t id, uint64_t mask, size_t size) {
    struct request request = {sizeof request, 0, id, mask, 0};
    memset(&status, 0x55, sizeof status);
    return syscall(457, &request, &status, size, 0);
}

static uint64_t id_of(const char *path) {
    struct {
        uint32_t mask, rest[35];
        uint64_t mount_id, more[13];
    } result;
    MUST(syscall(SYS_statx, AT_FDCWD, path, 0, 0x4000, &result));
    return result.mount_id;
}

static const char *const places[] = {"a", "a/b", "a/c", "d", "d/b"};
enum { COUNT = sizeof places / sizeof *places };

// The place of a mount, without the numbers that the host decides.
static const char *place_of(uint64_t id) {
    for (int i = 0; i < COUNT; i++)
        if (id == id_of(places[i]))
            return places[i];
    return id == id_of(".") ? "." : "another";
}

static void show_list(const char *label, long count) {
    printf("%s: %s", label, count < 0 ? error_name(errno) : "");
    for (long i = 0; i < count; i++)
        printf(" %s", place_of(ids[i]));
    printf("\n");
}

// A tree of mounts in an empty directory.
static void make_mounts(void) {
    own_mounts();
    fresh_dir("/tmp");
    MUST(mkdir("a", 0700));
    MUST(mkdir("d", 0700));
    MUST(mount("first", "a", "tmpfs", MS_NOSUID | MS_NODEV, "size=1m,mode=700"));
    MUST(mkdir("a/b", 0700));
    MUST(mkdir("a/c", 0700));
    MUST(mkdir("a/plain", 0700));
    MUST(mkdir("a/plain/sub", 0700));
    MUST(mount("second", "a/b", "tmpfs", MS_RDONLY | MS_NOEXEC | MS_NOATIME, NULL));
    MUST(mount("a/plain/sub", "a/c", NULL, MS_BIND, NULL));
    MUST(mount("a", "d", NULL, MS_BIND, NULL));
    MUST(mount("a/b", "d/b", NULL, MS_BIND, NULL));
}

static void listing(void) {
    make_mounts();
    show_list("a", list(id_of("a"), 0, 256, 0));
    show_list("backwards", list(id_of("a"), 0, 256, 1));
    show_list("d", list(id_of("d"), 0, 256, 0));
    show_list("a/b", list(id_of("a/b"), 0, 256, 0));
    show_list("one", list(id_of("a"), 0, 1, 0));
    show_list("the next", list(id_of("a"), ids[0], 1, 0));
    show_list("after the last", list(id_of("a"), ids[0], 1, 0));
    show_list("before the last", list(id_of("a"), id_of("a/c"), 8, 1));
    show_list("none", list(id_of("a"), 0, 0, 0));
    long count = list(-1UL, 0, 256, 0);
    int found = 0, sorted = 1, has_root = 0;
    for (long i = 0; i < count; i++) {
        found += strcmp(place_of(ids[i]), "another") != 0 && ids[i] != id_of(".");
        has_root += ids[i] == id_of("/");
        sorted &= i == 0 || ids[i] > ids[i - 1];
    }
    printf("all: %d known, %d root, %s\n", found, has_root, sorted ? "in order" : "not in order");
    // By pages.
    long total = 0, got;
    for (uint64_t last = 0; (got = list(-1UL, last, 3, 0)) > 0; last = ids[got - 1])
        total += got;
    CHECK(total == count);
    MUST(umount("a/c"));
    show_list("unmounted", list(id_of("a"), 0, 256, 0));
}

static void show(const char *path, uint64_t mask) {
    char own[1024];
    getcwd(own, sizeof own);
    long result = tell(id_of(path), mask, sizeof status);
    printf("%s: %s mask %lx\n", path, result < 0 ? error_name(errno) : "0", (unsigned long)status.mask);
    if (status.mask & 1)
        printf("  magic %lx flags %x\n", (unsigned long)status.magic, status.flags);
    if (status.mask & 2)
        printf("  parent %s attributes %lx propagation %lx peers %d master %d, numbers %s\n", place_of(status.parent),
               (unsigned long)status.attributes, (unsigned long)status.propagation, status.peers != 0,
               status.master != 0,
               status.id == id_of(path) && status.old_id < 1U << 31 ? "right" : "wrong");
    if (status.mask & 8)
        printf("  root %s\n", status.text + status.root);
    if (status.mask & 16) {
        const char *point = status.text + status.point;
        printf("  point %s\n", strncmp(point, own, strlen(own)) == 0 ? point + strlen(own) : "elsewhere");
    }
    if (status.mask & 32)
        printf("  type %s\n", status.text + status.type);
    if (status.mask & 128)
        printf("  options %s\n", status.text + status.options);
    if (status.mask & 512)
        printf("  source %s\n", status.text + status.source);
    if (status.mask & 1024) {
        printf("  %u options:", status.option_count);
        const char *at = status.text + status.option_array;
        for (uint32_t i = 0; i < status.option_count; i++, at += strlen(at) + 1)
            printf(" %s", at);
        printf("\n");
    }
}

static void telling(void) {
    make_mounts();
    for (int i = 0; i < COUNT; i++)
        show(places[i], 0x2f3b);
    MUST(mount(NULL, "a", NULL, MS_REMOUNT | MS_BIND | MS_NOSYMFOLLOW | MS_NODIRATIME | MS_STRICTATIME, NULL));
    show("a", 0x2);
    show("d", 0x2);
    MUST(mount(NULL, "a", NULL, MS_REMOUNT | MS_RDONLY, "size=2m"));
    show("a", 0x483);
    show("d", 0x483);
    show("a/c", 0);
    show("a/c", 0x1000);
    CHECK((status.supported & 0x1fff) == 0x1fff);
    // What it does with little room.
    uint64_t id = id_of("a/c");
    TRY(tell(id, 0x20, FIXED));
    TRY(tell(id, 0x20, FIXED + 6));
    TRY(tell(id, 0x20, FIXED + 7));
    printf("size %u, type at %u: %s, behind it %x\n", status.size, status.type, status.text + status.type,
           status.text[7] & 0xff);
    TRY(tell(id, 0x2, 64));
    printf("size %u, mask %lx, parent %s, behind it %lx\n", status.size, (unsigned long)status.mask,
           place_of(status.parent), (unsigned long)status.attributes);
    TRY(tell(id, 0, 0));
    TRY(tell(id, 0x3, FIXED));
    printf("size %u\n", status.size);
    TRY(tell(id, 0x100, sizeof status));
    printf("size %u, mask %lx, text %x %x\n", status.size, (unsigned long)status.mask, status.text[0],
           status.text[1] & 0xff);
    TRY(tell(id, 0x38, sizeof status));
    printf("type at %u, root at %u, point at %u\n", status.type, status.root, status.point);
}

static void groups(void) {
    make_mounts();
    MUST(mount(NULL, "a", NULL, MS_SHARED, NULL));
    MUST(mkdir("d/e", 0700));
    MUST(mount("a", "d/e", NULL, MS_BIND, NULL));
    show("a", 0x6);
    uint64_t group = status.peers;
    show("d/e", 0x6);
    CHECK(status.peers == group);
    MUST(mount(NULL, "d/e", NULL, MS_SLAVE, NULL));
    show("d/e", 0x6);
    CHECK(status.master == group && status.peers == 0);
    CHECK(status.from == group);
    MUST(mount(NULL, "d/e", NULL, MS_SHARED, NULL));
    show("d/e", 0x6);
    MUST(mount(NULL, "a/b", NULL, MS_UNBINDABLE, NULL));
    show("a/b", 0x6);
}

static void roots(void) {
    make_mounts();
    uint64_t b = id_of("a/b"), d = id_of("d"), c = id_of("a/c");
    MUST(mkdir("a/plain/inside", 0700));
    MUST(mount("third", "a/plain/inside", "tmpfs", 0, NULL));
    uint64_t inside = id_of("a/plain/inside");
    MUST(chroot("a/plain"));
    MUST(chdir("/"));
    // The root is no mount's.
    long count = list(-1UL, 0, 256, 0);
    printf("%ld: %s\n", count, count == 1 && ids[0] == inside ? "inside" : "another");
    TRY(tell(b, 0x30, sizeof status));
    printf("mask %lx\n", (unsigned long)status.mask);
    TRY(tell(inside, 0x30, sizeof status));
    printf("mask %lx, point %s\n", (unsigned long)status.mask, status.text + status.point);
    TRY(list(d, 0, 256, 0));
    MUST(setuid(1000));
    TRY(tell(b, 0x30, sizeof status));
    TRY(tell(inside, 0x30, sizeof status));
    TRY(list(d, 0, 256, 0));
    TRY(list(c, 0, 256, 0));
    TRY(list(inside, 0, 256, 0));
    TRY(list(-1UL, 0, 256, 0));
}

static long ask(long number, struct request request, void *to, size_t size, unsigned flags) {
    return syscall(number, &request, to, size, flags);
}

static void errors(void) {
    char page[8192] = {0};
    make_mounts();
    uint64_t id = id_of("a");
    struct request good = {32, 0, id, 0, 0}, request;
    for (int number = 457; number <= 458; number++) {
        printf("%s\n", number == 457 ? "statmount" : "listmount");
        TRY(ask(number, good, page, 1024, 0));
        TRY(ask(number, good, page, 1024, 2));
        TRY(ask(number, good, page, 1024, 1));
        TRY(syscall(number, 8, page, 1024, 0));
        TRY(ask(number, good, (void *)8, 8, 0));
        TRY(ask(number, good, (void *)-4096L, 8, 0));
        TRY(ask(number, good, page, 1000001, 0));
        TRY(ask(number, good, (void *)0x7ffffffff000, 1024, 0));
        for (uint32_t size = 0; size <= 48; size += 8) {
            request = good, request.size = size;
            printf("size %u: ", size);
            TRY(ask(number, request, page, 256, 0));
        }
        request = good, request.size = 5000;
        TRY(ask(number, request, page, 256, 0));
        memset(page, 0, sizeof page);
        memcpy(page, &good, sizeof good);
        ((struct request *)page)->size = 40;
        TRY(syscall(number, page, page + 4096, 256, 0));
        page[39] = 1;
        TRY(syscall(number, page, page + 4096, 256, 0));
        request = good, request.id = 0;
        TRY(ask(number, request, page, 256, 0));
        request = good, request.id = 1UL << 31;
        TRY(ask(number, request, page, 256, 0));
        request = good, request.id = (1UL << 31) + 1000000;
        TRY(ask(number, request, page, 256, 0));
        request = good, request.id = -1UL;
        TRY(ask(number, request, page, 256, 0) >= 0);
        request = good, request.param = 1;
        TRY(ask(number, request, page, 256, 0));
        request = good, request.param = 1UL << 40;
        TRY(ask(number, request, page, 1024, 0));
        // The namespace.
        int ns = (int)MUST(open("/proc/self/ns/mnt", O_RDONLY)), other = (int)MUST(open("/proc/self/ns/uts", O_RDONLY));
        int file = (int)MUST(open("/", O_RDONLY));
        uint64_t ns_id = 0, another = 0;
        TRY(ioctl(ns, _IOR(0xb7, 5, uint64_t), &ns_id));
        TRY(ioctl(ns, _IOR(0xb7, 13, uint64_t), &another));
        CHECK(ns_id == another && ns_id != 0);
        TRY(ioctl(other, _IOR(0xb7, 5, uint64_t), &another));
        TRY(ioctl(other, _IOR(0xb7, 13, uint64_t), &another));
        CHECK(ns_id != another);
        request = good, request.ns_id = ns_id;
        TRY(ask(number, request, page, 1024, 0));
        request.ns_fd = ns;
        TRY(ask(number, request, page, 1024, 0));
        request.ns_id = 0;
        TRY(ask(number, request, page, 1024, 0));
        request.ns_fd = other;
        TRY(ask(number, request, page, 1024, 0));
        request.ns_fd = file;
        TRY(ask(number, request, page, 1024, 0));
        request.ns_fd = 9999;
        TRY(ask(number, request, page, 1024, 0));
        request = good, request.ns_id = 1UL << 50;
        TRY(ask(number, request, page, 1024, 0));
    }
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    if (strcmp(part, "list") == 0)
        listing();
    else if (strcmp(part, "tell") == 0)
        telling();
    else if (strcmp(part, "groups") == 0)
        groups();
    else if (strcmp(part, "root") == 0)
        roots();
    else if (strcmp(part, "errors") == 0)
        errors();
    return 0;
}
