// Raw disks: names, sizes, reads and writes that come back and reach the host, the end of a disk, mappings, failures.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BLKROGET 0x125e
#define BLKRRPART 0x125f
#define BLKGETSIZE 0x1260
#define BLKFLSBUF 0x1261
#define BLKSECTGET 0x1267
#define BLKSSZGET 0x1268
#define BLKDISCARD 0x1277
#define BLKIOMIN 0x1278
#define BLKIOOPT 0x1279
#define BLKPBSZGET 0x127b
#define BLKROTATIONAL 0x127e
#define BLKZEROOUT 0x127f
#define BLKBSZGET 0x80081270
#define BLKGETSIZE64 0x80081272
#define CHUNK 65536
#define CHUNKS 128

static const char *answer(long result)
{
	if (result >= 0)
		return "done";
	switch (errno) {
	case EACCES: return "EACCES";
	case EBUSY: return "EBUSY";
	case EINVAL: return "EINVAL";
	case ENOENT: return "ENOENT";
	case ENOSPC: return "ENOSPC";
	default: return strerror(errno);
	}
}

static void describe(const char *path)
{
	struct stat stat_of;
	uint64_t len = 0;
	int block = 0, read_only = -1, fd = open(path, O_RDONLY);

	if (stat(path, &stat_of) || fd < 0) {
		printf("%s: %s\n", path, answer(-1));
		return;
	}
	ioctl(fd, BLKGETSIZE64, &len);
	ioctl(fd, BLKSSZGET, &block);
	ioctl(fd, BLKROGET, &read_only);
	printf("%s: %s %d, %llu bytes, blocks of %d, read only %d\n", path, S_ISBLK(stat_of.st_mode) ? "block" : "other",
	       (int)minor(stat_of.st_rdev), (unsigned long long)len, block, read_only);
	unsigned least = 9, best = 9, physical = 9, cached = 9;
	unsigned short rotates = 9, most = 0;
	unsigned long sectors = 0;
	long answers = ioctl(fd, BLKIOMIN, &least) | ioctl(fd, BLKIOOPT, &best) | ioctl(fd, BLKPBSZGET, &physical) |
		       ioctl(fd, BLKBSZGET, &cached) | ioctl(fd, BLKROTATIONAL, &rotates) | ioctl(fd, BLKSECTGET, &most) |
		       ioctl(fd, BLKGETSIZE, &sectors);
	printf("  %ld: %lu sectors, transfers of %u, best %u, blocks of %u, %u in the cache, rotates %u, a most %d\n", answers,
	       sectors, least, best, physical, cached, rotates, most >= 8);
	close(fd);
}

static void show(const char *path)
{
	char text[512];
	int fd = open(path, O_RDONLY);
	long len = read(fd, text, sizeof text);

	if (len > 0)
		fwrite(text, 1, len, stdout);
	close(fd);
}

static void fill(char *chunk, int number)
{
	for (int i = 0; i < CHUNK; i++)
		chunk[i] = (char)(number * 31 + i / 512);
}

static int differ(int fd, long base)
{
	static char wanted[CHUNK], found[CHUNK];
	int wrong = 0;

	for (int number = 0; number < CHUNKS; number++) {
		fill(wanted, number);
		if (pread(fd, found, CHUNK, base + (long)number * CHUNK) != CHUNK || memcmp(wanted, found, CHUNK))
			wrong++;
	}
	return wrong;
}

int main(void)
{
	static char chunk[CHUNK];
	const long base = 1 << 20;

	describe("/dev/vda");
	describe("/dev/vda1");
	describe("/dev/vda2");
	describe("/dev/vda5");
	describe("/dev/vdb");
	describe("/dev/vdc");
	printf("read only: %s\n", answer(open("/dev/vdb", O_RDWR)));

	int fd = open("/dev/vda", O_RDWR);
	for (int number = 0; number < CHUNKS; number++) {
		fill(chunk, number);
		if (pwrite(fd, chunk, CHUNK, base + (long)number * CHUNK) != CHUNK)
			printf("write %d: %s\n", number, answer(-1));
	}
	printf("fsync: %s\n", answer(fsync(fd)));
	printf("flush: %s\n", answer(ioctl(fd, BLKFLSBUF)));
	printf("wrong: %d\n", differ(fd, base));

	uint64_t range[2] = { base, 4096 }, outside[2] = { 0, 1ull << 40 }, uneven[2] = { 1, 512 };
	printf("zeroes: %s\n", answer(ioctl(fd, BLKZEROOUT, range)));
	printf("outside: %s\n", answer(ioctl(fd, BLKZEROOUT, outside)));
	printf("uneven: %s\n", answer(ioctl(fd, BLKZEROOUT, uneven)));
	printf("discard: %s\n", answer(ioctl(fd, BLKDISCARD, range)));

	printf("end: %ld\n", (long)lseek(fd, 0, SEEK_END));
	printf("read at the end: %ld\n", (long)read(fd, chunk, 1));
	printf("write at the end: %s\n", answer(write(fd, chunk, 1)));
	printf("beyond: %s\n", answer(lseek(fd, 1, SEEK_END)));
	printf("last bytes: %ld\n", (long)pwrite(fd, "end", 4, lseek(fd, 0, SEEK_END) - 3));

	// A partition is the same bytes by another name.
	int part = open("/dev/vda1", O_RDWR);
	char *mapped = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, part, 0);
	strcpy(mapped, "first");
	printf("msync: %s\n", answer(msync(mapped, 4096, MS_SYNC)));
	strcpy(mapped + 100, "second");
	printf("fsync: %s\n", answer(fsync(part)));
	printf("fsync: %s\n", answer(fsync(fd)));

	// Another table: the first partition as it is, the second gone, a third.
	unsigned char table[512] = { 0 };
	const uint32_t parts[2][2] = { { 20480, 2048 }, { 22528, 1000 } };
	for (int i = 0; i < 2; i++) {
		unsigned char *entry = table + 446 + 32 * i;
		entry[4] = 0x83;
		memcpy(entry + 8, parts[i], 8);
	}
	table[510] = 0x55;
	table[511] = 0xaa;
	printf("table: %ld\n", (long)pwrite(fd, table, sizeof table, 0));
	printf("of a partition: %s\n", answer(ioctl(part, BLKRRPART)));
	printf("mapped: %s\n", answer(ioctl(fd, BLKRRPART)));
	close(part);
	printf("still mapped: %s\n", answer(ioctl(fd, BLKRRPART)));
	munmap(mapped, 4096);
	printf("read again: %s\n", answer(ioctl(fd, BLKRRPART)));
	describe("/dev/vda1");
	describe("/dev/vda2");
	describe("/dev/vda3");
	show("/proc/partitions");
	if (setresuid(1000, 1000, 1000))
		return 1;
	printf("nobody: %s\n", answer(ioctl(fd, BLKRRPART)));
	return 0;
}
