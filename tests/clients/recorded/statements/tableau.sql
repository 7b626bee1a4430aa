-- tableau: connection and worksheets of Tableau over psqlODBC, written after what its public issues and documents tell; not captured

-- @steps=connect proto=simple n=1
SET DateStyle = 'ISO';SET extra_float_digits = 2;show transaction_isolation
;;

-- @steps=connect proto=simple n=1
show "lc_collate"
;;

-- @steps=connect proto=simple n=1
SELECT 1
;;

-- @steps=connect proto=simple n=1
select oid, typbasetype from pg_type where typname = 'lo'
;;

-- @steps=connect proto=simple n=1
SET client_encoding TO 'UTF8'
;;

-- @steps=connect proto=simple n=1
SELECT CAST(current_setting('server_version_num') AS integer)
;;

-- @steps=probe proto=simple n=1
BEGIN
;;

-- @steps=probe proto=simple n=1
CREATE LOCAL TEMPORARY TABLE "#Tableau_9_1_Connect" ("COL" INTEGER) ON COMMIT PRESERVE ROWS
;;

-- @steps=probe proto=simple n=1
INSERT INTO "#Tableau_9_1_Connect" ("COL") VALUES (1)
;;

-- @steps=probe proto=simple n=1
SELECT "COL" FROM "#Tableau_9_1_Connect"
;;

-- @steps=probe proto=simple n=1
DROP TABLE "#Tableau_9_1_Connect"
;;

-- @steps=probe proto=simple n=1
COMMIT
;;

-- @steps=probe proto=simple n=1
SELECT * INTO TEMPORARY TABLE "#Tableau_9_2_Connect" FROM (SELECT 1 AS COL) AS CHECKTEMP LIMIT 1
;;

-- @steps=probe proto=simple n=1
DROP TABLE "#Tableau_9_2_Connect"
;;

-- @steps=schema proto=simple n=1
select relname, nspname, relkind from pg_catalog.pg_class c, pg_catalog.pg_namespace n
where relkind in ('r', 'v', 'm', 'f', 'p') and nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'pg_temp_1') and n.oid = relnamespace
order by nspname, relname
;;

-- @steps=schema proto=simple n=1
select n.nspname, c.relname, a.attname, a.atttypid, t.typname, a.attnum, a.attlen, a.atttypmod, a.attnotnull, c.relhasrules, c.relkind, c.oid,
    pg_get_expr(d.adbin, d.adrelid), case t.typtype when 'd' then t.typbasetype else 0 end, t.typtypmod, 0, attidentity, c.relhassubclass
from (((pg_catalog.pg_class c
  inner join pg_catalog.pg_namespace n on n.oid = c.relnamespace and c.relname = E'orders' and n.nspname = E'sales')
  inner join pg_catalog.pg_attribute a on (not a.attisdropped) and a.attnum > 0 and a.attrelid = c.oid)
  inner join pg_catalog.pg_type t on t.oid = a.atttypid)
  left outer join pg_attrdef d on a.atthasdef and d.adrelid = a.attrelid and d.adnum = a.attnum
order by n.nspname, c.relname, attnum
;;

-- @steps=schema proto=simple n=1
select ta.attname, ia.attnum, ic.relname, n.nspname, tc.relname
from pg_catalog.pg_attribute ta, pg_catalog.pg_attribute ia, pg_catalog.pg_class tc, pg_catalog.pg_index i, pg_catalog.pg_namespace n, pg_catalog.pg_class ic
where tc.relname = E'orders' AND n.nspname = E'sales' AND tc.oid = i.indrelid AND n.oid = tc.relnamespace AND i.indisprimary = 't'
  AND ia.attrelid = i.indexrelid AND ta.attrelid = i.indrelid AND ta.attnum = i.indkey[ia.attnum-1] AND (NOT ta.attisdropped) AND (NOT ia.attisdropped)
  AND ic.oid = i.indexrelid
order by ia.attnum
;;

-- @steps=schema proto=simple n=1
SELECT * FROM (SELECT "orders"."id" AS "id" FROM "sales"."orders" "orders") "TABLEAU_META" LIMIT 0
;;

-- @steps=sheet proto=simple n=1
BEGIN;declare "SQL_CUR0x5597c1d0" cursor with hold for SELECT "orders"."status" AS "status", SUM("orders"."amount") AS "sum:amount:ok" FROM "sales"."orders" "orders" GROUP BY 1;fetch 2048 in "SQL_CUR0x5597c1d0"
;;

-- @steps=sheet proto=simple n=1
close "SQL_CUR0x5597c1d0"
;;

-- @steps=sheet proto=simple n=1
COMMIT
;;

-- @steps=sheet proto=simple n=1
SELECT DATE_TRUNC( 'YEAR', CAST( "orders"."order_date" AS TIMESTAMP ) ) AS "tyr:order_date:ok", COUNT(DISTINCT "orders"."customer_id") AS "ctd:customer_id:ok"
FROM "sales"."orders" "orders"
WHERE (("orders"."status" IN ('new', 'paid')) AND ("orders"."order_date" >= (DATE '2024-01-01')))
GROUP BY 1
;;

-- @steps=sheet proto=simple n=1
SELECT "t0"."country" AS "country", CAST(EXTRACT(MONTH FROM "orders"."created_at") AS INTEGER) AS "mn:created_at:ok", AVG(CAST("orders"."amount" AS DOUBLE PRECISION)) AS "avg:amount:ok"
FROM "sales"."orders" "orders"
  INNER JOIN (SELECT "customers"."country" AS "country", "customers"."id" AS "id" FROM "sales"."customers" "customers" GROUP BY 1, 2) "t0" ON ("orders"."customer_id" = "t0"."id")
GROUP BY 1, 2
HAVING (COUNT(1) > 0)
;;

-- @steps=sheet proto=simple n=1
SELECT "customers"."name" AS "name", SUM("orders"."amount") AS "sum:amount:ok"
FROM "sales"."orders" "orders"
  LEFT JOIN "sales"."customers" "customers" ON ("orders"."customer_id" = "customers"."id")
  INNER JOIN (SELECT "customers"."name" AS "name", SUM("orders"."amount") AS "$__alias__0"
              FROM "sales"."orders" "orders" LEFT JOIN "sales"."customers" "customers" ON ("orders"."customer_id" = "customers"."id")
              GROUP BY 1 ORDER BY 2 DESC NULLS LAST LIMIT 10) "t0" ON ("customers"."name" IS NOT DISTINCT FROM "t0"."name")
GROUP BY 1
;;

-- @steps=sheet proto=simple n=1
SELECT (CASE WHEN ("orders"."amount" < 100) THEN 'small' ELSE 'large' END) AS "size", SUM(1) AS "cnt:ok", MIN("orders"."created_at") AS "min:created_at:ok",
  COALESCE(STDDEV_SAMP("orders"."amount"), 0) AS "std:amount:ok"
FROM "sales"."orders" "orders"
WHERE ("orders"."is_paid" AND (STRPOS(LOWER("orders"."status"), 'ai') > 0))
GROUP BY 1
ORDER BY 1 ASC
;;

-- @steps=sheet proto=simple n=1
SELECT "orders"."status" AS "status", TO_CHAR("orders"."created_at", 'YYYY-MM-DD HH24:MI:SS') AS "text", "orders"."order_date" + 7 AS "later",
  (CAST("orders"."created_at" AS DATE) - CAST('2024-01-01' AS DATE)) AS "days"
FROM "sales"."orders" "orders" LIMIT 100
;;
