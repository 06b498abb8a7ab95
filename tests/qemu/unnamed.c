// Ends in one of several ways while files without a name are in use, on the file systems of two disks, which are left behind without
// anything of them: the machine's end unmounts both.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN (5 * 4096)

static const char *const rooms[] = { "/ext", "/fat" };

static void must(int holds, const char *what)
{
	if (!holds) {
		perror(what);
		_exit(1);
	}
}

static char *file_of(const char *room, const char *name)
{
	static char path[100];

	snprintf(path, sizeof path, "%s/%s", room, name);
	return path;
}

// A file that only a mapping keeps, with data that was not written yet.
static void map_and_unlink(const char *room, const char *name, off_t left)
{
	int fd = open(file_of(room, name), O_RDWR | O_CREAT, 0600);

	must(fd >= 0 && ftruncate(fd, LEN) == 0, "a file");
	char *bytes = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(bytes != MAP_FAILED, "mmap");
	memset(bytes, 'a', LEN);
	if (left)
		must(fsync(fd) == 0 && ftruncate(fd, left) == 0, "ftruncate");
	must(unlink(file_of(room, name)) == 0 && close(fd) == 0, "unlink");
	bytes[0] = 'b';
}

// What stays: mapped, dirty, and with a name.
static void map(const char *room)
{
	int fd = open(file_of(room, "kept"), O_RDWR | O_CREAT, 0600);

	must(fd >= 0 && ftruncate(fd, LEN) == 0, "a file");
	char *bytes = mmap(NULL, LEN, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	must(bytes != MAP_FAILED, "mmap");
	memset(bytes, 'k', LEN);
}

int main(int count, char **arguments)
{
	const char *way = count > 1 ? arguments[1] : "";

	for (int index = 0; index < 2; index++) {
		map_and_unlink(rooms[index], "whole", 0);
		map_and_unlink(rooms[index], "cut", 100);
		map(rooms[index]);
	}
	// A working directory without a name.
	must(mkdir("/ext/room", 0700) == 0 && chdir("/ext/room") == 0 && rmdir("/ext/room") == 0, "rmdir");
	puts("ready");
	fflush(stdout);
	if (strcmp(way, "fault") == 0)
		*(volatile char *)NULL = 1;
	while (strcmp(way, "memory") == 0)
		memset(malloc(1 << 20), 1, 1 << 20);
	return 0;
}
