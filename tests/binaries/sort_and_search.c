// A library workload: sorting, searching, hashing, formatting, over memory that malloc moves about.
#include "observe.h"
#include <search.h>

static int compare(const void *a, const void *b) {
    return (*(const int *)a > *(const int *)b) - (*(const int *)a < *(const int *)b);
}

int main(void) {
    int count = 0, capacity = 0, *values = NULL;
    unsigned state = 12345;
    while (count < 300000) {
        if (count == capacity)
            values = realloc(values, (capacity = capacity ? capacity * 2 : 16) * sizeof *values);
        state = state * 1103515245 + 12345;
        values[count++] = state >> 8;
    }
    qsort(values, count, sizeof *values, compare);
    long digest = 0;
    for (int i = 0; i < count; i += 1000)
        digest = digest * 31 + values[i];
    printf("%d %d %ld\n", values[0], values[count - 1], digest);
    int found = 0;
    for (int i = 0; i < 1000; i++)
        found += bsearch(&values[i * 299], values, count, sizeof *values, compare) != NULL;
    printf("found %d\n", found);
    hcreate(1000);
    char names[500][16];
    for (int i = 0; i < 500; i++) {
        snprintf(names[i], sizeof names[i], "key %d", i);
        hsearch((ENTRY){names[i], (void *)(long)(i * i)}, ENTER);
    }
    long sum = 0;
    for (int i = 0; i < 500; i += 7)
        sum += (long)hsearch((ENTRY){names[i], NULL}, FIND)->data;
    printf("sum %ld\n", sum);
    hdestroy();
    char *big = NULL;
    for (size_t len = 1; len < 64 << 20; len *= 2) {
        big = realloc(big, len);
        big[len - 1] = len % 251;
        big[len / 2] = 1;
    }
    free(big);
    free(values);
    puts("done");
    return 0;
}
