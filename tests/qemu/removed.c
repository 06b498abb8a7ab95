// A disk goes away while the program writes to it: the program is told, what is in memory is still read, and it can be unmounted.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

static int make(const char *name)
{
	int fd = open(name, O_RDWR | O_CREAT, 0644);

	if (fd < 0 || write(fd, "kept in memory", 15) != 15)
		printf("%s: %s\n", name, strerror(errno));
	return fd;
}

static void say(const char *what, int result)
{
	printf("%s: %s\n", what, result < 0 ? strerror(errno) : "done");
}

int main(void)
{
	static char page[4096], text[16];
	int one = make("/data/one"), other = make("/data/other");

	if (fsync(other))
		say("fsync", -1);
	puts("ready");
	fflush(stdout);
	int result = 0;
	for (off_t at = 0; result >= 0; at = (at + sizeof page) % (1 << 20)) {
		result = (int)pwrite(one, page, sizeof page, at);
		if (result >= 0)
			result = fsync(one);
	}
	say("the load", result);
	sync();
	say("write", (int)pwrite(one, page, sizeof page, 0));
	say("make", open("/data/new", O_WRONLY | O_CREAT, 0644));
	printf("read: %zd, %s\n", pread(other, text, sizeof text, 0), text);
	say("fsync", fsync(other));
	close(one);
	close(other);
	say("umount", umount("/data"));
	say("mount", mount("/dev/vda", "/data", "ext4", 0, ""));
	return 0;
}
