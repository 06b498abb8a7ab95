pragma journal_mode = wal;
create table log(id integer primary key, message text);
insert into log(message) values ('first');
with recursive counter(n) as (select 1 union all select n + 1 from counter where n < 20000)
insert into log(message) select 'message ' || n from counter;
select count(*), max(length(message)) from log;
pragma wal_checkpoint(truncate);
delete from log where id % 2;
select count(*) from log;
pragma journal_mode = delete;
pragma journal_mode = truncate;
insert into log(message) values ('last');
pragma journal_mode = persist;
insert into log(message) values ('very last');
pragma journal_mode = off;
select message from log order by id desc limit 2;
