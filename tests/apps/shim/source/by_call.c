// A kernel that has calls of its own makes all calls by functions: no program would notice otherwise.
#include <nacre.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

static char other_stack[32768];

// The stack that is in use cannot be another one, and who asks is told that it is in use.
static void on_other_stack(int signal)
{
	stack_t new = { .ss_sp = other_stack, .ss_size = sizeof other_stack }, old;
	struct nacre_call calls[2] = {
		{ SYS_sigaltstack, { (unsigned long)&new }, 0 },
		{ SYS_sigaltstack, { 0, (unsigned long)&old }, 0 },
	};
	nacre_batch(calls, 2, 0);
	printf("signal %d, stacks of a batch: %ld %ld, flags %d\n", signal, calls[0].answer, calls[1].answer, old.ss_flags);
}

static void change_stacks(void)
{
	stack_t stack = { .ss_sp = other_stack, .ss_size = sizeof other_stack };
	struct sigaction action = { .sa_handler = on_other_stack, .sa_flags = SA_ONSTACK };
	sigaltstack(&stack, NULL);
	sigaction(SIGUSR1, &action, NULL);
	raise(SIGUSR1);
}

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
	change_stacks();
	return 0;
}
