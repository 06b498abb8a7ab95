// Mapping memory.
#include "bench.h"

#include <sys/mman.h>

static const size_t large = 64 << 20;
static char *mapping;

static char *map(size_t size) { return mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }

static bool map_one(void)
{
	mapping = map(4096);
	if (mapping == MAP_FAILED)
		return false;
	*mapping = 1;
	return true;
}

static void unmap_one(void) { munmap(mapping, 4096); }

static void map_touch_unmap(void)
{
	char *page = map(4096);
	*(volatile char *)page = 1;
	munmap(page, 4096);
}

static void map_touch_unmap_large(void)
{
	char *pages = map(large);
	if (pages == MAP_FAILED)
		return;
	madvise(pages, large, MADV_NOHUGEPAGE);
	for (size_t at = 0; at < large; at += 4096)
		((volatile char *)pages)[at] = 1;
	munmap(pages, large);
}

static void protect_twice(void)
{
	call3(SYS_mprotect, (long)mapping, 4096, PROT_READ);
	call3(SYS_mprotect, (long)mapping, 4096, PROT_READ | PROT_WRITE);
}

static void discard_touch(void)
{
	call3(SYS_madvise, (long)mapping, 4096, MADV_DONTNEED);
	*(volatile char *)mapping = 1;
}

static const struct row rows[] = {
	{ .name = "mmap_touch_munmap_4k", .once = map_touch_unmap },
	{ .name = "mmap_touch_munmap_64m", .once = map_touch_unmap_large, .count_max = 1 },
	{ .name = "mprotect_twice", .once = protect_twice, .prepare = map_one, .finish = unmap_one },
	{ .name = "madvise_dontneed_touch", .once = discard_touch, .prepare = map_one, .finish = unmap_one },
};
const struct rows memory_rows = ROWS(rows);
