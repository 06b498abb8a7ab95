// Names in the Unix domain: paths, abstract names, automatic ones; connecting, accepting, the backlog.
#include "socket_observe.h"

static int make(int kind) { return (int)MUST(socket(AF_UNIX, kind, 0)); }

int main(void) {
    struct sockaddr_un name, other_name;
    struct sockaddr_storage peer;
    socklen_t len, peer_len;
    char buffer[64];
    fresh_dir("/tmp");
    // A listener with a path.
    int listener = make(SOCK_STREAM);
    len = unix_path(&name, "server");
    MUST(bind(listener, (void *)&name, len));
    MUST(listen(listener, 2));
    show_names("listener", listener);
    int client = make(SOCK_STREAM);
    TRY(connect(client, (void *)&name, len));
    show_names("client", client);
    show_events("listener", listener);
    TRY(write(client, "early", 5));
    peer_len = sizeof peer;
    memset(&peer, 0, sizeof peer);
    int server = (int)TRY(accept4(listener, (void *)&peer, &peer_len, SOCK_CLOEXEC | SOCK_NONBLOCK));
    print_address("accepted from", &peer, peer_len);
    printf("%d %o\n", fcntl(server, F_GETFD), fcntl(server, F_GETFL) & O_NONBLOCK);
    show_names("server", server);
    TRY(read(server, buffer, sizeof buffer));
    TRY(read(server, buffer, sizeof buffer));
    show_events("listener", listener);
    // A client with a name.
    int named = make(SOCK_STREAM);
    socklen_t other_len = unix_path(&other_name, "client");
    MUST(bind(named, (void *)&other_name, other_len));
    MUST(connect(named, (void *)&name, len));
    peer_len = sizeof peer;
    int second = (int)TRY(accept(listener, (void *)&peer, &peer_len));
    print_address("accepted from", &peer, peer_len);
    MUST(write(named, "hi", 2));
    receive_and_show("stream shows the sender", second, 10, 0, 0);
    peer_len = 5;
    memset(&peer, 'x', sizeof peer);
    TRY(getpeername(second, (void *)&peer, &peer_len));
    printf("%u, then %02x\n", peer_len, ((unsigned char *)&peer)[5]);
    // The path is gone, connections stay.
    MUST(unlink("server"));
    TRY(write(second, "still", 5));
    TRY(read(named, buffer, sizeof buffer));
    int late = make(SOCK_STREAM);
    TRY(connect(late, (void *)&name, len));
    close(second);
    close(server);
    close(listener);
    TRY(read(client, buffer, sizeof buffer));
    close(client);
    close(named);
    // A file that nobody listens at any more.
    listener = make(SOCK_STREAM);
    MUST(bind(listener, (void *)&name, len));
    TRY(connect(late, (void *)&name, len));
    close(listener);
    TRY(connect(late, (void *)&name, len));
    listener = make(SOCK_STREAM);
    TRY(bind(listener, (void *)&name, len));
    MUST(unlink("server"));
    TRY(bind(listener, (void *)&name, len));
    // The backlog.
    MUST(listen(listener, 1));
    int clients[4];
    for (int i = 0; i < 4; i++) {
        clients[i] = (int)MUST(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
        TRY(connect(clients[i], (void *)&name, len));
    }
    show_events("refused for now", clients[3]);
    server = (int)MUST(accept(listener, NULL, NULL));
    TRY(connect(clients[2], (void *)&name, len));
    close(server);
    // Connections that nobody accepted are reset.
    close(listener);
    TRY(read(clients[0], buffer, 1));
    show_events("never accepted", clients[1]);
    TRY(read(clients[1], buffer, 1));
    TRY(read(clients[1], buffer, 1));
    for (int i = 0; i < 4; i++)
        close(clients[i]);
    // A path without a zero, and one relative to the working folder.
    listener = make(SOCK_STREAM);
    memset(&name, 0, sizeof name);
    name.sun_family = AF_UNIX;
    memset(name.sun_path, 'a', sizeof name.sun_path);
    TRY(bind(listener, (void *)&name, sizeof name));
    peer_len = sizeof peer;
    TRY(getsockname(listener, (void *)&peer, &peer_len));
    printf("%u\n", peer_len);
    close(listener);
    // Abstract names.
    listener = make(SOCK_STREAM);
    len = unix_abstract(&name, "abstract");
    TRY(bind(listener, (void *)&name, len));
    peer_len = sizeof peer;
    TRY(getsockname(listener, (void *)&peer, &peer_len));
    CHECK(peer_len == len && memcmp(&peer, &name, len) == 0);
    int same = make(SOCK_STREAM);
    TRY(bind(same, (void *)&name, len));
    int datagram = make(SOCK_DGRAM);
    TRY(connect(datagram, (void *)&name, len));
    TRY(bind(datagram, (void *)&name, len));
    TRY(connect(same, (void *)&name, len));
    MUST(listen(listener, 1));
    TRY(connect(same, (void *)&name, len + 1));
    TRY(connect(same, (void *)&name, len));
    close(listener);
    listener = make(SOCK_STREAM);
    TRY(bind(listener, (void *)&name, len));
    close(listener);
    close(datagram);
    // Automatic ones: a zero and five digits.
    int automatic = make(SOCK_DGRAM);
    name.sun_family = AF_UNIX;
    TRY(bind(automatic, (void *)&name, sizeof(sa_family_t)));
    peer_len = sizeof peer;
    MUST(getsockname(automatic, (void *)&peer, &peer_len));
    printf("%u %d\n", peer_len, ((struct sockaddr_un *)&peer)->sun_path[0]);
    TRY(bind(automatic, (void *)&name, sizeof(sa_family_t)));
    // Permission of the file.
    listener = make(SOCK_STREAM);
    len = unix_path(&name, "guarded");
    umask(0);
    MUST(bind(listener, (void *)&name, len));
    MUST(listen(listener, 5));
    struct stat status;
    MUST(stat("guarded", &status));
    printf("mode %o\n", status.st_mode);
    MUST(chmod("guarded", 0555));
    MUST(chmod(".", 0755));
    int guest = make(SOCK_STREAM);
    MUST(syscall(SYS_setresuid, 1000, 1000, 0));
    TRY(connect(guest, (void *)&name, len));
    len = unix_path(&name, "mine");
    TRY(bind(guest, (void *)&name, len));
    MUST(syscall(SYS_setresuid, 0, 0, 0));
    // Through a symbolic link.
    MUST(symlink("guarded", "link"));
    len = unix_path(&name, "link");
    TRY(connect(guest, (void *)&name, len));
    TRY(bind(make(SOCK_STREAM), (void *)&name, len));
    return 0;
}
