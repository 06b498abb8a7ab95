// O_DIRECT on the file systems of two disks: what is refused, where files end, holes, and that direct and buffered transfers, mappings
// and the disk agree. Linux prints the same.
#include "../binaries/observe.h"
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define SECTOR 512
#define ROUNDS 40
#define SECTORS 64

static char *room, *other;
static const char *at, *disk;

static int make(const char *name, int flags)
{
	char path[100];

	snprintf(path, sizeof path, "%s/%s", at, name);
	int fd = open(path, O_RDWR | O_CREAT | flags, 0644);
	if (fd < 0)
		printf("%s: %s\n", path, strerror(errno));
	return fd;
}

static long size_of(int fd)
{
	struct stat found;

	return fstat(fd, &found) ? -1 : found.st_size;
}

static int is_all(const char *bytes, size_t len, char byte)
{
	for (size_t i = 0; i < len; i++)
		if (bytes[i] != byte)
			return 0;
	return 1;
}

// Whether the disk itself has these bytes somewhere.
static int is_on_disk(const char *marker)
{
	enum { STEP = 65536 };
	static char *piece;
	int fd = open(disk, O_RDONLY | O_DIRECT), found = 0;
	long got;

	if (!piece && posix_memalign((void **)&piece, PAGE, STEP))
		abort();
	while (!found && (got = read(fd, piece, STEP)) > 0)
		for (long at = 0; at < got; at += SECTOR)
			found |= !strcmp(piece + at, marker);
	close(fd);
	return found;
}

static void refused(void)
{
	int fd = make("refused", O_DIRECT);
	struct iovec odd[2] = {{room, SECTOR}, {other, 100}}, right[2] = {{room, SECTOR}, {other, 2 * SECTOR}};

	memset(room, 'r', PAGE);
	TRY(pwrite(fd, room, PAGE, 0));
	TRY(pwrite(fd, room + 1, SECTOR, 0));
	TRY(pwrite(fd, room, SECTOR - 1, 0));
	TRY(pwrite(fd, room, SECTOR, 100));
	TRY(pwrite(fd, room, SECTOR, SECTOR));
	TRY(pwrite(fd, room + SECTOR, SECTOR, 3 * SECTOR));
	TRY(pread(fd, room + 1, SECTOR, 0));
	TRY(pread(fd, room, SECTOR - 1, 0));
	TRY(pread(fd, room, SECTOR, 100));
	TRY(pread(fd, room, 0, 100));
	TRY(pwrite(fd, room, 0, 100));
	TRY(preadv(fd, odd, 2, 0));
	TRY(preadv(fd, right, 2, 0));
	TRY(pwritev(fd, odd, 2, 0));
	TRY(pwritev(fd, right, 2, SECTOR));
	TRY(lseek(fd, 100, SEEK_SET));
	TRY(read(fd, room, SECTOR));
	TRY(fcntl(fd, F_SETFL, 0));
	TRY(read(fd, room, SECTOR));
	TRY(fcntl(fd, F_SETFL, O_DIRECT));
	TRY(read(fd, room, SECTOR));
	TRY(size_of(fd));
	close(fd);
}

static void ends(void)
{
	int fd = make("ends", 0), direct = make("ends", O_DIRECT);

	memset(room, 'e', PAGE);
	TRY(write(fd, room, 1000));
	memset(room, '?', 2 * PAGE);
	TRY(pread(direct, room, PAGE, 0));
	printf("%d\n", is_all(room, 1000, 'e'));
	TRY(pread(direct, room, SECTOR, 0));
	TRY(pread(direct, room, SECTOR, SECTOR));
	TRY(pread(direct, room, SECTOR, 2 * SECTOR));
	TRY(pread(direct, room, SECTOR, 100 * SECTOR));
	TRY(pread(direct, room, SECTOR, 1000));
	TRY(pread(direct, room + 1, SECTOR, PAGE));
	// A sector with the end in it is replaced, and the file is longer.
	memset(room, 'E', SECTOR);
	TRY(pwrite(direct, room, SECTOR, SECTOR));
	TRY(size_of(fd));
	// Behind the end, and far behind it.
	TRY(pwrite(direct, room, SECTOR, 8 * SECTOR));
	TRY(pwrite(direct, room, SECTOR, 1 << 20));
	TRY(size_of(fd));
	TRY(pread(fd, room, PAGE, 2 * SECTOR));
	printf("%d\n", is_all(room, 6 * SECTOR, 0));
	memset(room, '?', PAGE);
	TRY(pread(direct, room, PAGE, 65536));
	printf("%d\n", is_all(room, PAGE, 0));
	TRY(ftruncate(fd, 1234));
	TRY(pread(direct, room, PAGE, 0));
	TRY(ftruncate(fd, 5000));
	TRY(pread(direct, room, PAGE, PAGE));
	printf("%d\n", is_all(room, 5000 - PAGE, 0));
	TRY(pread(direct, room, PAGE, 0));
	printf("%d%d\n", is_all(room + 1024, 1234 - 1024, 0), is_all(room + 1234, PAGE - 1234, 0));
	close(fd);
	close(direct);
}

// A hole in the middle, and what is written into it.
static void holes(void)
{
	int fd = make("holes", O_DIRECT);

	TRY(ftruncate(fd, 1 << 20));
	memset(room, '?', 2 * PAGE);
	TRY(pread(fd, room, 2 * PAGE, 300 * SECTOR));
	printf("%d\n", is_all(room, 2 * PAGE, 0));
	memset(room, 'h', SECTOR);
	TRY(pwrite(fd, room, SECTOR, 301 * SECTOR));
	TRY(pread(fd, room, 2 * PAGE, 300 * SECTOR));
	printf("%d%d%d\n", is_all(room, SECTOR, 0), is_all(room + SECTOR, SECTOR, 'h'),
	       is_all(room + 2 * SECTOR, 2 * PAGE - 2 * SECTOR, 0));
	close(fd);
}

// What is stored, written and read by one way shows by the others.
static void agree(void)
{
	int fd = make("agree", 0), direct = make("agree", O_DIRECT), wrong = 0;
	char *map;

	memset(room, '.', 4 * PAGE);
	TRY(write(fd, room, 4 * PAGE));
	map = mmap(NULL, 4 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (int round = 0; round < ROUNDS; round++) {
		char mark = (char)('A' + round % 26);
		// Each by another way, into sectors of the same page.
		memset(map + PAGE, mark, 100);
		memset(other, mark, SECTOR);
		wrong += pwrite(fd, other, 100, PAGE + SECTOR) != 100;
		wrong += pwrite(direct, other, SECTOR, PAGE + 2 * SECTOR) != SECTOR;
		wrong += !is_all(map + PAGE + SECTOR, 100, mark) || !is_all(map + PAGE + 2 * SECTOR, SECTOR, mark);
		wrong += pread(direct, room, PAGE, PAGE) != PAGE;
		wrong += !is_all(room, 100, mark) || !is_all(room + SECTOR, 100, mark) || !is_all(room + 2 * SECTOR, SECTOR, mark);
		wrong += !is_all(room + 100, SECTOR - 100, '.') || !is_all(room + 3 * SECTOR, SECTOR, '.');
		wrong += pread(fd, room, PAGE, PAGE) != PAGE;
		wrong += !is_all(room, 100, mark) || !is_all(room + 2 * SECTOR, SECTOR, mark);
	}
	// From and to the mapping of the file itself.
	memset(map, 'm', PAGE);
	TRY(pwrite(direct, map, PAGE, 2 * PAGE));
	TRY(pread(direct, map + 3 * PAGE, PAGE, 2 * PAGE));
	wrong += !is_all(map + 2 * PAGE, 2 * PAGE, 'm');
	printf("wrong %d\n", wrong);
	munmap(map, 4 * PAGE);
	close(fd);
	close(direct);
}

static void *write_direct(void *unused)
{
	int fd = make("both", O_DIRECT);

	(void)unused;
	for (int number = 0; number < ROUNDS; number++)
		for (int sector = 0; sector < SECTORS; sector += 2) {
			memset(other, 'a' + (number + sector) % 26, SECTOR);
			if (pwrite(fd, other, SECTOR, sector * SECTOR) != SECTOR)
				printf("a direct write failed\n");
		}
	close(fd);
	return NULL;
}

// Two writers have every other sector each: none is lost.
static void both(void)
{
	int fd = make("both", 0), wrong = 0;
	char bytes[SECTOR];
	pthread_t thread;

	pthread_create(&thread, NULL, write_direct, NULL);
	for (int number = 0; number < ROUNDS; number++)
		for (int sector = 1; sector < SECTORS; sector += 2) {
			memset(bytes, 'A' + (number + sector) % 26, SECTOR);
			if (pwrite(fd, bytes, SECTOR, sector * SECTOR) != SECTOR)
				printf("a write failed\n");
		}
	pthread_join(thread, NULL);
	for (int sector = 0; sector < SECTORS; sector++) {
		char wanted = (char)((sector % 2 ? 'A' : 'a') + (ROUNDS - 1 + sector) % 26);
		wrong += pread(fd, bytes, SECTOR, sector * SECTOR) != SECTOR || !is_all(bytes, SECTOR, wanted);
	}
	printf("wrong %d, size %ld\n", wrong, size_of(fd));
	close(fd);
}

static void appended(void)
{
	int fd = make("appended", O_DIRECT | O_APPEND);

	memset(room, 'x', PAGE);
	TRY(write(fd, room, PAGE));
	TRY(pwrite(fd, room, SECTOR, 0));
	TRY(size_of(fd));
	TRY(ftruncate(fd, PAGE + 100));
	TRY(size_of(fd));
	close(fd);
}

// What a direct write has written is on the disk when it returns.
static void reaches(void)
{
	int fd = make("reaches", O_DIRECT | O_SYNC), plain = make("reaches", O_DIRECT);

	printf("before: %d\n", is_on_disk("the first marker of this test"));
	memset(room, 0, PAGE);
	strcpy(room, "the first marker of this test");
	TRY(pwrite(fd, room, PAGE, 0));
	printf("synchronous: %d\n", is_on_disk(room));
	strcpy(room, "the second marker of this test");
	TRY(pwrite(plain, room, SECTOR, SECTOR));
	printf("direct: %d\n", is_on_disk(room));
	strcpy(room, "the third marker of this test");
	TRY(pwrite(plain, room, PAGE, PAGE));
	printf("longer: %d\n", is_on_disk(room));
	TRY(close(fd));
	TRY(close(plain));
}

static long major_faults(void)
{
	struct rusage usage;

	return getrusage(RUSAGE_SELF, &usage) ? -1 : usage.ru_majflt;
}

// A page that is read from the disk for a mapping is a major fault, one that is in memory none.
static void faults(void)
{
	int fd = make("agree", 0);
	long before;

	for (int round = 0; round < 2; round++) {
		volatile char *map = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
		if (!round)
			TRY(fsync(fd) | posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
		before = major_faults();
		(void)map[0];
		printf("major faults: %ld\n", major_faults() - before);
		munmap((void *)map, PAGE);
	}
	close(fd);
}

static long read_at_hand(int fd, char *to, size_t len, off_t from)
{
	struct iovec vector = {to, len};

	return syscall(SYS_preadv2, fd, &vector, 1, from, 0L, 8);
}

static long write_at_hand(int fd, size_t len, off_t to)
{
	struct iovec vector = {room, len};

	return syscall(SYS_pwritev2, fd, &vector, 1, to, 0L, 8);
}

// RWF_NOWAIT: what is in memory, and nothing that would have to be waited for. FAT does not take it.
static void at_hand(void)
{
	int fd = make("at hand", 0), direct = make("at hand", O_DIRECT), device = open(disk, O_RDONLY);

	memset(room, 'h', 4 * PAGE);
	TRY(write(fd, room, 4 * PAGE));
	TRY(read_at_hand(fd, room, PAGE, 0));
	TRY(read_at_hand(fd, room, 4 * PAGE, 2 * PAGE));
	TRY(read_at_hand(fd, room, PAGE, 4 * PAGE));
	TRY(read_at_hand(fd, room, 0, 0));
	TRY(lseek(fd, PAGE, SEEK_SET));
	TRY(read_at_hand(fd, room, 100, -1));
	TRY(lseek(fd, 0, SEEK_CUR));
	TRY(write_at_hand(fd, PAGE, 0));
	TRY(write_at_hand(fd, 0, 0));
	TRY(write_at_hand(fd, PAGE, 100 * PAGE));
	TRY(write_at_hand(direct, PAGE, 0));
	TRY(write_at_hand(direct, PAGE, 100 * PAGE));
	TRY(size_of(fd));
	TRY(fsync(fd) | posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED));
	TRY(read_at_hand(fd, room, PAGE, 0));
	TRY(pread(fd, room, PAGE, 0));
	TRY(read_at_hand(fd, room, 100, PAGE - 100));
	memset(room, 0, PAGE);
	TRY(read_at_hand(direct, room, PAGE, 0));
	printf("%d\n", is_all(room, PAGE, 'h'));
	TRY(posix_fadvise(device, 0, 0, POSIX_FADV_DONTNEED));
	TRY(read_at_hand(device, room, PAGE, 0));
	TRY(pread(device, room, PAGE, 0));
	TRY(read_at_hand(device, room, PAGE, 0));
	close(fd);
	close(direct);
	close(device);
}

static void use(const char *place, const char *device)
{
	at = place;
	disk = device;
	refused();
	ends();
	holes();
	agree();
	both();
	appended();
	reaches();
	faults();
	at_hand();
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	if (posix_memalign((void **)&room, PAGE, 4 * PAGE) || posix_memalign((void **)&other, PAGE, PAGE))
		return 1;
	use("/ext", "/dev/vda");
	use("/fat", "/dev/vdb");
	return 0;
}
