// A kernel that has calls of its own makes all calls by functions: no program would notice otherwise.
#include <nacre.h>
#include <stdio.h>
#include <unistd.h>

int main(void)
{
	struct nacre_call calls[3] = { { 39, { 0 }, 0 }, { 3, { 1000 }, 0 }, { 39, { 0 }, 0 } };
	int is_native = syscall(0x4e0000, 0L, 0L, 0L) == 0;
	printf("by functions where they are: %d\n", nacre_is_native() == is_native);
	printf("processor: %d\n", nacre_cpu() < 4096);
	printf("stopped: %zd\n", nacre_batch(calls, 3, NACRE_STOP_ON_ERROR));
	printf("all: %zd", nacre_batch(calls, 3, 0));
	printf(", answers %d %ld %d\n", calls[0].answer == getpid(), calls[1].answer, calls[2].answer == getpid());
	printf("unknown flags: %zd\n", nacre_batch(calls, 3, 2));
	return 0;
}
