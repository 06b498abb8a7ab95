//@ run: pages
//@ run: short
//@ run: fifo
//@ run: copies
// Pages between files and pipes: what is shared, how much goes at once, pipes with a name, and large copies.
#include "observe.h"
#include <sys/sendfile.h>

static char big[300000], got[300000];

static long splice_to(int in, long *in_offset, int out, long *out_offset, size_t len, unsigned flags) {
    return syscall(SYS_splice, in, in_offset, out, out_offset, len, flags);
}

static int make_file(const char *path, size_t len) {
    int fd = (int)MUST(open(path, O_RDWR | O_CREAT | O_TRUNC, 0600));
    MUST(write(fd, big, len));
    MUST(lseek(fd, 0, SEEK_SET));
    return fd;
}

static size_t read_all(int fd) {
    size_t done = 0;
    long count;
    while (done < sizeof got && (count = read(fd, got + done, sizeof got - done)) > 0)
        done += (size_t)count;
    return done;
}

// A pipe has the pages of the file, not copies.
static void pages(void) {
    int p[2], q[2];
    char text[16] = "";
    MUST(pipe(p));
    MUST(pipe(q));
    int fd = make_file("f", 10000);
    long offset = 4000;
    TRY(splice_to(fd, &offset, p[1], NULL, 200, 0));
    MUST(pwrite(fd, "later", 5, 4050));
    MUST(pwrite(fd, "other", 5, 4150));
    TRY(syscall(SYS_tee, p[0], q[1], 1000, 0));
    TRY(read(p[0], got, 1000));
    CHECK(memcmp(got, big + 4000, 50) == 0 && memcmp(got + 50, "later", 5) == 0);
    CHECK(memcmp(got + 150, "other", 5) == 0 && memcmp(got + 155, big + 4155, 45) == 0);
    MUST(pwrite(fd, "again", 5, 4050));
    TRY(read(q[0], got, 1000));
    print_bytes("teed", got + 50, 5);
    // What is appended to the pipe does not get into the file.
    offset = 0;
    TRY(splice_to(fd, &offset, p[1], NULL, 10, 0));
    MUST(write(p[1], "appended", 8));
    TRY(read(p[0], got, 1000));
    CHECK(memcmp(got + 10, "appended", 8) == 0);
    TRY(pread(fd, text, 8, 10));
    CHECK(memcmp(text, big + 10, 8) == 0);
    // A copy is a copy.
    MUST(lseek(fd, 0, SEEK_SET));
    int other = (int)MUST(open("g", O_RDWR | O_CREAT, 0600));
    TRY(syscall(SYS_copy_file_range, fd, NULL, other, NULL, 10000, 0));
    MUST(pwrite(fd, "changed", 7, 100));
    TRY(pread(other, text, 7, 100));
    CHECK(memcmp(text, big + 100, 7) == 0);
    // A page that was cut off the file is still in the pipe.
    offset = 8192;
    TRY(splice_to(fd, &offset, p[1], NULL, 100, 0));
    MUST(ftruncate(fd, 0));
    TRY(read(p[0], got, 1000));
    CHECK(memcmp(got, big + 8192, 100) == 0);
    // Holes.
    MUST(ftruncate(fd, 3 * 4096));
    struct stat status;
    offset = 4090;
    TRY(splice_to(fd, &offset, p[1], NULL, 20, 0));
    TRY(read(p[0], got, 1000));
    CHECK(got[0] == 0 && got[19] == 0);
    MUST(fstat(fd, &status));
    printf("%ld blocks\n", (long)status.st_blocks);
}

// A pipe takes as many pages as it has room for.
static void short_moves(void) {
    int p[2], q[2];
    MUST(pipe2(p, O_NONBLOCK));
    MUST(pipe(q));
    int fd = make_file("f", sizeof big);
    TRY(splice_to(fd, NULL, p[1], NULL, sizeof big, 0));
    TRY(splice_to(fd, NULL, p[1], NULL, sizeof big, 0));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(sendfile(p[1], fd, NULL, 1));
    TRY(read(p[0], got, 5000));
    TRY(sendfile(p[1], fd, NULL, 100000));
    TRY(lseek(fd, 0, SEEK_CUR));
    CHECK(read_all(p[0]) == 69632 - 5000 && memcmp(got, big + 5000, 69632 - 5000) == 0);
    // A part of a page takes a place, too.
    off_t offset = 100;
    TRY(sendfile(p[1], fd, &offset, 100000));
    printf("%ld\n", (long)offset);
    TRY(read(p[0], got, 65536));
    TRY(sendfile(q[1], fd, NULL, 200000));
    TRY(fcntl(q[1], F_SETPIPE_SZ, 1 << 20));
    TRY(sendfile(q[1], fd, NULL, 1000000));
    TRY(sendfile(q[1], fd, NULL, 1000000));
    TRY(splice_to(q[0], NULL, p[1], NULL, 1 << 20, 0));
    TRY(read(p[0], got, 65536));
}

// A pipe with a name is one, too.
static void fifo(void) {
    MUST(mkfifo("fifo", 0600));
    int file = make_file("f", 100), end = (int)MUST(open("fifo", O_RDWR | O_NONBLOCK)), p[2];
    MUST(pipe2(p, O_NONBLOCK));
    TRY(splice_to(file, NULL, end, NULL, 50, 0));
    TRY(splice_to(end, NULL, p[1], NULL, 20, 0));
    TRY(syscall(SYS_tee, end, p[1], 10, 0));
    TRY(splice_to(end, NULL, end, NULL, 10, 0));
    TRY(read(p[0], got, 100));
    CHECK(memcmp(got, big, 20) == 0 && memcmp(got + 20, big + 20, 10) == 0);
    struct iovec vector = {(void *)"memory", 6};
    TRY(syscall(SYS_vmsplice, end, &vector, 1, 0));
    TRY(read(end, got, 100));
    TRY(sendfile(end, file, NULL, 100));
    long offset = 0;
    TRY(splice_to(end, &offset, p[1], NULL, 20, 0));
}

static void copies(void) {
    int p[2], in = make_file("in", sizeof big), out = (int)MUST(open("out", O_RDWR | O_CREAT, 0600));
    MUST(pipe2(p, O_NONBLOCK));
    long from = 3, to = 5000;
    TRY(syscall(SYS_copy_file_range, in, &from, out, &to, 250000, 0));
    printf("%ld %ld\n", from, to);
    TRY(pread(out, got, sizeof got, 5000));
    CHECK(memcmp(got, big + 3, 250000) == 0);
    // Within a file, and behind its end.
    from = 10, to = 299990;
    TRY(syscall(SYS_copy_file_range, in, &from, in, &to, 100000, 0));
    TRY(lseek(in, 0, SEEK_END));
    TRY(pread(in, got, 100000, 299990));
    CHECK(memcmp(got, big + 10, 100000) == 0);
    from = 500000;
    TRY(syscall(SYS_copy_file_range, in, &from, out, NULL, 10, 0));
    // By sendfile, and through a pipe.
    MUST(lseek(in, 0, SEEK_SET));
    MUST(ftruncate(out, 0));
    MUST(lseek(out, 0, SEEK_SET));
    TRY(sendfile(out, in, NULL, 123456));
    printf("%ld %ld\n", (long)lseek(in, 0, SEEK_CUR), (long)lseek(out, 0, SEEK_CUR));
    size_t total = 0;
    for (long count; (count = MUST(splice_to(in, NULL, p[1], NULL, 50000, 0))) > 0;)
        while (count > 0) {
            long part = MUST(splice_to(p[0], NULL, out, NULL, (size_t)count, 0));
            count -= part;
            total += (size_t)part;
        }
    printf("%zu\n", total);
    MUST(lseek(in, 0, SEEK_SET));
    MUST(lseek(out, 0, SEEK_SET));
    static char one[65536], two[65536];
    long len, count = 0;
    while ((len = MUST(read(in, one, sizeof one))) > 0) {
        EXPECT(read(out, two, (size_t)len) == len && memcmp(one, two, (size_t)len) == 0);
        count += len;
    }
    printf("%ld alike\n", count);
    // A file that is not of pages.
    int proc = (int)MUST(open("/proc/filesystems", O_RDONLY));
    MUST(ftruncate(out, 0));
    MUST(lseek(out, 0, SEEK_SET));
    CHECK(sendfile(out, proc, NULL, 1000) > 50);
    MUST(lseek(proc, 0, SEEK_SET));
    CHECK(splice_to(proc, NULL, p[1], NULL, 1000, 0) > 50);
    CHECK(read(p[0], got, 1000) > 50);
    int zero = (int)MUST(open("/dev/zero", O_RDONLY));
    TRY(splice_to(zero, NULL, p[1], NULL, 10000, 0));
    TRY(read(p[0], got, 20000));
}

int main(int argc, char **argv) {
    const char *part = argc > 1 ? argv[1] : "";
    for (size_t i = 0; i < sizeof big; i++)
        big[i] = (char)(i * 7 / 3 + i / 4096);
    fresh_dir("/dev/shm");
    if (strcmp(part, "pages") == 0)
        pages();
    else if (strcmp(part, "short") == 0)
        short_moves();
    else if (strcmp(part, "fifo") == 0)
        fifo();
    else if (strcmp(part, "copies") == 0)
        copies();
    return 0;
}
