// Calls that do next to nothing: what the way in and out costs.
#include "bench.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/uio.h>

static char byte[1];
static int descriptor;

static bool open_zero(void) { return (descriptor = open("/dev/zero", O_RDONLY)) >= 0; }
static bool open_null(void) { return (descriptor = open("/dev/null", O_WRONLY)) >= 0; }
static void close_it(void) { close(descriptor); }

#ifdef CALLS_BY_LIBRARY
// As programs make them.
static void getppid_call(void) { getppid(); }
static void read_zero(void) { read(descriptor, byte, 1); }
static void write_null(void) { write(descriptor, byte, 1); }
static void yield(void) { sched_yield(); }
#else
static void getppid_call(void) { call3(SYS_getppid, 0, 0, 0); }
static void read_zero(void) { call3(SYS_read, descriptor, (long)byte, 1); }
static void write_null(void) { call3(SYS_write, descriptor, (long)byte, 1); }
static void yield(void) { call3(SYS_sched_yield, 0, 0, 0); }
#endif

static struct iovec pair[2] = { { byte, 1 }, { byte, 1 } };
static void writev_null(void) { call3(SYS_writev, descriptor, (long)pair, 2); }

static const struct row rows[] = {
	{ .name = "getppid", .once = getppid_call },
	{ .name = "read_1_zero", .once = read_zero, .prepare = open_zero, .finish = close_it },
	{ .name = "write_1_null", .once = write_null, .prepare = open_null, .finish = close_it },
	{ .name = "writev_2_null", .once = writev_null, .prepare = open_null, .finish = close_it },
	{ .name = "sched_yield", .once = yield },
};
const struct rows call_rows = ROWS(rows);
