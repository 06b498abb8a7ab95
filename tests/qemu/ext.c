// ext2 and ext4 on disks: what was written is there after mounting again, by calls, by mappings and by two threads at once.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

#define CHUNK 65536
#define LARGE_CHUNKS 160
#define FILES 400
#define FAR (5L << 30)

// What linux/fs.h and linux/stat.h have.
#define GET_FLAGS 0x80086601
#define SET_FLAGS 0x40086602
#define IMMUTABLE 0x10
#define APPEND 0x20
#define WHITEOUT 4
#define FIEMAP 0xc020660b
#define COLLAPSE_RANGE 8
#define INSERT_RANGE 0x20

static const char *at;

static const char *path(const char *name)
{
	static __thread char text[4][300];
	static __thread int next;
	char *answer = text[next++ % 4];

	snprintf(answer, sizeof text[0], "%s/%s", at, name);
	return answer;
}

static void say(const char *what, long result)
{
	if (result < 0)
		printf("%s %s: %s\n", at, what, strerror(errno));
}

static int make(const char *name, const void *bytes, size_t len, long offset)
{
	int fd = open(path(name), O_RDWR | O_CREAT, 0644);

	say(name, fd);
	if (pwrite(fd, bytes, len, offset) != (ssize_t)len)
		say(name, -1);
	return fd;
}

static void fill(char *chunk, int number)
{
	for (int i = 0; i < CHUNK; i++)
		chunk[i] = (char)(number * 37 + i / 256);
}

static int large_differs(void)
{
	static char wanted[CHUNK], found[CHUNK];
	int wrong = 0, fd = open(path("large"), O_RDONLY);

	for (int number = 0; number < LARGE_CHUNKS; number++) {
		fill(wanted, number);
		if (read(fd, found, CHUNK) != CHUNK || memcmp(wanted, found, CHUNK))
			wrong++;
	}
	close(fd);
	return wrong;
}

// Makes files, renames a third, removes a third, in a directory that both threads use.
static void *churn(void *name)
{
	char from[100], to[100];

	for (int number = 0; number < FILES; number++) {
		snprintf(from, sizeof from, "shared/%s %d", (char *)name, number);
		snprintf(to, sizeof to, "shared/%s renamed %d", (char *)name, number);
		close(make(from, name, strlen(name), number));
		if (number % 3 == 0)
			say("rename", rename(path(from), path(to)));
		if (number % 3 == 1)
			say("unlink", unlink(path(from)));
	}
	return NULL;
}

static void use(void)
{
	static char chunk[CHUNK];
	pthread_t threads[2];
	struct statvfs before, after;
	int fd = open(path("large"), O_WRONLY | O_CREAT, 0600);

	for (int number = 0; number < LARGE_CHUNKS; number++) {
		fill(chunk, number);
		if (write(fd, chunk, CHUNK) != CHUNK)
			say("write", -1);
	}
	say("fsync", fsync(fd));
	close(fd);
	printf("%s: large file wrong %d\n", at, large_differs());

	say("mkdir", mkdir(path("shared"), 0755));
	pthread_create(&threads[0], NULL, churn, "one");
	pthread_create(&threads[1], NULL, churn, "two");
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);

	fd = make("mapped", "........", 8, 20000);
	char *map = mmap(NULL, 20008, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	strcpy(map + 20, "by a mapping");
	say("msync", msync(map, 20008, MS_SYNC));
	strcpy(map + 9000, "and not synchronized");
	munmap(map, 20008);
	close(fd);

	close(make("far", "far away", 8, FAR));
	fd = make("punched", chunk, CHUNK, 0);
	say("punch", fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 5000, 40000));
	close(fd);
	char target[500];
	memset(target, 't', sizeof target);
	target[499] = 0;
	say("symlink", symlink(target, path("link")));
	say("setxattr", setxattr(path("mapped"), "user.colour", "green", 5, 0));
	fd = open(path("."), O_TMPFILE | O_RDWR, 0600);
	say("O_TMPFILE", fd);
	say("write", write(fd, "unnamed", 7));
	char self[64];
	snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
	say("linkat", linkat(AT_FDCWD, self, AT_FDCWD, path("named"), AT_SYMLINK_FOLLOW));
	close(fd);

	// A file that is open and has no name; then the disk is filled, and emptied.
	fd = make("gone", chunk, CHUNK, 0);
	say("unlink", unlink(path("gone")));
	sync();
	statvfs(path("."), &before);
	int full = open(path("full"), O_WRONLY | O_CREAT, 0600);
	while (write(full, chunk, CHUNK) > 0)
		;
	printf("%s: full: %s\n", at, errno == ENOSPC ? "ENOSPC" : strerror(errno));
	close(full);
	say("unlink", unlink(path("full")));
	sync();
	statvfs(path("."), &after);
	printf("%s: free again: %d\n", at, before.f_bfree == after.f_bfree);
	char found[8] = "";
	say("pread", pread(fd, found, 8, 512));
	printf("%s: without a name: %d\n", at, found[0] == chunk[512]);
	close(fd);
}

static int flags_of(const char *name)
{
	int fd = open(path(name), O_RDONLY), flags = 0;

	say("FS_IOC_GETFLAGS", ioctl(fd, (int)GET_FLAGS, &flags));
	close(fd);
	return flags & (IMMUTABLE | APPEND);
}

static void set_flags(const char *name, int flags)
{
	int fd = open(path(name), O_RDONLY), all;

	say("FS_IOC_GETFLAGS", ioctl(fd, (int)GET_FLAGS, &all));
	all = (all & ~(IMMUTABLE | APPEND)) | flags;
	say("FS_IOC_SETFLAGS", ioctl(fd, SET_FLAGS, &all));
	close(fd);
}

static void refused(const char *what, long result)
{
	printf("%s: %s: %s\n", at, what, result < 0 ? strerror(errno) : "done");
}

// What the flags of files forbid, and what a rename leaves behind.
static void protect(void)
{
	long status[32] = { 0 };
	struct stat whiteout;

	close(make("fixed", "x", 1, 0));
	close(make("log", "x", 1, 0));
	say("mkdir", mkdir(path("closed"), 0755));
	set_flags("fixed", IMMUTABLE);
	set_flags("log", APPEND);
	set_flags("closed", IMMUTABLE);
	refused("open fixed", open(path("fixed"), O_RDWR));
	refused("link fixed", link(path("fixed"), path("other")));
	refused("unlink fixed", unlink(path("fixed")));
	refused("mkdir in closed", mkdir(path("closed/below"), 0755));
	refused("open log", open(path("log"), O_WRONLY));
	refused("truncate log", truncate(path("log"), 0));
	int fd = open(path("log"), O_WRONLY | O_APPEND);
	refused("append", write(fd, "y", 1));
	refused("F_SETFL", fcntl(fd, F_SETFL, 0));
	close(fd);
	say("statx", syscall(SYS_statx, AT_FDCWD, path("log"), 0, 0x7ff, status));
	printf("%s: attributes %lx, flags %x\n", at, status[1] & (IMMUTABLE | APPEND), flags_of("fixed"));
	set_flags("fixed", 0);
	refused("unlink fixed", unlink(path("fixed")));

	say("rename", syscall(SYS_renameat2, AT_FDCWD, path("punched"), AT_FDCWD, path("moved"), WHITEOUT));
	say("lstat", lstat(path("punched"), &whiteout));
	printf("%s: whiteout %o of %lx\n", at, whiteout.st_mode, (long)whiteout.st_rdev);
	say("rename", rename(path("moved"), path("punched")));
}

struct extents {
	unsigned long start, len;
	unsigned flags, mapped, room, reserved;
	struct {
		unsigned long logical, physical, len, unused[2];
		unsigned flags, more[3];
	} extent[8];
};

// Ranges that are taken out and put in, where they are, and lists of who may do what.
static void arrange(void)
{
	static char blocks[3][4096];
	struct extents all = { .len = -1UL, .flags = 1, .room = 8 }, counted = { .len = -1UL };
	unsigned long covered = 0, known = 0;

	for (int i = 0; i < 3; i++)
		memset(blocks[i], 'a' + i, sizeof blocks[i]);
	int fd = make("arranged", blocks, sizeof blocks, 0);
	refused("collapse", fallocate(fd, COLLAPSE_RANGE, 0, 4096));
	refused("insert", fallocate(fd, INSERT_RANGE, 4096, 8192));
	refused("uneven", fallocate(fd, INSERT_RANGE, 1, 4096));
	say("FIEMAP", ioctl(fd, FIEMAP, &all));
	say("FIEMAP", ioctl(fd, FIEMAP, &counted));
	for (unsigned i = 0; i < all.mapped && i < 8; i++) {
		covered += all.extent[i].len;
		known += all.extent[i].physical != 0;
	}
	printf("%s: %lu bytes in extents, places of all %d, counted %d, the last one says so %u\n", at, covered,
	       known == all.mapped, all.mapped == counted.mapped, all.extent[all.mapped - 1].flags);
	all.flags = 8;
	printf("%s: FIEMAP with a flag: %d %u\n", at, ioctl(fd, FIEMAP, &all) < 0 && errno == EBADR, all.flags);
	close(fd);

	// The user 5 may write, and the mask as well.
	static const unsigned short list[] = { 2, 0, 1, 6, -1, -1, 2, 6, 5, 0, 4, 4, -1, -1, 16, 6, -1, -1, 32, 0, -1, -1 };
	say("setxattr", setxattr(path("arranged"), "system.posix_acl_access", list, sizeof list, 0));
	say("mkdir", mkdir(path("handed"), 0777));
	say("setxattr", setxattr(path("handed"), "system.posix_acl_default", list, sizeof list, 0));
	close(make("handed/on", "x", 1, 0));
}

// What of that is there later.
static void look_at_lists(void)
{
	unsigned short list[30];
	struct stat stat_of;
	char text[3][2] = { "", "", "" };

	for (int i = 0; i < 2; i++) {
		const char *name = path(i ? "handed/on" : "arranged");
		long len = getxattr(name, "system.posix_acl_access", list, sizeof list);
		stat(name, &stat_of);
		printf("%s: a list of %ld, mode %o, the mask %o\n", at, len, stat_of.st_mode, len > 36 ? list[15] : 0);
	}
	int fd = open(path("arranged"), O_RDONLY);
	for (int i = 0; i < 3; i++)
		pread(fd, text[i], 1, 4096L * i);
	fstat(fd, &stat_of);
	printf("%s: arranged %s-%s-%s of %ld\n", at, text[0], text[1], text[2], (long)stat_of.st_size);
	close(fd);
}

static void look(void)
{
	char text[600] = "";
	struct stat stat_of;
	int present = 0, fd = open(path("mapped"), O_RDONLY);
	char name[100];

	printf("%s: large file wrong %d\n", at, large_differs());
	for (int number = 0; number < FILES; number++) {
		snprintf(name, sizeof name, "shared/one%s %d", number % 3 ? "" : " renamed", number);
		present += !access(path(name), F_OK);
		snprintf(name, sizeof name, "shared/two%s %d", number % 3 ? "" : " renamed", number);
		present += !access(path(name), F_OK);
	}
	printf("%s: names %d\n", at, present);
	pread(fd, text, 30, 20);
	printf("%s: %s, ", at, text);
	pread(fd, text, 30, 9000);
	printf("%s\n", text);
	close(fd);
	say("getxattr", getxattr(path("mapped"), "user.colour", text, sizeof text));
	printf("%s: %.5s\n", at, text);
	fd = open(path("far"), O_RDONLY);
	pread(fd, text, 30, FAR);
	fstat(fd, &stat_of);
	printf("%s: %.8s, %ld bytes, in few blocks: %d, data at %ld\n", at, text, (long)stat_of.st_size, stat_of.st_blocks < 64,
	       (long)lseek(fd, 0, SEEK_DATA));
	close(fd);
	stat(path("punched"), &stat_of);
	printf("%s: punched %ld, with a hole: %d\n", at, (long)stat_of.st_size, stat_of.st_blocks < 100);
	printf("%s: link of %ld\n", at, (long)readlink(path("link"), text, sizeof text));
	fd = open(path("named"), O_RDONLY);
	text[read(fd, text, 30)] = 0;
	printf("%s: %s\n", at, text);
	close(fd);
}

int main(void)
{
	static const char *disks[2][3] = { { "/dev/vda", "/one", "ext2" }, { "/dev/vdb", "/two", "ext4" } };

	for (int number = 0; number < 2; number++) {
		at = disks[number][1];
		mkdir(at, 0755);
		say("mount", mount(disks[number][0], at, disks[number][2], 0, ""));
		use();
		protect();
		arrange();
		say("umount", umount(at));
		say("mount", mount(disks[number][0], at, disks[number][2], MS_NOATIME, ""));
		look();
		look_at_lists();
	}
	// The second disk is left mounted: the end of the machine must see to it.
	at = disks[0][1];
	say("umount", umount(at));
	return 0;
}
