// Sockets of one machine: loopback, and the Unix domain.
#include "bench.h"

#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

enum { CHUNK = 64 << 10 };

static int ours = -1, theirs = -1, listener = -1;
static struct sockaddr_in address;
static char buffer[CHUNK], sink[CHUNK];

// As the machine's first program, nobody has switched loopback on before us.
static void raise_loopback(void)
{
	struct ifreq request = { .ifr_name = "lo" };
	int file = socket(AF_INET, SOCK_DGRAM, 0);
	if (file < 0)
		return;
	if (!ioctl(file, SIOCGIFFLAGS, &request) && !(request.ifr_flags & IFF_UP)) {
		request.ifr_flags |= IFF_UP;
		ioctl(file, SIOCSIFFLAGS, &request);
	}
	close(file);
}

static bool bind_anywhere(int file)
{
	socklen_t length = sizeof address;
	memset(&address, 0, sizeof address);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return bind(file, (struct sockaddr *)&address, sizeof address) == 0 &&
	       getsockname(file, (struct sockaddr *)&address, &length) == 0;
}

static bool start_listening(void)
{
	raise_loopback();
	listener = socket(AF_INET, SOCK_STREAM, 0);
	return listener >= 0 && bind_anywhere(listener) && listen(listener, 16) == 0;
}

static bool make_connection(void)
{
	int one = 1;
	ours = socket(AF_INET, SOCK_STREAM, 0);
	if (ours < 0 || connect(ours, (struct sockaddr *)&address, sizeof address))
		return false;
	theirs = accept(listener, NULL, NULL);
	return theirs >= 0 && !setsockopt(ours, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) &&
	       !setsockopt(theirs, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
}

static void remove_sockets(void)
{
	close(ours);
	close(theirs);
	close(listener);
	ours = theirs = listener = -1;
}

// A partner that sends back what it gets, until there is no more.
static void echo(void)
{
	char byte;
	while (call6(SYS_recvfrom, theirs, (long)&byte, 1, 0, 0, 0) == 1)
		call6(SYS_sendto, theirs, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
}

static void round_trip(void)
{
	char byte = 0;
	call6(SYS_sendto, ours, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
	call6(SYS_recvfrom, ours, (long)&byte, 1, 0, 0, 0);
}

static bool start_tcp_echo(void) { return start_listening() && make_connection() && partner_start(echo); }

static void stop_stream(void)
{
	shutdown(ours, SHUT_RDWR);
	partner_join();
	remove_sockets();
}

// One thread that writes and reads by turns: what the way of one byte costs with nobody to wake.
static bool start_tcp_alone(void) { return start_listening() && make_connection(); }

static void send_receive(void)
{
	char byte = 0;
	call6(SYS_sendto, ours, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
	call6(SYS_recvfrom, theirs, (long)&byte, 1, 0, 0, 0);
}

static void connect_accept_close(void)
{
	char byte;
	int client = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(client, (struct sockaddr *)&address, sizeof address)) {
		close(client);
		return;
	}
	int server = accept(listener, NULL, NULL);
	close(client);
	call6(SYS_recvfrom, server, (long)&byte, 1, 0, 0, 0);
	close(server);
}

static bool can_connect(void)
{
	if (!start_listening() || !make_connection())
		return false;
	close(ours);
	close(theirs);
	ours = theirs = -1;
	return true;
}

// A partner that takes everything, and says when all that was announced has come.
static _Atomic uint64_t announced;

static void take(void)
{
	uint64_t taken = 0;
	char byte = 0;
	long count;
	while ((count = call6(SYS_recvfrom, theirs, (long)sink, CHUNK, 0, 0, 0)) > 0) {
		taken += (uint64_t)count;
		if (taken == announced) {
			taken = 0;
			call6(SYS_sendto, theirs, (long)&byte, 1, MSG_NOSIGNAL, 0, 0);
		}
	}
}

static bool start_tcp_stream(void) { return start_listening() && make_connection() && partner_start(take); }

static unsigned send_chunks(unsigned count)
{
	char byte;
	announced = (uint64_t)count * CHUNK;
	for (uint64_t sent = 0; sent < announced;) {
		uint64_t offset = sent % CHUNK;
		long done = call6(SYS_sendto, ours, (long)buffer + (long)offset, (long)(CHUNK - offset), MSG_NOSIGNAL, 0, 0);
		if (done <= 0)
			return count;
		sent += (uint64_t)done;
	}
	call6(SYS_recvfrom, ours, (long)&byte, 1, 0, 0, 0);
	return count;
}

// Datagrams: both sockets know each other.
static bool start_udp(void)
{
	struct sockaddr_in first;
	raise_loopback();
	ours = socket(AF_INET, SOCK_DGRAM, 0);
	theirs = socket(AF_INET, SOCK_DGRAM, 0);
	if (ours < 0 || theirs < 0 || !bind_anywhere(ours))
		return false;
	first = address;
	return bind_anywhere(theirs) && !connect(ours, (struct sockaddr *)&address, sizeof address) &&
	       !connect(theirs, (struct sockaddr *)&first, sizeof first);
}

static void echo_datagrams(void)
{
	char byte;
	while (call6(SYS_recvfrom, theirs, (long)&byte, 1, 0, 0, 0) == 1 && !partner_stops)
		call6(SYS_sendto, theirs, (long)&byte, 1, 0, 0, 0);
}

static bool start_udp_echo(void) { return start_udp() && partner_start(echo_datagrams); }

static void stop_datagrams(void)
{
	char byte = 0;
	partner_stops = true;
	call6(SYS_sendto, ours, (long)&byte, 1, 0, 0, 0);
	partner_join();
	remove_sockets();
}

static bool make_unix_pair(int type)
{
	int pair[2];
	if (socketpair(AF_UNIX, type, 0, pair))
		return false;
	ours = pair[0];
	theirs = pair[1];
	return true;
}

static bool start_unix_echo(void) { return make_unix_pair(SOCK_STREAM) && partner_start(echo); }
static bool start_unix_datagrams(void) { return make_unix_pair(SOCK_DGRAM) && partner_start(echo_datagrams); }
static bool start_unix_stream(void) { return make_unix_pair(SOCK_STREAM) && partner_start(take); }

static const struct row rows[] = {
	{ .name = "tcp_write_read_1", .once = send_receive, .prepare = start_tcp_alone, .finish = remove_sockets },
	{ .name = "tcp_ping_pong", .once = round_trip, .prepare = start_tcp_echo, .finish = stop_stream },
	{ .name = "tcp_connect_accept_close", .once = connect_accept_close, .prepare = can_connect, .finish = remove_sockets,
	  .count_max = 1000 },
	{ .name = "tcp_stream_64k", .many = send_chunks, .prepare = start_tcp_stream, .finish = stop_stream },
	{ .name = "udp_ping_pong", .once = round_trip, .prepare = start_udp_echo, .finish = stop_datagrams },
	{ .name = "unix_stream_ping_pong", .once = round_trip, .prepare = start_unix_echo, .finish = stop_stream },
	{ .name = "unix_datagram_ping_pong", .once = round_trip, .prepare = start_unix_datagrams, .finish = stop_datagrams },
	{ .name = "unix_stream_64k", .many = send_chunks, .prepare = start_unix_stream, .finish = stop_stream },
	{ .name = "tcp_ping_pong_two_cpus", .once = round_trip, .prepare = start_tcp_echo, .finish = stop_stream,
	  .two_processors = true },
	{ .name = "tcp_stream_64k_two_cpus", .many = send_chunks, .prepare = start_tcp_stream, .finish = stop_stream,
	  .two_processors = true },
	{ .name = "unix_stream_ping_pong_two_cpus", .once = round_trip, .prepare = start_unix_echo, .finish = stop_stream,
	  .two_processors = true },
};
const struct rows network_rows = ROWS(rows);
