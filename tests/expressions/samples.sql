CREATE TABLE samples (
    id int PRIMARY KEY,
    s smallint, i int, j int, b bigint,
    n numeric(12,2), m numeric(8,4), p numeric, f double precision,
    t text, u text, v varchar(10),
    d date, e date, ts timestamp, tz timestamptz,
    o boolean, q boolean
);
INSERT INTO samples VALUES
    (1, 7, 17, 5, 12345678901, 12.34, 0.5000, 3.14159, 2.5, 'abc', 'ABC', 'xyz', '2026-03-02', '2024-02-29', '2026-03-02 10:15:30', '2026-03-02 10:15:30+00', true, false),
    (2, -7, -17, 5, -12345678901, -12.34, -0.1250, -3.1, -2.5, 'a', 'b', '', '1999-12-31', '2000-01-01', '1999-12-31 23:59:59.999999', '1999-12-31 23:59:59.5+00', false, false),
    (3, 0, 0, 1, 0, 0.00, 0.0000, 0, 0, '', ' ', ' x ', '2026-01-31', '2026-01-31', '2026-01-31 00:00:00', '2026-01-31 00:00:00+00', true, true),
    (4, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
    (5, 32767, 2147483647, 2, 9223372036854775807, 9999999999.99, 9999.9999, 123456789012345678.123456789, 1e15, '  trimmed  ', 'trim', '10', '2026-12-31', '2027-01-01', '2026-12-31 23:00:00', '2026-12-31 23:00:00+00', NULL, true),
    (6, -3, 8, -3, 100, 100.05, 1.0001, 100, 0.1, 'Grüße', 'grüße', 'äöü', '2026-06-15', '2026-06-14', '2026-06-15 12:34:56.123', '2026-06-15 12:34:56.123+00', false, true),
    (7, 2, 10, 4, 10, 2.50, 2.5000, 2.50, 1.5, '12', '12.50', '007', '2026-03-29', '2026-10-25', '2026-03-29 02:30:00', '2026-03-29 01:30:00+00', true, true),
    (8, 1, 1, -1, 1, 0.01, 0.0001, 0.00001, -0.5, 'a,b,,c', ',', 'A_B%', '0001-01-01', '9999-12-31', '2026-03-02 00:00:00', '2026-03-01 23:59:59+00', false, NULL);

-- Each row's value as text, with its type; `failed` where PostgreSQL has no value for it.
CREATE FUNCTION answers(expression text, OUT id int, OUT type_name text, OUT failed boolean, OUT value text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    FOR id IN SELECT samples.id FROM samples ORDER BY samples.id LOOP
        BEGIN
            EXECUTE format('SELECT pg_typeof(value)::text, value::text FROM (SELECT %s AS value FROM samples WHERE id = %s) one', expression, id)
                INTO type_name, value;
            failed := false;
        EXCEPTION WHEN OTHERS THEN
            failed := true;
            type_name := NULL;
            value := NULL;
        END;
        RETURN NEXT;
    END LOOP;
END $$;
