// Computes for as many seconds as it is told, most of the time in one function.
#include <stdlib.h>
#include <time.h>

static volatile unsigned long sink;

__attribute__((noinline)) void hot_function(void)
{
	for (unsigned long i = 0; i < 100000; i++)
		sink += i * i;
}

__attribute__((noinline)) void caller_of_hot_function(void)
{
	hot_function();
	// Not the last thing: the call returns here.
	sink++;
}

int main(int argc, char **argv)
{
	time_t end = time(NULL) + (argc > 1 ? atoi(argv[1]) : 1);
	while (time(NULL) <= end)
		caller_of_hot_function();
	return 0;
}
