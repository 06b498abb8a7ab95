// Printing what inotify tells.
#ifndef INOTIFY_H
#define INOTIFY_H

#include "observe.h"

#include <sys/inotify.h>
#include <sys/ioctl.h>

static inline void print_mask(uint32_t mask) {
    static const struct {
        uint32_t bit;
        const char *name;
    } names[] = {
#define BIT(bit) {bit, #bit}
        BIT(IN_ACCESS), BIT(IN_MODIFY), BIT(IN_ATTRIB), BIT(IN_CLOSE_WRITE), BIT(IN_CLOSE_NOWRITE), BIT(IN_OPEN),
        BIT(IN_MOVED_FROM), BIT(IN_MOVED_TO), BIT(IN_CREATE), BIT(IN_DELETE), BIT(IN_DELETE_SELF), BIT(IN_MOVE_SELF),
        BIT(IN_UNMOUNT), BIT(IN_Q_OVERFLOW), BIT(IN_IGNORED), BIT(IN_ISDIR),
#undef BIT
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (mask & names[i].bit)
            printf(" %s", names[i].name + 3);
}

// Prints all events that wait, under a title. Cookies are shown as whether they equal the one before.
static inline void show_events(int fd, const char *title) {
    static char buffer[1 << 20] __attribute__((aligned(8)));
    static uint32_t last_cookie;
    printf("-- %s\n", title);
    int waiting = -1;
    MUST(ioctl(fd, FIONREAD, &waiting));
    long total = 0, len;
    while ((len = read(fd, buffer, sizeof buffer)) > 0) {
        total += len;
        for (char *at = buffer; at < buffer + len;) {
            struct inotify_event *event = (void *)at;
            printf("%d:", event->wd);
            print_mask(event->mask);
            if (event->len)
                printf(" \"%s\" %u", event->name, event->len);
            if (event->cookie)
                printf(event->cookie == last_cookie ? " same cookie" : " cookie");
            last_cookie = event->cookie;
            printf("\n");
            at += sizeof *event + event->len;
        }
    }
    if (len < 0 && errno != EAGAIN)
        printf("read: %s\n", error_name(errno));
    EXPECT(total == waiting);
}

#endif
