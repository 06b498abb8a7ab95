create table t(a integer primary key, b blob);
with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 2000)
insert into t select n, zeroblob(1000) from counter;
pragma page_count;
delete from t where a % 2;
pragma freelist_count;
vacuum;
pragma page_count;
pragma freelist_count;
attach 'tmp/other.db' as other;
create table other.copy as select a from t where a < 20;
select count(*), sum(a) from other.copy;
detach other;
.backup tmp/backup.db
attach 'tmp/backup.db' as backup;
select count(*) from backup.t;
vacuum into 'tmp/into.db';
attach 'tmp/into.db' as again;
select (select count(*) from again.t) = (select count(*) from t);
savepoint one;
insert into t values (100001, 'x');
savepoint two;
insert into t values (100002, 'y');
rollback to two;
release one;
select count(*) from t where a > 100000;
