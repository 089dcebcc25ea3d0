//! The expressions: every operator and function that the evaluator takes for the same as PostgreSQL's, over columns and
//! literals of every type that it may meet.

const NUMBERS: [&str; 13] = ["s", "i", "j", "b", "n", "m", "p", "f", "3", "7.5", "-2", "0.1", "'5'"];
const TEXTS: [&str; 7] = ["t", "u", "v", "'a'", "''", "'B'", "'Grüße'"];
const DATES: [&str; 4] = ["d", "e", "date '2026-03-02'", "'2026-01-31'"];
const TIMES: [&str; 4] = ["ts", "tz", "timestamp '2026-03-02 10:15:30'", "d"];
const BOOLEANS: [&str; 4] = ["o", "q", "true", "(i > 5)"];
const COMPARISONS: [&str; 6] = ["=", "<>", "<", "<=", ">", ">="];

fn pairs<'a>(one: &'a [&'a str], other: &'a [&'a str]) -> impl Iterator<Item = (&'a str, &'a str)> {
    one.iter().flat_map(move |left| other.iter().map(move |right| (*left, *right)))
}

fn arithmetic(all: &mut Vec<String>) {
    for (left, right) in pairs(&NUMBERS, &NUMBERS) {
        all.extend(["+", "-", "*", "/", "%"].map(|operator| format!("{left} {operator} {right}")));
    }
    for (left, right) in pairs(&["i", "n", "p", "b"], &["j", "m", "2", "1.5"]) {
        all.push(format!("({left} + {right}) * 2 - {right}"));
        all.push(format!("{left} * {right} / 3"));
        all.push(format!("({left} - {right}) / nullif(j, 0)"));
        all.push(format!("round({left} * {right}, 2)"));
        all.push(format!("round({left} / 7.0, 3)"));
        all.push(format!("mod({left}, {right})"));
        all.push(format!("greatest({left}, {right})"));
        all.push(format!("least({left}, {right}, 0)"));
        all.push(format!("coalesce({left}, {right}, 0)"));
        all.push(format!("nullif({left}, {right})"));
        all.push(format!("CASE WHEN {left} > {right} THEN {left} ELSE {right} END"));
        all.push(format!("- {left} + {right}"));
    }
    for number in NUMBERS {
        for function in ["abs", "ceil", "ceiling", "floor", "round", "trunc", "sign"] {
            all.push(format!("{function}({number})"));
        }
        for digits in ["-2", "-1", "0", "1", "2", "3", "5"] {
            all.push(format!("round({number}, {digits})"));
            all.push(format!("trunc({number}, {digits})"));
        }
        all.push(format!("-{number}"));
        all.push(format!("+ {number}"));
    }
}

fn comparisons(all: &mut Vec<String>) {
    for comparison in COMPARISONS {
        let numbers = pairs(&NUMBERS[..10], &["i", "n", "p", "f", "2.50", "'10'"]);
        let texts = pairs(&TEXTS[..4], &TEXTS);
        let dates = pairs(&DATES[..2], &DATES);
        let times = pairs(&TIMES[..2], &TIMES);
        let booleans = pairs(&BOOLEANS[..2], &BOOLEANS);
        for (left, right) in numbers.chain(texts).chain(dates).chain(times).chain(booleans) {
            all.push(format!("{left} {comparison} {right}"));
        }
    }
    for (left, right) in
        pairs(&["i", "n", "t", "d", "o"], &["NULL"]).chain([("i", "j"), ("n", "m"), ("t", "u"), ("o", "q")])
    {
        all.push(format!("({left} IS DISTINCT FROM {right})"));
        all.push(format!("({left} IS NOT DISTINCT FROM {right})"));
        all.push(format!("{left} IS NULL"));
        all.push(format!("{left} IS NOT NULL"));
    }
    for expression in [
        "i BETWEEN 1 AND 10",
        "n NOT BETWEEN 0 AND 12.34",
        "t BETWEEN 'a' AND 'b'",
        "d BETWEEN '2026-01-01' AND '2026-12-31'",
        "i IN (1, 8, NULL)",
        "i NOT IN (1, 8)",
        "i NOT IN (1, NULL)",
        "n IN (12.34, 2.5)",
        "t IN ('abc', '')",
        "t = ANY ('{abc,a}')",
        "i = ANY (ARRAY[1, 10])",
        "o AND q",
        "o OR q",
        "NOT o",
        "o IS TRUE",
        "o IS NOT TRUE",
        "o IS FALSE",
        "o IS UNKNOWN",
        "o IS NOT UNKNOWN",
        "(i, j) = (17, 5)",
        "(i, j) <> (17, 6)",
        "(i, j) < (17, 6)",
        "(i, j) IN ((17, 5), (8, -3))",
        "(i, j) NOT IN ((17, 5), (8, NULL))",
        "CASE i WHEN 1 THEN 'one' WHEN 8 THEN 'eight' ELSE t END",
        "CASE WHEN o THEN n ELSE p END",
        "CASE WHEN o THEN i ELSE n END",
        "CASE WHEN o THEN 1 END",
        "CASE WHEN i > 5 THEN 'high' WHEN i IS NULL THEN NULL ELSE 'low' END",
    ] {
        all.push(expression.to_owned());
    }
}

fn texts(all: &mut Vec<String>) {
    for (left, right) in pairs(&TEXTS[..3], &["t", "'x'", "i", "n", "p", "d", "ts", "o", "b", "NULL", "f"]) {
        all.push(format!("{left} || {right}"));
        all.push(format!("concat({left}, {right})"));
        all.push(format!("concat_ws('-', {left}, {right}, 'z')"));
    }
    all.extend(["i || 'x'", "n || 'x'", "d || ''", "'x' || tz"].map(str::to_owned));
    for text in TEXTS {
        for function in [
            "length",
            "char_length",
            "character_length",
            "octet_length",
            "lower",
            "upper",
            "initcap",
            "btrim",
            "ltrim",
            "rtrim",
            "reverse",
            "md5",
        ] {
            all.push(format!("{function}({text})"));
        }
        for count in ["-7", "-2", "-1", "0", "1", "2", "5", "30"] {
            for function in ["left", "right", "repeat"] {
                all.push(format!("{function}({text}, {count})"));
            }
            for function in ["lpad", "rpad"] {
                all.push(format!("{function}({text}, {count})"));
                all.push(format!("{function}({text}, {count}, 'xy')"));
            }
            for function in ["substr", "substring"] {
                all.push(format!("{function}({text}, {count})"));
                all.push(format!("{function}({text}, {count}, 2)"));
            }
            all.push(format!("split_part({text}, ',', {count})"));
        }
        for characters in ["'a'", "' '", "'ab '", "''"] {
            for function in ["btrim", "ltrim", "rtrim", "strpos", "starts_with"] {
                all.push(format!("{function}({text}, {characters})"));
            }
            all.push(format!("trim(both {characters} from {text})"));
            all.push(format!("trim(leading {characters} from {text})"));
            all.push(format!("trim(trailing {characters} from {text})"));
            all.push(format!("replace({text}, {characters}, 'X')"));
            all.push(format!("translate({text}, {characters}, 'X')"));
            all.push(format!("position({characters} in {text})"));
        }
        for pattern in ["'a%'", "'%b%'", "'_b_'", "''", "'%\\_%'", "'A\\_B\\%'", "'gr%'", "'%'", "'%ü%'"] {
            all.push(format!("{text} LIKE {pattern}"));
            all.push(format!("{text} NOT LIKE {pattern}"));
            all.push(format!("{text} ILIKE {pattern}"));
        }
        all.push(format!("trim({text})"));
        all.push(format!("substring({text} from 2 for 2)"));
        all.push(format!("substring({text} from 0)"));
        all.push(format!("overlay({text} placing 'Z' from 2)"));
        all.push(format!("{text} SIMILAR TO 'a%'"));
        all.push(format!("{text} ~ '^[a-c]'"));
        all.push(format!("{text} ~* '^A'"));
        all.push(format!("coalesce({text}, 'none')"));
        all.push(format!("nullif({text}, '')"));
        all.push(format!("greatest({text}, 'b')"));
    }
    all.extend(["65", "0", "8364", "i", "s"].map(|code| format!("chr({code})")));
}

fn moments(all: &mut Vec<String>) {
    for unit in ["year", "quarter", "month", "week", "day", "hour", "minute", "second"] {
        for moment in ["d", "ts", "tz"] {
            all.push(format!("date_trunc('{unit}', {moment})"));
        }
    }
    for field in
        ["year", "quarter", "month", "week", "day", "hour", "minute", "second", "dow", "doy", "isodow", "epoch"]
    {
        // PostgreSQL knows no time of a date.
        let of_date = !matches!(field, "hour" | "minute" | "second");
        for moment in ["d", "ts", "tz"].into_iter().filter(|moment| of_date || *moment != "d") {
            all.push(format!("date_part('{field}', {moment})"));
            all.push(format!("extract({field} from {moment})"));
        }
    }
    for span in ["'1 day'", "'2 months'", "'1 year'", "'36 hours'", "'90 minutes'", "'1 month -1 day'"] {
        for moment in ["d", "ts", "tz"] {
            all.push(format!("{moment} + interval {span}"));
            all.push(format!("{moment} - interval {span}"));
        }
    }
    for (left, right) in pairs(&["d", "e"], &["d", "e", "1", "i", "s", "-30", "date '2026-03-02'"]) {
        all.push(format!("{left} - {right}"));
        all.push(format!("{left} + {right}"));
    }
    all.extend(["ts - ts", "tz - tz", "ts - d", "tz - ts", "date '2026-03-02' + i", "1 + d"].map(str::to_owned));
    for (left, right) in pairs(&["d", "ts", "tz"], &["d", "ts", "tz"]) {
        all.push(format!("greatest({left}, {right})"));
        all.push(format!("coalesce({left}, {right})"));
        all.push(format!("CASE WHEN o THEN {left} ELSE {right} END"));
    }
}

fn casts(all: &mut Vec<String>) {
    let types = [
        "int",
        "bigint",
        "smallint",
        "numeric",
        "numeric(10,2)",
        "numeric(5,0)",
        "text",
        "boolean",
        "date",
        "timestamp",
        "timestamptz",
        "float8",
        "varchar(3)",
    ];
    let values = [
        "s",
        "i",
        "b",
        "n",
        "m",
        "p",
        "f",
        "t",
        "u",
        "v",
        "d",
        "ts",
        "tz",
        "o",
        "'12'",
        "'12.50'",
        "'2026-03-02'",
        "'t'",
        "2.5",
        "-2.5",
        "3.5",
    ];
    for (value, target) in pairs(&values, &types) {
        all.push(format!("{value}::{target}"));
        all.push(format!("CAST({value} AS {target})"));
    }
    for value in values {
        all.push(format!("({value})::text || '!'"));
    }
    // A decimal as text keeps the digits of the branch or operand that gave it.
    let decimals = [
        "coalesce(m, 0)",
        "coalesce(p, m)",
        "CASE WHEN o THEN m ELSE 1 END",
        "CASE WHEN o THEN m ELSE 1.5 END",
        "greatest(m, 2)",
        "least(m, 1.5)",
        "nullif(m, 1.5)",
        "m + 1",
        "m - 1.125",
        "m * 2",
        "m * 1.5",
        "m / 3",
        "- m",
        "abs(m)",
        "round(m)",
        "round(m, 1)",
        "round(m, 5)",
        "round(m, -1)",
        "trunc(m)",
        "trunc(m, 1)",
        "ceil(m)",
        "m % 2",
        "i + 0.50",
        "(SELECT max(x.m) FROM samples x)",
        "(SELECT sum(x.m) FROM samples x)",
        "(SELECT avg(x.m) FROM samples x)",
        "(SELECT x.c FROM (SELECT coalesce(y.m, 0) AS c FROM samples y WHERE y.id = 4) x)",
        "CAST(i AS numeric(10,2))",
    ];
    for decimal in decimals {
        all.push(format!("({decimal})::text"));
        all.push(format!("(SELECT x.c::text FROM (SELECT {decimal} AS c FROM samples WHERE id = 4) x)"));
        all.push(format!("(SELECT x.c::text || '' FROM (SELECT {decimal} AS c FROM samples WHERE id = 5 LIMIT 1) x)"));
    }
}

fn over_rows(all: &mut Vec<String>) {
    for depth in ["max(t.depth)", "sum(t.depth)", "max(t.depth) / 2", "count(*)"] {
        all.push(format!(
            "(WITH RECURSIVE t AS (SELECT x.id, 0 AS depth FROM samples x WHERE x.id = 1 \
             UNION ALL SELECT x.id, t.depth + 1 FROM t JOIN samples x ON x.id = t.id + 1) SELECT {depth} FROM t)"
        ));
    }
    let columns = ["s", "i", "b", "n", "m", "p", "f", "t", "d", "ts", "tz"];
    for column in columns {
        for function in ["sum", "avg", "min", "max", "count"] {
            all.push(format!("(SELECT {function}(x.{column}) FROM samples x)"));
            all.push(format!("(SELECT {function}(DISTINCT x.{column}) FROM samples x WHERE x.id > 1)"));
            all.push(format!("(SELECT {function}(x.{column}) FILTER (WHERE x.o) FROM samples x)"));
            all.push(format!("(SELECT {function}(x.{column}) FROM samples x WHERE x.id > 100)"));
            all.push(format!("(SELECT {function}(x.{column}) FROM samples x WHERE x.j = samples.j)"));
        }
        for order in ["", " DESC", " NULLS FIRST", " DESC NULLS LAST"] {
            for function in ["rank()", "row_number()", "dense_rank()", "percent_rank()", "cume_dist()", "ntile(3)"] {
                all.push(format!(
                    "(SELECT w.r FROM (SELECT x.id, {function} OVER (ORDER BY x.{column}{order}, x.id) r FROM samples x) w WHERE w.id = samples.id)"
                ));
            }
            for function in [
                format!("lag(x.{column})"),
                format!("lead(x.{column}, 2)"),
                format!("first_value(x.{column})"),
                format!("last_value(x.{column})"),
                format!("nth_value(x.{column}, 2)"),
                "sum(x.i)".to_owned(),
                format!("count(x.{column})"),
                format!("max(x.{column})"),
            ] {
                all.push(format!(
                    "(SELECT w.r FROM (SELECT x.id, {function} OVER (ORDER BY x.{column}{order}, x.id) r FROM samples x) w WHERE w.id = samples.id)"
                ));
            }
            all.push(format!("(SELECT x.id FROM samples x ORDER BY x.{column}{order}, x.id LIMIT 1)"));
            all.push(format!("(SELECT x.id FROM samples x ORDER BY x.{column}{order}, x.id OFFSET 3 LIMIT 1)"));
        }
    }
    for function in ["bool_and", "bool_or", "every"] {
        all.push(format!("(SELECT {function}(x.o) FROM samples x)"));
        all.push(format!("(SELECT {function}(x.i > 0) FROM samples x WHERE x.q)"));
    }
    for query in [
        "(SELECT count(*) FROM samples x WHERE x.t = samples.t)",
        "(SELECT count(*) FROM samples x JOIN samples y ON x.j = y.j WHERE x.id = samples.id)",
        "(SELECT count(*) FROM samples x LEFT JOIN samples y ON x.i = y.j WHERE x.id >= samples.id)",
        "(SELECT sum(CASE WHEN x.o THEN 1 ELSE 0 END) / 2 FROM samples x)",
        "(SELECT sum(z.c) / 2 FROM (SELECT x.j, count(*) c FROM samples x GROUP BY x.j) z)",
        "(SELECT sum(x.s) / 4 FROM samples x WHERE x.id < 5)",
        "(SELECT avg(x.i) / 2 FROM samples x WHERE x.id <> 5)",
        "(SELECT count(*) / 3 FROM samples x)",
        "(SELECT sum(1) / 3 FROM samples x)",
        "(SELECT sum(x.b) OVER (ORDER BY x.id) / 7 FROM samples x WHERE x.id = 1)",
        "round(i) / 2",
        "coalesce(i, 0) / 2",
        "greatest(i, 3) / 2",
        "(i + 1) / 2",
        "(i * 100) / 7",
        "EXISTS (SELECT 1 FROM samples x WHERE x.j > samples.j)",
        "NOT EXISTS (SELECT 1 FROM samples x WHERE x.i > samples.i)",
        "i IN (SELECT x.j FROM samples x)",
        "i NOT IN (SELECT x.j FROM samples x)",
        "i NOT IN (SELECT x.j FROM samples x WHERE x.j IS NOT NULL)",
        "(SELECT sum(v.a) FROM (VALUES (1, 'a'), (2, 'b')) AS v(a, b) WHERE v.a <= samples.j)",
        "(SELECT count(*) FROM (SELECT x.j FROM samples x UNION SELECT y.i FROM samples y) z)",
        "(SELECT count(*) FROM (SELECT x.j FROM samples x EXCEPT SELECT y.i FROM samples y) z)",
        "(SELECT count(*) FROM (SELECT x.j FROM samples x INTERSECT SELECT y.i FROM samples y) z)",
        "(SELECT sum(z.c) FROM (SELECT x.o, count(*) c FROM samples x GROUP BY x.o HAVING count(*) > 1) z)",
        "(SELECT count(DISTINCT x.o) FROM samples x)",
    ] {
        all.push(query.to_owned());
    }
}

/// What depends on the session's time zone.
pub fn of_zones() -> Vec<String> {
    let mut all = Vec::new();
    moments(&mut all);
    const LITERALS: [&str; 9] = [
        "'2026-03-29 02:30:00'",
        "'2026-10-25 02:30:00'",
        "'2026-03-02'",
        "'2026-03-02 10:15:30+00'",
        "'2026-03-08 02:30:00-05'",
        "date '2026-03-29'",
        "timestamp '2026-03-29 02:30:00'",
        "timestamptz '2026-10-25 02:30:00'",
        "timestamptz '2026-10-25 00:30:00+00'",
    ];
    for comparison in COMPARISONS {
        for (left, right) in pairs(&["tz", "ts", "d"], &["tz", "ts", "d"]).chain(pairs(&["tz", "ts"], &LITERALS)) {
            all.push(format!("{left} {comparison} {right}"));
        }
    }
    for (value, target) in
        pairs(&["tz", "ts", "d"], &["timestamptz", "timestamp", "date", "text", "time", "varchar(12)"])
    {
        all.push(format!("{value}::{target}"));
    }
    for (literal, target) in pairs(&LITERALS, &["timestamptz", "timestamp", "date"]) {
        all.push(format!("{literal}::{target}"));
        all.push(format!("{literal}::{target}::text"));
    }
    for moment in LITERALS[5..].iter().chain(&["tz", "ts", "d"]) {
        for span in ["'1 day'", "'1 month'", "'24 hours'", "'1 month 1 day 1 hour'", "'-1 day'", "'30 minutes'"] {
            all.push(format!("{moment} + interval {span}"));
            all.push(format!("({moment} - interval {span})::text"));
            all.push(format!("interval {span} + {moment}"));
        }
        for zone in ["Europe/Berlin", "America/New_York", "UTC", "Asia/Kolkata", "EST", "CET"] {
            all.push(format!("{moment} AT TIME ZONE '{zone}'"));
            all.push(format!("({moment} AT TIME ZONE '{zone}')::date"));
            all.push(format!("extract(hour from {moment} AT TIME ZONE '{zone}')"));
            all.push(format!("date_trunc('day', {moment} AT TIME ZONE '{zone}')"));
            all.push(format!("date_trunc('day', {moment} AT TIME ZONE '{zone}') AT TIME ZONE '{zone}'"));
        }
    }
    for unit in ["hour", "minute", "day", "week", "month", "year"] {
        for hour in 0..4 {
            all.push(format!("date_trunc('{unit}', timestamptz '2026-10-25 0{hour}:30:00+00')"));
            all.push(format!("date_trunc('{unit}', timestamptz '2026-03-29 0{hour}:30:00+00')"));
            all.push(format!("date_trunc('{unit}', timestamptz '2026-11-01 0{}:30:00+00')", hour + 4));
        }
    }
    for both in ["coalesce", "greatest", "least", "nullif"] {
        for (left, right) in pairs(&["tz", "ts"], &["tz", "ts", "d", "'2026-03-29 02:30:00'"]) {
            all.push(format!("{both}({left}, {right})"));
            all.push(format!("{both}({left}, {right})::text"));
        }
    }
    for expression in [
        "'at ' || tz",
        "concat(tz, ' ', ts, ' ', d)",
        "tz BETWEEN '2026-03-02' AND '2026-03-30'",
        "tz BETWEEN d AND ts",
        "tz IN ('2026-03-02 11:15:30', '1999-12-31')",
        "tz IN (SELECT x.ts FROM samples x)",
        "ts IN (SELECT x.tz FROM samples x)",
        "d IN (SELECT x.tz::date FROM samples x)",
        "tz::date - d",
        "tz - ts",
        "tz - d",
        "tz - tz",
        "CASE WHEN o THEN tz ELSE ts END",
        "CASE WHEN o THEN tz ELSE d END",
        "CASE WHEN o THEN d ELSE tz END",
        "(SELECT min(x.tz::date) FROM samples x)",
        "(SELECT count(*) FROM samples x WHERE x.tz::date = samples.d)",
        "(SELECT count(*) FROM samples x JOIN samples y ON x.tz = y.ts)",
        "(SELECT count(*) FROM samples x JOIN samples y ON x.tz::date = y.d)",
        "(SELECT max(z.n) FROM (SELECT x.tz::date, count(*) n FROM samples x GROUP BY x.tz::date) z)",
        "(SELECT max(z.n) FROM (SELECT date_trunc('month', x.tz) AS m, count(*) n FROM samples x GROUP BY 1) z)",
        "(SELECT max(z.m) FROM (SELECT date_trunc('day', x.tz) AS m FROM samples x GROUP BY date_trunc('day', x.tz)) z)",
        "(SELECT min(z.m) FROM (SELECT x.tz AS m FROM samples x UNION SELECT y.ts FROM samples y) z)",
        "(SELECT min(z.m)::text FROM (SELECT x.d AS m FROM samples x UNION ALL SELECT y.tz FROM samples y) z)",
        "(SELECT rank FROM (SELECT x.id, rank() OVER (PARTITION BY x.tz::date ORDER BY x.tz) AS rank FROM samples x) z WHERE z.id = samples.id)",
        "now()::date",
        "current_date",
        "localtimestamp",
        "now()::text",
        "current_date - d",
        "tz > now()",
        "tz < current_date",
        "date_trunc('day', now())",
        "now() - interval '1 month'",
        "extract(dow from now())",
        "date_part('hour', tz)",
        "extract(hour from tz) >= 12",
        "extract(epoch from tz)",
        "extract(timezone from tz)",
        "'infinity'::timestamptz",
        "tz < 'infinity'",
        "tz + s * interval '1 day'",
        "(tz + interval '1 day')::date",
    ] {
        all.push(expression.to_owned());
    }
    all
}

/// All of them, in a fixed order.
pub fn expressions() -> Vec<String> {
    let mut all = Vec::new();
    for group in [arithmetic, comparisons, texts, moments, casts, over_rows] {
        group(&mut all);
    }
    all
}
