// What operations on files of a disk cost.
//
//   disk ns DIRECTORY [PART-OF-A-NAME...]
//
// Lines are those of ../program/main.c: "row NAME LEAST MEDIAN COUNT" of RUNS runs, what one operation took, and "end". Reads come from
// the disk, not from memory: the file is made anew and put out of memory before, or is read past the cache.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sqlite3.h"

enum {
	RUNS = 3,
	PAGE = 4096,
	FILE_PAGES = 4096,
	RANDOM_PAGES = 1000,
	STABLE_WRITES = 200,
	SMALL_FILES = 10000,
	FOLDERS = 100,
	ROWS_AT_ONCE = 100000,
	SINGLE_COMMITS = 500,
};

static char *page;

static uint64_t now(void)
{
	struct timespec time;
	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static void check(bool is_good, const char *what)
{
	if (!is_good) {
		printf("row failed: %s: %s\n", what, strerror(errno));
		exit(1);
	}
}

static int open_file(const char *name, int flags)
{
	int file = open(name, flags | O_CREAT, 0644);
	check(file >= 0, name);
	return file;
}

// The same pages in the same disorder on every system.
static off_t some_page(unsigned number)
{
	return (off_t)(number * 2654435761u % FILE_PAGES) * PAGE;
}

static void fill(int file)
{
	for (unsigned i = 0; i < FILE_PAGES; i++)
		check(pwrite(file, page, PAGE, (off_t)i * PAGE) == PAGE, "pwrite");
}

// A file of FILE_PAGES pages that is on the disk and not in memory.
static int make_cold_file(int flags)
{
	int file = open_file("cold", O_RDWR);
	fill(file);
	check(!fsync(file), "fsync");
	check(!posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED), "posix_fadvise");
	close(file);
	return open_file("cold", O_RDWR | flags);
}

static uint64_t read_in_order(void)
{
	int file = make_cold_file(0);
	uint64_t start = now();
	for (unsigned i = 0; i < FILE_PAGES; i++)
		check(read(file, page, PAGE) == PAGE, "read");
	uint64_t taken = now() - start;
	close(file);
	return taken / FILE_PAGES;
}

static uint64_t read_at_random(void)
{
	int file = make_cold_file(O_DIRECT);
	uint64_t start = now();
	for (unsigned i = 0; i < RANDOM_PAGES; i++)
		check(pread(file, page, PAGE, some_page(i)) == PAGE, "pread");
	uint64_t taken = now() - start;
	close(file);
	return taken / RANDOM_PAGES;
}

static uint64_t write_in_order(void)
{
	unlink("written");
	int file = open_file("written", O_RDWR);
	uint64_t start = now();
	fill(file);
	check(!fsync(file), "fsync");
	uint64_t taken = now() - start;
	close(file);
	return taken / FILE_PAGES;
}

static uint64_t write_at_random(void)
{
	int file = make_cold_file(0);
	uint64_t start = now();
	for (unsigned i = 0; i < RANDOM_PAGES; i++)
		check(pwrite(file, page, PAGE, some_page(i)) == PAGE, "pwrite");
	check(!fsync(file), "fsync");
	uint64_t taken = now() - start;
	close(file);
	return taken / RANDOM_PAGES;
}

static uint64_t write_stable(void)
{
	int file = make_cold_file(0);
	uint64_t start = now();
	for (unsigned i = 0; i < STABLE_WRITES; i++) {
		check(pwrite(file, page, PAGE, some_page(i)) == PAGE, "pwrite");
		check(!fdatasync(file), "fdatasync");
	}
	uint64_t taken = now() - start;
	close(file);
	return taken / STABLE_WRITES;
}

static uint64_t append_stable(void)
{
	unlink("appended");
	int file = open_file("appended", O_WRONLY | O_APPEND);
	uint64_t start = now();
	for (unsigned i = 0; i < STABLE_WRITES; i++) {
		check(write(file, page, PAGE) == PAGE, "write");
		check(!fsync(file), "fsync");
	}
	uint64_t taken = now() - start;
	close(file);
	return taken / STABLE_WRITES;
}

static void small_name(char *name, size_t size, unsigned number)
{
	snprintf(name, size, "small/%02u/file-%05u", number % FOLDERS, number);
}

static void make_folders(void)
{
	char name[64];
	check(!mkdir("small", 0755) || errno == EEXIST, "mkdir");
	for (unsigned i = 0; i < FOLDERS; i++) {
		snprintf(name, sizeof name, "small/%02u", i);
		check(!mkdir(name, 0755) || errno == EEXIST, "mkdir");
	}
}

static uint64_t create_small(void)
{
	char name[64];
	make_folders();
	uint64_t start = now();
	for (unsigned i = 0; i < SMALL_FILES; i++) {
		small_name(name, sizeof name, i);
		int file = open(name, O_WRONLY | O_CREAT | O_EXCL, 0644);
		check(file >= 0, name);
		check(write(file, page, 100) == 100, "write");
		close(file);
	}
	sync();
	return (now() - start) / SMALL_FILES;
}

static unsigned found;

static int count_found(const char *path, const struct stat *status, int kind, struct FTW *place)
{
	(void)path, (void)status, (void)place;
	found += kind == FTW_F;
	return 0;
}

static uint64_t find_small(void)
{
	found = 0;
	uint64_t start = now();
	check(!nftw("small", count_found, 16, FTW_PHYS), "nftw");
	uint64_t taken = now() - start;
	check(found == SMALL_FILES, "files are missing");
	return taken / SMALL_FILES;
}

static uint64_t delete_small(void)
{
	char name[64];
	uint64_t start = now();
	for (unsigned i = 0; i < SMALL_FILES; i++) {
		small_name(name, sizeof name, i);
		check(!unlink(name), name);
	}
	sync();
	return (now() - start) / SMALL_FILES;
}

static void execute(sqlite3 *database, const char *text)
{
	char *error = NULL;
	if (sqlite3_exec(database, text, NULL, NULL, &error) != SQLITE_OK) {
		printf("row failed: %s: %s\n", text, error);
		exit(1);
	}
}

static sqlite3 *open_database(void)
{
	sqlite3 *database;
	unlink("data.db");
	check(sqlite3_open("data.db", &database) == SQLITE_OK, "data.db");
	execute(database, "CREATE TABLE entries(number INTEGER PRIMARY KEY, text TEXT)");
	return database;
}

static void insert(sqlite3 *database, unsigned number)
{
	char text[128];
	snprintf(text, sizeof text, "INSERT INTO entries VALUES(%u, 'the text of entry %u')", number, number);
	execute(database, text);
}

static uint64_t insert_at_once(void)
{
	sqlite3 *database = open_database();
	uint64_t start = now();
	execute(database, "BEGIN");
	for (unsigned i = 0; i < ROWS_AT_ONCE; i++)
		insert(database, i);
	execute(database, "COMMIT");
	uint64_t taken = now() - start;
	sqlite3_close(database);
	return taken / ROWS_AT_ONCE;
}

static uint64_t commit_singly(void)
{
	sqlite3 *database = open_database();
	uint64_t start = now();
	for (unsigned i = 0; i < SINGLE_COMMITS; i++)
		insert(database, i);
	uint64_t taken = now() - start;
	sqlite3_close(database);
	return taken / SINGLE_COMMITS;
}

static const struct row {
	const char *name;
	uint64_t (*measure)(void);
	unsigned count;
} rows[] = {
	{ "read_4k_in_order", read_in_order, FILE_PAGES },
	{ "read_4k_at_random_direct", read_at_random, RANDOM_PAGES },
	{ "write_4k_in_order", write_in_order, FILE_PAGES },
	{ "write_4k_at_random", write_at_random, RANDOM_PAGES },
	{ "write_4k_fdatasync", write_stable, STABLE_WRITES },
	{ "append_4k_fsync", append_stable, STABLE_WRITES },
	{ "create_small_files", create_small, SMALL_FILES },
	{ "find_small_files", find_small, SMALL_FILES },
	{ "delete_small_files", delete_small, SMALL_FILES },
	{ "sqlite_insert_at_once", insert_at_once, ROWS_AT_ONCE },
	{ "sqlite_commit_singly", commit_singly, SINGLE_COMMITS },
};
enum { ROWS = sizeof rows / sizeof *rows };

static bool is_wanted(const char *name, int count, char **parts)
{
	for (int i = 0; i < count; i++)
		if (strstr(name, parts[i]))
			return true;
	return count <= 0;
}

static int by_size(const void *a, const void *b)
{
	uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
	return (left > right) - (left < right);
}

int main(int argc, char **argv)
{
	uint64_t taken[ROWS][RUNS];
	if (argc < 3 || strcmp(argv[1], "ns"))
		return 2;
	page = aligned_alloc(PAGE, PAGE);
	memset(page, 'x', PAGE);
	check(!chdir(argv[2]), argv[2]);
	for (int run = 0; run < RUNS; run++)
		for (int i = 0; i < ROWS; i++)
			if (is_wanted(rows[i].name, argc - 3, argv + 3))
				taken[i][run] = rows[i].measure();
	for (int i = 0; i < ROWS; i++)
		if (is_wanted(rows[i].name, argc - 3, argv + 3)) {
			qsort(taken[i], RUNS, sizeof taken[i][0], by_size);
			printf("row %s %llu.0 %llu.0 %u\n", rows[i].name, (unsigned long long)taken[i][0],
				(unsigned long long)taken[i][RUNS / 2], rows[i].count);
		}
	puts("end");
	return 0;
}
