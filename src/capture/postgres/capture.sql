-- What `capture install` puts into the database, beside a publication, a slot and a trigger on each table.
-- Nothing here is run by the application but `stamp`, once a transaction; nothing in `stamp` can fail.
CREATE SCHEMA IF NOT EXISTS blast_radius_capture;
GRANT USAGE ON SCHEMA blast_radius_capture TO PUBLIC;

-- One row: how the recording was installed.
CREATE TABLE IF NOT EXISTS blast_radius_capture.installation (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    installed timestamptz NOT NULL DEFAULT now(),
    schemas text[] NOT NULL,
    identity text NOT NULL CHECK (identity IN ('full', 'default')),
    stamp text NOT NULL CHECK (stamp IN ('transaction', 'statement')),
    slot name NOT NULL,
    slot_start pg_lsn
);
-- The replica identities that were changed, as they were: `uninstall` gives them back.
CREATE TABLE IF NOT EXISTS blast_radius_capture.changed_identity (
    relation oid PRIMARY KEY,
    was "char" NOT NULL,
    was_index oid
);
GRANT SELECT ON blast_radius_capture.installation, blast_radius_capture.changed_identity TO PUBLIC;

-- Before the first write of a transaction (or of each statement): says in the write-ahead log who writes.
CREATE OR REPLACE FUNCTION blast_radius_capture.stamp() RETURNS trigger LANGUAGE plpgsql AS $stamp$
DECLARE
    session pg_catalog.text := pg_catalog.current_setting('blast_radius_capture.session', true);
    sent pg_catalog.text := pg_catalog.current_query();
    comment pg_catalog.text;
BEGIN
    -- A backend is always the same session: it looks up once when it began.
    IF session IS NULL OR session OPERATOR(pg_catalog.=) '' THEN
        SELECT pg_catalog.to_hex(pg_catalog.date_part('epoch', pg_catalog.date_trunc('second', a.backend_start))::pg_catalog.int8)
               OPERATOR(pg_catalog.||) '.' OPERATOR(pg_catalog.||) pg_catalog.to_hex(a.pid)
        INTO session FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) AS a;
        IF session IS NOT NULL THEN
            PERFORM pg_catalog.set_config('blast_radius_capture.session', session, false);
        END IF;
    END IF;
    -- Escaped, so that it means the same whatever the session's standard_conforming_strings says.
    IF pg_catalog.strpos(sent, '/*') OPERATOR(pg_catalog.>) 0 THEN
        comment := coalesce(
            pg_catalog.substring(pg_catalog.right(sent, 4000), E'/\\*(?:[^*]|\\*(?!/))*\\*/\\s*;?\\s*$'),
            pg_catalog.substring(pg_catalog.left(sent, 4000), E'^\\s*/\\*(?:[^*]|\\*(?!/))*\\*/'));
    END IF;
    IF TG_ARGV[0] OPERATOR(pg_catalog.=) 'statement' THEN
        PERFORM pg_catalog.pg_logical_emit_message(true, 'blast_radius', pg_catalog.json_build_object(
            'session', session, 'pid', pg_catalog.pg_backend_pid(),
            'app', pg_catalog.current_setting('application_name'), 'user', session_user,
            'comment', comment, 'query', sent)::pg_catalog.text);
        PERFORM pg_catalog.set_config('blast_radius_capture.stamped', pg_catalog.statement_timestamp()::pg_catalog.text, true);
    ELSE
        PERFORM pg_catalog.pg_logical_emit_message(true, 'blast_radius', pg_catalog.json_build_object(
            'session', session, 'pid', pg_catalog.pg_backend_pid(),
            'app', pg_catalog.current_setting('application_name'), 'user', session_user,
            'comment', comment)::pg_catalog.text);
        PERFORM pg_catalog.set_config('blast_radius_capture.stamped', 'yes', true);
    END IF;
    RETURN NULL;
END $stamp$;

-- Makes the writes of one table recorded: its trigger, its replica identity, its place in the publication.
CREATE OR REPLACE FUNCTION blast_radius_capture.cover(covered oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $cover$
DECLARE
    settings blast_radius_capture.installation;
    found record;
    stamped_when text;
BEGIN
    SELECT * INTO STRICT settings FROM blast_radius_capture.installation;
    SELECT c.oid::regclass::pg_catalog.text AS name, c.relkind AS kind, c.relreplident AS identity, c.relispartition AS is_partition,
           (SELECT i.indexrelid FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident) AS identity_index,
           EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary AND i.indimmediate) AS has_key
    INTO found FROM pg_class c
    WHERE c.oid = covered AND c.relkind IN ('r', 'p') AND c.relpersistence = 'p';
    IF found IS NULL THEN
        RETURN;
    END IF;
    stamped_when := CASE settings.stamp WHEN 'statement' THEN 'pg_catalog.statement_timestamp()::pg_catalog.text' ELSE '''yes''' END;
    EXECUTE format(
        'CREATE OR REPLACE TRIGGER blast_radius_stamp BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON %s
         FOR EACH STATEMENT WHEN (pg_catalog.current_setting(''blast_radius_capture.stamped'', true) IS DISTINCT FROM %s)
         EXECUTE FUNCTION blast_radius_capture.stamp(%L)', found.name, stamped_when, settings.stamp);
    -- A published table without an identity refuses updates and deletes: it needs the whole row even with `default`.
    IF found.kind = 'r' AND found.identity <> 'f'
       AND (settings.identity = 'full' OR found.identity = 'n'
            OR (found.identity = 'd' AND NOT found.has_key) OR (found.identity = 'i' AND found.identity_index IS NULL))
    THEN
        INSERT INTO blast_radius_capture.changed_identity VALUES (covered, found.identity, found.identity_index)
        ON CONFLICT (relation) DO NOTHING;
        EXECUTE format('ALTER TABLE ONLY %s REPLICA IDENTITY FULL', found.name);
    END IF;
    -- A partition is published under its parent's name.
    IF NOT found.is_partition AND NOT EXISTS (
        SELECT FROM pg_publication_rel r JOIN pg_publication p ON p.oid = r.prpubid
        WHERE p.pubname = 'blast_radius' AND r.prrelid = covered)
    THEN
        EXECUTE format('ALTER PUBLICATION blast_radius ADD TABLE ONLY %s', found.name);
    END IF;
END $cover$;

-- Takes back what `cover` did to one table.
CREATE OR REPLACE FUNCTION blast_radius_capture.uncover(covered oid) RETURNS void LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $uncover$
DECLARE
    earlier blast_radius_capture.changed_identity;
BEGIN
    IF NOT EXISTS (SELECT FROM pg_class WHERE oid = covered) THEN
        RETURN;
    END IF;
    EXECUTE format('DROP TRIGGER IF EXISTS blast_radius_stamp ON %s', covered::regclass);
    DELETE FROM blast_radius_capture.changed_identity WHERE relation = covered RETURNING * INTO earlier;
    IF earlier IS NULL OR (SELECT relreplident FROM pg_class WHERE oid = covered) <> 'f' THEN
        RETURN;
    END IF;
    EXECUTE format('ALTER TABLE ONLY %s REPLICA IDENTITY %s', covered::regclass, CASE
        WHEN earlier.was = 'n' THEN 'NOTHING'
        WHEN earlier.was = 'i' AND EXISTS (SELECT FROM pg_class WHERE oid = earlier.was_index)
        THEN format('USING INDEX %I', (SELECT relname FROM pg_class WHERE oid = earlier.was_index))
        ELSE 'DEFAULT' END);
END $uncover$;

-- Covers tables that are created later, and a table that loses its key. It never makes a command fail.
CREATE OR REPLACE FUNCTION blast_radius_capture.cover_later() RETURNS event_trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $later$
DECLARE
    changed record;
BEGIN
    FOR changed IN
        SELECT DISTINCT d.objid, d.object_identity FROM pg_event_trigger_ddl_commands() d
        WHERE d.classid = 'pg_class'::regclass AND d.object_type = 'table'
              AND d.schema_name = ANY (SELECT unnest(schemas) FROM blast_radius_capture.installation)
    LOOP
        BEGIN
            PERFORM blast_radius_capture.cover(changed.objid);
        EXCEPTION WHEN OTHERS THEN
            RAISE WARNING 'blast-radius does not record %: %', changed.object_identity, SQLERRM;
        END;
    END LOOP;
END $later$;
