-- Everything that a database's schemas hold, as the statements that make it: a row each, in an order in which most of
-- them can be run. The session's search path is pg_catalog alone, so that every other name comes with its schema.
-- part_of: the table that is not what it was without this. obstacle: why it cannot be made elsewhere as it is here.
WITH own_schemas AS (
    SELECT oid, nspname FROM pg_namespace
    WHERE nspname !~ '^pg_' AND nspname NOT IN ('information_schema', 'blast_radius', 'blast_radius_capture')
), extension_members AS (
    SELECT classid, objid FROM pg_depend WHERE deptype = 'e'
), relations AS (
    SELECT c.*, n.nspname, format('%I.%I', n.nspname, c.relname) AS full_name
    FROM pg_class c JOIN own_schemas n ON n.oid = c.relnamespace
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_class'::regclass AND m.objid = c.oid)
), tables AS (
    SELECT * FROM relations WHERE relkind IN ('r', 'p', 'f', 'm')
), columns AS (
    SELECT t.oid, a.attnum, a.attname, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid) AS expression,
           format('%I %s%s%s', a.attname, format_type(a.atttypid, a.atttypmod),
                  CASE WHEN a.attcollation <> y.typcollation AND a.attcollation <> 0
                       THEN format(' COLLATE %I.%I', cn.nspname, l.collname) END,
                  CASE WHEN a.attgenerated = 's' THEN format(' GENERATED ALWAYS AS (%s) STORED', pg_get_expr(d.adbin, d.adrelid)) END)
           || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END AS definition
    FROM tables t
    JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum > 0 AND NOT a.attisdropped
    JOIN pg_type y ON y.oid = a.atttypid
    LEFT JOIN pg_collation l ON l.oid = a.attcollation LEFT JOIN pg_namespace cn ON cn.oid = l.collnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum
), routines AS (
    SELECT p.*, n.nspname, l.lanname, format('%I.%I(%s)', n.nspname, p.proname, pg_get_function_identity_arguments(p.oid)) AS full_name
    FROM pg_proc p JOIN own_schemas n ON n.oid = p.pronamespace JOIN pg_language l ON l.oid = p.prolang
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_proc'::regclass AND m.objid = p.oid)
      AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'i')
), types AS (
    SELECT y.*, n.nspname, format('%I.%I', n.nspname, y.typname) AS full_name
    FROM pg_type y JOIN own_schemas n ON n.oid = y.typnamespace
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_type'::regclass AND m.objid = y.oid)
), made AS (
    SELECT 0 AS rank, 'schema' AS kind, nspname::text AS schema, NULL::text AS relation, nspname::text AS name,
           format('CREATE SCHEMA %I', nspname) AS sql, NULL::text AS part_of, NULL::text AS obstacle, oid
    FROM own_schemas
    UNION ALL
    SELECT 1, 'extension', n.nspname, NULL, e.extname, format('CREATE EXTENSION %I SCHEMA %I', e.extname, n.nspname), NULL, NULL, e.oid
    FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
    WHERE e.extname <> 'plpgsql'
    UNION ALL
    SELECT 2, 'collation', n.nspname, NULL, format('%I.%I', n.nspname, l.collname),
           format('CREATE COLLATION %I.%I (provider = %s, %s, deterministic = %s)', n.nspname, l.collname,
                  CASE l.collprovider WHEN 'i' THEN 'icu' ELSE 'libc' END,
                  CASE WHEN l.collprovider = 'i' THEN format('locale = %L', coalesce(to_jsonb(l) ->> 'colliculocale', to_jsonb(l) ->> 'colllocale', l.collcollate))
                       ELSE format('lc_collate = %L, lc_ctype = %L', l.collcollate, l.collctype) END,
                  l.collisdeterministic), NULL, NULL, l.oid
    FROM pg_collation l JOIN own_schemas n ON n.oid = l.collnamespace
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_collation'::regclass AND m.objid = l.oid)
    UNION ALL
    SELECT 3, 'type', y.nspname, NULL, y.full_name,
           CASE y.typtype
               WHEN 'e' THEN format('CREATE TYPE %s AS ENUM (%s)', y.full_name,
                   (SELECT string_agg(quote_literal(enumlabel), ', ' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid))
               WHEN 'c' THEN format('CREATE TYPE %s AS (%s)', y.full_name,
                   (SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
                    FROM pg_attribute WHERE attrelid = y.typrelid AND attnum > 0 AND NOT attisdropped))
               WHEN 'r' THEN format('CREATE TYPE %s AS RANGE (SUBTYPE = %s)', y.full_name,
                   (SELECT format_type(rngsubtype, NULL) FROM pg_range WHERE rngtypid = y.oid))
               ELSE format('CREATE DOMAIN %s AS %s%s%s %s', y.full_name, format_type(y.typbasetype, y.typtypmod),
                   CASE WHEN y.typdefault IS NOT NULL THEN ' DEFAULT ' || coalesce(pg_get_expr(y.typdefaultbin, 0), y.typdefault) END,
                   CASE WHEN y.typnotnull THEN ' NOT NULL' END,
                   (SELECT string_agg(format('CONSTRAINT %I %s', conname, pg_get_constraintdef(oid)), ' ') FROM pg_constraint WHERE contypid = y.oid AND contype = 'c'))
           END, NULL, NULL, y.oid
    FROM types y
    WHERE y.typtype IN ('e', 'd', 'r')
       OR y.typtype = 'c' AND (SELECT relkind FROM pg_class WHERE oid = y.typrelid) = 'c'
    UNION ALL
    SELECT 3, 'type', y.nspname, NULL, y.full_name, NULL, NULL, 'it is a type of a kind of its own', y.oid
    FROM types y WHERE y.typtype = 'b' AND y.typelem = 0
    UNION ALL
    SELECT 4, 'sequence', r.nspname, r.relname, r.full_name,
           format('CREATE SEQUENCE %s AS %s INCREMENT %s MINVALUE %s MAXVALUE %s START %s%s', r.full_name, format_type(s.seqtypid, NULL),
                  s.seqincrement, s.seqmin, s.seqmax, s.seqstart, CASE WHEN s.seqcycle THEN ' CYCLE' END), NULL, NULL, r.oid
    FROM relations r JOIN pg_sequence s ON s.seqrelid = r.oid
    UNION ALL
    SELECT 5, 'function', p.nspname, p.proname, p.full_name, CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END, NULL,
           CASE WHEN p.prokind = 'a' THEN 'it is an aggregate'
                WHEN p.lanname NOT IN ('sql', 'plpgsql') THEN format('it is written in %s', p.lanname) END, p.oid
    FROM routines p
    UNION ALL
    -- Its own search path comes after ours.
    SELECT 6, 'path', p.nspname, p.proname, p.full_name,
           format('ALTER ROUTINE %s SET search_path = blast_radius_scratch, pg_catalog%s', p.full_name,
                  CASE WHEN substr(c, 13) NOT IN ('', '""') THEN ', ' || substr(c, 13) END), NULL, NULL, p.oid
    FROM routines p, unnest(p.proconfig) c
    WHERE c LIKE 'search_path=%' AND p.lanname IN ('sql', 'plpgsql')
    UNION ALL
    SELECT 7, 'table', t.nspname, t.relname, t.full_name,
           CASE WHEN t.relispartition
                THEN format('CREATE UNLOGGED TABLE %s PARTITION OF %s %s', t.full_name, parent.full_name, pg_get_expr(t.relpartbound, t.oid))
                ELSE format('CREATE UNLOGGED TABLE %s (%s)', t.full_name,
                            (SELECT string_agg(definition, ', ' ORDER BY attnum) FROM columns k WHERE k.oid = t.oid)) END
           || CASE WHEN t.relkind = 'p' THEN ' PARTITION BY ' || pg_get_partkeydef(t.oid) ELSE '' END,
           t.full_name,
           CASE WHEN t.relrowsecurity THEN 'it has row-level security'
                WHEN NOT t.relispartition AND EXISTS (SELECT FROM pg_inherits WHERE t.oid IN (inhrelid, inhparent)) AND t.relkind <> 'p'
                THEN 'it inherits, or others inherit from it' END, t.oid
    FROM tables t
    LEFT JOIN pg_inherits i ON i.inhrelid = t.oid AND t.relispartition LEFT JOIN relations parent ON parent.oid = i.inhparent
    UNION ALL
    SELECT 8, 'default', t.nspname, t.relname, format('%s.%I', t.full_name, k.attname),
           format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT %s', t.full_name, k.attname,
                  CASE WHEN k.attidentity = '' THEN k.expression
                       ELSE format('nextval(%L::regclass)', pg_get_serial_sequence(t.full_name, k.attname)) END),
           t.full_name, NULL, t.oid
    FROM tables t JOIN columns k ON k.oid = t.oid
    WHERE k.attidentity <> '' OR k.attgenerated = '' AND k.expression IS NOT NULL
    UNION ALL
    SELECT 9, 'constraint', t.nspname, t.relname, format('%I on %s', o.conname, t.full_name),
           format('ALTER TABLE %s ADD CONSTRAINT %I %s', t.full_name, o.conname, pg_get_constraintdef(o.oid)), t.full_name, NULL, o.oid
    FROM tables t JOIN pg_constraint o ON o.conrelid = t.oid
    WHERE o.contype IN ('p', 'u', 'x', 'c') AND o.coninhcount = 0 AND o.conparentid = 0
    UNION ALL
    SELECT 10, 'index', t.nspname, t.relname, x.full_name, pg_get_indexdef(i.indexrelid),
           CASE WHEN i.indisunique THEN t.full_name END, NULL, i.indexrelid
    FROM tables t JOIN pg_index i ON i.indrelid = t.oid JOIN relations x ON x.oid = i.indexrelid
    WHERE i.indisvalid AND NOT x.relispartition AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid AND o.contype IN ('p', 'u', 'x'))
    UNION ALL
    SELECT 11, 'view', r.nspname, r.relname, r.full_name, format('CREATE VIEW %s AS %s', r.full_name, pg_get_viewdef(r.oid)),
           r.full_name, NULL, r.oid
    FROM relations r WHERE r.relkind = 'v'
    UNION ALL
    SELECT 12, 'rule', r.nspname, r.relname, format('%I on %s', w.rulename, r.full_name), pg_get_ruledef(w.oid), r.full_name,
           CASE WHEN r.relkind <> 'v' THEN 'it rewrites what is written to a table' END, w.oid
    FROM relations r JOIN pg_rewrite w ON w.ev_class = r.oid WHERE w.rulename <> '_RETURN'
    UNION ALL
    SELECT 13, 'trigger', r.nspname, r.relname, format('%I on %s', t.tgname, r.full_name), pg_get_triggerdef(t.oid), r.full_name,
           CASE WHEN t.tginitdeferred THEN 'it waits for the commit' END, t.oid
    FROM relations r JOIN pg_trigger t ON t.tgrelid = r.oid
    JOIN pg_proc f ON f.oid = t.tgfoid JOIN pg_namespace o ON o.oid = f.pronamespace
    WHERE NOT t.tgisinternal AND t.tgparentid = 0 AND t.tgenabled IN ('O', 'A')
      -- What records writes changes none, and what is written there is not recorded.
      AND o.nspname <> 'blast_radius_capture'
    UNION ALL
    SELECT 14, 'operator', n.nspname, o.oprname, o.oid::regoperator::text, NULL, NULL, 'it is an operator', o.oid
    FROM pg_operator o JOIN own_schemas n ON n.oid = o.oprnamespace
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_operator'::regclass AND m.objid = o.oid)
    UNION ALL
    SELECT 14, 'cast', n.nspname, NULL, format('%s AS %s', format_type(c.castsource, NULL), format_type(c.casttarget, NULL)), NULL, NULL,
           'it is a cast', c.oid
    FROM pg_cast c JOIN pg_proc p ON p.oid = c.castfunc JOIN own_schemas n ON n.oid = p.pronamespace
    WHERE NOT EXISTS (SELECT FROM extension_members m WHERE m.classid = 'pg_cast'::regclass AND m.objid = c.oid)
)
SELECT kind, schema::text, relation::text, name::text, sql, part_of::text, obstacle FROM made ORDER BY rank, oid
