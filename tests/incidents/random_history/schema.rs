//! The tables of a random history.

use super::grammar::{Column, Table, Type, literal};
use super::plan::{FIRST_ROWS, GROUPS};
use crate::shop::random::Random;

/// What every history has beside its tables by chance: what is counted, noted and picked, a table that follows keys, x.
const FIXED_TABLES: &str = "\
CREATE TABLE totals (grp int PRIMARY KEY, total numeric(20,4), n bigint, best text);
CREATE TABLE notes (id int PRIMARY KEY, noted text);
CREATE TABLE picks (grp int PRIMARY KEY, id int, amount numeric(14,2), label text);
CREATE TABLE \"Mixed\" (\"Key\" text, \"No\" int, \"Sum Of\" numeric, n int NOT NULL DEFAULT 1,
                      PRIMARY KEY (\"Key\", \"No\"));
CREATE TABLE codes (id int PRIMARY KEY, code text NOT NULL UNIQUE, n numeric(14,2), seen text);
CREATE TABLE parts (id int, grp int, amount numeric(14,2), PRIMARY KEY (id)) PARTITION BY RANGE (id);
CREATE TABLE parts_low PARTITION OF parts FOR VALUES FROM (MINVALUE) TO (7);
CREATE TABLE parts_high PARTITION OF parts FOR VALUES FROM (7) TO (MAXVALUE);
";

/// What refers to the tables by chance, and a view of one.
const REFERRING: &str = "\
CREATE TABLE child (t int REFERENCES t0 (id) ON UPDATE CASCADE ON DELETE CASCADE, no int, amount numeric(14,2),
                    label text, PRIMARY KEY (t, no));
CREATE TABLE follower (id int PRIMARY KEY, t int REFERENCES t1 (id) ON UPDATE CASCADE ON DELETE SET NULL,
                       amount numeric(14,2));
CREATE VIEW bigger AS SELECT id, grp, ref, amount, base FROM t1 WHERE amount > 20;
";

const TRIGGERS: &str = "\
CREATE TABLE counts (grp int PRIMARY KEY, n int NOT NULL);
CREATE FUNCTION counted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO counts VALUES (NEW.grp, 1) ON CONFLICT (grp) DO UPDATE SET n = counts.n + 1;
    RETURN NULL;
END $$;
CREATE TRIGGER counted AFTER INSERT ON t1 FOR EACH ROW EXECUTE FUNCTION counted();
CREATE FUNCTION limited() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.amount > 900 THEN NEW.amount := 900; NEW.flag := 'limited'; END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER limited BEFORE UPDATE ON t2 FOR EACH ROW EXECUTE FUNCTION limited();
";

/// A table of this number.
pub fn table(random: &mut Random, number: usize) -> Table {
    let types = [Type::Integer, Type::Money, Type::Text, Type::Boolean, Type::Date, Type::Moment];
    let mut columns = vec![
        Column { name: "amount".to_owned(), of: Type::Money },
        Column { name: "base".to_owned(), of: Type::Integer },
        Column { name: "flag".to_owned(), of: Type::Text },
    ];
    for place in 0..2 + random.below(3) {
        columns.push(Column { name: format!("c{place}"), of: *random.pick(&types) });
    }
    let computed = random.chance(1, 3).then(|| Column { name: "computed".to_owned(), of: Type::Money });
    Table { name: format!("t{number}"), columns, computed }
}

/// The tables and their first rows, as SQL.
pub fn schema(random: &mut Random, tables: &[Table]) -> String {
    let mut sql = FIXED_TABLES.to_owned();
    for table in tables {
        let mut columns: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", column.name, column.of.sql())).collect();
        columns.extend(table.computed.iter().map(|column| {
            format!("{} {} GENERATED ALWAYS AS (coalesce(amount, 0) * 2 + base) STORED", column.name, column.of.sql())
        }));
        sql.push_str(&format!(
            "CREATE TABLE {} (id int PRIMARY KEY, grp int, ref int, {});\n",
            table.name,
            columns.join(", ")
        ));
        for id in 1..=FIRST_ROWS {
            sql.push_str(&format!("{};\n", insert(random, table, id, "'first'", None)));
        }
    }
    sql.push_str(REFERRING);
    sql.push_str("INSERT INTO parts SELECT id, grp, amount FROM t1;\n");
    sql.push_str("INSERT INTO child SELECT id, 1, amount, flag FROM t0 WHERE id % 2 = 0;\n");
    sql.push_str("INSERT INTO follower SELECT id, id, amount FROM t1 WHERE id % 3 = 0;\n");
    if random.chance(1, 4) {
        sql.push_str(TRIGGERS);
    }
    sql
}

/// An insert of one row; its flag, and where it is given its amount with its base, are literals.
pub fn insert(random: &mut Random, table: &Table, id: usize, flag: &str, amount: Option<(&str, usize)>) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let mut values = Vec::new();
    for column in &table.columns {
        values.push(match (column.name.as_str(), amount) {
            ("flag", _) => flag.to_owned(),
            ("amount", Some((amount, _))) => amount.to_owned(),
            ("base", Some((_, base))) => base.to_string(),
            _ if random.chance(1, 9) => "NULL".to_owned(),
            _ => literal(random, column.of),
        });
    }
    let (group, reference) = (random.below(GROUPS), 1 + random.below(FIRST_ROWS + 2));
    format!(
        "INSERT INTO {} (id, grp, ref, {}) VALUES ({id}, {group}, {reference}, {})",
        table.name,
        names.join(", "),
        values.join(", ")
    )
}
