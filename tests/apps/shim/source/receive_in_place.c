// nacre_receive: streams and datagrams read where they lie, ends, time-outs, loans that are kept, and numbers that are none.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <nacre.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

enum { PIECES = 64, TOTAL = 3000000 };

static int ends[2];

static struct sockaddr_in here(in_port_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = port, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int bound(int type)
{
	struct sockaddr_in address = here(0);
	int fd = socket(AF_INET, type, 0);
	bind(fd, (struct sockaddr *)&address, sizeof address);
	return fd;
}

static in_port_t port_of(int fd)
{
	struct sockaddr_in address;
	socklen_t length = sizeof address;
	getsockname(fd, (struct sockaddr *)&address, &length);
	return address.sin_port;
}

static void connected(void)
{
	int listener = bound(SOCK_STREAM);
	listen(listener, 1);
	struct sockaddr_in address = here(port_of(listener));
	ends[0] = socket(AF_INET, SOCK_STREAM, 0);
	connect(ends[0], (struct sockaddr *)&address, sizeof address);
	ends[1] = accept(listener, NULL, NULL);
	close(listener);
}

static unsigned char byte_at(size_t place) { return place * 7 + place / 251; }

static void *send_all(void *unused)
{
	static unsigned char bytes[100000];
	for (size_t sent = 0; sent < TOTAL;) {
		size_t part = (sent % 13 + 1) * 7001;
		if (part > TOTAL - sent)
			part = TOTAL - sent;
		for (size_t i = 0; i < part; i++)
			bytes[i] = byte_at(sent + i);
		ssize_t count = send(ends[1], bytes, part, 0);
		if (count < 0)
			break;
		sent += count;
	}
	shutdown(ends[1], SHUT_WR);
	return unused;
}

// All bytes come, in order, whatever is kept meanwhile.
static void stream(size_t kept_max)
{
	struct nacre_piece pieces[PIECES], kept[PIECES];
	size_t kept_count = 0, place = 0;
	int wrong = 0, count;
	pthread_t thread;
	connected();
	pthread_create(&thread, NULL, send_all, NULL);
	while ((count = nacre_receive(ends[0], pieces, PIECES, NULL, NULL, 0)) > 0) {
		for (int i = 0; i < count; i++) {
			const unsigned char *bytes = pieces[i].bytes;
			for (size_t j = 0; j < pieces[i].length; j++)
				wrong += bytes[j] != byte_at(place++);
			if (kept_count < kept_max) {
				kept[kept_count++] = pieces[i];
				continue;
			}
			wrong += nacre_give_back(&pieces[i], 1) != 0;
		}
	}
	pthread_join(thread, NULL);
	close(ends[0]);
	close(ends[1]);
	printf("stream: %zu bytes, end %d, wrong %d, given back late %d\n", place, count, wrong, nacre_give_back(kept, kept_count));
}

static void datagrams(void)
{
	struct nacre_piece pieces[PIECES];
	int receiver = bound(SOCK_DGRAM), sender = bound(SOCK_DGRAM);
	struct sockaddr_in to = here(port_of(receiver)), from;
	static char bytes[60000];
	for (size_t i = 0; i < sizeof bytes; i++)
		bytes[i] = byte_at(i);
	size_t sizes[] = { 1, 1400, 0, 60000, 512 };
	for (size_t i = 0; i < 5; i++)
		sendto(sender, bytes, sizes[i], 0, (struct sockaddr *)&to, sizeof to);
	for (size_t i = 0; i < 5; i++) {
		socklen_t length = sizeof from;
		memset(&from, 0, sizeof from);
		int count = nacre_receive(receiver, pieces, PIECES, (struct sockaddr *)&from, &length, 0);
		size_t sum = 0;
		int is_right = 1;
		for (int j = 0; j < count; sum += pieces[j++].length)
			is_right &= memcmp(pieces[j].bytes, bytes + sum, pieces[j].length) == 0;
		printf("datagram: %zu bytes, right %d, from %d, length %u, given back %d\n", sum, is_right, from.sin_port == port_of(sender),
		       (unsigned)length, nacre_give_back(pieces, count > 0 ? count : 0));
	}
	printf("none: %d", nacre_receive(receiver, pieces, PIECES, NULL, NULL, MSG_DONTWAIT));
	printf(" %d\n", errno == EAGAIN);
	struct timeval time = { 0, 20000 };
	setsockopt(receiver, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
	printf("in time: %d", nacre_receive(receiver, pieces, PIECES, NULL, NULL, 0));
	printf(" %d\n", errno == EAGAIN);
	close(sender);
	close(receiver);
}

static void senseless(void)
{
	struct nacre_piece pieces[PIECES];
	int pair[2];
	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	send(pair[0], "unix", 4, 0);
	int count = nacre_receive(pair[1], pieces, PIECES, NULL, NULL, 0);
	printf("another kind: %d %.4s", count, (const char *)pieces[0].bytes);
	printf(" %d\n", nacre_give_back(pieces, count));
	printf("no socket: %d", nacre_receive(0, pieces, PIECES, NULL, NULL, MSG_DONTWAIT));
	printf(" %d\n", errno == ENOTSOCK || errno == EBADF);
	printf("no descriptor: %d", nacre_receive(-1, pieces, PIECES, NULL, NULL, 0));
	printf(" %d\n", errno == EBADF);
	printf("no piece: %d", nacre_receive(pair[1], pieces, 0, NULL, NULL, MSG_DONTWAIT));
	printf(" %d\n", errno == EINVAL);
	printf("other flags: %d", nacre_receive(pair[1], pieces, 1, NULL, NULL, MSG_PEEK));
	printf(" %d\n", errno == EINVAL);
	connected();
	printf("not connected: %d", nacre_receive(bound(SOCK_STREAM), pieces, 1, NULL, NULL, 0));
	printf(" %d\n", errno == ENOTCONN);
}

// What only a kernel that lends can say.
static void loans(void)
{
	if (!nacre_is_native())
		return;
	struct nacre_piece piece, forged;
	int wrong = 0, refused = 0;
	send(ends[1], "lent", 4, 0);
	wrong += nacre_receive(ends[0], &piece, 1, NULL, NULL, 0) != 1 || memcmp(piece.bytes, "lent", 4);
	forged = piece;
	for (uint64_t bit = 0; bit < 63; bit++) {
		forged.loan = piece.loan ^ 1ULL << bit;
		refused += nacre_give_back(&forged, 1) == -1 && errno == EINVAL;
	}
	wrong += refused != 63;
	wrong += nacre_give_back(&piece, 1) != 0;
	wrong += nacre_give_back(&piece, 1) != -1 || errno != EINVAL;
	// Nowhere to tell of it: nothing stays lent.
	for (int i = 0; i < 2000; i++) {
		send(ends[1], "x", 1, 0);
		wrong += nacre_receive(ends[0], (void *)16, 1, NULL, NULL, 0) != -1 || errno != EFAULT;
	}
	// Who keeps all that comes is stopped: by the number of loans, or the sender by the window.
	static struct nacre_piece kept[4096];
	int count = 0;
	while (count < 4096 && send(ends[1], "y", 1, MSG_DONTWAIT) == 1 && nacre_receive(ends[0], kept + count, 1, NULL, NULL, MSG_DONTWAIT) == 1)
		count++;
	wrong += count == 0 || count > 1024;
	wrong += nacre_give_back(kept, count) != 0;
	send(ends[1], "on", 2, 0);
	wrong += nacre_receive(ends[0], &piece, 1, NULL, NULL, 0) != 1 || nacre_give_back(&piece, 1);
	if (wrong)
		printf("loans: %d wrong, %d kept\n", wrong, count);
}

int main(void)
{
	setvbuf(stdout, NULL, _IOLBF, 0);
	stream(0);
	stream(5);
	datagrams();
	senseless();
	loans();
	return 0;
}
