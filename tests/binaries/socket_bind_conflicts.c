// Who may have a port together: SO_REUSEADDR and SO_REUSEPORT, families, addresses, listeners, connections, users.
#include "socket_observe.h"

enum { V4_ANY, V4_ONE, V4_TWO, V6_ANY, V6_ONLY, V6_ONE, V6_MAPPED, PLACES };
static const char *const place_names[] = {"0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::(6)", "::1", "::ffff:127.0.0.1"};
static const char *const reuse_names[] = {"-", "A", "P", "AP"};

static socklen_t place(int which, int port, struct sockaddr_storage *name) {
    static const char *const texts[] = {"0.0.0.0", "127.0.0.1", "127.0.0.2", "::", "::", "::1", "::ffff:127.0.0.1"};
    memset(name, 0, sizeof *name);
    if (which < V6_ANY) {
        struct sockaddr_in *four = (void *)name;
        four->sin_family = AF_INET;
        four->sin_port = htons((uint16_t)port);
        inet_pton(AF_INET, texts[which], &four->sin_addr);
        return sizeof *four;
    }
    struct sockaddr_in6 *six = (void *)name;
    six->sin6_family = AF_INET6;
    six->sin6_port = htons((uint16_t)port);
    inet_pton(AF_INET6, texts[which], &six->sin6_addr);
    return sizeof *six;
}

static int make(int type, int which, int reuse) {
    int fd = (int)MUST(socket(which < V6_ANY ? AF_INET : AF_INET6, type, 0));
    if (which == V6_ONLY)
        MUST(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){1}, sizeof(int)));
    if (reuse & 1)
        MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int)));
    if (reuse & 2)
        MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)));
    return fd;
}

static int port_of(int fd) {
    struct sockaddr_storage name;
    socklen_t len = sizeof name;
    MUST(getsockname(fd, (void *)&name, &len));
    return ntohs(name.ss_family == AF_INET ? ((struct sockaddr_in *)&name)->sin_port : ((struct sockaddr_in6 *)&name)->sin6_port);
}

static int type_of(int fd) {
    return get_option(fd, SOL_SOCKET, SO_TYPE);
}

// Binds to a port that nobody is given by himself, each time another one.
static void bind_somewhere(int fd, int which) {
    static int port;
    struct sockaddr_storage name;
    if (port == 0)
        port = 10000 + getpid() % 8000;
    for (;;) {
        // Nobody else has any of it.
        int whole = (int)MUST(socket(AF_INET6, type_of(fd), 0));
        socklen_t len = place(V6_ANY, ++port, &name);
        int is_free = bind(whole, (void *)&name, len) == 0;
        close(whole);
        len = place(which, port, &name);
        if (is_free && bind(fd, (void *)&name, len) == 0)
            return;
    }
}

// Whether a second socket gets the port of a first one.
static char attempt(int type, int first_place, int first_reuse, int second_place, int second_reuse, int listens) {
    struct sockaddr_storage name;
    int first = make(type, first_place, first_reuse), second = make(type, second_place, second_reuse);
    bind_somewhere(first, first_place);
    if (listens)
        MUST(listen(first, 1));
    socklen_t len = place(second_place, port_of(first), &name);
    char result = '+';
    if (bind(second, (void *)&name, len) != 0)
        result = errno == EADDRINUSE ? '.' : '?';
    else if (type == SOCK_STREAM && listen(second, 1) != 0)
        result = errno == EADDRINUSE ? 'l' : '?';
    close(first);
    close(second);
    return result;
}

static void matrix(const char *label, int type, int listens) {
    for (int first = 0; first < PLACES; first++)
        for (int second = 0; second < PLACES; second++) {
            printf("%s %s then %s:", label, place_names[first], place_names[second]);
            for (int one = 0; one < 4; one++) {
                printf(" %s", reuse_names[one]);
                for (int two = 0; two < 4; two++)
                    putchar(attempt(type, first, one, second, two, listens));
            }
            printf("\n");
        }
}

// What is left of a connection, and what takes part in it, keeps a port from others.
static void after_connections(void) {
    for (int reuse = 0; reuse < 4; reuse++) {
        struct sockaddr_storage name;
        int listener = make(SOCK_STREAM, V4_ONE, reuse & 1), client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
        bind_somewhere(listener, V4_ONE);
        MUST(listen(listener, 1));
        socklen_t len = place(V4_ONE, port_of(listener), &name);
        MUST(connect(client, (void *)&name, len));
        int server = (int)MUST(accept(listener, NULL, NULL));
        close(listener);
        int next = make(SOCK_STREAM, V4_ONE, reuse >> 1);
        printf("%s %s beside a connection: ", reuse_names[reuse & 1], reuse_names[reuse >> 1]);
        printf("%s", bind(next, (void *)&name, len) ? error_name(errno) : listen(next, 1) ? "cannot listen" : "listens");
        close(next);
        // The client, which closes first, has what is left.
        char byte;
        shutdown(client, SHUT_WR);
        MUST(recv(server, &byte, 1, 0));
        close(server);
        MUST(recv(client, &byte, 1, 0));
        close(client);
        next = make(SOCK_STREAM, V4_ONE, reuse >> 1);
        printf(", after it: %s\n", bind(next, (void *)&name, len) ? error_name(errno) : listen(next, 1) ? "cannot listen" : "listens");
        close(next);
    }
}

// The port of a connection of this machine's own.
static void own_connections(void) {
    struct sockaddr_storage name;
    int listener = make(SOCK_STREAM, V4_ONE, 0), client = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    bind_somewhere(listener, V4_ONE);
    MUST(listen(listener, 1));
    socklen_t len = place(V4_ONE, port_of(listener), &name);
    MUST(connect(client, (void *)&name, len));
    for (int where = 0; where < PLACES; where++)
        for (int reuse = 0; reuse < 4; reuse++) {
            int fd = make(SOCK_STREAM, where, reuse);
            len = place(where, port_of(client), &name);
            printf("port of a connection at %s %s: ", place_names[where], reuse_names[reuse]);
            printf("%s\n", bind(fd, (void *)&name, len) ? error_name(errno) : listen(fd, 1) ? "cannot listen" : "listens");
            close(fd);
        }
    // Sockets that share a port, of which one connects.
    int first = make(SOCK_STREAM, V4_ONE, 1), second = make(SOCK_STREAM, V4_ONE, 1);
    bind_somewhere(first, V4_ONE);
    place(V4_ONE, port_of(first), &name);
    TRY(bind(second, (void *)&name, len));
    place(V4_ONE, port_of(listener), &name);
    TRY(connect(first, (void *)&name, len));
    close(first);
    close(second);
    close(client);
    close(listener);
}

static void users(int type) {
    struct sockaddr_storage name;
    MUST(syscall(SYS_setresuid, 1000, 1000, 0));
    int first = make(type, V4_ONE, 2), same = make(type, V4_ONE, 2);
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresuid, 2000, 2000, 0));
    int other = make(type, V4_ONE, 2);
    bind_somewhere(first, V4_ONE);
    socklen_t len = place(V4_ONE, port_of(first), &name);
    TRY(bind(other, (void *)&name, len));
    TRY(bind(same, (void *)&name, len));
    MUST(syscall(SYS_setresuid, -1, 0, -1));
    MUST(syscall(SYS_setresuid, 0, 0, 0));
    int root = make(type, V4_ONE, 2);
    TRY(bind(root, (void *)&name, len));
    close(first);
    close(same);
    close(other);
    close(root);
}

int main(void) {
    matrix("udp", SOCK_DGRAM, 0);
    matrix("tcp", SOCK_STREAM, 0);
    matrix("listening", SOCK_STREAM, 1);
    after_connections();
    own_connections();
    users(SOCK_DGRAM);
    users(SOCK_STREAM);
    return 0;
}
