//@ cpus: 1 2 4
// Values of threads and their destructors, clean-up handlers and their order.
#include "pthread_observe.h"

static pthread_key_t first, second, again;
static atomic_int destroyed, rounds;

static void destroy(void *value) { destroyed += (int)(long)value; }

// Sets its value anew until the library gives up.
static void destroy_again(void *value) {
    rounds++;
    pthread_setspecific(again, value);
}

static void *use_values(void *argument) {
    long number = (long)argument;
    for (long i = 0; i < 500; i++) {
        pthread_setspecific(first, (void *)(number * 1000 + i));
        pthread_setspecific(second, (void *)number);
        if (i % 64 == 0)
            sched_yield();
        if (pthread_getspecific(first) != (void *)(number * 1000 + i) || pthread_getspecific(second) != (void *)number)
            return (void *)1;
    }
    pthread_setspecific(first, NULL);
    return NULL;
}

static void *use_again(void *argument) {
    pthread_setspecific(again, (void *)1);
    return argument;
}

static void say(void *text) { printf("cleanup %s\n", (const char *)text); }

static void *clean_up(void *argument) {
    long how = (long)argument;
    pthread_setspecific(first, (void *)1);
    pthread_cleanup_push(say, "outer");
    pthread_cleanup_push(say, "middle");
    pthread_cleanup_push(say, "inner");
    if (how == 0)
        pthread_exit((void *)5);
    if (how == 1)
        for (;;)
            pause();
    pthread_cleanup_pop(1);
    pthread_cleanup_pop(0);
    pthread_cleanup_pop(1);
    return (void *)6;
}

// Threads come and go while keys are deleted and made.
static void *come_and_go(void *argument) {
    for (int i = 0; i < 200; i++) {
        pthread_key_t key;
        if (pthread_key_create(&key, destroy) != 0)
            return (void *)1;
        if (pthread_getspecific(key) != NULL)
            return (void *)2;
        pthread_setspecific(key, argument);
        pthread_key_delete(key);
    }
    return NULL;
}

int main(void) {
    ANSWER(pthread_key_create(&first, destroy));
    ANSWER(pthread_key_create(&second, destroy));
    ANSWER(pthread_key_create(&again, destroy_again));
    CHECK(pthread_getspecific(first) == NULL);
    ANSWER(pthread_setspecific(first, (void *)1));
    pthread_t threads[10];
    long wrong = 0;
    for (long i = 0; i < 10; i++)
        threads[i] = start_thread(use_values, (void *)(i + 1));
    for (int i = 0; i < 10; i++)
        wrong += (long)join_thread(threads[i]);
    printf("wrong %ld, destroyed %d\n", wrong, destroyed);
    join_thread(start_thread(use_again, NULL));
    printf("rounds %d\n", rounds);

    for (long how = 0; how < 3; how++) {
        destroyed = 0;
        pthread_t thread = start_thread(clean_up, (void *)how);
        if (how == 1)
            pthread_cancel(thread);
        void *result = join_thread(thread);
        printf("how %ld: %ld, destroyed %d\n", how, result == PTHREAD_CANCELED ? -1L : (long)result, destroyed);
    }

    for (long i = 0; i < 8; i++)
        threads[i] = start_thread(come_and_go, (void *)(i + 1));
    for (int i = 0; i < 8; i++)
        wrong += (long)join_thread(threads[i]);
    printf("wrong %ld\n", wrong);

    pthread_key_t keys[PTHREAD_KEYS_MAX + 1];
    int made = 0;
    while (made <= PTHREAD_KEYS_MAX && pthread_key_create(&keys[made], NULL) == 0)
        made++;
    printf("more keys %d\n", made);
    while (made > 0)
        pthread_key_delete(keys[--made]);
    ANSWER(pthread_key_delete(second));
    return 0;
}
