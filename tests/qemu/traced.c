// Makes system calls that say much about how they are shown, on any Linux the same ones. Nothing is printed in between.
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int main(void)
{
	char buffer[100];
	struct stat status;
	struct timespec time = { 0, 1000 };
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = 7 };
	int ends[2];

	int zero = syscall(SYS_openat, AT_FDCWD, "/dev/zero", O_RDONLY | O_CLOEXEC);
	syscall(SYS_read, zero, buffer, 40);
	syscall(SYS_fstat, zero, &status);
	syscall(SYS_close, zero);
	syscall(SYS_close, zero);
	syscall(SYS_openat, AT_FDCWD, "/no/such \"file\"", O_RDWR | O_CREAT | O_EXCL, 0640);
	syscall(SYS_pipe2, ends, O_NONBLOCK | O_CLOEXEC);
	syscall(SYS_write, ends[1], "a line\n\t\0001\377", 11);
	syscall(SYS_read, ends[0], buffer, sizeof buffer);
	syscall(SYS_read, ends[0], buffer, sizeof buffer);
	syscall(SYS_write, ends[1], (void *)16, 5);
	syscall(SYS_fcntl, ends[0], F_GETFL);
	int watcher = syscall(SYS_epoll_create1, EPOLL_CLOEXEC);
	syscall(SYS_epoll_ctl, watcher, EPOLL_CTL_ADD, ends[0], &event);
	syscall(SYS_write, ends[1], "z", 1);
	syscall(SYS_epoll_wait, watcher, &event, 1, -1);
	syscall(SYS_lseek, ends[0], 10, SEEK_END);
	syscall(SYS_nanosleep, &time, NULL);
	void *page = (void *)syscall(SYS_mmap, NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	syscall(SYS_mprotect, page, 4096, PROT_NONE);
	syscall(SYS_madvise, page, 8192, MADV_DONTNEED);
	syscall(SYS_munmap, page, 8192);
	syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends);
	syscall(SYS_shutdown, ends[0], SHUT_WR);
	syscall(SYS_eventfd2, 3, EFD_SEMAPHORE | EFD_NONBLOCK);
	unsigned long set = 1UL << (SIGUSR1 - 1) | 1UL << (SIGTERM - 1);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, &set, NULL, 8);
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, NULL, &set, 8);
	syscall(SYS_exit_group, 3);
}
