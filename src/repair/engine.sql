-- The ledger: what was repaired, and what was left alone. Kept until somebody drops the schema blast_radius.
DO $$
BEGIN
  IF to_regnamespace('blast_radius') IS NULL THEN
    CREATE SCHEMA blast_radius;
  END IF;
END $$;

CREATE TABLE IF NOT EXISTS blast_radius.repair (
  id         text PRIMARY KEY,
  release    text NOT NULL,
  planned    bigint NOT NULL,
  changed    bigint,
  skipped    bigint,
  applied_at timestamptz,
  undone     bigint,
  kept       bigint,
  undone_at  timestamptz
);

-- One group is one table, one operation and one set of columns. Its changes stand in blast_radius.repair_<id>_<number>,
-- the rows as they stood before (for an insert: as they were inserted) in blast_radius.backup_<id>_<number>.
CREATE TABLE IF NOT EXISTS blast_radius.repair_group (
  repair         text NOT NULL,
  number         integer NOT NULL,
  relation       text NOT NULL,
  operation      text NOT NULL,
  key_columns    text[] NOT NULL,
  found_columns  text[] NOT NULL,
  right_columns  text[] NOT NULL,
  digest_columns text[] NOT NULL,
  PRIMARY KEY (repair, number)
);

CREATE TABLE IF NOT EXISTS blast_radius.repair_skipped (
  repair    text NOT NULL,
  step      text NOT NULL,
  change    bigint NOT NULL,
  relation  text NOT NULL,
  key       jsonb NOT NULL,
  operation text NOT NULL,
  reason    text NOT NULL,
  noticed   timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (repair, step, change)
);

-- Makes the tables of one group. Their columns have the very types of the table that is repaired.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_group(
  group_number integer, target text, what text, key_names text[], found_names text[], right_names text[], digest_names text[]
) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
  plan_table text := format('blast_radius.%I', 'repair_{id}_' || group_number);
  backup_table text := format('blast_radius.%I', 'backup_{id}_' || group_number);
  column_list text;
BEGIN
  IF to_regclass(plan_table) IS NOT NULL THEN
    -- Run again after an undo: what was undone is to be done again.
    EXECUTE format('UPDATE %s SET status = ''planned'', reason = NULL WHERE status = ''undone''', plan_table);
    RETURN;
  END IF;
  SELECT string_agg(entry, '' ORDER BY part, place) INTO column_list FROM (
    SELECT 1 AS part, place, format(', t.%I AS key_%s', name, place) AS entry FROM unnest(key_names) WITH ORDINALITY AS k (name, place)
    UNION ALL
    SELECT 2, place, format(', t.%I AS found_%s', name, place) FROM unnest(found_names) WITH ORDINALITY AS f (name, place)
    UNION ALL
    SELECT 3, place, format(', t.%I AS right_%s', name, place) FROM unnest(right_names) WITH ORDINALITY AS w (name, place)
    UNION ALL
    SELECT 4, place, format(', NULL::text AS digest_%s', place) FROM unnest(digest_names) WITH ORDINALITY AS d (name, place)
  ) AS entries;
  EXECUTE format(
    'CREATE TABLE %s AS SELECT 0::bigint AS change, 0::integer AS batch, ''''::text AS status, ''''::text AS reason, false AS waits%s FROM %s AS t WITH NO DATA',
    plan_table, column_list, target);
  EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (change), ALTER status SET DEFAULT ''planned'', ALTER status SET NOT NULL, ALTER waits SET DEFAULT false', plan_table);
  EXECUTE format('CREATE INDEX ON %s (status, batch)', plan_table);
  EXECUTE format('CREATE TABLE %s AS SELECT 0::bigint AS blast_radius_change, t.* FROM %s AS t WITH NO DATA', backup_table, target);
  EXECUTE format('ALTER TABLE %s ADD PRIMARY KEY (blast_radius_change)', backup_table);
  EXECUTE format('COMMENT ON TABLE %s IS %L', plan_table,
    format('blast-radius repair {id}: %s of %s; key %s, found %s, right %s', what, target, key_names, found_names, right_names));
  EXECUTE format('COMMENT ON TABLE %s IS %L', backup_table, format('blast-radius repair {id}: rows of %s as they stood', target));
  INSERT INTO blast_radius.repair_group VALUES ('{id}', group_number, target, what, key_names, found_names, right_names, digest_names);
END $function$;

-- The type of a column and its modifier: a domain's are those it is a domain of.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_type(target regclass, column_name text, OUT value_type oid, OUT modifier integer)
LANGUAGE plpgsql STABLE AS $function$
DECLARE
  base record;
BEGIN
  SELECT a.atttypid, a.atttypmod INTO value_type, modifier FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = target AND a.attname = column_name AND NOT a.attisdropped;
  LOOP
    SELECT y.typbasetype, y.typtypmod INTO base FROM pg_catalog.pg_type AS y WHERE y.oid = value_type AND y.typtype = 'd';
    EXIT WHEN NOT FOUND;
    value_type := base.typbasetype;
    modifier := base.typtypmod;
  END LOOP;
END $function$;

-- The condition under which two values of a column are the same: by value where equal values may print differently
-- (1.0 and 1.00 in a plain numeric), else by text, which every type has.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_same(target regclass, column_name text, one text, other text)
RETURNS text LANGUAGE plpgsql STABLE AS $function$
BEGIN
  IF (SELECT y.value_type FROM blast_radius.repair_{id}_type(target, column_name) AS y)
     = ANY ('{boolean,smallint,integer,bigint,numeric,real,double precision,date,timestamp,timestamptz,uuid}'::regtype[]::oid[]) THEN
    RETURN format('%s IS NOT DISTINCT FROM %s', one, other);
  END IF;
  RETURN format('%s::text COLLATE "C" IS NOT DISTINCT FROM %s::text COLLATE "C"', one, other);
END $function$;

-- The digest of a column's value, NULL where it is NULL, of the text that its output function prints: a cast to text
-- says otherwise of boolean, character(n) and inet. Of a plain numeric without the zeros that say nothing.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_digest(target regclass, column_name text, one text)
RETURNS text LANGUAGE plpgsql STABLE AS $function$
DECLARE
  printed text := format('format(''%%s'', %s)', one);
BEGIN
  IF (SELECT y.value_type = 'numeric'::regtype AND y.modifier = -1 FROM blast_radius.repair_{id}_type(target, column_name) AS y) THEN
    printed := format('CASE WHEN strpos(%1$s, ''.'') > 0 THEN rtrim(rtrim(%1$s, ''0''), ''.'') ELSE %1$s END', printed);
  END IF;
  RETURN format('CASE WHEN num_nulls(%s) = 0 THEN encode(sha256(convert_to(%L || %s, ''UTF8'')), ''hex'') END', one, '{id}:', printed);
END $function$;

-- Runs a statement on the locked changes of a group: all at once, or, where one of them breaks a constraint, one by
-- one; what breaks one stays as it was, with the reason. Fails where a statement changes another number of rows than locked.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_run(plan_table text, statement text, before text)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  expected bigint;
  affected bigint;
  total bigint := 0;
  one bigint;
  problem text;
  code text;
BEGIN
  EXECUTE format('SELECT count(*) FROM %s WHERE status = ''locked''', plan_table) INTO expected;
  IF expected = 0 THEN
    RETURN 0;
  END IF;
  BEGIN
    EXECUTE statement USING NULL::bigint;
    GET DIAGNOSTICS total = ROW_COUNT;
  EXCEPTION WHEN integrity_constraint_violation THEN
    total := 0;
    FOR one IN EXECUTE format('SELECT change FROM %s WHERE status = ''locked'' ORDER BY change', plan_table) LOOP
      BEGIN
        EXECUTE statement USING one;
        GET DIAGNOSTICS affected = ROW_COUNT;
        total := total + affected;
      EXCEPTION WHEN integrity_constraint_violation THEN
        GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT, code = RETURNED_SQLSTATE;
        -- 23505 and 23P01: another row holds the value, perhaps one that is to change as well.
        EXECUTE format('UPDATE %s SET status = %L, reason = %L, waits = %L WHERE change = $1', plan_table, before, problem, code IN ('23505', '23P01'))
          USING one;
        expected := expected - 1;
      END;
    END LOOP;
  END;
  IF total <> expected THEN
    RAISE EXCEPTION 'blast-radius repair {id}: % rows changed where % were planned (%)', total, expected, plan_table
      USING HINT = 'Nothing of this batch was kept. Does the key name exactly one row?';
  END IF;
  RETURN total;
END $function$;

-- Takes back the lock of rows that other rows refer to: deleting them (or changing what is referred to) would fail,
-- or would silently change rows that are not part of the repair.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_spare_referenced(
  plan_table text, target regclass, key_match text, changed_columns text[], before text
) RETURNS void LANGUAGE plpgsql AS $function$
DECLARE
  reference record;
BEGIN
  FOR reference IN
    SELECT c.conrelid::regclass AS child, string_agg(format('child.%I = t.%I', ca.attname, pa.attname), ' AND ') AS matches
    FROM pg_catalog.pg_constraint AS c
    CROSS JOIN LATERAL unnest(c.conkey, c.confkey) AS pair (child_number, parent_number)
    JOIN pg_catalog.pg_attribute AS ca ON ca.attrelid = c.conrelid AND ca.attnum = pair.child_number
    JOIN pg_catalog.pg_attribute AS pa ON pa.attrelid = c.confrelid AND pa.attnum = pair.parent_number
    WHERE c.contype = 'f' AND c.confrelid = target AND c.conparentid = 0
    GROUP BY c.oid, c.conrelid
    HAVING changed_columns IS NULL OR bool_or(pa.attname = ANY (changed_columns))
  LOOP
    EXECUTE format(
      'UPDATE %1$s AS plan SET status = %2$L, reason = %3$L FROM (
         SELECT p.change FROM %1$s AS p JOIN %4$s AS t ON %5$s
         WHERE p.status = ''locked'' AND EXISTS (
           SELECT FROM %6$s AS child WHERE %7$s AND NOT (child.tableoid = t.tableoid AND child.ctid = t.ctid))
       ) AS spared WHERE plan.change = spared.change',
      plan_table, before, format('rows of %s refer to it', reference.child), target, key_match, reference.child, reference.matches);
  END LOOP;
END $function$;

-- The columns of the group that a statement may set: not those that the database computes by itself.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_writable(g blast_radius.repair_group)
RETURNS text[] LANGUAGE sql STABLE AS $function$
  SELECT array_agg(w.name ORDER BY w.place) FROM unnest(g.right_columns) WITH ORDINALITY AS w (name, place)
  JOIN pg_catalog.pg_attribute AS a ON a.attrelid = g.relation::regclass AND a.attname = w.name AND a.attgenerated = ''
$function$;

-- Locks the rows that still hold what is expected of them, and marks their changes 'locked': from here to the end of the
-- transaction nobody else can change them. Keeps a copy of each as it stands. Returns how many. With `waiting`, only
-- changes that a unique value kept from being made.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_lock(
  g blast_radius.repair_group, undo boolean, wanted_batch integer, deleting boolean, waiting boolean
) RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  plan_table text := format('blast_radius.%I', 'repair_{id}_' || g.number);
  backup_table text := format('blast_radius.%I', 'backup_{id}_' || g.number);
  before text := CASE WHEN undo THEN 'changed' ELSE 'planned' END;
  target regclass := g.relation::regclass;
  writable text[] := blast_radius.repair_{id}_writable(g);
  backup_columns text[];
  key_match text;
  guard text;
  locked bigint;
BEGIN
  SELECT array_agg(a.attname::text ORDER BY a.attnum) INTO backup_columns FROM pg_catalog.pg_attribute AS a
  WHERE a.attrelid = backup_table::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'blast_radius_change';
  SELECT string_agg(format('t.%I = p.key_%s', k.name, k.place), ' AND ') INTO key_match
  FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place);
  SELECT string_agg(condition, ' AND ') INTO guard FROM (
    SELECT blast_radius.repair_{id}_same(target, f.name, format('t.%I', f.name), 'p.found_' || f.place) AS condition
    FROM unnest(g.found_columns) WITH ORDINALITY AS f (name, place) WHERE NOT undo
    UNION ALL
    SELECT format('%s IS NOT DISTINCT FROM p.digest_%s', blast_radius.repair_{id}_digest(target, d.name, format('t.%I', d.name)), d.place)
    FROM unnest(g.digest_columns) WITH ORDINALITY AS d (name, place) WHERE NOT undo
    UNION ALL
    SELECT blast_radius.repair_{id}_same(target, w.name, format('t.%I', w.name), 'p.right_' || w.place)
    FROM unnest(g.right_columns) WITH ORDINALITY AS w (name, place) WHERE undo AND g.operation = 'update' AND w.name = ANY (writable)
    UNION ALL
    SELECT format('EXISTS (SELECT FROM %s AS b WHERE b.blast_radius_change = p.change AND %s)', backup_table, (
      SELECT string_agg(blast_radius.repair_{id}_same(target, c.name, format('t.%I', c.name), format('b.%I', c.name)), ' AND ')
      FROM unnest(backup_columns) AS c (name)))
    WHERE undo AND g.operation = 'insert'
  ) AS conditions;
  EXECUTE format(
    'UPDATE %1$s AS plan SET status = ''locked'', reason = NULL FROM (
       SELECT p.change FROM %1$s AS p JOIN %2$s AS t ON %3$s
       WHERE p.status = %4$L AND ($1 IS NULL OR p.batch = $1) AND (p.waits OR NOT $2) AND %5$s FOR UPDATE OF t
     ) AS held WHERE plan.change = held.change',
    plan_table, target, key_match, before, guard) USING wanted_batch, waiting;
  GET DIAGNOSTICS locked = ROW_COUNT;
  IF locked = 0 THEN
    RETURN 0;
  END IF;
  PERFORM blast_radius.repair_{id}_spare_referenced(plan_table, target, key_match, CASE WHEN deleting THEN NULL ELSE writable END, before);
  IF NOT undo THEN
    EXECUTE format('DELETE FROM %s AS b USING %s AS p WHERE b.blast_radius_change = p.change AND p.status = ''locked''', backup_table, plan_table);
    EXECUTE format('INSERT INTO %s (blast_radius_change, %s) SELECT p.change, %s FROM %s AS p JOIN %s AS t ON %s WHERE p.status = ''locked''',
      backup_table,
      (SELECT string_agg(format('%I', c.name), ', ' ORDER BY c.place) FROM unnest(backup_columns) WITH ORDINALITY AS c (name, place)),
      (SELECT string_agg(format('t.%I', c.name), ', ' ORDER BY c.place) FROM unnest(backup_columns) WITH ORDINALITY AS c (name, place)),
      plan_table, target, key_match);
  END IF;
  RETURN locked;
END $function$;

-- Changes existing rows: repair's update and delete, undo's update and its delete of what was inserted.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_change(g blast_radius.repair_group, undo boolean, wanted_batch integer)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  plan_table text := format('blast_radius.%I', 'repair_{id}_' || g.number);
  before text := CASE WHEN undo THEN 'changed' ELSE 'planned' END;
  writable text[] := blast_radius.repair_{id}_writable(g);
  key_match text;
  assignments text;
  statement text;
  affected bigint;
BEGIN
  IF writable IS NULL AND g.operation = 'update' THEN
    EXECUTE format('UPDATE %s SET reason = ''the database computes these columns by itself'' WHERE status = %L', plan_table, before);
    RETURN 0;
  END IF;
  IF blast_radius.repair_{id}_lock(g, undo, wanted_batch, g.operation <> 'update', false) = 0 THEN
    RETURN 0;
  END IF;
  SELECT string_agg(format('t.%I = p.key_%s', k.name, k.place), ' AND ') INTO key_match
  FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place);
  IF g.operation = 'update' THEN
    SELECT string_agg(format('%I = %s', w.name, CASE WHEN undo THEN format('b.%I', w.name) ELSE 'p.right_' || w.place END), ', ')
    INTO assignments FROM unnest(g.right_columns) WITH ORDINALITY AS w (name, place) WHERE w.name = ANY (writable);
    statement := format('UPDATE %s AS t SET %s FROM %s AS p JOIN blast_radius.%I AS b ON b.blast_radius_change = p.change
      WHERE %s AND p.status = ''locked'' AND ($1 IS NULL OR p.change = $1)',
      g.relation, assignments, plan_table, 'backup_{id}_' || g.number, key_match);
  ELSE
    statement := format('DELETE FROM %s AS t USING %s AS p WHERE %s AND p.status = ''locked'' AND ($1 IS NULL OR p.change = $1)',
      g.relation, plan_table, key_match);
  END IF;
  affected := blast_radius.repair_{id}_run(plan_table, statement, before);
  EXECUTE format('UPDATE %s SET status = %L WHERE status = ''locked''', plan_table, CASE WHEN undo THEN 'undone' ELSE 'changed' END);
  RETURN affected;
END $function$;

-- Updates of one table that wait for each other, because each takes a unique value that another holds (two ranks
-- exchanged): the rows are taken out and put back with their new values. All of them, or (where one cannot go back, or
-- the role may not delete) none: each keeps the reason it had.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_exchange(target regclass, undo boolean, wanted_batch integer)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  g blast_radius.repair_group;
  plan_table text;
  key_match text;
  column_list text;
  value_list text;
  locked bigint;
  affected bigint;
  total bigint := 0;
BEGIN
  FOR g IN SELECT * FROM blast_radius.repair_group AS r
           WHERE r.repair = '{id}' AND r.operation = 'update' AND r.relation::regclass = target ORDER BY r.number LOOP
    CONTINUE WHEN blast_radius.repair_{id}_writable(g) IS NULL;
    CONTINUE WHEN blast_radius.repair_{id}_lock(g, undo, wanted_batch, true, true) = 0;
    plan_table := format('blast_radius.%I', 'repair_{id}_' || g.number);
    SELECT string_agg(format('t.%I = p.key_%s', k.name, k.place), ' AND ') INTO key_match
    FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place);
    IF undo THEN
      -- What changed in other columns since the repair stays: the row goes back as it stands now.
      EXECUTE format('CREATE TEMP TABLE %I ON COMMIT DROP AS SELECT p.change AS blast_radius_change, t.* FROM %s AS t JOIN %s AS p ON %s WHERE p.status = ''locked''',
        'blast_radius_exchange_' || g.number, target, plan_table, key_match);
    END IF;
    EXECUTE format('DELETE FROM %s AS t USING %s AS p WHERE %s AND p.status = ''locked''', target, plan_table, key_match);
  END LOOP;
  FOR g IN SELECT * FROM blast_radius.repair_group AS r
           WHERE r.repair = '{id}' AND r.operation = 'update' AND r.relation::regclass = target ORDER BY r.number LOOP
    plan_table := format('blast_radius.%I', 'repair_{id}_' || g.number);
    EXECUTE format('SELECT count(*) FROM %s WHERE status = ''locked''', plan_table) INTO locked;
    CONTINUE WHEN locked = 0;
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum),
           string_agg(CASE WHEN w.place IS NULL THEN format('s.%I', a.attname)
                           WHEN undo THEN format('b.%I', a.attname) ELSE 'p.right_' || w.place END, ', ' ORDER BY a.attnum)
    INTO column_list, value_list FROM pg_catalog.pg_attribute AS a
    LEFT JOIN unnest(g.right_columns) WITH ORDINALITY AS w (name, place) ON w.name = a.attname
    WHERE a.attrelid = target AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '';
    EXECUTE format('INSERT INTO %s (%s) OVERRIDING SYSTEM VALUE SELECT %s FROM %s AS p
      JOIN blast_radius.%I AS b ON b.blast_radius_change = p.change JOIN %s AS s ON s.blast_radius_change = p.change
      WHERE p.status = ''locked''', target, column_list, value_list, plan_table, 'backup_{id}_' || g.number,
      CASE WHEN undo THEN format('pg_temp.%I', 'blast_radius_exchange_' || g.number) ELSE format('blast_radius.%I', 'backup_{id}_' || g.number) END);
    GET DIAGNOSTICS affected = ROW_COUNT;
    IF affected <> locked THEN
      RAISE EXCEPTION 'blast-radius repair {id}: % rows put back where % were taken out (%)', affected, locked, target;
    END IF;
    EXECUTE format('UPDATE %s SET status = %L WHERE status = ''locked''', plan_table, CASE WHEN undo THEN 'undone' ELSE 'changed' END);
    IF undo THEN
      EXECUTE format('DROP TABLE pg_temp.%I', 'blast_radius_exchange_' || g.number);
    END IF;
    total := total + affected;
  END LOOP;
  RETURN total;
EXCEPTION WHEN integrity_constraint_violation OR insufficient_privilege THEN
  RETURN 0;
END $function$;

-- Adds rows that are not there: repair's insert, and undo's insert of what was deleted.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_add(g blast_radius.repair_group, undo boolean, wanted_batch integer)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  plan_table text := format('blast_radius.%I', 'repair_{id}_' || g.number);
  backup_table text := format('blast_radius.%I', 'backup_{id}_' || g.number);
  before text := CASE WHEN undo THEN 'changed' ELSE 'planned' END;
  target regclass := g.relation::regclass;
  key_match text;
  inserted_match text;
  inserted_key text;
  column_list text;
  value_list text;
  affected bigint;
BEGIN
  SELECT string_agg(format('t.%I = p.key_%s', k.name, k.place), ' AND '),
         string_agg(format('plan.key_%1$s = inserted.key_%1$s', k.place), ' AND '),
         string_agg(format('t.%I AS key_%s', k.name, k.place), ', ')
  INTO key_match, inserted_match, inserted_key FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place);
  IF undo THEN
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum), string_agg(format('b.%I', a.attname), ', ' ORDER BY a.attnum)
    INTO column_list, value_list FROM pg_catalog.pg_attribute AS b
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = target AND a.attname = b.attname AND a.attgenerated = '' AND NOT a.attisdropped
    WHERE b.attrelid = backup_table::regclass AND b.attnum > 0 AND NOT b.attisdropped;
  ELSE
    SELECT string_agg(format('%I', w.name), ', ' ORDER BY w.place), string_agg('p.right_' || w.place, ', ' ORDER BY w.place)
    INTO column_list, value_list FROM unnest(g.right_columns) WITH ORDINALITY AS w (name, place)
    JOIN pg_catalog.pg_attribute AS a ON a.attrelid = target AND a.attname = w.name AND a.attgenerated = '';
  END IF;

  EXECUTE format(
    'UPDATE %s AS p SET status = ''locked'', reason = NULL
     WHERE p.status = %L AND ($1 IS NULL OR p.batch = $1) AND NOT EXISTS (SELECT FROM %s AS t WHERE %s)',
    plan_table, before, target, key_match) USING wanted_batch;
  GET DIAGNOSTICS affected = ROW_COUNT;
  IF affected = 0 THEN
    RETURN 0;
  END IF;
  affected := blast_radius.repair_{id}_run(plan_table, format(
    'WITH inserted AS (
       INSERT INTO %1$s AS t (%2$s) OVERRIDING SYSTEM VALUE
       SELECT %3$s FROM %4$s AS p LEFT JOIN %5$s AS b ON b.blast_radius_change = p.change
       WHERE p.status = ''locked'' AND ($1 IS NULL OR p.change = $1)
       RETURNING %6$s
     ) UPDATE %4$s AS plan SET status = ''added'' FROM inserted WHERE plan.status = ''locked'' AND %7$s',
    target, column_list, value_list, plan_table, backup_table, inserted_key, inserted_match), before);
  IF NOT undo THEN
    SELECT string_agg(format('%I', a.attname), ', ' ORDER BY a.attnum), string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attnum)
    INTO column_list, value_list FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = backup_table::regclass AND a.attnum > 0 AND NOT a.attisdropped AND a.attname <> 'blast_radius_change';
    EXECUTE format('DELETE FROM %s AS b USING %s AS p WHERE b.blast_radius_change = p.change AND p.status = ''added''', backup_table, plan_table);
    EXECUTE format('INSERT INTO %s (blast_radius_change, %s) SELECT p.change, %s FROM %s AS p JOIN %s AS t ON %s WHERE p.status = ''added''',
      backup_table, column_list, value_list, plan_table, target, key_match);
  END IF;
  EXECUTE format('UPDATE %s SET status = %L WHERE status = ''added''', plan_table, CASE WHEN undo THEN 'undone' ELSE 'changed' END);
  RETURN affected;
END $function$;

-- Does what can be done of a batch (of everything left, where the batch is NULL): over and over, until nothing moves,
-- because a row may wait for another: a child for its parent, a unique value for the row that holds it.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_apply(undo boolean, wanted_batch integer)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  before text := CASE WHEN undo THEN 'changed' ELSE 'planned' END;
  g blast_radius.repair_group;
  trigger_found record;
  switch_back text[] := '{}';
  target regclass;
  statement text;
  relations oid[] := '{}';
  tables integer[] := '{}';
  waiting boolean;
  moved bigint;
  total bigint := 0;
BEGIN
  SET CONSTRAINTS ALL IMMEDIATE;
  -- Triggers do not fire on a repair: what they would derive is repaired by its own right value, and a trigger that
  -- adds a difference would add it a second time. Foreign keys are still enforced.
  FOR g IN SELECT * FROM blast_radius.repair_group AS r WHERE r.repair = '{id}' ORDER BY r.number LOOP
    EXECUTE format('SELECT EXISTS (SELECT FROM blast_radius.%I WHERE status = %L AND ($1 IS NULL OR batch = $1))', 'repair_{id}_' || g.number, before)
      INTO waiting USING wanted_batch;
    IF NOT waiting THEN
      CONTINUE;
    END IF;
    EXECUTE format('ANALYZE blast_radius.%I', 'repair_{id}_' || g.number);
    IF (SELECT c.relkind FROM pg_catalog.pg_class AS c WHERE c.oid = g.relation::regclass) NOT IN ('r', 'p') THEN
      EXECUTE format('UPDATE blast_radius.%I SET reason = ''not a table: refresh it, or repair what it shows'' WHERE status = %L',
        'repair_{id}_' || g.number, before);
    ELSE
      tables := tables || g.number;
      relations := relations || g.relation::regclass::oid
        || ARRAY(SELECT tree.relid::oid FROM pg_catalog.pg_partition_tree(g.relation::regclass) AS tree);
    END IF;
  END LOOP;
  IF tables = '{}' THEN
    RETURN 0;
  END IF;
  -- Of a partition and of its parent each has its own mode: given back as they were, and not to all at once. What says
  -- in the write-ahead log who writes goes on.
  FOR trigger_found IN
    SELECT t.tgrelid::regclass AS relation, t.tgname AS name, t.tgenabled AS mode
    FROM pg_catalog.pg_trigger AS t JOIN pg_catalog.pg_proc AS f ON f.oid = t.tgfoid
    JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
    WHERE t.tgrelid = ANY (relations) AND NOT t.tgisinternal AND t.tgenabled <> 'D'
      AND n.nspname NOT IN ('blast_radius', 'blast_radius_capture')
    ORDER BY t.tgrelid, t.tgname
  LOOP
    BEGIN
      EXECUTE format('ALTER TABLE ONLY %s DISABLE TRIGGER %I', trigger_found.relation, trigger_found.name);
    EXCEPTION WHEN insufficient_privilege THEN
      RAISE EXCEPTION 'blast-radius repair {id}: trigger % of % would fire, and % may not switch it off',
        trigger_found.name, trigger_found.relation, current_user
        USING ERRCODE = 'insufficient_privilege', HINT = 'Nothing was changed. Run this file as the owner of the table.';
    END;
    switch_back := switch_back || format('ALTER TABLE ONLY %s ENABLE %s TRIGGER %I', trigger_found.relation,
      CASE trigger_found.mode WHEN 'A' THEN 'ALWAYS' WHEN 'R' THEN 'REPLICA' ELSE '' END, trigger_found.name);
  END LOOP;

  LOOP
    moved := 0;
    FOR g IN SELECT * FROM blast_radius.repair_group AS r WHERE r.repair = '{id}' AND r.number = ANY (tables)
             ORDER BY CASE WHEN undo THEN -r.number ELSE r.number END LOOP
      IF g.operation = (CASE WHEN undo THEN 'delete' ELSE 'insert' END) THEN
        moved := moved + blast_radius.repair_{id}_add(g, undo, wanted_batch);
      ELSE
        moved := moved + blast_radius.repair_{id}_change(g, undo, wanted_batch);
      END IF;
    END LOOP;
    IF moved = 0 THEN
      FOR target IN SELECT DISTINCT r.relation::regclass FROM blast_radius.repair_group AS r
                    WHERE r.repair = '{id}' AND r.operation = 'update' AND r.number = ANY (tables) ORDER BY 1 LOOP
        moved := moved + blast_radius.repair_{id}_exchange(target, undo, wanted_batch);
      END LOOP;
    END IF;
    EXIT WHEN moved = 0;
    total := total + moved;
  END LOOP;

  FOREACH statement IN ARRAY switch_back LOOP
    EXECUTE statement;
  END LOOP;
  RETURN total;
END $function$;

-- Does what is left, and says of every change that could not be made why. Returns how many were left alone.
CREATE OR REPLACE FUNCTION blast_radius.repair_{id}_finish(undo boolean)
RETURNS bigint LANGUAGE plpgsql AS $function$
DECLARE
  before text := CASE WHEN undo THEN 'changed' ELSE 'planned' END;
  left_alone text := CASE WHEN undo THEN 'kept' ELSE 'skipped' END;
  g blast_radius.repair_group;
  plan_table text;
  key_match text;
  adding boolean;
  counted bigint;
  all_planned bigint := 0;
  all_changed bigint := 0;
  all_undone bigint := 0;
  all_skipped bigint := 0;
  all_kept bigint := 0;
BEGIN
  PERFORM blast_radius.repair_{id}_apply(undo, NULL);
  FOR g IN SELECT * FROM blast_radius.repair_group AS r WHERE r.repair = '{id}' ORDER BY r.number LOOP
    plan_table := format('blast_radius.%I', 'repair_{id}_' || g.number);
    adding := g.operation = (CASE WHEN undo THEN 'delete' ELSE 'insert' END);
    SELECT string_agg(format('t.%I = p.key_%s', k.name, k.place), ' AND ') INTO key_match
    FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place);
    EXECUTE format(
      'UPDATE %s AS p SET status = %L, reason = coalesce(reason, CASE WHEN EXISTS (SELECT FROM %s AS t WHERE %s) THEN %L ELSE %L END) WHERE status = %L',
      plan_table, left_alone, g.relation, key_match,
      CASE WHEN adding THEN 'a row with this key is there already' WHEN undo THEN 'changed since the repair' ELSE 'changed since the trace' END,
      CASE WHEN adding THEN 'the row could not be added' WHEN undo THEN 'deleted since the repair' ELSE 'deleted since the trace' END,
      before);
    EXECUTE format(
      'INSERT INTO blast_radius.repair_skipped (repair, step, change, relation, key, operation, reason)
       SELECT ''{id}'', %L, p.change, %L, jsonb_build_object(%s), %L, p.reason FROM %s AS p WHERE p.status = %L
       ON CONFLICT (repair, step, change) DO NOTHING',
      CASE WHEN undo THEN 'undo' ELSE 'repair' END, g.relation,
      (SELECT string_agg(format('%L, p.key_%s', k.name, k.place), ', ' ORDER BY k.place) FROM unnest(g.key_columns) WITH ORDINALITY AS k (name, place)),
      g.operation, plan_table, left_alone);
    EXECUTE format('SELECT count(*) FROM %s', plan_table) INTO counted;
    all_planned := all_planned + counted;
    EXECUTE format('SELECT count(*) FROM %s WHERE status IN (''changed'', ''kept'')', plan_table) INTO counted;
    all_changed := all_changed + counted;
    EXECUTE format('SELECT count(*) FROM %s WHERE status = ''undone''', plan_table) INTO counted;
    all_undone := all_undone + counted;
    EXECUTE format('SELECT count(*) FROM %s WHERE status = ''skipped''', plan_table) INTO counted;
    all_skipped := all_skipped + counted;
    EXECUTE format('SELECT count(*) FROM %s WHERE status = ''kept''', plan_table) INTO counted;
    all_kept := all_kept + counted;
  END LOOP;
  IF undo THEN
    UPDATE blast_radius.repair AS r SET undone = all_undone, kept = all_kept, undone_at = coalesce(r.undone_at, now()) WHERE r.id = '{id}';
    RETURN all_kept;
  END IF;
  IF all_planned <> (SELECT r.planned FROM blast_radius.repair AS r WHERE r.id = '{id}')
     OR all_changed + all_undone + all_skipped <> all_planned THEN
    RAISE EXCEPTION 'blast-radius repair {id}: of % changes, % are made, % undone and % skipped',
      all_planned, all_changed, all_undone, all_skipped
      USING HINT = 'Was this file cut short? Run it again, whole.';
  END IF;
  UPDATE blast_radius.repair AS r SET
    changed = all_changed, skipped = all_skipped, undone = all_undone, kept = all_kept,
    applied_at = coalesce(r.applied_at, now()), undone_at = CASE WHEN all_undone > 0 THEN r.undone_at END
  WHERE r.id = '{id}';
  RETURN all_skipped;
END $function$;
