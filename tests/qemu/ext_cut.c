// Appends records to a file on a disk and says when each is synchronized, until the power goes. First it looks at what is there.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define RECORD 96

static void check(int is_right, const char *what)
{
	if (!is_right) {
		perror(what);
		exit(1);
	}
}

int main(void)
{
	char record[RECORD], expected[RECORD];
	int count = 0, fd;

	mkdir("/disk", 0755);
	check(mount("/dev/vda", "/disk", "ext4", 0, NULL) == 0, "mount");
	fd = open("/disk/log", O_RDWR | O_CREAT | O_APPEND, 0600);
	check(fd >= 0, "open");
	for (; read(fd, record, RECORD) == RECORD; count++) {
		memset(expected, 'a' + count % 26, RECORD);
		check(memcmp(record, expected, RECORD) == 0, "a record is another");
	}
	printf("ready\n%d\n", count);
	fflush(stdout);
	for (;; count++) {
		char temporary[32];

		memset(record, 'a' + count % 26, RECORD);
		check(write(fd, record, RECORD) == RECORD, "write");
		check(fsync(fd) == 0, "fsync");
		printf("%d\n", count + 1);
		fflush(stdout);
		// Something that is not waited for, to be in the middle of.
		snprintf(temporary, sizeof temporary, "/disk/%d", count % 7);
		if (unlink(temporary) != 0)
			check(close(open(temporary, O_CREAT | O_WRONLY, 0600)) == 0, temporary);
	}
}
