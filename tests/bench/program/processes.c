// Making processes.
#include "bench.h"

#include <sys/wait.h>

static bool fork_wait(void)
{
	pid_t child = fork();
	if (child == 0)
		_exit(0);
	return child > 0 && waitpid(child, NULL, 0) == child;
}

static void fork_exit_wait(void) { fork_wait(); }

static const struct row rows[] = {
	{ .name = "fork_exit_wait", .once = fork_exit_wait, .prepare = fork_wait, .count_max = 100 },
};
const struct rows process_rows = ROWS(rows);
