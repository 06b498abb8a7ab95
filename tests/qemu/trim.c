// FITRIM: who may ask, what is refused, and how much is told; files stay as they are.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#define FITRIM 0xc0185879
#define LEN 700000

struct fstrim_range {
	uint64_t start, len, minlen;
};

static const char *answer(long result)
{
	if (result >= 0)
		return "done";
	switch (errno) {
	case EFAULT: return "EFAULT";
	case EINVAL: return "EINVAL";
	case ENOTTY: return "ENOTTY";
	case EPERM: return "EPERM";
	default: return strerror(errno);
	}
}

static const char *trim(const char *path, uint64_t start, uint64_t len, uint64_t min, uint64_t *trimmed)
{
	struct fstrim_range range = { start, len, min };
	int fd = open(path, O_RDONLY);
	const char *said = answer(ioctl(fd, FITRIM, &range));

	*trimmed = range.len;
	close(fd);
	return said;
}

static int is_whole(const char *path, int value)
{
	static char bytes[LEN];
	int fd = open(path, O_RDONLY), wrong = read(fd, bytes, LEN) != LEN;

	for (int i = 0; i < LEN; i++)
		wrong |= bytes[i] != (char)value;
	close(fd);
	return !wrong;
}

static long discards(const char *disk)
{
	char path[64], text[256] = "";

	snprintf(path, sizeof path, "/sys/block/%s/stat", disk);
	int fd = open(path, O_RDONLY);
	if (read(fd, text, sizeof text - 1) < 0)
		return -1;
	close(fd);
	long figures[15] = { 0 };
	char *at = text;
	for (int i = 0; i < 15; i++)
		figures[i] = strtol(at, &at, 10);
	return figures[13];
}

static void use(const char *directory, const char *disk)
{
	static char bytes[LEN];
	char path[64];
	uint64_t trimmed, all;
	struct statfs statistics;

	for (int i = 0; i < 8; i++) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		int fd = open(path, O_RDWR | O_CREAT, 0644);
		memset(bytes, i, LEN);
		if (write(fd, bytes, LEN) != LEN)
			printf("write: %s\n", answer(-1));
		close(fd);
	}
	sync();
	for (int i = 0; i < 8; i += 2) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		unlink(path);
	}
	sync();
	statfs(directory, &statistics);
	printf("%s: %s", directory, trim(directory, 0, UINT64_MAX, 0, &all));
	printf(", all that is free %d", all == statistics.f_bfree * statistics.f_bsize);
	printf(", so much was discarded %d\n", (uint64_t)discards(disk) * 512 == all);
	snprintf(path, sizeof path, "%s/1", directory);
	printf("by a file: %s", trim(path, 0, 4 << 20, 0, &trimmed));
	printf(", less %d\n", trimmed > 0 && trimmed < all);
	printf("nothing: %s\n", trim(directory, 0, 100, 0, &trimmed));
	printf("behind the end: %s\n", trim(directory, 1ull << 40, 1 << 20, 0, &trimmed));
	for (int i = 1; i < 8; i += 2) {
		snprintf(path, sizeof path, "%s/%d", directory, i);
		printf("%d", is_whole(path, i));
	}
	printf("\n");
}

int main(void)
{
	uint64_t trimmed;
	int fd = open("/ext", O_RDONLY);

	use("/ext", "vda");
	use("/fat", "vdb");
	printf("a bad pointer: %s\n", answer(ioctl(fd, FITRIM, (void *)8)));
	printf("tmpfs: %s\n", trim("/tmp", 0, UINT64_MAX, 0, &trimmed));
	printf("a device: %s\n", trim("/dev/vda", 0, UINT64_MAX, 0, &trimmed));
	if (setresuid(1000, 1000, 1000))
		return 1;
	printf("nobody: %s", trim("/ext", 0, UINT64_MAX, 0, &trimmed));
	printf(" %s\n", trim("/tmp", 0, UINT64_MAX, 0, &trimmed));
	return 0;
}
