// Several writers and readers on one database, each thread with a connection of its own.
//
// Writers move money between accounts and note every move; readers see the sum unchanged at any moment. What is printed at
// the end does not depend on the order of events.
//
// usage: threads JOURNAL-MODE WRITERS READERS TRANSACTIONS DATABASE
#include "sqlite3.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ACCOUNTS 20
#define START_BALANCE 1000
#define BUSY_TIMEOUT_MS 120000

static const char *path, *journal_mode;
static int transactions;
static atomic_int writers_left, torn_reads;
static pthread_barrier_t start;

static void fail(sqlite3 *database, const char *what) {
    printf("%s: %s\n", what, sqlite3_errmsg(database));
    exit(2);
}

static void execute(sqlite3 *database, const char *sql) {
    if (sqlite3_exec(database, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail(database, sql);
}

static sqlite3 *connect(void) {
    sqlite3 *database;
    if (sqlite3_open(path, &database) != SQLITE_OK)
        fail(database, "open");
    sqlite3_busy_timeout(database, BUSY_TIMEOUT_MS);
    // Nothing here survives the machine.
    execute(database, "pragma synchronous = off");
    return database;
}

static long number(sqlite3 *database, const char *sql) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK || sqlite3_step(statement) != SQLITE_ROW)
        fail(database, sql);
    long value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

static void print_text(sqlite3 *database, const char *sql) {
    sqlite3_stmt *statement;
    if (sqlite3_prepare_v2(database, sql, -1, &statement, NULL) != SQLITE_OK)
        fail(database, sql);
    while (sqlite3_step(statement) == SQLITE_ROW)
        printf("%s: %s\n", sql, (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
}

static void *write_rows(void *argument) {
    int writer = (int)(long)argument;
    unsigned state = 12345u + (unsigned)writer;
    sqlite3 *database = connect();
    pthread_barrier_wait(&start);
    for (int i = 0; i < transactions; i++) {
        char sql[512];
        state = state * 1103515245u + 12345u;
        int from = (int)(state >> 8) % ACCOUNTS, to = (int)(state >> 16) % ACCOUNTS, amount = 1 + (int)(state >> 20) % 9;
        snprintf(sql, sizeof sql,
                 "begin immediate;"
                 "update account set balance = balance - %d where id = %d;"
                 "update account set balance = balance + %d where id = %d;"
                 "insert into move(writer, number, source, target, amount, note) values (%d, %d, %d, %d, %d, hex(zeroblob(%d)));"
                 "%s;",
                 amount, from, amount, to, writer, i, from, to, amount, i % 50, i % 10 == 9 ? "rollback" : "commit");
        execute(database, sql);
    }
    sqlite3_close(database);
    writers_left--;
    return NULL;
}

static void *read_rows(void *argument) {
    (void)argument;
    sqlite3 *database = connect();
    long moves = 0;
    pthread_barrier_wait(&start);
    do {
        execute(database, "begin");
        long first = number(database, "select sum(balance) from account");
        long now = number(database, "select count(*) from move");
        long second = number(database, "select sum(balance) from account");
        execute(database, "commit");
        if (first != ACCOUNTS * START_BALANCE || second != first || now < moves)
            torn_reads++;
        moves = now;
    } while (writers_left > 0);
    sqlite3_close(database);
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 6)
        return 1;
    journal_mode = argv[1];
    int writers = atoi(argv[2]), readers = atoi(argv[3]);
    transactions = atoi(argv[4]);
    path = argv[5];
    printf("threadsafe: %d\n", sqlite3_threadsafe());

    sqlite3 *database = connect();
    char sql[256];
    snprintf(sql, sizeof sql, "pragma journal_mode = %s", journal_mode);
    print_text(database, sql);
    execute(database, "create table account(id integer primary key, balance integer not null)");
    execute(database, "create table move(writer, number, source, target, amount, note, primary key(writer, number))");
    for (int i = 0; i < ACCOUNTS; i++) {
        snprintf(sql, sizeof sql, "insert into account values (%d, %d)", i, START_BALANCE);
        execute(database, sql);
    }

    pthread_t threads[64];
    int count = 0;
    writers_left = writers;
    pthread_barrier_init(&start, NULL, (unsigned)(writers + readers));
    for (int i = 0; i < writers; i++)
        pthread_create(&threads[count++], NULL, write_rows, (void *)(long)i);
    for (int i = 0; i < readers; i++)
        pthread_create(&threads[count++], NULL, read_rows, NULL);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);

    printf("torn reads: %d\n", torn_reads);
    print_text(database, "pragma integrity_check");
    print_text(database, "select sum(balance) from account");
    print_text(database, "select group_concat(balance) from (select balance from account order by id)");
    print_text(database, "select writer || ' made ' || count(*) || ' moves of ' || sum(amount) from move group by writer");
    print_text(database, "select count(*) from move where length(note) <> 2 * (number % 50)");
    print_text(database, "pragma wal_checkpoint(truncate)");
    return sqlite3_close(database) == SQLITE_OK ? 0 : 1;
}
