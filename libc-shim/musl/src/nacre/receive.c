/* Receiving in place. Where the kernel does not lend, bytes are received into memory of the heap, which is the loan. */
#include <nacre.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include "numbers.h"
#include "syscall.h"

/* A loan of the kernel has this bit, which no address of a program has. */
#define KERNEL_LOAN (1ULL << 63)
#define BUFFER_LEN 65536

static int receive_copy(int socket, struct nacre_piece *pieces, size_t count, struct sockaddr *address, socklen_t *address_length, int flags)
{
	if (flags & ~MSG_DONTWAIT || !count) return __syscall_ret(-EINVAL);
	void *buffer = malloc(BUFFER_LEN);
	if (!buffer) return -1;
	ssize_t length = recvfrom(socket, buffer, BUFFER_LEN, flags, address, address_length);
	if (length <= 0) {
		free(buffer);
		return length;
	}
	*pieces = (struct nacre_piece){ buffer, length, (uintptr_t)buffer };
	return 1;
}

int nacre_receive(int socket, struct nacre_piece *pieces, size_t count, struct sockaddr *address, socklen_t *address_length, int flags)
{
	long result = __syscall_cp(SYS_nacre_receive_in_place, socket, pieces, count, address, address_length, flags);
	if (result == -ENOSYS || result == -EOPNOTSUPP)
		return receive_copy(socket, pieces, count, address, address_length, flags);
	return __syscall_ret(result);
}

int nacre_give_back(const struct nacre_piece *pieces, size_t count)
{
	size_t first = 0;
	while (first < count) {
		size_t end = first;
		while (end < count && pieces[end].loan & KERNEL_LOAN) end++;
		if (end > first) {
			long result = __syscall(SYS_nacre_give_back, pieces + first, end - first);
			if (result < 0) return __syscall_ret(result);
			first = end;
		} else {
			free((void *)(uintptr_t)pieces[first++].loan);
		}
	}
	return 0;
}
