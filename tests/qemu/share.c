// A directory that the host shares: what is in it, and what a program leaves there.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define LEN (1536 * 1024)

static const char *answer(long result)
{
	return result >= 0 ? "done" : strerror(errno);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

static void list(const char *path)
{
	struct dirent **names;
	int count = scandir(path, &names, NULL, by_name);

	printf("%s:", path);
	for (int i = 0; i < count; i++)
		printf(" %s%s", names[i]->d_name, names[i]->d_type == DT_DIR ? "/" : "");
	printf("\n");
}

int main(void)
{
	static char bytes[LEN], back[LEN];
	struct stat found;

	list("/mnt/deep/data");
	list("/mnt/other");
	if (chdir("/mnt/deep/data"))
		return 1;

	int fd = open("from-host", O_RDONLY);
	printf("read: %.*s\n", (int)read(fd, back, sizeof back), back);
	int result = stat("from-host", &found);
	printf("stat: %s, %ld bytes, mode %o\n", answer(result), (long)found.st_size, found.st_mode);
	char *mapped = mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
	printf("mapped: %.5s\n", mapped);
	close(fd);

	for (int i = 0; i < LEN; i++)
		bytes[i] = (char)(i / 7);
	fd = open("from-guest", O_RDWR | O_CREAT | O_EXCL, 0640);
	printf("write: %s\n", answer(write(fd, bytes, LEN) == LEN ? 0 : -1));
	printf("again: %s\n", answer(open("from-guest", O_RDWR | O_CREAT | O_EXCL, 0640)));
	printf("same: %d\n", pread(fd, back, LEN, 0) == LEN && !memcmp(bytes, back, LEN));
	mapped = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(mapped + 4096, "stored");
	printf("msync: %s\n", answer(msync(mapped, 8192, MS_SYNC)));
	strcpy(mapped + 4200, "at the end");
	printf("munmap: %s\n", answer(munmap(mapped, 8192)));
	printf("fsync: %s\n", answer(fsync(fd)));
	close(fd);

	printf("mkdir: %s\n", answer(mkdir("directory", 0700)));
	printf("rename: %s\n", answer(rename("from-guest", "directory/renamed")));
	printf("symlink: %s\n", answer(symlink("directory/renamed", "link")));
	printf("link: %s\n", answer(link("from-host", "directory/hard")));
	printf("chmod: %s\n", answer(chmod("link", 0604)));
	printf("unlink: %s\n", answer(unlink("to-be-removed")));
	printf("unlink again: %s\n", answer(unlink("to-be-removed")));
	printf("rmdir: %s\n", answer(rmdir("directory")));
	fd = open("appended", O_WRONLY | O_APPEND);
	printf("append: %s\n", answer(write(fd, " and more", 9)));
	result = stat("directory/hard", &found);
	printf("links: %s, %d\n", answer(result), (int)found.st_nlink);
	list(".");

	printf("read only: %s\n", answer(open("/mnt/other/new", O_WRONLY | O_CREAT, 0600)));
	printf("read only: %s\n", answer(unlink("/mnt/other/file")));
	return 0;
}
