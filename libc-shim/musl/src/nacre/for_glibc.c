/* What code compiled for glibc asks of its C library, and musl has not: so much that Rust's standard library and the
 * unwinder of GCC can be linked. */
#define _GNU_SOURCE
#include <elf.h>
#include <link.h>
#include <pthread.h>
#include <resolv.h>
#include <stddef.h>
#include <stdint.h>

/* As glibc has it on x86-64. */
struct dl_find_object {
	unsigned long long flags;
	void *start, *end;
	struct link_map *map;
	void *unwind_index;
	unsigned long long reserved[7];
};

struct search {
	uintptr_t address;
	struct dl_find_object *found;
};

static int look(struct dl_phdr_info *object, size_t size, void *argument)
{
	struct search *search = argument;
	uintptr_t start = UINTPTR_MAX, end = 0, index = 0;
	int is_inside = 0;
	(void)size;
	for (int i = 0; i < object->dlpi_phnum; i++) {
		const ElfW(Phdr) *part = &object->dlpi_phdr[i];
		uintptr_t first = object->dlpi_addr + part->p_vaddr, behind = first + part->p_memsz;
		if (part->p_type == PT_GNU_EH_FRAME) index = first;
		if (part->p_type != PT_LOAD) continue;
		if (first < start) start = first;
		if (behind > end) end = behind;
		is_inside |= search->address >= first && search->address < behind;
	}
	if (!is_inside || !index) return 0;
	*search->found = (struct dl_find_object){
		.start = (void *)start, .end = (void *)end, .unwind_index = (void *)index,
	};
	return 1;
}

/* The unwinder names these weakly: in glibc they are there anyhow, in an archive when asked for. */
__attribute__((__used__)) static void *const wanted_by_unwinder[] = {
	(void *)pthread_once, (void *)pthread_mutex_lock, (void *)pthread_mutex_unlock, (void *)pthread_key_create,
	(void *)pthread_getspecific, (void *)pthread_setspecific,
};

/* Which loaded object holds an address, and where the index of its unwind tables is. 0: it was found. */
int _dl_find_object(void *address, struct dl_find_object *result)
{
	struct search search = { (uintptr_t)address, result };
	return dl_iterate_phdr(look, &search) ? 0 : -1;
}

/* Asked for to know whether the resolver notices a new resolv.conf by itself: glibc does since then, musl always. */
const char *gnu_get_libc_version(void)
{
	return "2.26";
}

int __res_init(void)
{
	return res_init();
}
