// Files of a file system in memory, and pipes.
#include "bench.h"

#include <fcntl.h>
#include <sys/stat.h>

static const char path[] = "/tmp/bench";
static char page[4096];
static int file;
static int pipe_ends[2];

static bool make_file(void)
{
	file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);
	return file >= 0 && pwrite(file, page, sizeof page, 0) == sizeof page;
}

static void remove_file(void)
{
	close(file);
	unlink(path);
}

static bool make_pipe(void) { return pipe(pipe_ends) == 0; }

static void remove_pipe(void)
{
	close(pipe_ends[0]);
	close(pipe_ends[1]);
}

static void open_close(void) { call3(SYS_close, call3(SYS_open, (long)path, O_RDONLY, 0), 0, 0); }

static void stat_file(void)
{
	struct stat status;
	call3(SYS_stat, (long)path, (long)&status, 0);
}

static void write_page(void) { syscall(SYS_pwrite64, file, page, sizeof page, 0); }
static void read_page(void) { syscall(SYS_pread64, file, page, sizeof page, 0); }

static void write_read_pipe(void)
{
	call3(SYS_write, pipe_ends[1], (long)page, 1);
	call3(SYS_read, pipe_ends[0], (long)page, 1);
}

static const struct row rows[] = {
	{ .name = "open_close_tmpfs", .once = open_close, .prepare = make_file, .finish = remove_file },
	{ .name = "stat_tmpfs", .once = stat_file, .prepare = make_file, .finish = remove_file },
	{ .name = "write_4k_tmpfs", .once = write_page, .prepare = make_file, .finish = remove_file },
	{ .name = "read_4k_tmpfs", .once = read_page, .prepare = make_file, .finish = remove_file },
	{ .name = "pipe_write_read", .once = write_read_pipe, .prepare = make_pipe, .finish = remove_pipe },
};
const struct rows file_rows = ROWS(rows);
