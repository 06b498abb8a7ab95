// A program with a cache that is as large as memory allows: it gives back what is asked for, and lives.
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <nacre.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { ENTRY_LEN = 1 << 18, ENTRIES = 600 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *entries[ENTRIES];
static int first, next;
static atomic_int calls;

static void drop_first(void)
{
	munmap(entries[first++], ENTRY_LEN);
}

// Under the lock that the cache has anyway.
static void shrink(const struct nacre_memory_event *event, void *unused)
{
	(void)unused;
	calls++;
	pthread_mutex_lock(&lock);
	uint64_t freed = 0;
	while (first < next && (freed < event->wanted_bytes || freed == 0)) {
		drop_first();
		freed += ENTRY_LEN;
	}
	pthread_mutex_unlock(&lock);
}

int main(void)
{
	if (nacre_on_shortage(NACRE_MEMORY_LOW, shrink, NULL) && nacre_is_native())
		return 1;
	for (int i = 0; i < ENTRIES; i++) {
		char *entry = mmap(NULL, ENTRY_LEN, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (entry == MAP_FAILED)
			return 2;
		memset(entry, i, ENTRY_LEN);
		pthread_mutex_lock(&lock);
		entries[next++] = entry;
		// A machine with more memory than that is never short of it.
		if (!nacre_is_native() && next - first > 50)
			drop_first();
		pthread_mutex_unlock(&lock);
	}
	if (nacre_is_native() && (!calls || first == 0))
		printf("nobody asked for memory\n");
	if (nacre_is_native()) {
		int events = nacre_memory_events(NACRE_MEMORY_CRITICAL, O_NONBLOCK);
		struct nacre_thing thing = { NACRE_DESCRIPTOR, POLLPRI, events, 0, 0, 0 };
		struct timespec none = { 0 };
		char byte;
		if (events < 0 || nacre_wait_many(&thing, 1, &none) < 0 || read(events, &byte, 1) != -1 || errno != EINVAL || write(events, &byte, 1) != -1)
			printf("the descriptor is wrong\n");
	}
	printf("levels that are none: %d", nacre_memory_events(0, 0));
	printf(" %d", nacre_memory_events(3, 0));
	printf(" %d\n", nacre_memory_events(1, O_APPEND));
	printf("it lives, and has stored %d entries\n", next);
	return 0;
}
