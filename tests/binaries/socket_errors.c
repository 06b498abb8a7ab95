// The errors of socket calls, in Linux's order of checks.
#include "socket_observe.h"

int main(void) {
    struct sockaddr_storage storage;
    struct sockaddr_un name;
    socklen_t len = sizeof storage;
    int pair[2], fd, file;
    char byte = 'x';
    signal(SIGPIPE, SIG_IGN);
    fresh_dir("/tmp");
    put_file("file", "text");
    file = (int)MUST(open("file", O_RDWR));

    // Making.
    TRY(socket(-1, SOCK_STREAM, 0));
    TRY(socket(46, SOCK_STREAM, 0));
    TRY(socket(0, SOCK_STREAM, 0));
    TRY(socket(AF_UNIX, 11, 0));
    TRY(socket(AF_UNIX, 0, 0));
    TRY(socket(AF_UNIX, SOCK_RDM, 0));
    TRY(socket(AF_UNIX, SOCK_STREAM, 2));
    TRY(socket(AF_UNIX, SOCK_STREAM | 0x100, 0));
    TRY(socketpair(AF_UNIX, SOCK_STREAM | 0x100, 0, pair));
    TRY(socketpair(AF_UNIX, SOCK_STREAM, 5, pair));
    TRY(socketpair(AF_UNIX, SOCK_RDM, 0, pair));
    TRY(socketpair(-1, SOCK_STREAM, 0, pair));
    TRY(syscall(SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, 16L));
    fd = (int)TRY(socket(AF_UNIX, SOCK_STREAM, AF_UNIX));
    close(fd);
    fd = (int)TRY(socket(AF_UNIX, SOCK_RAW, 0));
    OPTION(fd, SOL_SOCKET, SO_TYPE);
    close(fd);
    fd = (int)TRY(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
    printf("%d %o\n", fcntl(fd, F_GETFD), fcntl(fd, F_GETFL));
    close(fd);

    // What is no socket, and no descriptor.
    TRY(bind(file, (void *)&storage, 2));
    TRY(connect(file, (void *)&storage, 2));
    TRY(listen(file, 1));
    TRY(accept(file, NULL, NULL));
    TRY(shutdown(file, 7));
    TRY(getsockname(file, (void *)&storage, &len));
    TRY(send(file, &byte, 1, 0));
    TRY(recv(file, &byte, 1, 0));
    TRY(getsockopt(file, SOL_SOCKET, SO_TYPE, &byte, &len));
    TRY(setsockopt(file, SOL_SOCKET, SO_REUSEADDR, &file, sizeof file));
    TRY(syscall(SYS_sendmsg, file, 16L, 0));
    TRY(syscall(SYS_recvmmsg, file, 16L, 1, 0, 0L));
    TRY(bind(99, (void *)&storage, 2));
    TRY(connect(-1, (void *)&storage, 2));
    TRY(accept(99, NULL, NULL));
    TRY(syscall(SYS_accept4, 99, 0L, 0L, 1));
    TRY(send(99, &byte, 1, 0));
    TRY(syscall(SYS_sendto, 99, -1L, 1L, 0, 0L, 0));
    TRY(recv(99, &byte, 1, 0));

    // An unconnected stream.
    fd = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    show_names("new", fd);
    show_events("new", fd);
    TRY(send(fd, &byte, 1, 0));
    TRY(write(fd, &byte, 1));
    TRY(recv(fd, &byte, 1, 0));
    TRY(read(fd, &byte, 1));
    TRY(read(fd, &byte, 0));
    TRY(send(fd, &byte, 0, 0));
    TRY(accept(fd, NULL, NULL));
    TRY(listen(fd, 1));
    TRY(shutdown(fd, -1));
    TRY(shutdown(fd, 3));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(pread(fd, &byte, 1, 0));
    TRY(pwrite(fd, &byte, 1, 0));
    TRY(ftruncate(fd, 0));
    TRY(fsync(fd));

    // Addresses.
    len = unix_path(&name, "missing");
    TRY(connect(fd, (void *)&name, len));
    len = unix_path(&name, "file");
    TRY(connect(fd, (void *)&name, len));
    TRY(bind(fd, (void *)&name, len));
    len = unix_path(&name, "none/socket");
    TRY(bind(fd, (void *)&name, len));
    TRY(connect(fd, (void *)&name, len));
    len = unix_path(&name, "file/socket");
    TRY(bind(fd, (void *)&name, len));
    len = unix_abstract(&name, "nobody");
    TRY(connect(fd, (void *)&name, len));
    name.sun_family = AF_INET;
    TRY(connect(fd, (void *)&name, len));
    TRY(bind(fd, (void *)&name, len));
    name.sun_family = AF_UNSPEC;
    TRY(connect(fd, (void *)&name, len));
    name.sun_family = AF_UNIX;
    TRY(connect(fd, (void *)&name, 2));
    TRY(connect(fd, (void *)&name, 1));
    TRY(connect(fd, (void *)&name, 0));
    TRY(bind(fd, (void *)&name, 1));
    TRY(bind(fd, (void *)&name, 0));
    TRY(bind(fd, (void *)&name, 111));
    TRY(bind(fd, (void *)&name, 129));
    TRY(syscall(SYS_bind, fd, &name, -1));
    TRY(syscall(SYS_bind, fd, 16L, 10));
    TRY(syscall(SYS_getsockname, fd, &storage, 16L));
    len = (socklen_t)-1;
    TRY(getsockname(fd, (void *)&storage, &len));
    len = 1;
    TRY(getsockname(fd, (void *)&storage, &len));
    printf("%u\n", len);

    // A bound one.
    len = unix_path(&name, "socket");
    TRY(bind(fd, (void *)&name, len));
    show_names("bound", fd);
    TRY(bind(fd, (void *)&name, len));
    len = unix_path(&name, "other");
    TRY(bind(fd, (void *)&name, len));
    TRY(access("other", F_OK));
    struct stat status;
    MUST(stat("socket", &status));
    printf("mode %o size %ld links %lu\n", status.st_mode, (long)status.st_size, (unsigned long)status.st_nlink);
    TRY(open("socket", O_RDWR));
    int other = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    len = unix_path(&name, "socket");
    TRY(bind(other, (void *)&name, len));
    TRY(connect(other, (void *)&name, len));
    int datagram = (int)MUST(socket(AF_UNIX, SOCK_DGRAM, 0));
    TRY(connect(datagram, (void *)&name, len));
    TRY(sendto(datagram, &byte, 1, 0, (void *)&name, len));
    TRY(listen(datagram, 1));
    TRY(accept(datagram, NULL, NULL));
    TRY(send(datagram, &byte, 1, 0));
    TRY(recv(datagram, &byte, 1, MSG_DONTWAIT));
    TRY(listen(fd, 1));
    TRY(listen(fd, 5));
    show_events("listening", fd);
    OPTION(fd, SOL_SOCKET, SO_ACCEPTCONN);
    TRY(connect(fd, (void *)&name, len));
    TRY(syscall(SYS_accept4, fd, 0L, 0L, 1));
    TRY(send(fd, &byte, 1, 0));
    TRY(recv(fd, &byte, 1, 0));
    TRY(connect(other, (void *)&name, len));
    TRY(connect(other, (void *)&name, len));
    TRY(listen(other, 1));
    TRY(sendto(other, &byte, 1, 0, (void *)&name, len));
    TRY(unlink("socket"));
    int late = (int)MUST(socket(AF_UNIX, SOCK_STREAM, 0));
    TRY(connect(late, (void *)&name, len));
    // Bad memory.
    MUST(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
    TRY(syscall(SYS_sendto, pair[0], 16L, 4L, 0, 0L, 0));
    TRY(syscall(SYS_write, pair[0], 16L, 4L));
    MUST(write(pair[0], "abc", 3));
    TRY(syscall(SYS_recvfrom, pair[1], 16L, 4L, 0, 0L, 0L));
    TRY(syscall(SYS_sendmsg, pair[0], 16L, 0));
    TRY(syscall(SYS_recvmsg, pair[1], 16L, 0));
    TRY(syscall(SYS_setsockopt, pair[1], SOL_SOCKET, SO_RCVBUF, 16L, 4));
    TRY(syscall(SYS_getsockopt, pair[1], SOL_SOCKET, SO_RCVBUF, &storage, 16L));
    TRY(read(pair[1], &storage, 10));
    return 0;
}
