// Many files in one directory of a disk: all are made, listed, found and removed, some first. How many is the argument; with a second one it
// tells how long each part took.
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LOOKED_UP 2000
#define LONG_EVERY 500
#define REMOVED_EVERY 7

static long files;
static int tells;
static double begun;

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

static void done(const char *what)
{
	if (tells)
		fprintf(stderr, "%s: %.2f s\n", what, now() - begun);
	begun = now();
}

static const char *name_of(long number)
{
	static char name[300];
	int length = snprintf(name, sizeof name, "/data/many/file %ld", number);

	if (number % LONG_EVERY == 0)
		memset(name + length, '.', (size_t)(266 - length)), name[266] = 0;
	return name;
}

static long count(void)
{
	DIR *directory = opendir("/data/many");
	long entries = 0;

	while (directory && readdir(directory))
		entries++;
	if (directory)
		closedir(directory);
	return entries - 2;
}

static long found(long first, long step)
{
	struct stat status;
	long present = 0;

	for (long number = 0; number < LOOKED_UP; number++)
		present += stat(name_of(first + number * step), &status) == 0;
	return present;
}

int main(int count_of_arguments, char **arguments)
{
	long made = 0, removed = 0;

	files = count_of_arguments > 1 ? atol(arguments[1]) : 0;
	tells = count_of_arguments > 2;
	begun = now();
	printf("mkdir %d\n", mkdir("/data/many", 0777));
	for (long number = 0; number < files; number++) {
		int fd = open(name_of(number), O_CREAT | O_EXCL | O_WRONLY, 0644);

		made += fd >= 0;
		close(fd);
	}
	printf("all made %d\n", made == files);
	done("made");
	sync();
	done("sync");
	printf("all listed %d\n", count() == files);
	done("listed");
	printf("found %ld\n", found(0, files / LOOKED_UP));
	printf("found that are not there %ld\n", found(files, 1));
	printf("made twice %d\n", open(name_of(files / 2), O_CREAT | O_EXCL | O_WRONLY, 0644));
	done("looked up");
	for (long number = 0; number < files; number += REMOVED_EVERY)
		removed += unlink(name_of(number)) == 0;
	printf("some removed %d\n", removed == (files + REMOVED_EVERY - 1) / REMOVED_EVERY);
	done("some removed");
	printf("the others listed %d\n", count() == files - removed);
	for (long number = 0; number < files; number++)
		removed += unlink(name_of(number)) == 0;
	printf("all removed %d\n", removed == files);
	printf("rmdir %d\n", rmdir("/data/many"));
	done("all removed");
	return 0;
}
