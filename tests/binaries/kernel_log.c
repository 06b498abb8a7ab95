// The kernel's log: what syslog answers and refuses, and the form of the records of /dev/kmsg.
#include "observe.h"
#include <poll.h>
#include <sys/klog.h>

static char buffer[8192];

int main(void) {
    CHECK(klogctl(10, NULL, 0) >= 4096);
    TRY(klogctl(0, NULL, 0));
    TRY(klogctl(1, NULL, 0));
    TRY(klogctl(3, NULL, 10));
    TRY(klogctl(3, buffer, -1));
    TRY(klogctl(3, buffer, 0));
    TRY(klogctl(11, NULL, 0));
    TRY(klogctl(-1, NULL, 0));
    CHECK(klogctl(3, buffer, sizeof buffer) <= (int)sizeof buffer);
    int fd = MUST(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
    struct stat status;
    MUST(fstat(fd, &status));
    printf("mode %o device %lx\n", status.st_mode, (unsigned long)status.st_rdev);
    unsigned priority, records = 0;
    unsigned long long number, last = 0, time;
    char flag;
    ssize_t len;
    while ((len = read(fd, buffer, sizeof buffer - 1)) > 0 || (len < 0 && errno == EPIPE)) {
        if (len < 0)
            continue;
        buffer[len] = 0;
        if (sscanf(buffer, "%u,%llu,%llu,%c", &priority, &number, &time, &flag) != 4 || !strchr(buffer, ';') ||
            buffer[len - 1] != '\n' || (records && number <= last))
            printf("not a record: %s\n", buffer);
        last = number;
        records++;
    }
    CHECK(len == -1 && errno == EAGAIN);
    TRY(lseek(fd, 0, SEEK_SET));
    TRY(lseek(fd, 1, SEEK_SET));
    TRY(lseek(fd, 0, SEEK_CUR));
    TRY(lseek(fd, 0, SEEK_END));
    struct pollfd waited = {fd, POLLIN, 0};
    TRY(poll(&waited, 1, 0));
    MUST(setresuid(1000, 1000, 1000));
    TRY(klogctl(5, NULL, 0));
    TRY(klogctl(11, NULL, 0));
    TRY(open("/dev/kmsg", O_WRONLY));
    return 0;
}
