-- What an application's outbox is: a table that a transaction's own writes go to, and are rolled back with.
CREATE SCHEMA outbox;

CREATE TABLE outbox.writes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    tx xid NOT NULL,
    session text NOT NULL,
    application_name text NOT NULL,
    relation regclass NOT NULL,
    operation text NOT NULL,
    statement text NOT NULL,
    before json,
    after json
);

-- json and not jsonb: it keeps the order of the columns, and the text of a number either way.
CREATE FUNCTION outbox.record() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO outbox.writes (tx, session, application_name, relation, operation, statement, before, after)
    SELECT pg_current_xact_id()::xid,
           -- As the log writes a session: its start in seconds and its process, in hexadecimal.
           to_hex(floor(extract(epoch FROM activity.backend_start))::bigint) || '.' || to_hex(activity.pid),
           current_setting('application_name'), TG_RELID, lower(TG_OP), current_query(),
           CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN row_to_json(OLD) END,
           CASE WHEN TG_OP IN ('INSERT', 'UPDATE') THEN row_to_json(NEW) END
    FROM pg_stat_get_activity(pg_backend_pid()) AS activity;
    RETURN NULL;
END
$$;

DO $$
DECLARE
    relation regclass;
BEGIN
    FOR relation IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('CREATE TRIGGER outbox AFTER INSERT OR UPDATE OR DELETE ON %s
                        FOR EACH ROW EXECUTE FUNCTION outbox.record()', relation);
    END LOOP;
END
$$;
