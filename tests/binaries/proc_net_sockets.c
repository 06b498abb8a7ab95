// The lists of sockets in /proc/net: their heads, widths and columns, and the lines of this program's own sockets.
#include "socket_observe.h"
#include <sys/stat.h>
#include <sys/sysmacros.h>

static char text[1 << 20];

static void load(const char *name) {
    char path[64];
    snprintf(path, sizeof path, "/proc/net/%s", name);
    int fd = (int)MUST(open(path, O_RDONLY));
    size_t len = 0;
    ssize_t count;
    while ((count = MUST(read(fd, text + len, sizeof text - 1 - len))) > 0)
        len += (size_t)count;
    text[len] = 0;
    close(fd);
}

static void show_head(const char *name) {
    load(name);
    char *end = strchr(text, '\n');
    printf("%s: %zu wide: %.*s|\n", name, (size_t)(end - text), (int)(end - text), text);
}

static unsigned long inode_of(int fd) {
    struct stat status;
    MUST(fstat(fd, &status));
    return (unsigned long)status.st_ino;
}

// The words of an Internet socket's line, up to those that the kernel chooses; ports as names.
static void show_inet(const char *label, const char *list, int fd) {
    unsigned long wanted = inode_of(fd);
    load(list);
    int found = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char number[16], local[64], remote[64], state[8], queues[32], timer[32], retransmits[16];
        unsigned long user, probes, inode;
        int used = 0;
        if (sscanf(line, "%15s %63s %63s %7s %31s %31s %15s %lu %lu %lu%n", number, local, remote, state, queues, timer,
                   retransmits, &user, &probes, &inode, &used) != 10 ||
            inode != wanted)
            continue;
        found = 1;
        char *local_port = strrchr(local, ':'), *remote_port = strrchr(remote, ':');
        int has_local = strcmp(local_port, ":0000"), has_remote = strcmp(remote_port, ":0000");
        *local_port = *remote_port = 0;
        int words = 0;
        for (char *at = line + used; *at; at++)
            words += *at == ' ' && at[1] != ' ' && at[1];
        printf("%s in %s: local %s%s remote %s%s state %s queues %s timer %s retransmits %s user %lu probes %lu, %d more words\n",
               label, list, local, has_local ? " port" : "", remote, has_remote ? " port" : "", state, queues, timer,
               retransmits, user, probes, words);
    }
    if (!found)
        printf("%s is not in %s\n", label, list);
}

static void show_unix(const char *label, int fd) {
    unsigned long wanted = inode_of(fd);
    load("unix");
    int found = 0;
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        char address[32], protocol[16], flags[16], kind[8], state[8];
        unsigned references;
        unsigned long inode;
        int used = 0;
        if (sscanf(line, "%31s %x %15s %15s %7s %7s %lu%n", address, &references, protocol, flags, kind, state, &inode,
                   &used) == 7 && inode == wanted) {
            printf("%s: address of %zu digits, protocol %s flags %s kind %s state %s, rest \"%s\"\n", label,
                   strlen(address), protocol, flags, kind, state, line + used);
            found = 1;
        }
    }
    if (!found)
        printf("%s is not listed\n", label);
}

static void show_counts(const char *list, const char *start) {
    load(list);
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, start, strlen(start)) == 0) {
            // Numbers are the machine's.
            for (char *at = line; *at; at++)
                if (*at >= '0' && *at <= '9' && (at == line || at[-1] == ' ' || at[-1] == '#'))
                    *at = '#';
            char shown[256];
            size_t len = 0;
            for (char *at = line; *at && len < sizeof shown - 1; at++)
                if (*at != '#' || len == 0 || shown[len - 1] != '#')
                    shown[len++] = *at;
            shown[len] = 0;
            printf("%s: %s\n", list, shown);
        }
    }
}

static int bound(int domain, int kind, int protocol) {
    int fd = (int)MUST(socket(domain, kind, protocol));
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    MUST(bind(fd, domain == AF_INET ? (void *)&four : (void *)&six, domain == AF_INET ? sizeof four : sizeof six));
    return fd;
}

static int connected_to(int domain, int kind, int other) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    MUST(getsockname(other, (void *)&name, &len));
    int fd = (int)MUST(socket(domain, kind, 0));
    MUST(connect(fd, (void *)&name, len));
    return fd;
}

int main(void) {
    const char *heads[] = {"tcp", "tcp6", "udp", "udp6", "udplite", "udplite6", "raw", "raw6", "icmp", "icmp6", "unix",
                           "netlink", "packet", "protocols", "igmp"};
    for (size_t i = 0; i < sizeof heads / sizeof *heads; i++)
        show_head(heads[i]);
    int domains[] = {AF_INET, AF_INET6};
    for (int i = 0; i < 2; i++) {
        const char *tcp = i ? "tcp6" : "tcp", *udp = i ? "udp6" : "udp", *raw = i ? "raw6" : "raw";
        int idle = (int)MUST(socket(domains[i], SOCK_STREAM, 0));
        show_inet("an idle socket", tcp, idle);
        int listener = bound(domains[i], SOCK_STREAM, 0);
        show_inet("a bound socket", tcp, listener);
        MUST(listen(listener, 5));
        show_inet("a listener", tcp, listener);
        int client = connected_to(domains[i], SOCK_STREAM, listener);
        show_inet("a listener with a connection", tcp, listener);
        show_inet("a client", tcp, client);
        int server = (int)MUST(accept(listener, NULL, NULL));
        show_inet("a server", tcp, server);
        show_inet("a listener again", tcp, listener);
        MUST(send(server, "hello", 5, 0));
        MUST(recv(client, text, 2, 0));
        show_inet("a client with bytes to read", tcp, client);
        MUST(shutdown(client, SHUT_WR));
        show_inet("a server whose client is done", tcp, server);
        show_inet("a stranger's list", i ? "tcp" : "tcp6", client);
        close(client);
        close(server);
        close(listener);
        int datagrams = (int)MUST(socket(domains[i], SOCK_DGRAM, 0));
        show_inet("UDP without a port", udp, datagrams);
        close(datagrams);
        datagrams = bound(domains[i], SOCK_DGRAM, 0);
        show_inet("UDP", udp, datagrams);
        int sender = connected_to(domains[i], SOCK_DGRAM, datagrams);
        show_inet("UDP that is connected", udp, sender);
        int ping = (int)MUST(socket(domains[i], SOCK_RAW, i ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
        show_inet("raw", raw, ping);
        MUST(close(ping));
        ping = bound(domains[i], SOCK_RAW, 200);
        show_inet("raw that is bound", raw, ping);
    }
    int pair[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    show_unix("a pair", pair[0]);
    close(pair[1]);
    show_unix("half a pair", pair[0]);
    MUST(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair));
    show_unix("a pair of datagrams", pair[0]);
    int idle = (int)MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    show_unix("an idle socket", idle);
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    memcpy(name.sun_path, "\0nacre\0list", 11);
    MUST(bind(idle, (void *)&name, 2 + 11));
    show_unix("with an abstract name", idle);
    MUST(listen(idle, 1));
    show_unix("a listener", idle);
    int client = (int)MUST(socket(AF_UNIX, SOCK_SEQPACKET, 0));
    MUST(connect(client, (void *)&name, 2 + 11));
    show_unix("a client", client);
    int server = (int)MUST(accept(idle, NULL, NULL));
    show_unix("a server", server);
    char folder[] = "/tmp/nacreXXXXXX";
    MUST(mkdtemp(folder) ? 0 : -1);
    MUST(chdir(folder));
    int file = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    strcpy(name.sun_path, "name");
    MUST(bind(file, (void *)&name, sizeof name));
    show_unix("with a file", file);
    unlink("name");
    MUST(chdir("/"));
    rmdir(folder);
    show_counts("sockstat", "sockets:");
    show_counts("sockstat", "UDP:");
    show_counts("sockstat", "RAW:");
    show_counts("sockstat", "TCP:");
    show_counts("sockstat", "FRAG:");
    show_counts("sockstat6", "");
    return 0;
}
