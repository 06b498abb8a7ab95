// The default action of some signals is nothing.
#include "observe.h"

int main(void) {
    TRY(raise(SIGCHLD));
    TRY(raise(SIGWINCH));
    TRY(raise(SIGURG));
    TRY(raise(SIGCONT));
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGABRT, SIG_IGN);
    TRY(raise(SIGTERM));
    TRY(kill(getpid(), SIGINT));
    TRY(raise(SIGABRT));
    return 0;
}
