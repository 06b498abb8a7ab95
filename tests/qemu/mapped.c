// A file four times as long as memory, mapped: it is read shared and private, and stored to, on the file systems of two disks.
// Pages come and go all the time. Linux prints the same.
#include "../binaries/observe.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <unistd.h>

#define PAGE 4096
#define WORDS (PAGE / 8)
#define OWN_EVERY 64
#define LOCKED 8
#define HOT 16

static long pages;
static char path[100];
static atomic_int is_over;

// What word `word` of page `page` holds after it was written `round` times.
static uint64_t value(long page, int word, int round)
{
	return (uint64_t)page * WORDS + (uint64_t)word + ((uint64_t)round << 56);
}

static void fill(volatile uint64_t *words, long page, int round)
{
	for (int word = 0; word < WORDS; word++)
		words[word] = value(page, word, round);
}

static int is_right(const volatile uint64_t *words, long page, int round)
{
	for (int word = 0; word < WORDS; word++)
		if (words[word] != value(page, word, round))
			return 0;
	return 1;
}

static uint64_t *page_of(void *map, long page)
{
	return (uint64_t *)((char *)map + page * PAGE);
}

// Pages that are not as `round` has left them.
static long wrong_in(void *map, int round)
{
	long wrong = 0;

	for (long page = 0; page < pages; page++)
		wrong += !is_right(page_of(map, page), page, round);
	return wrong;
}

static void *map_file(int protection, int flags)
{
	int fd = open(path, protection & PROT_WRITE && flags == MAP_SHARED ? O_RDWR : O_RDONLY);
	void *map = mmap(NULL, (size_t)pages * PAGE, protection, flags, fd, 0);

	if (fd < 0 || map == MAP_FAILED)
		perror(path);
	close(fd);
	return map;
}

static void unmap(void *map)
{
	TRY(munmap(map, (size_t)pages * PAGE));
}

static void write_file(void)
{
	static uint64_t words[16][WORDS];
	int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);

	for (long page = 0; page < pages; page += 16) {
		for (int next = 0; next < 16; next++)
			fill(words[next], page + next, 0);
		if (write(fd, words, sizeof words) != sizeof words)
			perror("write");
	}
	TRY(close(fd));
}

// Uses a few pages all the time, of a mapping that others take pages of.
static void *use(void *map)
{
	long wrong = 0;

	while (!is_over)
		for (long page = 0; page < HOT; page++)
			wrong += !is_right(page_of(map, page), page, 0);
	return (void *)wrong;
}

static void read_shared(void)
{
	char *map = map_file(PROT_READ, MAP_SHARED);
	unsigned char present[LOCKED];
	void *wrong_hot;
	pthread_t thread;
	long wrong = 0, page = 1;

	TRY(mlock(map + PAGE, LOCKED * PAGE));
	is_over = 0;
	pthread_create(&thread, NULL, use, map);
	printf("shared: %ld wrong\n", wrong_in(map, 0));
	for (int step = 0; step < 1000; step++, page = (page * 5 + 7) % pages)
		wrong += !is_right(page_of(map, page), page, 0);
	is_over = 1;
	pthread_join(thread, &wrong_hot);
	printf("at random: %ld wrong, by the other thread %ld\n", wrong, (long)wrong_hot);
	TRY(mincore(map + PAGE, LOCKED * PAGE, present));
	for (int locked = 0; locked < LOCKED; locked++)
		if (!(present[locked] & 1))
			printf("locked page %d is gone\n", locked);
	unmap(map);
}

static void read_private(void)
{
	// Memory for copies of all pages there is not.
	void *map = map_file(PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE);
	long wrong = 0;

	for (long page = 0; page < pages; page += OWN_EVERY)
		fill(page_of(map, page), page, 9);
	for (int turn = 0; turn < 2; turn++)
		for (long page = 0; page < pages; page++)
			wrong += !is_right(page_of(map, page), page, page % OWN_EVERY ? 0 : 9);
	printf("private: %ld wrong\n", wrong);
	unmap(map);
}

static void store(void)
{
	void *map = map_file(PROT_READ | PROT_WRITE, MAP_SHARED);

	for (int round = 1; round <= 2; round++) {
		for (long page = 0; page < pages; page++)
			fill(page_of(map, page), page, round);
		printf("stored: %ld wrong\n", wrong_in(map, round));
	}
	TRY(msync(map, (size_t)pages * PAGE, MS_SYNC));
	unmap(map);
}

static void read_file(int round)
{
	static uint64_t words[WORDS];
	int fd = open(path, O_RDONLY);
	long wrong = 0;

	for (long page = 0; page < pages; page++)
		wrong += read(fd, words, PAGE) != PAGE || !is_right(words, page, round);
	printf("read: %ld wrong\n", wrong);
	close(fd);
}

static void test(const char *device, const char *place, const char *type)
{
	printf("%s\n", type);
	snprintf(path, sizeof path, "%s/large", place);
	write_file();
	read_shared();
	read_private();
	store();
	TRY(umount(place));
	TRY(mount(device, place, type, 0, NULL));
	read_file(2);
}

int main(int count, char **arguments)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	pages = count > 1 ? atol(arguments[1]) << 8 : 0;
	test("/dev/vda", "/ext", "ext4");
	test("/dev/vdb", "/fat", "vfat");
	return 0;
}
