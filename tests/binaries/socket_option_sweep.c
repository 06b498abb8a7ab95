// Every option of every level of each kind of socket: values, lengths and errors of getting and setting. Left out is what depends on how the
// host is set up (sizes of buffers, the algorithm of congestion control, netfilter, numbers of sockets), and what Nacre does not have.
#include "socket_observe.h"
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>

static const struct {
    const char *name;
    int domain, type, protocol;
} kinds[] = {
    {"tcp", AF_INET, SOCK_STREAM, 0},
    {"tcp6", AF_INET6, SOCK_STREAM, 0},
    {"udp", AF_INET, SOCK_DGRAM, 0},
    {"udp6", AF_INET6, SOCK_DGRAM, 0},
    {"stream", AF_UNIX, SOCK_STREAM, 0},
    {"datagram", AF_UNIX, SOCK_DGRAM, 0},
    {"packet", AF_UNIX, SOCK_SEQPACKET, 0},
    {"icmp", AF_INET, SOCK_RAW, IPPROTO_ICMP},
    {"icmp6", AF_INET6, SOCK_RAW, IPPROTO_ICMPV6},
    {"raw", AF_INET, SOCK_RAW, IPPROTO_UDP},
    {"raw6", AF_INET6, SOCK_RAW, 200},
    {"netlink", AF_NETLINK, SOCK_RAW, 0},
};

#define OPTIONS 140

// The options that are left out, ended by -2.
static const struct {
    int level;
    short options[48];
} levels[] = {
    {IPPROTO_IP, {4, 5, 6, 7, 9, 16, 17, 21, 23, 25, 26, 36, 41, 48, 51, 64, 65, 66, 67, 80, 83, 96, 97, 98, 99, -2}},
    {SOL_SOCKET, {7,  8,  18, 26, 32, 33, 37, 44, 48, 50, 51, 52, 55, 57, 60, 61, 65, 68,
                  69, 70, 71, 73, 74, 75, 76, 77, 80, 82, 83, 84, -2}},
    {IPPROTO_TCP, {11, 13, 14, 16, 17, 19, 20, 21, 22, 23, 24, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 37, 44, 45, 46, -2}},
    {IPPROTO_UDP, {10, 11, 100, -2}},
    {IPPROTO_IPV6, {1,  2,  3,  4,  5,  6,  7,  8,  11, 22, 24, 27, 28, 30, 31, 32, 33, 34, 35, 36, 48,
                    50, 53, 54, 55, 56, 57, 58, 59, 60, 61, 64, 65, 68, 69, 72, 73, 77, 80, -2}},
    {IPPROTO_ICMPV6, {-2}},
    {IPPROTO_RAW, {7, 36, -2}},
    {270, {3, 4, 8, 12, -2}},
    {300, {-2}},
};

static char line[2048];
static size_t line_len;
static int is_known;

static void say(const char *text) {
    line_len += (size_t)snprintf(line + line_len, sizeof line - line_len, " %s", text);
}

static void result(int outcome) {
    is_known |= outcome == 0 || (errno != ENOPROTOOPT && errno != EOPNOTSUPP);
    say(outcome == 0 ? "done" : error_name(errno));
}

static void get(int fd, int level, int option, int room) {
    unsigned char bytes[64];
    char text[160];
    socklen_t len = (socklen_t)room;
    memset(bytes, 0, sizeof bytes);
    if (syscall(SYS_getsockopt, fd, level, option, bytes, &len) != 0) {
        result(-1);
        return;
    }
    is_known = 1;
    int text_len = snprintf(text, sizeof text, "%u:", len);
    for (unsigned i = 0; i < len; i++)
        text_len += snprintf(text + text_len, sizeof text - (size_t)text_len, "%02x", bytes[i]);
    say(text);
}

static void set(int fd, int level, int option, int value, int len) {
    int values[16] = {value};
    result((int)syscall(SYS_setsockopt, fd, level, option, values, len));
}

static int is_left_out(size_t level, int option) {
    const short *one = levels[level].options;
    while (*one != -2 && *one != option)
        one++;
    return *one != -2;
}

// On Linux in a network of its own, with its defaults and its loopback alone.
static void leave_network(void) {
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    unshare(CLONE_NEWNET);
    int fd = MUST(socket(AF_INET, SOCK_DGRAM, 0));
    ioctl(fd, SIOCSIFFLAGS, &loopback);
    close(fd);
}

int main(void) {
    leave_network();
    static const int values[] = {1, 5, 300, 0, -1}, rooms[] = {64, 4, 1, 0}, lens[] = {0, 1, 3, 64};
    for (size_t kind = 0; kind < ARRAY_LEN(kinds); kind++)
        for (size_t level = 0; level < ARRAY_LEN(levels); level++)
            for (int option = -1; option < OPTIONS; option++) {
                if (is_left_out(level, option))
                    continue;
                int fd = (int)MUST(socket(kinds[kind].domain, kinds[kind].type, kinds[kind].protocol));
                int number = levels[level].level;
                line_len = 0;
                is_known = 0;
                for (size_t i = 0; i < ARRAY_LEN(rooms); i++)
                    get(fd, number, option, rooms[i]);
                for (size_t i = 0; i < ARRAY_LEN(values); i++) {
                    set(fd, number, option, values[i], sizeof(int));
                    get(fd, number, option, 64);
                }
                int is_shown = is_known || option < 0;
                for (size_t i = 0; i < ARRAY_LEN(lens); i++)
                    set(fd, number, option, 1, lens[i]);
                // What a socket does not know is shown once.
                if (is_shown)
                    printf("%s level %d option %d:%s\n", kinds[kind].name, number, option, line);
                close(fd);
            }
    return 0;
}
