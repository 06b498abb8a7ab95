// A FAT volume that is mounted before the program starts: files, directories, names, mappings, and mounting it again.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#define TRY(call) try_print(#call, (long)(call))

static void try_print(const char *text, long result)
{
	if (result < 0)
		printf("%s: %s\n", text, strerror(errno));
	else
		printf("%s: done\n", text);
}

static void show(const char *path)
{
	char text[64] = "";
	int fd = open(path, O_RDONLY);
	long len = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

	printf("%s: %s\n", path, len < 0 ? strerror(errno) : text);
	close(fd);
}

int main(void)
{
	static char block[100000];
	struct statfs statistics;
	struct stat status;

	show("/data/hello.txt");
	statfs("/data", &statistics);
	printf("type %lx\n", (long)statistics.f_type);
	TRY(mkdir("/data/A new Folder", 0755));
	int fd = open("/data/a NEW folder/some file.text", O_CREAT | O_RDWR, 0644);
	memset(block, 'b', sizeof block);
	for (int i = 0; i < 10; i++)
		if (write(fd, block, sizeof block) != sizeof block)
			printf("write: %s\n", strerror(errno));
	TRY(ftruncate(fd, 900000));
	char *mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 4096);
	strcpy(mapped + 4000, "stored");
	TRY(fsync(fd));
	TRY(stat("/data/A NEW FOLDER/SOMEFI~1.TEX", &status));
	printf("size %ld\n", (long)status.st_size);
	TRY(umount("/data"));
	munmap(mapped, 8192);
	close(fd);
	TRY(open("/dev/vda", O_RDWR | O_EXCL));
	TRY(mount("/dev/vda", "/tmp", "vfat", 0, NULL));
	TRY(mount("/dev/vda", "/mnt", "vfat", MS_RDONLY, NULL));
	TRY(symlink("x", "/tmp/link"));
	TRY(rename("/tmp/HELLO.TXT", "/tmp/a new folder/renamed"));
	show("/data/A new Folder/renamed");
	TRY(umount("/tmp"));
	TRY(umount("/data"));
	fd = open("/dev/vda", O_RDWR | O_EXCL);
	TRY(fd);
	TRY(mount("/dev/vda", "/data", "vfat", 0, NULL));
	close(fd);
	TRY(mount("/dev/vda", "/data", "ext4", 0, NULL));
	TRY(mount("/dev/vda", "/data", "vfat", 0, "uid=7,umask=077"));
	TRY(stat("/data/a new folder/renamed", &status));
	printf("mode %o, owner %d\n", status.st_mode, status.st_uid);
	// What is written and not synchronized is on the disk when the machine has ended.
	fd = open("/data/last", O_CREAT | O_RDWR, 0644);
	if (write(fd, "the last words", 14) != 14)
		printf("write: %s\n", strerror(errno));
	return 0;
}
