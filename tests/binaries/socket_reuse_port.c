// SO_REUSEPORT: many connections spread over listeners of one port, of both families; and one of these is closed meanwhile.
#include "socket_observe.h"
#include <pthread.h>
#include <stdatomic.h>

enum { LISTENERS = 4, CLIENTS = 4, EACH = 100 };

static struct sockaddr_storage name;
static socklen_t name_len;
static int listeners[LISTENERS];
static atomic_int taken[LISTENERS], served, refused;
// The listener that is closed when so many connections were served, or -1.
static atomic_int closing;

static int listen_with_others(int domain) {
    int fd = (int)MUST(socket(domain, SOCK_STREAM, 0)), one = 1;
    MUST(setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof one));
    MUST(bind(fd, (void *)&name, name_len));
    MUST(listen(fd, 64));
    MUST(getsockname(fd, (void *)&name, &name_len));
    return fd;
}

// Answers each connection with the byte that it sends, until the listener is shut.
static void *serve(void *argument) {
    int index = (int)(intptr_t)argument, fd;
    while ((fd = accept(listeners[index], NULL, NULL)) >= 0) {
        char byte;
        atomic_fetch_add(&taken[index], 1);
        if (recv(fd, &byte, 1, 0) == 1)
            send(fd, &byte, 1, MSG_NOSIGNAL);
        close(fd);
    }
    return NULL;
}

// One exchange. What waited at a listener that is closed is reset: no.
static int exchange(char byte) {
    int fd = (int)MUST(socket(name.ss_family, SOCK_STREAM, 0));
    char answer = 0;
    int is_done = connect(fd, (void *)&name, name_len) == 0 && send(fd, &byte, 1, MSG_NOSIGNAL) == 1 &&
                  recv(fd, &answer, 1, 0) == 1 && answer == byte;
    close(fd);
    return is_done;
}

static void *ask(void *argument) {
    for (int i = 0; i < EACH; i++) {
        // Another listener takes the next attempt.
        int attempts = 1;
        while (!exchange((char)(i + (intptr_t)argument)) && attempts < 10)
            attempts++;
        if (attempts == 10)
            atomic_fetch_add(&refused, 1);
        int count = atomic_fetch_add(&served, 1) + 1;
        int index = atomic_load(&closing);
        if (index >= 0 && count == CLIENTS * EACH / 4)
            MUST(shutdown(listeners[index], SHUT_RDWR));
    }
    return NULL;
}

static void run(const char *label, int domain, int closes) {
    pthread_t servers[LISTENERS], clients[CLIENTS];
    name_len = loopback(domain, &name);
    atomic_store(&served, 0);
    atomic_store(&refused, 0);
    atomic_store(&closing, closes);
    for (int i = 0; i < LISTENERS; i++) {
        listeners[i] = listen_with_others(domain);
        atomic_store(&taken[i], 0);
    }
    for (intptr_t i = 0; i < LISTENERS; i++)
        MUST(pthread_create(&servers[i], NULL, serve, (void *)i));
    for (intptr_t i = 0; i < CLIENTS; i++)
        MUST(pthread_create(&clients[i], NULL, ask, (void *)i));
    for (int i = 0; i < CLIENTS; i++)
        pthread_join(clients[i], NULL);
    for (int i = 0; i < LISTENERS; i++) {
        if (i != closes)
            MUST(shutdown(listeners[i], SHUT_RDWR));
        pthread_join(servers[i], NULL);
        close(listeners[i]);
    }
    int total = 0, idle = 0;
    for (int i = 0; i < LISTENERS; i++) {
        total += atomic_load(&taken[i]);
        idle += atomic_load(&taken[i]) < CLIENTS * EACH / LISTENERS / 4;
    }
    printf("%s: %d asked, %d without an answer, %s were taken", label, atomic_load(&served), atomic_load(&refused),
           total >= CLIENTS * EACH ? "all" : "not all");
    if (closes < 0)
        printf(", %d listeners idle", idle);
    printf("\n");
}

int main(void) {
    run("IPv4", AF_INET, -1);
    run("IPv6", AF_INET6, -1);
    run("IPv4, one is closed", AF_INET, 1);
    run("IPv6, one is closed", AF_INET6, 2);
    // Others than its own do not join a port, nor who does not share.
    name_len = loopback(AF_INET, &name);
    int fd = listen_with_others(AF_INET), other = (int)MUST(socket(AF_INET, SOCK_STREAM, 0));
    TRY(bind(other, (void *)&name, name_len));
    close(other);
    close(fd);
    return 0;
}
