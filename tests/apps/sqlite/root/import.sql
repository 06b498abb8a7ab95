create table people(name text, age integer, city text);
.mode csv
.import people.csv people
.headers on
.mode column
select city, count(*) as people, avg(age) as age from people group by city order by city;
.mode json
select * from people where age > 60;
.mode insert people
select * from people limit 2;
.output tmp/dump.sql
.dump
.output
.mode list
.headers off
select length(readfile('tmp/dump.sql')) > 200;
select writefile('tmp/blob', zeroblob(70000)), length(readfile('tmp/blob'));
