// A log that is appended to and made stable record by record, and a file that is replaced.
//
//   appends run DIRECTORY MARKER COUNT SEED   works; after what record N needs was made stable, N is written to the device MARKER
//   appends check DIRECTORY                   prints how many records there are, and fails when one of them is spoilt
//
// Each record is followed by fdatasync. Every sixteenth is also written to the file "state", the way careful programs replace a
// file: a new one, fsync, rename, fsync of the directory. The file "plain" is replaced the way careless programs do it, with no
// fsync: it must be whole, and not older than "state", which was renamed after it: a journal keeps the order. In between
// files that nobody makes stable come and go.
#define _GNU_SOURCE
#include <fcntl.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "marker.h"

enum { PAYLOAD_MAX = 6000, STATE_EVERY = 16, NOISE_FILES = 24, MAGIC = 0x4c4f4721 };

struct header {
	uint32_t magic, number, length, sum;
};

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static uint32_t next(uint32_t *state)
{
	*state ^= *state << 13;
	*state ^= *state >> 17;
	return *state ^= *state << 5;
}

static uint32_t checksum(const unsigned char *bytes, size_t length)
{
	uint32_t sum = 2166136261u;
	for (size_t i = 0; i < length; i++)
		sum = (sum ^ bytes[i]) * 16777619u;
	return sum;
}

// The contents of a record follow from its number alone.
static struct header make_record(uint32_t number, unsigned char *payload)
{
	uint32_t state = number * 2654435761u + 1;
	struct header header = { MAGIC, number, next(&state) % PAYLOAD_MAX, 0 };
	for (uint32_t i = 0; i < header.length; i++)
		payload[i] = (unsigned char)next(&state);
	header.sum = checksum(payload, header.length);
	return header;
}

static void write_all(int file, const void *bytes, size_t length)
{
	for (const char *at = bytes; length > 0;) {
		ssize_t done = write(file, at, length);
		if (done <= 0)
			die("write");
		at += done;
		length -= (size_t)done;
	}
}

static void replace_state(int directory, uint32_t number)
{
	char text[32];
	int length = snprintf(text, sizeof text, "%" PRIu32 "\n", number);
	int file = openat(directory, "state.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (file < 0)
		die("state.new");
	write_all(file, text, (size_t)length);
	if (fsync(file))
		die("fsync");
	close(file);
	if (renameat(directory, "state.new", directory, "state"))
		die("rename");
	if (fsync(directory))
		die("fsync of the directory");
}

// Replaces a file by a record, and makes nothing stable but the first one.
static void replace_plain(int directory, const struct header *header, const void *payload)
{
	int file = openat(directory, "plain.new", O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (file < 0)
		die("plain.new");
	write_all(file, header, sizeof *header);
	write_all(file, payload, header->length);
	if (header->number == 1 && fsync(file))
		die("fsync");
	close(file);
	if (renameat(directory, "plain.new", directory, "plain"))
		die("rename");
}

// Changes something of no importance.
static void make_noise(int directory, uint32_t *state)
{
	static const unsigned char bytes[3000];
	char name[32], other[32];
	snprintf(name, sizeof name, "noise/%" PRIu32, next(state) % NOISE_FILES);
	snprintf(other, sizeof other, "noise/%" PRIu32, next(state) % NOISE_FILES);
	int file;
	switch (next(state) % 5) {
	case 0:
		unlinkat(directory, name, 0);
		break;
	case 1:
		renameat(directory, name, directory, other);
		break;
	case 2:
		linkat(directory, name, directory, other, 0);
		break;
	default:
		file = openat(directory, name, O_WRONLY | O_CREAT, 0600);
		if (file < 0)
			die(name);
		if (lseek(file, next(state) % 40000, SEEK_SET) < 0)
			die("lseek");
		write_all(file, bytes, 1 + next(state) % sizeof bytes);
		if (next(state) % 4 == 0 && ftruncate(file, next(state) % 20000))
			die("ftruncate");
		close(file);
	}
}

static int run(const char *path, const char *marker_path, uint32_t count, uint32_t seed)
{
	static unsigned char payload[PAYLOAD_MAX];
	struct marker marker = marker_open(marker_path);
	int directory = open(path, O_RDONLY | O_DIRECTORY);
	if (directory < 0)
		die(path);
	if (mkdirat(directory, "noise", 0700))
		die("noise");
	int log = openat(directory, "log", O_WRONLY | O_CREAT | O_APPEND, 0644);
	if (log < 0)
		die("log");
	if (fsync(log) || fsync(directory))
		die("fsync");
	for (uint32_t number = 1; number <= count; number++) {
		struct header header = make_record(number, payload);
		write_all(log, &header, sizeof header);
		write_all(log, payload, header.length);
		for (uint32_t noise = next(&seed) % 4; noise > 0; noise--)
			make_noise(directory, &seed);
		replace_plain(directory, &header, payload);
		if (fdatasync(log))
			die("fdatasync");
		if (number % STATE_EVERY == 0)
			replace_state(directory, number);
		marker_write(&marker, number);
	}
	printf("%" PRIu32 " records\n", count);
	return 0;
}

// How many records of the log are whole.
static uint32_t count_records(int directory)
{
	static unsigned char payload[PAYLOAD_MAX], expected[PAYLOAD_MAX];
	FILE *log = NULL;
	int file = openat(directory, "log", O_RDONLY);
	if (file < 0 || !(log = fdopen(file, "r")))
		return 0;
	uint32_t number = 0;
	struct header header;
	while (fread(&header, sizeof header, 1, log) == 1) {
		struct header wanted = make_record(number + 1, expected);
		if (memcmp(&header, &wanted, sizeof header) || fread(payload, 1, header.length, log) != header.length ||
		    memcmp(payload, expected, header.length))
			break;
		number++;
	}
	fclose(log);
	return number;
}

// Which record the file holds that is replaced carelessly; -1 when that is not one record and nothing else.
static long plain_record(int directory, uint32_t count)
{
	static unsigned char payload[PAYLOAD_MAX + 1], expected[PAYLOAD_MAX];
	int file = openat(directory, "plain", O_RDONLY);
	if (file < 0)
		return count == 0 ? 0 : -1;
	struct header header, wanted;
	int is_whole = read(file, &header, sizeof header) == sizeof header;
	wanted = make_record(is_whole ? header.number : 0, expected);
	is_whole = is_whole && !memcmp(&header, &wanted, sizeof header) &&
		   read(file, payload, sizeof payload) == header.length && !memcmp(payload, expected, header.length);
	close(file);
	return is_whole ? (long)header.number : -1;
}

static int check(const char *path)
{
	int directory = open(path, O_RDONLY | O_DIRECTORY);
	if (directory < 0)
		die(path);
	uint32_t count = count_records(directory), state = 0;
	long plain = plain_record(directory, count);
	if (plain < 0) {
		printf("plain is not whole\n");
		return 1;
	}
	int file = openat(directory, "state", O_RDONLY);
	if (file >= 0) {
		char text[32] = "", expected[32];
		if (read(file, text, sizeof text - 1) < 0 || sscanf(text, "%" SCNu32, &state) != 1) {
			printf("state holds '%s'\n", text);
			return 1;
		}
		snprintf(expected, sizeof expected, "%" PRIu32 "\n", state);
		if (strcmp(text, expected) || state % STATE_EVERY || state > count) {
			printf("state holds '%s' where there are %" PRIu32 " records\n", text, count);
			return 1;
		}
	}
	if (plain < (long)state) {
		printf("plain has record %ld, and state says %" PRIu32 "\n", plain, state);
		return 1;
	}
	// What the state promises counts as far as it must: the one before the last record may be on its way.
	uint32_t promised = state + STATE_EVERY - 1;
	printf("%" PRIu32 "\n", count < promised ? count : promised);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3], (uint32_t)atoi(argv[4]), (uint32_t)atoi(argv[5]) + 1);
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	fprintf(stderr, "usage: appends run DIRECTORY MARKER COUNT SEED | appends check DIRECTORY\n");
	return 2;
}
