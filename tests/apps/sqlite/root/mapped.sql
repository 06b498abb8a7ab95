pragma mmap_size = 67108864;
create table t(a integer primary key, b text);
with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 30000)
insert into t select n, hex(n * n) from counter;
select count(*), min(b), max(b) from t;
update t set b = b || '.' where a % 100 = 0;
select sum(length(b)) from t;
with recursive counter(n) as (select 30001 union all select n + 1 from counter where n < 60000)
insert into t select n, hex(n) from counter;
select count(*), sum(length(b)) from t;
