CREATE TABLE s (id int, a int, b int, c text, j jsonb, arr int[]);
CREATE TABLE t (id int, x int, y int, z text);
CREATE TABLE u (id int, k int);
CREATE TABLE gen (a int, b int GENERATED ALWAYS AS (a * 2) STORED, c int);
CREATE TABLE log (id int, was int, now int);

-- SELECT with WHERE, ORDER BY and LIMIT
SELECT a, b FROM s WHERE c = 'x' ORDER BY b LIMIT 3;
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.b, s.c]
-->   b = copy(s.b) by [s.b, s.c]

-- ORDER BY without LIMIT decides nothing, but what it reads is read
SELECT a FROM s ORDER BY (SELECT k FROM u WHERE u.id = s.id), b;
--> select writes [] reads [s, u]
-->   a = copy(s.a) by []

-- LIMIT and OFFSET may be computed
SELECT a FROM s OFFSET (SELECT max(k) FROM u) FETCH FIRST 3 ROWS ONLY;
--> select writes [] reads [s, u]
-->   a = copy(s.a) by [u.k]

-- INSERT … VALUES
INSERT INTO t VALUES (1, 2, 3, 'q');
--> insert writes [t] reads []
-->   t.id = transform() by []
-->   t.x = transform() by []
-->   t.y = transform() by []
-->   t.z = transform() by []

-- INSERT … VALUES of subqueries, RETURNING
INSERT INTO t (x, y) VALUES ((SELECT max(a) FROM s), 2) RETURNING id, x;
--> insert writes [t] reads [s]
-->   t.x = aggregate(s.a) by []
-->   t.y = transform() by []

-- INSERT … SELECT, ON CONFLICT DO NOTHING
INSERT INTO t (id, x) SELECT id, a FROM s ON CONFLICT DO NOTHING;
--> insert writes [t] reads [s]
-->   t.id = copy(s.id) by []
-->   t.x = copy(s.a) by []

-- ON CONFLICT DO UPDATE with excluded
INSERT INTO t AS tt (id, x) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET x = tt.x + excluded.x, y = (SELECT count(*) FROM u) WHERE tt.z <> 'a' RETURNING *;
--> insert writes [t] reads [u]
-->   t.id = transform() by [t.id]
-->   t.x = transform(t.x) by [t.id, t.z]
-->   t.y = aggregate(u.*) by [t.id, t.z]

-- ON CONFLICT ON CONSTRAINT, a row of columns
INSERT INTO t (id, x) SELECT id, a FROM s ON CONFLICT ON CONSTRAINT t_pkey DO UPDATE SET (x, y) = (excluded.x, 3);
--> insert writes [t] reads [s]
-->   t.id = copy(s.id) by []
-->   t.x = copy(s.a) by []
-->   t.y = transform() by []

-- OVERRIDING and DEFAULT VALUES
INSERT INTO gen OVERRIDING SYSTEM VALUE VALUES (1);
INSERT INTO gen DEFAULT VALUES;
--> insert writes [gen] reads []
-->   gen.a = transform() by []
-->   gen.b = transform() by []
--> insert writes [gen] reads []
-->   gen.a = transform() by []
-->   gen.b = transform() by []
-->   gen.c = transform() by []

-- UPDATE … FROM with a join
UPDATE t SET x = s.a FROM s JOIN u ON u.id = s.id WHERE s.id = t.id AND u.k > 3;
--> update writes [t] reads [s, u]
-->   t.x = copy(s.a) by [s.id, t.id, u.id, u.k]

-- UPDATE of a row of columns from a subquery
UPDATE t SET (x, y) = (SELECT a, b FROM s WHERE s.id = t.id), z = DEFAULT;
--> update writes [t] reads [s]
-->   t.x = copy(s.a) by [s.id, t.id]
-->   t.y = copy(s.b) by [s.id, t.id]
-->   t.z = transform() by []

-- UPDATE … WHERE CURRENT OF
DECLARE c CURSOR FOR SELECT id, a FROM s WHERE b = 1;
UPDATE ONLY t SET x = 1 WHERE CURRENT OF c;
DELETE FROM t WHERE CURRENT OF c;
UPDATE t SET x = 1 WHERE CURRENT OF unknown;
--> declare_cursor writes [] reads [s]
-->   id = copy(s.id) by [s.b]
-->   a = copy(s.a) by [s.b]
--> update writes [t] reads [s]
-->   t.x = transform() by [s.b]
--> delete writes [t] reads [s]
-->   t.* = transform() by [s.b]
--> update writes [t] reads []
-->   t.x = transform() by []
-->   failed to understand the cursor unknown: it is not known

-- DELETE … USING, RETURNING
DELETE FROM t USING s WHERE s.id = t.id RETURNING t.x, s.a;
--> delete writes [t] reads [s]
-->   t.* = transform() by [s.id, t.id]

-- DELETE by a subquery over the table itself
DELETE FROM u WHERE id = (SELECT min(id) FROM u);
--> delete writes [u] reads [u]
-->   u.* = transform() by [u.id]

-- MERGE: the conditions of earlier arms decide on later ones
MERGE INTO t USING (SELECT id, a FROM s WHERE b > 1) q ON q.id = t.id WHEN MATCHED AND q.a > t.x THEN UPDATE SET x = q.a WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (id, x) VALUES (q.id, q.a);
--> merge writes [t] reads [s]
-->   t.x = copy(s.a) by [s.a, s.b, s.id, t.id, t.x]
-->   t.* = transform() by [s.a, s.b, s.id, t.id, t.x]
-->   t.id = copy(s.id) by [s.b, s.id, t.id]

-- MERGE: DO NOTHING, BY SOURCE, BY TARGET
MERGE INTO t USING s ON s.id = t.id WHEN MATCHED AND s.c = 'keep' THEN DO NOTHING WHEN MATCHED THEN UPDATE SET x = s.a WHEN NOT MATCHED BY SOURCE AND t.z IS NULL THEN DELETE WHEN NOT MATCHED BY TARGET AND s.b = 1 THEN DO NOTHING WHEN NOT MATCHED THEN INSERT (id) VALUES (s.id);
--> merge writes [t] reads [s]
-->   t.x = copy(s.a) by [s.c, s.id, t.id]
-->   t.* = transform() by [s.c, s.id, t.id, t.z]
-->   t.id = copy(s.id) by [s.b, s.id, t.id]

-- Data-modifying common table expressions, one feeding the other
WITH moved AS (DELETE FROM s WHERE a > 1 RETURNING id, a), up AS (UPDATE u SET k = moved.a FROM moved WHERE moved.id = u.id RETURNING u.id AS uid) INSERT INTO t (id, x) SELECT uid, 1 FROM up;
--> insert writes [s, t, u] reads [s, u]
-->   s.* = transform() by [s.a]
-->   u.k = copy(s.a) by [s.a, s.id, u.id]
-->   t.id = copy(u.id) by [s.a, s.id, u.id]
-->   t.x = transform() by [s.a, s.id, u.id]

-- A common table expression that writes, before a SELECT and a MERGE
WITH w AS (INSERT INTO u (id) VALUES (1) RETURNING id) SELECT * FROM w;
WITH d AS (DELETE FROM u USING s WHERE s.id = u.id RETURNING u.k) MERGE INTO s USING d ON d.k = s.id WHEN MATCHED THEN UPDATE SET a = d.k;
--> select writes [u] reads []
-->   u.id = transform() by []
-->   id = copy(u.id) by []
--> merge writes [s, u] reads [s, u]
-->   u.* = transform() by [s.id, u.id]
-->   s.a = copy(u.k) by [s.id, u.id, u.k]

-- CREATE TABLE AS, with and without names of columns
CREATE TABLE n AS SELECT id, sum(a) AS total FROM s GROUP BY id;
CREATE TABLE n2 (p, q) AS SELECT id, a FROM s WITH NO DATA;
INSERT INTO n2 SELECT * FROM n;
--> create_table writes [n] reads [s]
-->   n.id = copy(s.id) by [s.id]
-->   n.total = aggregate(s.a) by [s.id]
--> create_table writes [n2] reads [s]
-->   n2.p = copy(s.id) by []
-->   n2.q = copy(s.a) by []
--> insert writes [n2] reads [n]
-->   n2.p = copy(n.id) by []
-->   n2.q = copy(n.total) by []

-- SELECT INTO
SELECT id, a INTO n3 FROM s WHERE b = 1;
SELECT * FROM n3;
--> create_table writes [n3] reads [s]
-->   n3.id = copy(s.id) by [s.b]
-->   n3.a = copy(s.a) by [s.b]
--> select writes [] reads [n3]
-->   id = copy(n3.id) by []
-->   a = copy(n3.a) by []

-- Views, materialized views, REFRESH
CREATE VIEW v AS SELECT id, a + b AS ab FROM s;
CREATE MATERIALIZED VIEW mv AS SELECT v.ab FROM v WHERE v.id > 1 WITH NO DATA;
REFRESH MATERIALIZED VIEW CONCURRENTLY mv;
SELECT * FROM mv;
--> create_view writes [v] reads [s]
-->   v.id = copy(s.id) by []
-->   v.ab = transform(s.a, s.b) by []
--> create_materialized_view writes [mv] reads [v]
-->   mv.ab = copy(v.ab) by [v.id]
--> refresh writes [mv] reads [v]
-->   mv.ab = copy(v.ab) by [v.id]
--> select writes [] reads [mv]
-->   ab = copy(mv.ab) by []

-- A recursive view
CREATE RECURSIVE VIEW rv (n) AS SELECT id FROM u UNION ALL SELECT n + 1 FROM rv WHERE n < 10;
--> create_view writes [rv] reads [u]
-->   rv.n = transform(u.id) by [u.id]

-- TRUNCATE of several
TRUNCATE s, t CASCADE;
--> truncate writes [s, t] reads []

-- COPY in and out
COPY s (id, a) FROM stdin;
COPY (SELECT id, b FROM s WHERE a = 2) TO stdout;
COPY s TO '/tmp/x';
--> copy writes [s] reads []
-->   s.id = transform() by []
-->   s.a = transform() by []
--> copy writes [] reads [s]
--> copy writes [] reads [s]

-- Temporary tables stand before others of the name
CREATE TEMP TABLE u AS SELECT * FROM s;
INSERT INTO t (id) SELECT id FROM u;
DROP TABLE u;
INSERT INTO t (id) SELECT id FROM u;
--> create_table writes [pg_temp.u] reads [s]
-->   pg_temp.u.id = copy(s.id) by []
-->   pg_temp.u.a = copy(s.a) by []
-->   pg_temp.u.b = copy(s.b) by []
-->   pg_temp.u.c = copy(s.c) by []
-->   pg_temp.u.j = copy(s.j) by []
-->   pg_temp.u.arr = copy(s.arr) by []
--> insert writes [t] reads [pg_temp.u]
-->   t.id = copy(pg_temp.u.id) by []
--> drop writes [pg_temp.u] reads []
--> insert writes [t] reads [u]
-->   t.id = copy(u.id) by []

-- TABLE as a query
TABLE u;
INSERT INTO t TABLE u;
CREATE TABLE n AS TABLE u;
--> select writes [] reads [u]
-->   id = copy(u.id) by []
-->   k = copy(u.k) by []
--> insert writes [t] reads [u]
-->   t.id = copy(u.id) by []
-->   t.x = copy(u.k) by []
--> create_table writes [n] reads [u]
-->   n.id = copy(u.id) by []
-->   n.k = copy(u.k) by []

-- A common table expression shadows a table
WITH s AS (SELECT k AS a FROM u) SELECT a FROM s;
--> select writes [] reads [u]
-->   a = copy(u.k) by []

-- Nested common table expressions
WITH q AS (WITH r AS (SELECT a FROM s) SELECT a FROM r) SELECT * FROM q, (SELECT x FROM t) d;
--> select writes [] reads [s, t]
-->   a = copy(s.a) by []
-->   x = copy(t.x) by []

-- A recursive common table expression
WITH RECURSIVE tree(id, p, path) AS (SELECT id, k, ARRAY[id] FROM u WHERE k IS NULL UNION ALL SELECT u.id, u.k, path || u.id FROM u JOIN tree ON u.k = tree.id) SELECT * FROM tree;
--> select writes [] reads [u]
-->   id = copy(u.id) by [u.id, u.k]
-->   p = copy(u.k) by [u.id, u.k]
-->   path = transform(u.id) by [u.id, u.k]

-- A common table expression that nothing names is not read; MATERIALIZED says nothing
WITH q AS (SELECT * FROM t), r AS MATERIALIZED (SELECT * FROM u), p AS NOT MATERIALIZED (SELECT * FROM r) UPDATE s SET a = p.k FROM p WHERE p.id = s.id;
--> update writes [s] reads [u]
-->   s.a = copy(u.k) by [s.id, u.id]

-- LATERAL
SELECT l.m FROM t, LATERAL (SELECT max(a) AS m FROM s WHERE s.id = t.id) l;
--> select writes [] reads [s, t]
-->   m = aggregate(s.a) by [s.id, t.id]

-- Correlated subqueries in the list
SELECT id, (SELECT a FROM s WHERE s.id = t.id) AS sa, x IN (SELECT k FROM u WHERE u.id = t.x) AS within, EXISTS (SELECT 1 FROM u WHERE u.k = t.y) AS there FROM t;
--> select writes [] reads [s, t, u]
-->   id = copy(t.id) by []
-->   sa = copy(s.a) by [s.id, t.id]
-->   within = transform(t.x, u.k) by [t.x, u.id]
-->   there = transform() by [t.y, u.k]

-- Correlated subqueries in conditions
SELECT a FROM s WHERE id NOT IN (SELECT id FROM u) AND NOT EXISTS (SELECT FROM t WHERE t.id = s.id);
--> select writes [] reads [s, t, u]
-->   a = copy(s.a) by [s.id, t.id, u.id]

-- A correlated subquery over the table that is written
UPDATE u SET k = (SELECT sum(v.k) FROM u v WHERE v.id < u.id);
--> update writes [u] reads [u]
-->   u.k = aggregate(u.k) by [u.id]

-- UNION, INTERSECT, EXCEPT
SELECT a FROM s UNION SELECT x FROM t;
SELECT a FROM s UNION ALL SELECT x FROM t WHERE y = 1;
SELECT a FROM s INTERSECT SELECT x FROM t;
SELECT a, b FROM s EXCEPT SELECT x, y FROM t WHERE z = 'q';
SELECT a FROM s UNION ALL SELECT x FROM t ORDER BY a LIMIT 1;
--> select writes [] reads [s, t]
-->   a = copy(s.a, t.x) by [s.a, t.x]
--> select writes [] reads [s, t]
-->   a = copy(s.a, t.x) by [t.y]
--> select writes [] reads [s, t]
-->   a = copy(s.a) by [s.a, t.x]
--> select writes [] reads [s, t]
-->   a = copy(s.a) by [s.a, s.b, t.x, t.y, t.z]
-->   b = copy(s.b) by [s.a, s.b, t.x, t.y, t.z]
--> select writes [] reads [s, t]
-->   a = copy(s.a, t.x) by [s.a, t.x]

-- JOIN USING and NATURAL
SELECT id FROM t JOIN s USING (id) WHERE a > 1;
SELECT * FROM t NATURAL JOIN u;
SELECT * FROM t FULL JOIN u USING (id);
SELECT t.*, u.k FROM t LEFT JOIN u ON u.id = t.id;
--> select writes [] reads [s, t]
-->   id = copy(t.id) by [s.a, s.id, t.id]
--> select writes [] reads [t, u]
-->   id = copy(t.id) by [t.id, u.id]
-->   x = copy(t.x) by [t.id, u.id]
-->   y = copy(t.y) by [t.id, u.id]
-->   z = copy(t.z) by [t.id, u.id]
-->   k = copy(u.k) by [t.id, u.id]
--> select writes [] reads [t, u]
-->   id = transform(t.id, u.id) by [t.id, u.id]
-->   x = copy(t.x) by [t.id, u.id]
-->   y = copy(t.y) by [t.id, u.id]
-->   z = copy(t.z) by [t.id, u.id]
-->   k = copy(u.k) by [t.id, u.id]
--> select writes [] reads [t, u]
-->   id = copy(t.id) by [t.id, u.id]
-->   x = copy(t.x) by [t.id, u.id]
-->   y = copy(t.y) by [t.id, u.id]
-->   z = copy(t.z) by [t.id, u.id]
-->   k = copy(u.k) by [t.id, u.id]

-- Joins in parentheses
SELECT x, k FROM (s JOIN t ON s.id = t.id) JOIN u ON u.id = s.id;
SELECT z.x FROM (s JOIN t ON s.id = t.id) AS z;
--> select writes [] reads [s, t, u]
-->   x = copy(t.x) by [s.id, t.id, u.id]
-->   k = copy(u.k) by [s.id, t.id, u.id]
--> select writes [] reads [s, t]
-->   x = copy(t.x) by [s.id, t.id]

-- A star without a schema
SELECT * FROM nowhere;
SELECT n.* FROM nowhere n JOIN s ON s.id = n.id;
INSERT INTO t SELECT * FROM nowhere;
--> select writes [] reads [nowhere]
-->   * = copy(nowhere.*) by []
--> select writes [] reads [nowhere, s]
-->   * = copy(nowhere.*) by [nowhere.id, s.id]
--> insert writes [t] reads [nowhere]
-->   t.id = copy(nowhere.*) by []
-->   t.x = copy(nowhere.*) by []
-->   t.y = copy(nowhere.*) by []
-->   t.z = copy(nowhere.*) by []

-- Whole rows
SELECT to_jsonb(t) FROM t;
SELECT row_to_json(r) FROM (SELECT id, x FROM t) r;
SELECT t FROM t WHERE t IS NOT NULL;
SELECT (t).x, (t.*)::text FROM t;
--> select writes [] reads [t]
-->   to_jsonb = transform(t.id, t.x, t.y, t.z) by []
--> select writes [] reads [t]
-->   row_to_json = transform(t.id, t.x) by []
--> select writes [] reads [t]
-->   t = transform(t.id, t.x, t.y, t.z) by [t.id, t.x, t.y, t.z]
--> select writes [] reads [t]
-->   x = copy(t.x) by []
-->   t = transform(t.id, t.x, t.y, t.z) by []

-- Aliases that shadow columns: ORDER BY takes the result's, GROUP BY the table's
SELECT a AS b, b AS a FROM s ORDER BY a LIMIT 1;
SELECT a AS b, count(*) FROM s GROUP BY b;
SELECT a + 1 AS n, count(*) FROM s GROUP BY n;
--> select writes [] reads [s]
-->   b = copy(s.a) by [s.b]
-->   a = copy(s.b) by [s.b]
--> select writes [] reads [s]
-->   b = copy(s.a) by [s.b]
-->   count = aggregate(s.*) by [s.b]
--> select writes [] reads [s]
-->   n = transform(s.a) by [s.a]
-->   count = aggregate(s.*) by [s.a]

-- Quoted and folded names
CREATE TABLE "Odd" ("Col" int, col int);
SELECT "Col", Col, COL FROM "Odd";
SELECT "A" FROM s;
--> create_table writes [Odd] reads []
--> select writes [] reads [Odd]
-->   Col = copy(Odd.Col) by []
-->   col = copy(Odd.col) by []
-->   col = copy(Odd.col) by []
--> select writes [] reads [s]
-->   A = copy(?.A) by []
-->   failed to find column A: no table in reach has it

-- search_path
SET search_path = app, public;
SELECT a FROM s;
INSERT INTO only_here VALUES (1);
--> other writes [] reads []
--> select writes [] reads [s]
-->   a = copy(s.a) by []
--> insert writes [app.only_here] reads []
-->   app.only_here.column1 = transform() by []

-- VALUES as a table
SELECT v.x, v.y FROM (VALUES (1, 'a'), (2, 'b')) v(x, y) WHERE v.y = 'a';
INSERT INTO t (id, x) SELECT v.i, s.a FROM s JOIN (VALUES (1), (2)) v(i) ON v.i = s.id;
SELECT * FROM u WHERE (id, k) IN (VALUES (1, 2), (3, 4));
--> select writes [] reads []
-->   x = transform() by []
-->   y = transform() by []
--> insert writes [t] reads [s]
-->   t.id = transform() by [s.id]
-->   t.x = copy(s.a) by [s.id]
--> select writes [] reads [u]
-->   id = copy(u.id) by [u.id, u.k]
-->   k = copy(u.k) by [u.id, u.k]

-- Windows, named and in place
SELECT sum(b) OVER w, lag(a, 1) OVER (PARTITION BY b ORDER BY c ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM s WINDOW w AS (PARTITION BY a ORDER BY id);
SELECT first_value(k) OVER (w ROWS UNBOUNDED PRECEDING) FROM u WINDOW w AS (ORDER BY id);
SELECT rank() OVER (ORDER BY sum(a)) FROM s GROUP BY b;
--> select writes [] reads [s]
-->   sum = aggregate(s.b) by [s.a, s.id]
-->   lag = transform(s.a) by [s.b, s.c]
--> select writes [] reads [u]
-->   first_value = transform(u.k) by [u.id]
--> select writes [] reads [s]
-->   rank = transform() by [s.a, s.b]

-- GROUPING SETS, ROLLUP, CUBE, HAVING
SELECT a, b, grouping(a), sum(id) FROM s GROUP BY GROUPING SETS ((a), (b), ()) HAVING max(id) > 1;
SELECT a, sum(b) FROM s GROUP BY ROLLUP (a), CUBE (c);
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a, s.b, s.id]
-->   b = copy(s.b) by [s.a, s.b, s.id]
-->   grouping = transform(s.a) by [s.a, s.b, s.id]
-->   sum = aggregate(s.id) by [s.a, s.b, s.id]
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a, s.c]
-->   sum = aggregate(s.b) by [s.a, s.c]

-- GROUP BY by place
SELECT k, count(*) FROM u GROUP BY 1 HAVING count(*) > 1 ORDER BY 2 DESC LIMIT 5;
--> select writes [] reads [u]
-->   k = copy(u.k) by [u.*, u.k]
-->   count = aggregate(u.*) by [u.*, u.k]

-- FILTER, ORDER BY in an aggregate, WITHIN GROUP
SELECT count(*) FILTER (WHERE a > 1), array_agg(b ORDER BY id) FILTER (WHERE b > 1) AS bs FROM s;
SELECT string_agg(c, ',' ORDER BY a), percentile_cont(0.5) WITHIN GROUP (ORDER BY a) FROM s;
--> select writes [] reads [s]
-->   count = aggregate(s.*) by [s.a]
-->   bs = aggregate(s.b) by [s.b, s.id]
--> select writes [] reads [s]
-->   string_agg = aggregate(s.c) by [s.a]
-->   percentile_cont = aggregate(s.a) by []

-- DISTINCT and DISTINCT ON
SELECT DISTINCT a, b FROM s;
SELECT DISTINCT ON (a) a, b FROM s ORDER BY a, b DESC;
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a, s.b]
-->   b = copy(s.b) by [s.a, s.b]
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a, s.b]
-->   b = copy(s.b) by [s.a, s.b]

-- Arrays and unnest
SELECT unnest(arr) AS e, arr[1], arr[a:b] FROM s;
SELECT e.v, e.o FROM s, unnest(s.arr) WITH ORDINALITY AS e(v, o);
SELECT e FROM s, unnest(arr) e;
SELECT a FROM s WHERE a = ANY (ARRAY(SELECT x FROM t)) AND b > ALL (SELECT k FROM u);
--> select writes [] reads [s]
-->   e = transform(s.arr) by []
-->   arr = transform(s.arr) by []
-->   arr = transform(s.arr) by [s.a, s.b]
--> select writes [] reads [s]
-->   v = transform(s.arr) by [s.arr]
-->   o = transform(s.arr) by [s.arr]
--> select writes [] reads [s]
-->   e = transform(s.arr) by [s.arr]
--> select writes [] reads [s, t, u]
-->   a = copy(s.a) by [s.a, s.b, t.x, u.k]

-- Set-returning functions
SELECT x.n FROM s CROSS JOIN generate_series(s.a, s.b) AS x(n);
SELECT * FROM generate_series(1, 3) g;
SELECT * FROM ROWS FROM (generate_series(1, 2), unnest(ARRAY[1])) AS f(a, b);
--> select writes [] reads [s]
-->   n = transform(s.a, s.b) by [s.a, s.b]
--> select writes [] reads []
-->   g = transform() by []
--> select writes [] reads []
-->   a = transform() by []
-->   b = transform() by []

-- JSON operators and jsonb functions
SELECT j -> 'a' ->> 'b' AS ab, j #>> '{a,b}' AS deep, jsonb_set(j, '{a}', to_jsonb(a)) FROM s WHERE j ? 'k' AND j @> '{"x":1}';
SELECT k.key, k.value FROM s, jsonb_each(s.j) k;
SELECT e ->> 'x' AS v FROM s, jsonb_array_elements(s.j) e;
SELECT r.a, r.b FROM s, jsonb_to_record(s.j) AS r(a int, b text);
SELECT x.* FROM s, json_table(s.j, '$[*]' COLUMNS (id int PATH '$.id', name text PATH '$.n')) x;
--> select writes [] reads [s]
-->   ab = transform(s.j) by [s.j]
-->   deep = transform(s.j) by [s.j]
-->   jsonb_set = transform(s.a, s.j) by [s.j]
--> select writes [] reads [s]
-->   key = transform(s.j) by [s.j]
-->   value = transform(s.j) by [s.j]
--> select writes [] reads [s]
-->   v = transform(s.j) by [s.j]
--> select writes [] reads [s]
-->   a = transform(s.j) by [s.j]
-->   b = transform(s.j) by [s.j]
--> select writes [] reads [s]
-->   id = transform(s.j) by [s.j]
-->   name = transform(s.j) by [s.j]

-- CASE, casts, functions of values
SELECT CASE a WHEN 1 THEN b ELSE id END, a::text, CAST(b AS numeric), coalesce(a, b), nullif(a, 1), greatest(a, b), 1::bigint FROM s;
SELECT extract(year FROM c::date), position('a' IN c), trim(BOTH 'x' FROM c), overlay(c PLACING 'a' FROM 1), c COLLATE "C", c AT TIME ZONE 'utc' FROM s;
--> select writes [] reads [s]
-->   id = transform(s.b, s.id) by [s.a]
-->   a = transform(s.a) by []
-->   b = transform(s.b) by []
-->   coalesce = transform(s.a, s.b) by []
-->   nullif = transform(s.a) by []
-->   greatest = transform(s.a, s.b) by []
-->   int8 = transform() by []
--> select writes [] reads [s]
-->   extract = transform(s.c) by []
-->   position = transform(s.c) by []
-->   btrim = transform(s.c) by []
-->   overlay = transform(s.c) by []
-->   c = copy(s.c) by []
-->   timezone = transform(s.c) by []

-- Comparison of rows
SELECT id FROM s WHERE (a, b) = (SELECT x, y FROM t LIMIT 1) AND (id, a) IN (SELECT id, k FROM u) AND ROW(a, b) < ROW(1, 2);
--> select writes [] reads [s, t, u]
-->   id = copy(s.id) by [s.a, s.b, s.id, t.x, t.y, u.id, u.k]

-- Conditions of every kind
SELECT a FROM s WHERE a BETWEEN (SELECT min(k) FROM u) AND 4 AND c LIKE 'x%' AND c ~ 'r' AND b IS DISTINCT FROM a;
--> select writes [] reads [s, u]
-->   a = copy(s.a) by [s.a, s.b, s.c, u.k]

-- Sampled and locked
SELECT a FROM s TABLESAMPLE SYSTEM (10) WHERE a = 1 FOR UPDATE OF s SKIP LOCKED;
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a]

-- Generated columns follow what they are computed from
INSERT INTO gen (a) SELECT a FROM s;
UPDATE gen SET a = u.k FROM u WHERE u.id = gen.a;
UPDATE gen SET (a, c) = (SELECT k, id FROM u LIMIT 1);
UPDATE gen SET c = 1;
--> insert writes [gen] reads [s]
-->   gen.a = copy(s.a) by []
-->   gen.b = transform(s.a) by []
--> update writes [gen] reads [u]
-->   gen.a = copy(u.k) by [gen.a, u.id]
-->   gen.b = transform(u.k) by [gen.a, u.id]
--> update writes [gen] reads [u]
-->   gen.a = copy(u.k) by []
-->   gen.c = copy(u.id) by []
-->   gen.b = transform(u.k) by []
--> update writes [gen] reads []
-->   gen.c = transform() by []

-- A function in SQL, within expressions
CREATE FUNCTION price(p_id int) RETURNS int LANGUAGE sql AS $$ SELECT a FROM s WHERE s.id = p_id $$;
SELECT price(x) FROM t;
INSERT INTO u (id, k) SELECT id, price(x) FROM t WHERE price(y) > 3;
UPDATE t SET x = price(p_id => t.y);
DROP FUNCTION price;
SELECT price(x) FROM t;
--> create_routine writes [] reads [s]
--> select writes [] reads [s, t]
-->   price = transform(s.a) by [s.id, t.x]
--> insert writes [u] reads [s, t]
-->   u.id = copy(t.id) by [s.a, s.id, t.y]
-->   u.k = transform(s.a) by [s.a, s.id, t.x, t.y]
--> update writes [t] reads [s]
-->   t.x = transform(s.a) by [s.id, t.y]
--> other writes [] reads []
--> select writes [] reads [t]
-->   price = transform(t.x) by []
-->   failed to understand what price does: its definition is not known

-- Parameters by number, by the function's name, and defaults
CREATE FUNCTION f(int, b int DEFAULT 2) RETURNS int LANGUAGE sql AS 'SELECT $1 + f.b FROM u WHERE id = $2';
SELECT f(x), f(x, y) FROM t;
--> create_routine writes [] reads [u]
--> select writes [] reads [t, u]
-->   f = transform(t.x) by [u.id]
-->   f = transform(t.x, t.y) by [t.y, u.id]

-- Functions of one name and other types
CREATE FUNCTION g(a int) RETURNS int LANGUAGE sql AS $$ SELECT k FROM u $$;
CREATE FUNCTION g(a int, b int) RETURNS int LANGUAGE sql AS $$ SELECT x FROM t $$;
SELECT g(1), g(1, 2);
--> create_routine writes [] reads [u]
--> create_routine writes [] reads [t]
--> select writes [] reads [t, u]
-->   g = transform(u.k) by []
-->   g = transform(t.x) by []

-- A body of the SQL standard
CREATE FUNCTION total() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT max(a) FROM s; END;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql RETURN n * 2;
SELECT total(), twice(x) FROM t;
--> create_routine writes [] reads [s]
--> create_routine writes [] reads []
--> select writes [] reads [s, t]
-->   total = aggregate(s.a) by []
-->   twice = transform(t.x) by []

-- A function that writes, called by a SELECT
CREATE FUNCTION touch(p int) RETURNS void LANGUAGE plpgsql AS $$ BEGIN UPDATE u SET k = p WHERE id = 1; END $$;
SELECT touch(x) FROM t;
--> create_routine writes [u] reads []
-->   u.k = transform() by [u.id]
--> select writes [u] reads [t]
-->   u.k = copy(t.x) by [u.id]
-->   touch = transform() by []

-- A function as a table
CREATE FUNCTION rows_of(p int) RETURNS TABLE (n int, m int) LANGUAGE sql AS $$ SELECT a, b FROM s WHERE id = p $$;
SELECT r.n, r.m FROM t, rows_of(t.x) r;
SELECT * FROM rows_of(1);
--> create_routine writes [] reads [s]
--> select writes [] reads [s, t]
-->   n = copy(s.a) by [s.id, t.x]
-->   m = copy(s.b) by [s.id, t.x]
--> select writes [] reads [s]
-->   n = copy(s.a) by [s.id]
-->   m = copy(s.b) by [s.id]

-- OUT parameters and RETURN QUERY in PL/pgSQL
CREATE FUNCTION both_of(p int, OUT lo int, OUT hi int) LANGUAGE plpgsql AS $$ BEGIN SELECT min(a), max(b) INTO lo, hi FROM s WHERE id = p; END $$;
CREATE FUNCTION many() RETURNS SETOF int LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT k FROM u; IF FOUND THEN RETURN QUERY SELECT x FROM t; END IF; END $$;
SELECT b.lo, b.hi FROM both_of(1) b;
SELECT m FROM many() m;
--> create_routine writes [] reads [s]
--> create_routine writes [] reads [t, u]
--> select writes [] reads [s]
-->   lo = aggregate(s.a) by [s.id]
-->   hi = aggregate(s.b) by [s.id]
--> select writes [] reads [t, u]
-->   m = copy(t.x, u.k) by []

-- Functions that call one another, and themselves
CREATE FUNCTION inner_one() RETURNS int LANGUAGE sql AS $$ SELECT k FROM u $$;
CREATE FUNCTION outer_one() RETURNS int LANGUAGE sql AS $$ SELECT inner_one() + 1 $$;
CREATE FUNCTION again(n int) RETURNS int LANGUAGE sql AS $$ SELECT CASE WHEN n = 0 THEN 0 ELSE again(n - 1) + (SELECT max(k) FROM u) END $$;
SELECT outer_one(), again(x) FROM t;
--> create_routine writes [] reads [u]
--> create_routine writes [] reads [u]
--> create_routine writes [] reads [u]
--> select writes [] reads [t, u]
-->   outer_one = transform(u.k) by []
-->   again = aggregate(t.x, u.k) by [t.x]

-- A routine in another language
CREATE FUNCTION py(a int) RETURNS int LANGUAGE plpython3u AS $$ return a $$;
SELECT py(x) FROM t;
--> create_routine writes [] reads []
--> select writes [] reads [t]
-->   py = transform(t.x) by []
-->   failed to understand what py does: its language is not SQL nor PL/pgSQL

-- CALL of a procedure
CREATE PROCEDURE put(a_id int) LANGUAGE plpgsql AS $$ BEGIN INSERT INTO t (id) VALUES (a_id); COMMIT; END $$;
CALL put((SELECT max(k) FROM u));
CALL unknown(1);
--> create_routine writes [t] reads []
-->   t.id = transform() by []
--> call writes [t] reads [u]
-->   t.id = aggregate(u.k) by []
--> call writes [] reads []
-->   failed to understand what unknown does: its definition is not known

-- Triggers: rows as they were and are, only where the event fits
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF TG_OP = 'UPDATE' THEN INSERT INTO log (id, was, now) VALUES (NEW.id, OLD.x, NEW.x); END IF; NEW.y := NEW.x * 2; NEW.z = (SELECT c FROM s WHERE s.id = NEW.id); RETURN NEW; END $$;
CREATE TRIGGER noted BEFORE INSERT OR UPDATE OF x ON t FOR EACH ROW WHEN (NEW.x > 1) EXECUTE FUNCTION note();
INSERT INTO t (id, x) SELECT id, k FROM u;
UPDATE t SET x = 5 WHERE id = 1;
UPDATE t SET z = 'q';
DELETE FROM t;
--> create_routine writes [] reads []
--> create_trigger writes [] reads []
--> insert writes [log, t] reads [s, t, u]
-->   t.id = copy(u.id) by []
-->   t.x = copy(u.k) by []
-->   log.id = copy(t.id) by [t.x]
-->   log.was = copy(t.x) by [t.x]
-->   log.now = copy(t.x) by [t.x]
-->   t.y = transform(t.x) by [t.x]
-->   t.z = copy(s.c) by [s.id, t.id, t.x]
--> update writes [log, t] reads [s, t]
-->   t.x = transform() by [t.id]
-->   log.id = copy(t.id) by [t.id, t.x]
-->   log.was = copy(t.x) by [t.id, t.x]
-->   log.now = copy(t.x) by [t.id, t.x]
-->   t.y = transform(t.x) by [t.id, t.x]
-->   t.z = copy(s.c) by [s.id, t.id, t.x]
--> update writes [t] reads []
-->   t.z = transform() by []
--> delete writes [t] reads []
-->   t.* = transform() by []

-- Triggers for each statement, with the rows as tables
CREATE FUNCTION sums() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (id, now) SELECT id, x FROM fresh; RETURN NULL; END $$;
CREATE TRIGGER summed AFTER INSERT ON t REFERENCING NEW TABLE AS fresh FOR EACH STATEMENT EXECUTE FUNCTION sums();
INSERT INTO t (id, x) VALUES (1, 2);
--> create_routine writes [] reads []
--> create_trigger writes [] reads []
--> insert writes [log, t] reads [t]
-->   t.id = transform() by []
-->   t.x = transform() by []
-->   log.id = copy(t.id) by []
-->   log.now = copy(t.x) by []

-- DO: variables, conditions, loops
DO $$ DECLARE n int := (SELECT max(k) FROM u); BEGIN UPDATE t SET x = n; END $$;
DO $$ DECLARE r record; BEGIN FOR r IN SELECT id, x FROM t LOOP UPDATE s SET a = r.x WHERE s.id = r.id; END LOOP; END $$;
DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO u (id) VALUES (i); END LOOP; WHILE (SELECT count(*) FROM u) < 3 LOOP DELETE FROM log; END LOOP; EXCEPTION WHEN unique_violation THEN INSERT INTO t (id) VALUES (1); END $$;
DO $$ DECLARE r t%ROWTYPE; BEGIN SELECT * INTO r FROM t WHERE id = 1; INSERT INTO s (id, a, b, c) SELECT r.*; CASE WHEN r.x = 1 THEN DELETE FROM u WHERE id = r.y; ELSE NULL; END CASE; END $$;
DO $$ BEGIN PERFORM 1 FROM u WHERE k = 2; IF EXISTS (SELECT 1 FROM t WHERE y = 2) THEN RETURN; END IF; DELETE FROM log; END $$;
--> do writes [t] reads [u]
-->   t.x = aggregate(u.k) by []
--> do writes [s] reads [t]
-->   s.a = copy(t.x) by [s.id, t.id]
--> do writes [log, t, u] reads [u]
-->   u.id = transform() by []
-->   log.* = transform() by [u.*]
-->   t.id = transform() by []
--> do writes [s, u] reads [t]
-->   s.id = copy(t.id) by [t.id]
-->   s.a = copy(t.x) by [t.id]
-->   s.b = copy(t.y) by [t.id]
-->   s.c = copy(t.z) by [t.id]
-->   u.* = transform() by [t.id, t.x, t.y, u.id]
--> do writes [log] reads [t, u]
-->   log.* = transform() by [t.y]

-- DO: texts that are run
DO $$ DECLARE n int; BEGIN EXECUTE 'SELECT max(k) FROM u WHERE id = $1' INTO n USING (SELECT min(id) FROM t); EXECUTE 'UPDATE s SET a = 1'; INSERT INTO log (id) VALUES (n); END $$;
DO $$ BEGIN EXECUTE format('DELETE FROM %I', 'u'); END $$;
--> do writes [log, s] reads [t, u]
-->   s.a = transform() by []
-->   log.id = aggregate(u.k) by [t.id, u.id]
--> do writes [] reads []
-->   failed to understand an EXECUTE of a text made at run time

-- Cursors in PL/pgSQL
DO $$ DECLARE c CURSOR FOR SELECT id, a FROM s WHERE b = 1; r record; BEGIN OPEN c; FETCH c INTO r; UPDATE t SET x = r.a WHERE CURRENT OF c; FOR q IN c LOOP INSERT INTO u (id, k) VALUES (q.id, q.a); END LOOP; CLOSE c; END $$;
--> do writes [t, u] reads [s]
-->   t.x = copy(s.a) by [s.b]
-->   u.id = copy(s.id) by [s.b]
-->   u.k = copy(s.a) by [s.b]

-- Prepared statements
PREPARE p (int) AS INSERT INTO u (id, k) SELECT id, $1 FROM t WHERE x = $2;
EXECUTE p(1, 2);
EXECUTE unknown(1);
--> prepare writes [] reads []
--> execute writes [u] reads [t]
-->   u.id = copy(t.id) by [t.x]
-->   u.k = transform() by [t.x]
--> execute writes [] reads []
-->   failed to understand the prepared statement unknown: it is not known

-- Cursors
DECLARE c CURSOR FOR SELECT id, a FROM s WHERE b = 1;
FETCH NEXT FROM c;
--> declare_cursor writes [] reads [s]
-->   id = copy(s.id) by [s.b]
-->   a = copy(s.a) by [s.b]
--> fetch writes [] reads [s]
-->   id = copy(s.id) by [s.b]
-->   a = copy(s.a) by [s.b]

-- Definitions that change names
ALTER TABLE t RENAME COLUMN x TO xx;
ALTER TABLE t DROP COLUMN y;
ALTER TABLE t ADD COLUMN w int;
SELECT * FROM t;
ALTER TABLE t RENAME TO tt;
INSERT INTO tt SELECT 1;
DROP TABLE tt;
--> alter writes [t] reads []
-->   t.xx = copy(t.x) by []
--> alter writes [t] reads []
--> alter writes [t] reads []
--> select writes [] reads [t]
-->   id = copy(t.id) by []
-->   xx = copy(t.xx) by []
-->   z = copy(t.z) by []
-->   w = copy(t.w) by []
--> alter writes [tt] reads [t]
-->   tt.id = copy(t.id) by []
-->   tt.xx = copy(t.xx) by []
-->   tt.z = copy(t.z) by []
-->   tt.w = copy(t.w) by []
--> insert writes [tt] reads []
-->   tt.id = transform() by []
--> drop writes [tt] reads []

-- Names that cannot be resolved are marked
SELECT nope FROM s;
SELECT q.a FROM s;
SELECT a FROM s, nowhere;
SELECT b FROM nowhere, elsewhere;
--> select writes [] reads [s]
-->   nope = copy(?.nope) by []
-->   failed to find column nope: no table in reach has it
--> select writes [] reads [s]
-->   a = copy(?.a) by []
-->   failed to find column q.a: no table in reach has it
--> select writes [] reads [nowhere, s]
-->   a = copy(s.a) by []
--> select writes [] reads [elsewhere, nowhere]
-->   b = copy(?.b) by []

-- What does not parse still shows its tables
INSERT INTO t SELEC a FROM s;
--> unparsed writes [t] reads [s]
-->   failed to parse SQL: sql parser error: Expected: SELECT, VALUES, or a subquery in the query body, found: a at Line: 1, Column: 21

-- EXPLAIN runs nothing, EXPLAIN ANALYZE does
EXPLAIN DELETE FROM t WHERE id = 1;
EXPLAIN ANALYZE DELETE FROM t WHERE id = 1;
--> other writes [] reads []
--> delete writes [t] reads []
-->   t.* = transform() by [t.id]

-- What moves no rows
BEGIN;
LOCK TABLE t;
SET LOCAL x = 1;
GRANT SELECT ON t TO bob;
CREATE INDEX i ON s (a) WHERE b > 1;
COMMENT ON TABLE t IS 'x';
COMMIT;
--> other writes [] reads []
--> other writes [] reads []
--> other writes [] reads []
--> other writes [] reads []
--> other writes [] reads []
--> other writes [] reads []
--> other writes [] reads []

-- A join in parentheses under a name lists what it merged first
SELECT * FROM (s JOIN t USING (id)) AS q;
SELECT q.a, q.x FROM (s JOIN t USING (id)) AS q(i, a, b, c, j, arr, x);
--> select writes [] reads [s, t]
-->   id = copy(s.id) by [s.id, t.id]
-->   a = copy(s.a) by [s.id, t.id]
-->   b = copy(s.b) by [s.id, t.id]
-->   c = copy(s.c) by [s.id, t.id]
-->   j = copy(s.j) by [s.id, t.id]
-->   arr = copy(s.arr) by [s.id, t.id]
-->   x = copy(t.x) by [s.id, t.id]
-->   y = copy(t.y) by [s.id, t.id]
-->   z = copy(t.z) by [s.id, t.id]
--> select writes [] reads [s, t]
-->   a = copy(s.a) by [s.id, t.id]
-->   x = copy(t.x) by [s.id, t.id]

-- Each FROM item, and each join, lists what it merged before its tables
SELECT * FROM u JOIN log USING (id), s JOIN gen USING (a);
INSERT INTO log SELECT * FROM gen JOIN s USING (a) JOIN u USING (id);
SELECT id FROM u JOIN (t JOIN log USING (id)) USING (id);
--> select writes [] reads [gen, log, s, u]
-->   id = copy(u.id) by [gen.a, log.id, s.a, u.id]
-->   k = copy(u.k) by [gen.a, log.id, s.a, u.id]
-->   was = copy(log.was) by [gen.a, log.id, s.a, u.id]
-->   now = copy(log.now) by [gen.a, log.id, s.a, u.id]
-->   a = copy(s.a) by [gen.a, log.id, s.a, u.id]
-->   id = copy(s.id) by [gen.a, log.id, s.a, u.id]
-->   b = copy(s.b) by [gen.a, log.id, s.a, u.id]
-->   c = copy(s.c) by [gen.a, log.id, s.a, u.id]
-->   j = copy(s.j) by [gen.a, log.id, s.a, u.id]
-->   arr = copy(s.arr) by [gen.a, log.id, s.a, u.id]
-->   b = copy(gen.b) by [gen.a, log.id, s.a, u.id]
-->   c = copy(gen.c) by [gen.a, log.id, s.a, u.id]
--> insert writes [log] reads [gen, s, u]
-->   log.id = copy(s.id) by [gen.a, s.a, s.id, u.id]
-->   log.was = copy(gen.a) by [gen.a, s.a, s.id, u.id]
-->   log.now = copy(gen.b) by [gen.a, s.a, s.id, u.id]
--> select writes [] reads [log, t, u]
-->   id = copy(u.id) by [log.id, t.id, u.id]

-- Names of CASE, casts, subqueries and constructs that nothing names
SELECT CASE WHEN a > b THEN c ELSE (SELECT z FROM t WHERE t.id = s.id) END, CASE a WHEN b THEN 1 END, (s.*)::text, (c)::varchar, true, EXISTS (SELECT 1 FROM t), c IS NORMALIZED, (VALUES (1)) FROM s;
--> select writes [] reads [s, t]
-->   z = transform(s.c, t.z) by [s.a, s.b, s.id, t.id]
-->   case = transform() by [s.a, s.b]
-->   s = transform(s.a, s.arr, s.b, s.c, s.id, s.j) by []
-->   c = transform(s.c) by []
-->   bool = transform() by []
-->   exists = transform() by []
-->   is_normalized = transform(s.c) by []
-->   column1 = transform() by []

-- The order within ARRAY(…) is that of its elements
SELECT ARRAY(SELECT x FROM t WHERE t.id = s.id ORDER BY y) AS xs FROM s;
--> select writes [] reads [s, t]
-->   xs = transform(t.x) by [s.id, t.id, t.y]

-- Elements and fields that are set leave the rest of the value
CREATE TABLE parts (id int, pr pair, tags text[], prs pair[]);
UPDATE parts SET pr.p = s.a, tags[s.b] = s.c, prs[1].q = 3 FROM s WHERE s.id = parts.id;
INSERT INTO parts (id, pr.p, pr.q, tags[1]) SELECT id, a, b, c FROM s;
--> create_table writes [parts] reads []
--> update writes [parts] reads [s]
-->   parts.pr = transform(parts.pr, s.a) by [parts.id, s.id]
-->   parts.tags = transform(parts.tags, s.c) by [parts.id, s.b, s.id]
-->   parts.prs = transform(parts.prs) by [parts.id, s.id]
--> insert writes [parts] reads [s]
-->   parts.id = copy(s.id) by []
-->   parts.pr = copy(s.a, s.b) by []
-->   parts.tags = copy(s.c) by []

-- SEARCH and CYCLE
WITH RECURSIVE r(id, up) AS (SELECT id, k FROM u UNION ALL SELECT u.id, u.k FROM u, r WHERE u.k = r.id) SEARCH DEPTH FIRST BY id SET o CYCLE id, up SET c USING p SELECT id, o, c, p FROM r;
--> select writes [] reads [u]
-->   id = copy(u.id) by [u.id, u.k]
-->   o = transform(u.id) by [u.id, u.k]
-->   c = transform(u.id, u.k) by [u.id, u.k]
-->   p = transform(u.id, u.k) by [u.id, u.k]

-- What says nothing of what flows where
SELECT c::text COLLATE "C", a BETWEEN SYMMETRIC b AND id, trim(LEADING FROM c), sum(a) OVER (ORDER BY b ROWS UNBOUNDED PRECEDING EXCLUDE TIES) FROM s;
SELECT a, sum(b) FROM s GROUP BY DISTINCT ROLLUP (a, c);
SELECT format('%s-%s', VARIADIC ARRAY[c, 'x']), concat_ws(',', VARIADIC arr) FROM ONLY s, ONLY (t) WHERE s.id = t.id;
SELECT q.* FROM s, LATERAL ROWS FROM (generate_series(1, s.a), generate_series(1, s.b)) AS q(m, n);
SELECT * FROM string_to_table('a,b', ',') WITH ORDINALITY;
SELECT ctid, a FROM s;
INSERT INTO t (id, x) SELECT id, a FROM s ON CONFLICT (id) WHERE x > 1 DO NOTHING;
MERGE INTO u USING s ON s.id = u.id WHEN NOT MATCHED THEN INSERT DEFAULT VALUES;
--> select writes [] reads [s]
-->   c = transform(s.c) by []
-->   ?column? = transform(s.a, s.b, s.id) by []
-->   ltrim = transform(s.c) by []
-->   sum = aggregate(s.a) by [s.b]
--> select writes [] reads [s]
-->   a = copy(s.a) by [s.a, s.c]
-->   sum = aggregate(s.b) by [s.a, s.c]
--> select writes [] reads [s, t]
-->   format = transform(s.c) by [s.id, t.id]
-->   concat_ws = transform(s.arr) by [s.id, t.id]
--> select writes [] reads [s]
-->   m = transform(s.a, s.b) by [s.a, s.b]
-->   n = transform(s.a, s.b) by [s.a, s.b]
--> select writes [] reads []
-->   string_to_table = transform() by []
-->   ordinality = transform() by []
--> select writes [] reads [s]
-->   ctid = copy(s.ctid) by []
-->   a = copy(s.a) by []
--> insert writes [t] reads [s]
-->   t.id = copy(s.id) by [t.id]
-->   t.x = copy(s.a) by [t.id]
--> merge writes [u] reads [s]
-->   u.id = transform() by [s.id, u.id]
-->   u.k = transform() by [s.id, u.id]

-- Functions that are overloaded and call one another
CREATE FUNCTION ov(a int) RETURNS int LANGUAGE sql AS $$ SELECT ov(a, 1) $$;
CREATE FUNCTION ov(a int, b int) RETURNS int LANGUAGE sql AS $$ SELECT k + b FROM u WHERE id = a $$;
SELECT ov(x) FROM t;
DROP FUNCTION ov(integer, integer);
SELECT ov(x) FROM t;
--> create_routine writes [] reads []
-->   failed to understand what ov does: its definition is not known
--> create_routine writes [] reads [u]
--> select writes [] reads [t, u]
-->   ov = transform(u.k) by [t.x, u.id]
--> other writes [] reads []
--> select writes [] reads [t]
-->   ov = transform(t.x) by []
-->   failed to understand what ov does: its definition is not known

-- Functions of one name in two schemas
CREATE FUNCTION app.f(a int) RETURNS int LANGUAGE sql AS $$ SELECT x FROM t WHERE id = a $$;
CREATE FUNCTION f(a int) RETURNS int LANGUAGE sql AS $$ SELECT k FROM u WHERE id = a $$;
SELECT f(1), app.f(2);
SET search_path = app, public;
SELECT f(1);
RESET search_path;
SELECT f(1);
--> create_routine writes [] reads [t]
--> create_routine writes [] reads [u]
--> select writes [] reads [t, u]
-->   f = transform(u.k) by [u.id]
-->   f = transform(t.x) by [t.id]
--> other writes [] reads []
--> select writes [] reads [t]
-->   f = transform(t.x) by [t.id]
--> other writes [] reads []
--> select writes [] reads [u]
-->   f = transform(u.k) by [u.id]

-- What a function does that is not defined is not known
SELECT refresh_everything(x), lower(z), pg_catalog.upper(z), app.lower(z), uuid_generate_v4() FROM t;
SELECT * FROM make_rows(3) AS m(a int, b text);
--> select writes [] reads [t]
-->   refresh_everything = transform(t.x) by []
-->   lower = transform(t.z) by []
-->   upper = transform(t.z) by []
-->   lower = transform(t.z) by []
-->   uuid_generate_v4 = transform() by []
-->   failed to understand what refresh_everything does: its definition is not known
--> select writes [] reads []
-->   a = transform() by []
-->   b = transform() by []
-->   failed to understand what make_rows does: its definition is not known

-- What is rolled back was never defined; SET LOCAL ends with its transaction
BEGIN;
ALTER TABLE t RENAME COLUMN x TO xx;
SAVEPOINT a;
DROP TABLE u;
ROLLBACK TO a;
SELECT xx, u.* FROM t, u;
ROLLBACK;
SELECT x FROM t;
BEGIN;
SET LOCAL search_path = app;
SELECT a FROM elsewhere;
COMMIT;
SELECT a FROM elsewhere;
--> other writes [] reads []
--> alter writes [t] reads []
-->   t.xx = copy(t.x) by []
--> other writes [] reads []
--> drop writes [u] reads []
--> other writes [] reads []
--> select writes [] reads [t, u]
-->   xx = copy(t.xx) by []
-->   id = copy(u.id) by []
-->   k = copy(u.k) by []
--> other writes [] reads []
--> select writes [] reads [t]
-->   x = copy(t.x) by []
--> other writes [] reads []
--> other writes [] reads []
--> select writes [] reads [app.elsewhere]
-->   a = copy(app.elsewhere.a) by []
--> other writes [] reads []
--> select writes [] reads [elsewhere]
-->   a = copy(elsewhere.a) by []

-- COPY fires triggers that are enabled, and computes what is generated
CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (id, now) VALUES (NEW.a, NEW.c); RETURN NEW; END $$;
CREATE TRIGGER note AFTER INSERT ON gen FOR EACH ROW EXECUTE FUNCTION noted();
COPY gen FROM stdin;
ALTER TABLE gen DISABLE TRIGGER note;
COPY gen (a) FROM stdin;
ALTER TABLE gen ENABLE TRIGGER ALL;
INSERT INTO gen (a) VALUES (1);
--> create_routine writes [] reads []
--> create_trigger writes [] reads []
--> copy writes [gen, log] reads [gen]
-->   gen.a = transform() by []
-->   gen.c = transform() by []
-->   gen.b = transform() by []
-->   log.id = copy(gen.a) by []
-->   log.now = copy(gen.c) by []
--> alter writes [gen] reads []
--> copy writes [gen] reads []
-->   gen.a = transform() by []
-->   gen.b = transform() by []
--> alter writes [gen] reads []
--> insert writes [gen, log] reads [gen]
-->   gen.a = transform() by []
-->   gen.b = transform() by []
-->   log.id = copy(gen.a) by []
-->   log.now = copy(gen.c) by []

-- What is written to a view over one table is written to the table
CREATE VIEW uv AS SELECT id AS i, k AS kk, k * 2 AS twice FROM u WHERE k > 0;
INSERT INTO uv (i, kk) SELECT id, a FROM s;
UPDATE uv SET kk = 1 WHERE i = 2;
DELETE FROM uv WHERE twice = 3;
CREATE VIEW uv2 AS SELECT * FROM uv;
UPDATE uv2 SET kk = s.a FROM s WHERE s.id = uv2.i;
CREATE OR REPLACE VIEW uv AS SELECT id AS i, k AS kk, k * 2 AS twice FROM u;
--> create_view writes [uv] reads [u]
-->   uv.i = copy(u.id) by [u.k]
-->   uv.kk = copy(u.k) by [u.k]
-->   uv.twice = transform(u.k) by [u.k]
--> insert writes [u, uv] reads [s]
-->   uv.i = copy(s.id) by []
-->   uv.kk = copy(s.a) by []
-->   u.id = copy(s.id) by []
-->   u.k = copy(s.a) by []
--> update writes [u, uv] reads []
-->   uv.kk = transform() by [u.k, uv.i]
-->   u.k = transform() by [u.k, uv.i]
--> delete writes [u, uv] reads []
-->   uv.* = transform() by [u.k, uv.twice]
-->   u.* = transform() by [u.k, uv.twice]
--> create_view writes [uv2] reads [uv]
-->   uv2.i = copy(uv.i) by []
-->   uv2.kk = copy(uv.kk) by []
-->   uv2.twice = copy(uv.twice) by []
--> update writes [u, uv, uv2] reads [s]
-->   uv2.kk = copy(s.a) by [s.id, u.k, uv2.i]
-->   uv.kk = copy(s.a) by [s.id, u.k, uv2.i]
-->   u.k = copy(s.a) by [s.id, u.k, uv2.i]
--> create_view writes [uv] reads [u]
-->   uv.i = copy(u.id) by []
-->   uv.kk = copy(u.k) by []
-->   uv.twice = transform(u.k) by []

-- INSTEAD OF triggers do what a write of their view does
CREATE VIEW tv AS SELECT id, x FROM t;
CREATE FUNCTION instead() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO log (id, was) VALUES (NEW.id, OLD.x); RETURN NEW; END $$;
CREATE TRIGGER io INSTEAD OF UPDATE ON tv FOR EACH ROW EXECUTE FUNCTION instead();
UPDATE tv SET x = 5;
--> create_view writes [tv] reads [t]
-->   tv.id = copy(t.id) by []
-->   tv.x = copy(t.x) by []
--> create_routine writes [] reads []
--> create_trigger writes [] reads []
--> update writes [log, tv] reads [tv]
-->   tv.x = transform() by []
-->   log.id = copy(tv.id) by []
-->   log.was = copy(tv.x) by []

-- Generated columns that are added, and whose sources are renamed
ALTER TABLE u ADD COLUMN g int GENERATED ALWAYS AS (k + id) STORED;
UPDATE u SET k = s.a FROM s WHERE s.id = u.id;
ALTER TABLE u RENAME COLUMN k TO kk;
UPDATE u SET kk = 3;
--> alter writes [u] reads []
--> update writes [u] reads [s]
-->   u.k = copy(s.a) by [s.id, u.id]
-->   u.g = transform(s.a, u.id) by [s.id, u.id]
--> alter writes [u] reads []
-->   u.kk = copy(u.k) by []
--> update writes [u] reads []
-->   u.kk = transform() by []
-->   u.g = transform(u.id) by []

-- an element of a column that is named with its table, here and in a subquery
SELECT s.arr[1], s.j['k'], (s).arr[s.id], (SELECT max(u.k) FROM u WHERE u.id = s.arr[2]) FROM s;
--> select writes [] reads [s, u]
-->   arr = transform(s.arr) by []
-->   j = transform(s.j) by []
-->   arr = transform(s.arr) by [s.id]
-->   max = aggregate(u.k) by [s.arr, u.id]

-- a frame's bound with a type
SELECT sum(a) OVER (ORDER BY id RANGE BETWEEN '1'::int PRECEDING AND '2'::pg_catalog.int4 FOLLOWING) FROM s;
--> select writes [] reads [s]
-->   sum = aggregate(s.a) by [s.id]

-- JOIN … USING with a name for the columns
SELECT s.a, u.k FROM s FULL JOIN u USING (id) AS both;
--> select writes [] reads [s, u]
-->   a = copy(s.a) by [s.id, u.id]
-->   k = copy(u.k) by [s.id, u.id]

-- XMLTABLE without a name
SELECT xmltable.*, xmltable.n FROM s, XMLTABLE('/r' PASSING (c::xml) COLUMNS n int PATH '@n', m text);
--> select writes [] reads [s]
-->   n = transform(s.c) by [s.c]
-->   m = transform(s.c) by [s.c]
-->   n = transform(s.c) by [s.c]
