create schema sales;
create table public.alltypes(i2 smallint,i4 int,i8 bigint,f4 real,f8 double precision,num numeric(18,4),t text,vc varchar(50),d date,ts timestamp,tstz timestamptz,tm time,b boolean,ba bytea,arr int[],tarr text[],iv text,js text) tblproperties ('format-version'='3');
insert into public.alltypes values (1,10,100,1.5,2.5,123.4567,'héllo','vc','2024-01-02','2024-01-02 03:04:05.678901','2024-01-02 03:04:05.678901Z','12:34:56.789',true,'abc',array[1,2,3],array['a','b'],'1 month 2 days 3 hours','{"a": 1}'),
(-1,-10,-100,-1.5,-2.5,-123.4567,'','','1969-12-31','1969-12-31 23:59:59.999999','1969-12-31 23:59:59Z','00:00:00',false,'',array[-1],array['x','y'],'-1 day','[]'),(null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null,null);
create table sales.customers(id int primary key, name text not null, country text, created_at timestamptz);
insert into sales.customers select v, 'Customer '||v, case when v%3=0 then 'DE' when v%3=1 then 'US' else 'FR' end, timestamptz '2024-01-01 00:00:00Z' + (v || ' hours')::interval from generate_series(1,100) g(v);
create table sales.orders(id bigint primary key, customer_id int, amount numeric(18,2), status text, order_date date, created_at timestamp, is_paid boolean);
insert into sales.orders select v, v%100+1, (v%1000)*1.25, case when v%4=0 then 'new' when v%4=1 then 'paid' when v%4=2 then 'shipped' end, (date '2024-01-01' + (v%365)::int), timestamp '2024-01-01' + (v || ' minutes')::interval, v%2=0 from generate_series(1,10000) g(v);
create view sales.v_orders as select o.id, o.amount, c.name, c.country from sales.orders o join sales.customers c on c.id=o.customer_id;
create table public.bench as select v::bigint as id, (v%1000)::int as i, v::double precision*0.37 as f, ((v%100000)*1.25)::numeric(18,2) as n, 'row text value '||v as t, timestamp '2024-01-01' + (v || ' seconds')::interval as ts from generate_series(1,10000) g(v);
