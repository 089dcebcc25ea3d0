-- What stands before pg_catalog on a scratch server: the clock, sequences and chance, which are given what they gave when
-- the statement was recorded. Its schema is there already; all of it goes with the transaction.
SET LOCAL search_path = blast_radius_scratch, pg_catalog;

-- What a call gives: its kind, and the how manieth of its kind it is.
CREATE UNLOGGED TABLE given (kind text, place int, value text NOT NULL, PRIMARY KEY (kind, place));
CREATE UNLOGGED TABLE calls (kind text PRIMARY KEY, count int NOT NULL);

-- The keys of the rows that a statement writes, whoever writes them.
CREATE UNLOGGED TABLE journal (relation int NOT NULL, key text[] NOT NULL);

CREATE FUNCTION counted(of_kind text) RETURNS int LANGUAGE sql AS $$
    INSERT INTO blast_radius_scratch.calls AS c VALUES (of_kind, 1)
    ON CONFLICT (kind) DO UPDATE SET count = c.count + 1 RETURNING count
$$;
CREATE FUNCTION given_to(of_kind text, call int) RETURNS text LANGUAGE sql STABLE AS $$
    SELECT value FROM blast_radius_scratch.given WHERE kind = of_kind AND place = call
$$;

CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT current_setting('blast_radius.now')::timestamptz
$$;
CREATE FUNCTION transaction_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT current_setting('blast_radius.now')::timestamptz
$$;
CREATE FUNCTION statement_timestamp() RETURNS timestamptz LANGUAGE sql STABLE AS $$
    SELECT current_setting('blast_radius.statement')::timestamptz
$$;
CREATE FUNCTION clock_timestamp() RETURNS timestamptz LANGUAGE plpgsql AS $$
DECLARE
    call int := blast_radius_scratch.counted('clock');
BEGIN
    RETURN coalesce(blast_radius_scratch.given_to('clock', call)::timestamptz,
                    current_setting('blast_radius.statement')::timestamptz + call * interval '7 days 1 microsecond');
END $$;
CREATE FUNCTION timeofday() RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'timeofday() is not known';
END $$;
CREATE FUNCTION "current_timestamp"() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT blast_radius_scratch.now()';
CREATE FUNCTION "current_timestamp"(digits int) RETURNS timestamptz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.timestamptz(blast_radius_scratch.now(), digits)';
CREATE FUNCTION "localtimestamp"() RETURNS timestamp LANGUAGE sql STABLE AS 'SELECT blast_radius_scratch.now()::timestamp';
CREATE FUNCTION "localtimestamp"(digits int) RETURNS timestamp LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.timestamp(blast_radius_scratch.now()::timestamp, digits)';
CREATE FUNCTION "current_date"() RETURNS date LANGUAGE sql STABLE AS 'SELECT blast_radius_scratch.now()::date';
CREATE FUNCTION "current_time"() RETURNS timetz LANGUAGE sql STABLE AS 'SELECT blast_radius_scratch.now()::timetz';
CREATE FUNCTION "current_time"(digits int) RETURNS timetz LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.timetz(blast_radius_scratch.now()::timetz, digits)';
CREATE FUNCTION "localtime"() RETURNS time LANGUAGE sql STABLE AS 'SELECT blast_radius_scratch.now()::time';
CREATE FUNCTION "localtime"(digits int) RETURNS time LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.time(blast_radius_scratch.now()::time, digits)';
CREATE FUNCTION age(since timestamptz) RETURNS interval LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.age(blast_radius_scratch."current_date"()::timestamptz, since)';
CREATE FUNCTION age(since timestamp) RETURNS interval LANGUAGE sql STABLE
    AS 'SELECT pg_catalog.age(blast_radius_scratch."current_date"()::timestamp, since)';
CREATE FUNCTION pg_sleep(seconds double precision) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION pg_sleep_for(duration interval) RETURNS void LANGUAGE sql AS 'SELECT';
CREATE FUNCTION pg_sleep_until(moment timestamptz) RETURNS void LANGUAGE sql AS 'SELECT';

-- A sequence's values are the recorded ones; where none is known, one that no table holds.
CREATE FUNCTION nextval(sequence regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    of_kind text := 'sequence ' || sequence::oid;
    call int := blast_radius_scratch.counted(of_kind);
    value bigint := blast_radius_scratch.given_to(of_kind, call);
BEGIN
    IF value IS NULL THEN
        SELECT s.seqmax - 100000 + call INTO value FROM pg_catalog.pg_sequence s WHERE s.seqrelid = sequence;
        value := coalesce(value, 0);
    END IF;
    PERFORM set_config('blast_radius.sequence_' || sequence::oid, value::text, true),
            set_config('blast_radius.sequence', value::text, true);
    RETURN value;
END $$;
CREATE FUNCTION currval(sequence regclass) RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    value text := nullif(current_setting('blast_radius.sequence_' || sequence::oid, true), '');
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION 'currval() of % is known to its session alone', sequence;
    END IF;
    RETURN value;
END $$;
CREATE FUNCTION lastval() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    value text := nullif(current_setting('blast_radius.sequence', true), '');
BEGIN
    IF value IS NULL THEN
        RAISE EXCEPTION 'lastval() is known to its session alone';
    END IF;
    RETURN value;
END $$;
CREATE FUNCTION setval(sequence regclass, value bigint) RETURNS bigint LANGUAGE sql AS 'SELECT value';
CREATE FUNCTION setval(sequence regclass, value bigint, is_called boolean) RETURNS bigint LANGUAGE sql AS 'SELECT value';

-- Chance is the same in both worlds: what differs with the seed is known by it.
CREATE FUNCTION random() RETURNS double precision LANGUAGE sql AS $$
    SELECT ('x' || left(md5(concat(current_setting('blast_radius.seed'), ' ', blast_radius_scratch.counted('chance'))), 8))::bit(32)::bigint
           / 4294967296.0::double precision
$$;
CREATE FUNCTION gen_random_uuid() RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    call int := blast_radius_scratch.counted('uuid');
    seed text := lpad(current_setting('blast_radius.seed'), 4, '0');
BEGIN
    RETURN coalesce(blast_radius_scratch.given_to('uuid', call),
                    format('b1a57000-%s-4000-8000-%s', seed, lpad(to_hex(call), 12, '0')));
END $$;

CREATE FUNCTION txid_current() RETURNS bigint LANGUAGE sql STABLE AS $$
    SELECT current_setting('blast_radius.transaction')::bigint
$$;
CREATE FUNCTION pg_current_xact_id() RETURNS xid8 LANGUAGE sql STABLE AS $$
    SELECT current_setting('blast_radius.transaction')::xid8
$$;

-- Whatever should end the transaction with a commit fails by this.
CREATE TABLE uncommitted (reason text);
CREATE FUNCTION refuse_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'nothing is ever committed on a scratch server';
END $$;
CREATE CONSTRAINT TRIGGER refuse_commit AFTER INSERT ON uncommitted DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION refuse_commit();
INSERT INTO uncommitted VALUES ('always')
