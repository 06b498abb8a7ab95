// Sockets of AF_VSOCK: what Linux's errors are, the machine with itself, and with a host that listens at ports 1000 to 1004
// (tests/runner/src/vsock). With an argument only what needs no other end, which any Linux with such a device shows alike.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define AF_VSOCK_NUMBER 40
#define ANY 0xffffffffu
#define LOCAL 1
#define HOST 2
#define GET_LOCAL_CID 0x7b9

struct sockaddr_vm {
	uint16_t family, reserved;
	uint32_t port, cid;
	uint8_t flags, zero[3];
};

static const char *name_of(int error)
{
	static char number[16];

	switch (error) {
	case 0: return "none";
	case EACCES: return "EACCES";
	case EADDRINUSE: return "EADDRINUSE";
	case EADDRNOTAVAIL: return "EADDRNOTAVAIL";
	case EAGAIN: return "EAGAIN";
	case EALREADY: return "EALREADY";
	case ECONNRESET: return "ECONNRESET";
	case EFAULT: return "EFAULT";
	case EINPROGRESS: return "EINPROGRESS";
	case EINVAL: return "EINVAL";
	case EISCONN: return "EISCONN";
	case EMSGSIZE: return "EMSGSIZE";
	case ENODEV: return "ENODEV";
	case ENOPROTOOPT: return "ENOPROTOOPT";
	case ENOTCONN: return "ENOTCONN";
	case ENOTTY: return "ENOTTY";
	case EOPNOTSUPP: return "EOPNOTSUPP";
	case EPIPE: return "EPIPE";
	case EPROTO: return "EPROTO";
	case EPROTONOSUPPORT: return "EPROTONOSUPPORT";
	case ERANGE: return "ERANGE";
	case ESOCKTNOSUPPORT: return "ESOCKTNOSUPPORT";
	case ETIMEDOUT: return "ETIMEDOUT";
	}
	snprintf(number, sizeof number, "%d", error);
	return number;
}

static void show(const char *what, long result)
{
	if (result < 0)
		printf("%s: %s\n", what, name_of(errno));
	else
		printf("%s: %ld\n", what, result);
}

static int make(int kind)
{
	return socket(AF_VSOCK_NUMBER, kind, 0);
}

static struct sockaddr_vm at(uint32_t cid, uint32_t port)
{
	return (struct sockaddr_vm){ .family = AF_VSOCK_NUMBER, .cid = cid, .port = port };
}

static int bind_to(int fd, uint32_t cid, uint32_t port)
{
	struct sockaddr_vm address = at(cid, port);

	return bind(fd, (void *)&address, sizeof address);
}

static int connect_to(int fd, uint32_t cid, uint32_t port)
{
	struct sockaddr_vm address = at(cid, port);

	return connect(fd, (void *)&address, sizeof address);
}

static int listen_at(int kind, uint32_t port, int backlog)
{
	int fd = make(kind);

	if (bind_to(fd, ANY, port) || listen(fd, backlog))
		show("listen", -1);
	return fd;
}

static void show_names(const char *what, int fd)
{
	struct sockaddr_vm own = { 0 }, peer = { 0 };
	socklen_t length = sizeof own;

	getsockname(fd, (void *)&own, &length);
	printf("%s: %d bytes, family %d, cid %x, port %s", what, (int)length, own.family, own.cid,
	       own.port == ANY ? "any" : own.port >= 1024 ? "some" : "low");
	length = sizeof peer;
	if (getpeername(fd, (void *)&peer, &length))
		printf(", peer %s\n", name_of(errno));
	else
		printf(", peer %x%s\n", peer.cid, peer.port == 0 ? " without port" : "");
}

static int events_of(int fd)
{
	struct pollfd one = { fd, POLLIN | POLLOUT | POLLRDHUP, 0 };

	poll(&one, 1, 0);
	return one.revents;
}

static int error_of(int fd)
{
	int error = -1;
	socklen_t length = sizeof error;

	getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
	return error;
}

static void errors(void)
{
	int fd = make(SOCK_STREAM), other = make(SOCK_SEQPACKET), pair[2];
	struct sockaddr_vm address = at(ANY, ANY);
	char byte;

	show("dgram", make(SOCK_DGRAM));
	show("raw", make(SOCK_RAW));
	show("protocol 1", socket(AF_VSOCK_NUMBER, SOCK_STREAM, 1));
	show("protocol 40", socket(AF_VSOCK_NUMBER, SOCK_STREAM, 40) >= 0);
	show("pair", socketpair(AF_VSOCK_NUMBER, SOCK_STREAM, 0, pair));
	show_names("new", fd);
	printf("new: %x %x\n", events_of(fd), events_of(other));
	show("short address", bind(fd, (void *)&address, sizeof address - 1));
	address.family = AF_INET;
	show("other family", bind(fd, (void *)&address, sizeof address));
	show("connect to other family", connect(fd, (void *)&address, sizeof address));
	address = at(ANY, 5000);
	address.flags = 2;
	show("unknown flag", bind(fd, (void *)&address, sizeof address));
	show("foreign cid", bind_to(fd, 77, 5000));
	show("listen unbound", listen(fd, 1));
	show("accept", accept(fd, NULL, NULL));
	show("send", send(fd, "x", 1, MSG_NOSIGNAL));
	show("sendto", sendto(fd, "x", 1, MSG_NOSIGNAL, (void *)&address, sizeof address));
	show("send oob", send(fd, "x", 1, MSG_OOB));
	show("recv", recv(fd, &byte, 1, 0));
	show("shutdown", shutdown(fd, SHUT_RDWR));
	show("shutdown 3", shutdown(fd, 3));
	show("peer", getpeername(fd, (void *)&address, &(socklen_t){ sizeof address }));
	show("bind", bind_to(fd, ANY, 5000));
	show("bind again", bind_to(fd, ANY, 5001));
	show("in use", bind_to(other, ANY, 5000));
	show("any port", bind_to(other, ANY, ANY));
	show_names("any port", other);
	show("listen", listen(fd, 1));
	show("listen again", listen(fd, 2));
	printf("listening: %x\n", events_of(fd));
	show("connect of a listener", connect_to(fd, HOST, 1000));
	show("shutdown of a listener", shutdown(fd, SHUT_RD));
	close(fd);
	fd = make(SOCK_STREAM);
	show("free again", bind_to(fd, ANY, 5000));
	close(fd);
	close(other);
	fd = open("/dev/vsock", O_RDONLY);
	show("ioctl", ioctl(fd, 0x1234, 0));
	show("bad pointer", ioctl(fd, GET_LOCAL_CID, 8));
	close(fd);
}

static void show_option(int fd, int option)
{
	uint64_t value = 0;
	socklen_t length = sizeof value;
	int result = getsockopt(fd, AF_VSOCK_NUMBER, option, &value, &length);

	printf("option %d: %s, %d bytes, %lu\n", option, result ? name_of(errno) : "none", (int)length,
	       (unsigned long)value);
}

static void options(void)
{
	int fd = make(SOCK_STREAM), names[] = { SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ACCEPTCONN, SO_ERROR };
	int flags[] = { SO_REUSEADDR, SO_REUSEPORT, SO_KEEPALIVE, SO_PASSCRED, SO_PEEK_OFF };
	uint64_t size;
	struct timeval time;
	socklen_t length;

	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		int value = -1;
		length = sizeof value;
		getsockopt(fd, SOL_SOCKET, names[i], &value, &length);
		printf("%d ", value);
	}
	printf("\n");
	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++)
		show("flag", setsockopt(fd, SOL_SOCKET, flags[i], &(int){ 1 }, sizeof(int)));
	for (int value = 262144; value <= 262145; value++)
		show("low water", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &value, sizeof value));
	show("low water", setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &(int){ 1 }, sizeof(int)));
	for (int option = 0; option < 4; option++)
		show_option(fd, option);
	size = 1 << 20;
	show("size", setsockopt(fd, AF_VSOCK_NUMBER, 0, &size, sizeof size));
	show_option(fd, 0);
	show("max", setsockopt(fd, AF_VSOCK_NUMBER, 2, &size, sizeof size));
	show("size", setsockopt(fd, AF_VSOCK_NUMBER, 0, &size, sizeof size));
	show_option(fd, 0);
	size = 5000;
	show("max", setsockopt(fd, AF_VSOCK_NUMBER, 2, &size, sizeof size));
	show_option(fd, 0);
	size = 1;
	show("size", setsockopt(fd, AF_VSOCK_NUMBER, 0, &size, sizeof size));
	show_option(fd, 0);
	size = 6000;
	show("min", setsockopt(fd, AF_VSOCK_NUMBER, 1, &size, sizeof size));
	show_option(fd, 0);
	show("short", setsockopt(fd, AF_VSOCK_NUMBER, 0, &size, 7));
	length = 7;
	show("short", getsockopt(fd, AF_VSOCK_NUMBER, 0, &size, &length));
	show("unknown", setsockopt(fd, AF_VSOCK_NUMBER, 99, &size, sizeof size));
	show("level", setsockopt(fd, 6, 1, &size, sizeof size));
	for (int option = 6; option <= 8; option += 2) {
		length = sizeof time;
		show("timeout", getsockopt(fd, AF_VSOCK_NUMBER, option, &time, &length));
		printf("%d bytes, %ld.%06ld\n", (int)length, (long)time.tv_sec, (long)time.tv_usec);
		time = (struct timeval){ 3, 500000 };
		show("timeout", setsockopt(fd, AF_VSOCK_NUMBER, option, &time, sizeof time));
		getsockopt(fd, AF_VSOCK_NUMBER, option, &time, &length);
		printf("%ld.%06ld\n", (long)time.tv_sec, (long)time.tv_usec);
		time = (struct timeval){ 0, 0 };
		show("timeout", setsockopt(fd, AF_VSOCK_NUMBER, option, &time, sizeof time));
		time = (struct timeval){ -1, 0 };
		show("timeout", setsockopt(fd, AF_VSOCK_NUMBER, option, &time, sizeof time));
		time = (struct timeval){ 0, 1000000 };
		show("timeout", setsockopt(fd, AF_VSOCK_NUMBER, option, &time, sizeof time));
		show("short", setsockopt(fd, AF_VSOCK_NUMBER, option, &time, 15));
	}
	close(fd);
}

// Both ends of a connection of the machine with itself.
static void connected(int kind, uint32_t cid, int ends[2])
{
	int listener = listen_at(kind, 6000, 1);

	ends[0] = make(kind);
	show("connect", connect_to(ends[0], cid, 6000));
	ends[1] = accept(listener, NULL, NULL);
	close(listener);
}

static void show_read(const char *what, int fd, int flags)
{
	char bytes[100] = "";
	long count = recv(fd, bytes, sizeof bytes - 1, flags);

	if (count < 0)
		printf("%s: %s\n", what, name_of(errno));
	else
		printf("%s: %ld \"%s\"\n", what, count, bytes);
}

static void streams(uint32_t own)
{
	int ends[2], fd, epoll = epoll_create1(0), listener;
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET };
	int count = -1;

	for (int i = 0; i < 2; i++) {
		connected(SOCK_STREAM, i ? own : LOCAL, ends);
		show_names("client", ends[0]);
		show_names("server", ends[1]);
		if (i)
			break;
		close(ends[0]);
		close(ends[1]);
	}
	show("connect again", connect_to(ends[0], LOCAL, 6000));
	show("sendto", sendto(ends[0], "x", 1, 0, (void *)&(struct sockaddr_vm){ 0 }, sizeof(struct sockaddr_vm)));
	printf("events %x %x\n", events_of(ends[0]), events_of(ends[1]));
	epoll_ctl(epoll, EPOLL_CTL_ADD, ends[1], &event);
	show("edges", epoll_wait(epoll, &event, 1, 0));
	show("edges", epoll_wait(epoll, &event, 1, 0));
	show("send", send(ends[0], "hello", 5, 0));
	show("edges", epoll_wait(epoll, &event, 1, 0));
	printf("edge %x\n", event.events);
	show("unread", ioctl(ends[1], FIONREAD, &count) ? -1 : count);
	show_read("peek", ends[1], MSG_PEEK);
	show_read("read", ends[1], 0);
	show_read("nothing", ends[1], MSG_DONTWAIT);
	show_read("nothing", ends[1], MSG_OOB);
	show("send", send(ends[1], "to the end", 10, 0));
	show("shutdown", shutdown(ends[1], SHUT_WR));
	printf("events %x %x\n", events_of(ends[0]), events_of(ends[1]));
	show_read("read", ends[0], 0);
	show_read("end", ends[0], 0);
	show("send", send(ends[1], "x", 1, MSG_NOSIGNAL));
	show("other way", send(ends[0], "still open", 10, 0));
	show_names("shut", ends[1]);
	show("connect after shutdown", connect_to(ends[1], LOCAL, 6000));
	close(ends[0]);
	printf("events %x\n", events_of(ends[1]));
	show_read("read", ends[1], 0);
	show_read("end", ends[1], 0);
	show("send", send(ends[1], "x", 1, MSG_NOSIGNAL));
	close(ends[1]);

	fd = make(SOCK_STREAM | SOCK_NONBLOCK);
	show("refused", connect_to(fd, LOCAL, 6000));
	printf("events %x, error %s\n", events_of(fd), name_of(error_of(fd)));
	close(fd);
	fd = make(SOCK_STREAM);
	show("refused", connect_to(fd, LOCAL, 6000));
	listener = listen_at(SOCK_STREAM, 6000, 0);
	show("retry", connect_to(fd, LOCAL, 6000));
	ends[0] = make(SOCK_STREAM);
	show("full", connect_to(ends[0], LOCAL, 6000));
	ends[1] = make(SOCK_SEQPACKET);
	show("other kind", connect_to(ends[1], LOCAL, 6000));
	close(ends[1]);
	ends[1] = make(SOCK_STREAM | SOCK_NONBLOCK);
	bind_to(ends[1], LOCAL, 6001);
	show("itself", connect_to(ends[1], LOCAL, 6001));
	printf("error %s\n", name_of(error_of(ends[1])));
	close(ends[1]);
	close(ends[0]);
	printf("events %x\n", events_of(listener));
	close(listener);
	show_read("never accepted", fd, 0);
	close(fd);
	close(epoll);
}

static void messages(void)
{
	static char large[300000], back[300000];
	int ends[2];
	struct iovec piece = { back, 4 };
	struct msghdr message = { .msg_iov = &piece, .msg_iovlen = 1 };

	connected(SOCK_SEQPACKET, LOCAL, ends);
	memset(large, 'm', sizeof large);
	show("too large", send(ends[0], large, sizeof large, 0));
	show("send", send(ends[0], "first", 5, MSG_EOR));
	show("send", send(ends[0], "second", 6, 0));
	show("send", send(ends[0], large, 200000, 0));
	show("no room", send(ends[0], large, 100000, MSG_DONTWAIT));
	show("recvmsg", recvmsg(ends[1], &message, 0));
	printf("flags %x\n", message.msg_flags);
	show("whole length", recv(ends[1], back, 3, MSG_PEEK | MSG_TRUNC));
	show_read("read", ends[1], 0);
	show("large", recv(ends[1], back, sizeof back, 0));
	printf("%s\n", memcmp(large, back, 200000) ? "not what was sent" : "as it was sent");
	show("room", send(ends[0], large, 100000, MSG_DONTWAIT));
	show("send nothing", send(ends[0], "", 0, 0));
	close(ends[0]);
	show("large", recv(ends[1], back, sizeof back, 0));
	show_read("end", ends[1], 0);
	close(ends[1]);
}

#define BULK (3 << 20)

static char pattern(long place)
{
	return (char)(place / 7);
}

static void *write_all(void *argument)
{
	int fd = *(int *)argument;
	char bytes[7000];

	for (long done = 0; done < BULK;) {
		long part = BULK - done < (long)sizeof bytes ? BULK - done : (long)sizeof bytes;

		for (long i = 0; i < part; i++)
			bytes[i] = pattern(done + i);
		part = write(fd, bytes, (size_t)part);
		if (part < 0)
			break;
		done += part;
	}
	shutdown(fd, SHUT_WR);
	return NULL;
}

// How many bytes come before the end, or before the first that is wrong.
static long read_all(int fd)
{
	char bytes[50000];
	long done = 0, count;

	while ((count = read(fd, bytes, sizeof bytes)) > 0) {
		for (long i = 0; i < count; i++, done++)
			if (bytes[i] != pattern(done))
				return done;
	}
	return count < 0 ? count : done;
}

static void bulk(void)
{
	int ends[2];
	pthread_t threads[2];

	connected(SOCK_STREAM, LOCAL, ends);
	for (int i = 0; i < 2; i++)
		pthread_create(&threads[i], NULL, write_all, &ends[i]);
	show("bulk", read_all(ends[0]));
	show("bulk", read_all(ends[1]));
	for (int i = 0; i < 2; i++) {
		pthread_join(threads[i], NULL);
		close(ends[i]);
	}
}

// A socket that waits for an answer however busy the host is.
static int make_patient(int kind)
{
	struct timeval time = { 60, 0 };
	int fd = make(kind);

	setsockopt(fd, AF_VSOCK_NUMBER, 6, &time, sizeof time);
	return fd;
}

static void host(void)
{
	struct timeval short_time = { 0, 100000 };
	struct pollfd one;
	int fd = make_patient(SOCK_STREAM), listener, other;
	pthread_t thread;

	show("echo", connect_to(fd, HOST, 1000));
	show_names("echo", fd);
	show("send", send(fd, "hello, host", 11, 0));
	show_read("echo", fd, 0);
	show("shutdown", shutdown(fd, SHUT_WR));
	show_read("end", fd, 0);
	close(fd);

	fd = make_patient(SOCK_STREAM);
	show("echo", connect_to(fd, HOST, 1000));
	pthread_create(&thread, NULL, write_all, &fd);
	show("bulk", read_all(fd));
	pthread_join(thread, NULL);
	close(fd);

	fd = make_patient(SOCK_STREAM | SOCK_NONBLOCK);
	show("non-blocking", connect_to(fd, HOST, 1000));
	one = (struct pollfd){ fd, POLLOUT, 0 };
	show("poll", poll(&one, 1, -1));
	printf("events %x, error %s\n", one.revents, name_of(error_of(fd)));
	show("connect again", connect_to(fd, HOST, 1000));
	show_read("nothing", fd, 0);
	close(fd);

	fd = make_patient(SOCK_STREAM);
	show("refused", connect_to(fd, HOST, 999));
	setsockopt(fd, AF_VSOCK_NUMBER, 6, &short_time, sizeof short_time);
	show("silent", connect_to(fd, HOST, 1003));
	printf("error %s\n", name_of(error_of(fd)));
	close(fd);

	fd = make_patient(SOCK_STREAM | SOCK_NONBLOCK);
	setsockopt(fd, AF_VSOCK_NUMBER, 6, &short_time, sizeof short_time);
	show("silent", connect_to(fd, HOST, 1003));
	show("silent", connect_to(fd, HOST, 1003));
	one = (struct pollfd){ fd, POLLOUT, 0 };
	show("poll", poll(&one, 1, -1));
	printf("events %x, error %s\n", one.revents, name_of(error_of(fd)));
	close(fd);

	fd = make_patient(SOCK_STREAM);
	show("short", connect_to(fd, HOST, 1004));
	show_read("last words", fd, MSG_WAITALL);
	show_read("end", fd, 0);
	show("send", send(fd, "x", 1, MSG_NOSIGNAL));
	close(fd);

	listener = listen_at(SOCK_STREAM, 2000, 1);
	fd = make_patient(SOCK_STREAM);
	show("call back", connect_to(fd, HOST, 1001));
	other = accept(listener, NULL, NULL);
	show_names("called", other);
	show_read("called", other, 0);
	show("answer", send(other, "answer", 6, 0));
	show_read("echo", other, 0);
	close(listener);
	close(other);
	show("send", send(fd, "both", 4, 0));
	show_read("echo", fd, 0);
	close(fd);

	fd = make_patient(SOCK_SEQPACKET);
	show("messages", connect_to(fd, HOST, 1000));
	close(fd);

	fd = make_patient(SOCK_STREAM);
	show("hostile", connect_to(fd, HOST, 1002));
	one = (struct pollfd){ fd, 0, 0 };
	show("poll", poll(&one, 1, -1));
	show_read("hostile", fd, 0);
	show_read("hostile", fd, 0);
	close(fd);
	fd = make_patient(SOCK_STREAM);
	show("echo after that", connect_to(fd, HOST, 1000));
	show("send", send(fd, "hello again", 11, 0));
	show_read("echo", fd, 0);
	close(fd);
}

int main(int count, char **arguments)
{
	int fd = open("/dev/vsock", O_RDONLY);
	uint32_t own = 0;

	(void)arguments;
	errors();
	options();
	if (count > 1)
		return 0;
	show("cid", ioctl(fd, GET_LOCAL_CID, &own) ? -1 : (long)own);
	fflush(stdout);
	streams(own);
	messages();
	bulk();
	fflush(stdout);
	host();
	return 0;
}
