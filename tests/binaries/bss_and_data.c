//@ static-pie
// Data is what the file says, everything after it is zero, also in the page that both share.
#include "observe.h"

static int data[1000] = {[0] = 1, [500] = 2, [999] = 3};
static char small_bss[10];
static char big_bss[3 << 20];
static const char constant[] = "constant";
static __thread int thread_data[100] = {[50] = 5};
static __thread char thread_bss[5000];
static int __attribute__((aligned(4096))) aligned_data[4] = {7, 8, 9, 10};
static int *relocated = &data[500];
extern char edata[], end[];

int main(void) {
    printf("%d %d %d\n", data[0], *relocated, data[999]);
    long sum = 0;
    for (size_t i = 0; i < sizeof big_bss; i++)
        sum += big_bss[i];
    for (size_t i = 0; i < sizeof small_bss; i++)
        sum += small_bss[i];
    printf("bss sums to %ld\n", sum);
    for (char *byte = (char *)(((uintptr_t)end + 4095) & ~4095ul) - 1; byte >= end; byte--)
        sum += *byte;
    printf("the rest of the last page sums to %ld\n", sum);
    printf("%s %d %d\n", constant, thread_data[50], thread_bss[4999]);
    CHECK((uintptr_t)aligned_data % 4096 == 0 && aligned_data[3] == 10);
    big_bss[2 << 20] = 1;
    data[0]++;
    thread_data[50]++;
    printf("%d %d %d\n", big_bss[2 << 20], data[0], thread_data[50]);
    return 0;
}
