// The marker: a raw device beside the file system, on which a program says what it has been promised to find again. Written past
// all caches, so that its place among the writes of the file system is the one of the program's.
#ifndef MARKER_H
#define MARKER_H
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { MARKER_LEN = 4096 };

struct marker {
	int device;
	unsigned char *page;
};

static inline struct marker marker_open(const char *path)
{
	struct marker marker = { open(path, O_WRONLY), aligned_alloc(MARKER_LEN, MARKER_LEN) };
	if (marker.device < 0 || !marker.page) {
		perror(path);
		exit(1);
	}
	return marker;
}

// Says that everything up to `number` must be found. The words in front let the number be told from anything else.
static inline void marker_write(const struct marker *marker, uint32_t number)
{
	memset(marker->page, 0, MARKER_LEN);
	memcpy(marker->page, "promised", 8);
	memcpy(marker->page + 8, &number, sizeof number);
	if (pwrite(marker->device, marker->page, MARKER_LEN, 0) != MARKER_LEN || fdatasync(marker->device)) {
		perror("marker");
		exit(1);
	}
}
#endif
