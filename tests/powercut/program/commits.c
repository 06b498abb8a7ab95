// A database of SQLite, one transaction after the other.
//
//   commits run DIRECTORY MARKER COUNT JOURNAL   JOURNAL is delete, truncate, persist or wal; after transaction N has been
//                                                committed, N is written to the device MARKER
//   commits check DIRECTORY                      prints how many transactions there are, and fails when the database is spoilt
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "marker.h"
#include "sqlite3.h"

static sqlite3 *open_database(const char *directory)
{
	char path[256];
	sqlite3 *database;
	snprintf(path, sizeof path, "%s/data.db", directory);
	if (sqlite3_open(path, &database) != SQLITE_OK) {
		printf("%s: %s\n", path, sqlite3_errmsg(database));
		exit(1);
	}
	return database;
}

static void execute(sqlite3 *database, const char *text)
{
	char *error = NULL;
	if (sqlite3_exec(database, text, NULL, NULL, &error) != SQLITE_OK) {
		printf("%s: %s\n", text, error);
		exit(1);
	}
}

static int run(const char *directory, const char *marker_path, int count, const char *journal)
{
	char text[256];
	struct marker marker = marker_open(marker_path);
	sqlite3 *database = open_database(directory);
	snprintf(text, sizeof text, "PRAGMA journal_mode=%s", journal);
	execute(database, text);
	execute(database, "PRAGMA synchronous=EXTRA");
	execute(database, "PRAGMA wal_autocheckpoint=20");
	execute(database, "CREATE TABLE entries(number INTEGER PRIMARY KEY, value BLOB)");
	execute(database, "CREATE TABLE total(sum INTEGER)");
	execute(database, "INSERT INTO total VALUES(0)");
	for (int number = 1; number <= count; number++) {
		execute(database, "BEGIN");
		snprintf(text, sizeof text, "INSERT INTO entries VALUES(%d, randomblob(%d))", number, number * 37 % 900);
		execute(database, text);
		snprintf(text, sizeof text, "UPDATE total SET sum = sum + %d", number);
		execute(database, text);
		execute(database, "COMMIT");
		marker_write(&marker, (uint32_t)number);
	}
	sqlite3_close(database);
	printf("%d transactions\n", count);
	return 0;
}

static int read_number(void *to, int columns, char **values, char **names)
{
	(void)columns, (void)names;
	*(long long *)to = values[0] ? atoll(values[0]) : 0;
	return 0;
}

static int read_verdict(void *to, int columns, char **values, char **names)
{
	(void)columns, (void)names;
	*(int *)to = !strcmp(values[0], "ok");
	return 0;
}

static int check(const char *directory)
{
	sqlite3 *database = open_database(directory);
	long long tables = 0, count = 0, last = 0, sum = 0;
	int is_sound = 0;
	char *error = NULL;
	if (sqlite3_exec(database, "PRAGMA integrity_check", read_verdict, &is_sound, &error) != SQLITE_OK || !is_sound) {
		printf("the database is spoilt: %s\n", error ? error : "integrity_check");
		return 1;
	}
	sqlite3_exec(database, "SELECT count(*) FROM sqlite_master", read_number, &tables, NULL);
	if (tables == 2) {
		sqlite3_exec(database, "SELECT count(*) FROM entries", read_number, &count, NULL);
		sqlite3_exec(database, "SELECT max(number) FROM entries", read_number, &last, NULL);
		sqlite3_exec(database, "SELECT sum FROM total", read_number, &sum, NULL);
	}
	sqlite3_close(database);
	if (count != last || sum != count * (count + 1) / 2) {
		printf("%lld entries, the last is %lld, their sum %lld\n", count, last, sum);
		return 1;
	}
	printf("%lld\n", count);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 6 && !strcmp(argv[1], "run"))
		return run(argv[2], argv[3], atoi(argv[4]), argv[5]);
	if (argc == 3 && !strcmp(argv[1], "check"))
		return check(argv[2]);
	fprintf(stderr, "usage: commits run DIRECTORY MARKER COUNT JOURNAL | commits check DIRECTORY\n");
	return 2;
}
