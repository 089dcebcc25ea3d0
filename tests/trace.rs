//! The sweep on small histories written by hand: what each statement carries, heals, or makes possible.

use std::collections::BTreeMap;
use std::sync::Arc;

use blast_radius::catalog::RollingTables;
use blast_radius::model::{
    Attribution, Column, ColumnType, CommitSeq, Declarations, Derive, Evidence, History, Operation, Release,
    ReleaseName, Row, ServiceName, Snapshots, Statement, StatementLink, Step, TableName, TableSchema, Timestamp,
    Transaction, UniqueKey, Value, Write, WriteSeq,
};
use blast_radius::trace::{
    AffectedRecord, BlastRadius, Question, RecordState, RepairAction, Role, SuspectingFault, SuspectingRule, Suspicion,
    Target, Violating, trace,
};

#[path = "trace/again.rs"]
mod again;
#[path = "trace/applications.rs"]
mod applications;
#[path = "trace/by_database.rs"]
mod by_database;
#[path = "trace/derived.rs"]
mod derived;
#[path = "trace/in_doubt.rs"]
mod in_doubt;
#[path = "trace/plain_numerics.rs"]
mod plain_numerics;
#[path = "trace/relative.rs"]
mod relative;
#[path = "trace/rule_kinds.rs"]
mod rule_kinds;
#[path = "trace/several_writes.rs"]
mod several_writes;
#[path = "trace/snapshots.rs"]
mod snapshots;
#[path = "trace/temporary.rs"]
mod temporary;
#[path = "trace/time_zones.rs"]
mod time_zones;
#[path = "trace/translated.rs"]
mod translated;
#[path = "trace/upserts.rs"]
mod upserts;

type Schemas = BTreeMap<TableName, Arc<TableSchema>>;
/// One row written: the table, the row before, the row after.
type WrittenRow<'a> = (&'a str, &'a [&'a str], &'a [&'a str]);

fn table(name: &str, columns: &[(&str, ColumnType)], key: &[&str]) -> (TableName, Arc<TableSchema>) {
    let column = |(name, column_type): &(&str, ColumnType)| Column {
        name: (*name).into(),
        column_type: column_type.clone(),
        not_null: false,
        generated: false,
    };
    let name: TableName = name.parse().expect("a table name");
    let schema = TableSchema {
        name: name.clone(),
        columns: columns.iter().map(column).collect(),
        key: key.iter().map(|column| (*column).into()).collect(),
        foreign_keys: vec![],
        unique_keys: vec![],
    };
    (name, Arc::new(schema))
}

fn money() -> ColumnType {
    ColumnType::Numeric(Some((12, 2)))
}

fn shop() -> Schemas {
    BTreeMap::from([
        table(
            "orders",
            &[("id", ColumnType::Integer), ("day", ColumnType::Date), ("total", money()), ("status", ColumnType::Text)],
            &["id"],
        ),
        table("accounts", &[("id", ColumnType::Integer), ("balance", money())], &["id"]),
        table("daily", &[("day", ColumnType::Date), ("orders", ColumnType::BigInt), ("total", money())], &["day"]),
        table("ranking", &[("id", ColumnType::Integer), ("place", ColumnType::BigInt)], &["id"]),
    ])
}

fn value_of(text: &&str) -> Value {
    if *text == "NULL" { Value::NULL } else { Value::text(*text) }
}

/// A history under construction; the tables follow it.
struct Story {
    schemas: Schemas,
    tables: RollingTables,
    history: History,
    derives: Vec<Derive>,
    declarations: Declarations,
    seq: u64,
}

impl Story {
    fn new(schemas: Schemas) -> Self {
        let mut tables = RollingTables::new();
        for schema in schemas.values() {
            tables.load(schema.clone(), vec![]).expect("an empty table");
        }
        Story {
            schemas,
            tables,
            history: History::default(),
            derives: vec![],
            declarations: Declarations::default(),
            seq: 0,
        }
    }

    fn now(&self) -> Timestamp {
        let seconds = i64::try_from(self.seq).expect("a short story");
        Timestamp::from_micros(1_772_000_000_000_000 + seconds * 1_000_000)
    }

    fn row(&self, table: &str, cells: &[&str]) -> Row {
        let name: TableName = table.parse().expect("a table name");
        let columns = self.schemas[&name].columns.iter();
        columns.zip(cells).map(|(column, cell)| (column.name.clone(), value_of(cell))).collect()
    }

    fn step(&mut self, release: &str, sql: Option<&str>, parameters: &[&str], writes: &[WrittenRow<'_>]) -> Step {
        let mut written = Vec::new();
        for (table, before, after) in writes {
            self.seq += 1;
            let name: TableName = table.parse().expect("a table name");
            let image = |cells: &[&str]| (!cells.is_empty()).then(|| self.row(table, cells));
            let (before, after) = (image(before), image(after));
            let operation = match (&before, &after) {
                (None, _) => Operation::Insert,
                (_, None) => Operation::Delete,
                _ => Operation::Update,
            };
            let key = after.as_ref().or(before.as_ref()).and_then(|row| row.key(&self.schemas[&name].key));
            let write = Write {
                seq: WriteSeq(self.seq),
                ts: self.now(),
                table: name,
                operation,
                key: key.expect("the image holds the key"),
                before,
                after,
                reads: vec![],
                trace: None,
                attribution: Some(Attribution {
                    release: Release { service: Some(ServiceName::new("shop")), name: ReleaseName::new(release) },
                    evidence: Evidence::ApplicationName,
                }),
            };
            self.tables.apply(&write);
            written.push(write);
        }
        let statement = sql.map(|sql| Statement {
            sql: sql.into(),
            parameters: parameters.iter().map(value_of).collect(),
            started: self.now(),
            link: StatementLink::Event,
            time_zone: None,
        });
        Step { statement, writes: written }
    }

    fn commit(&mut self, steps: Vec<Step>) {
        let commit = CommitSeq(u64::try_from(self.history.transactions.len()).expect("a short story") + 1);
        let attribution = steps.iter().flat_map(|step| &step.writes).find_map(|write| write.attribution.clone());
        self.history.transactions.push(Transaction {
            commit,
            id: None,
            session: None,
            started: self.now(),
            committed: self.now(),
            snapshots: Snapshots::default(),
            attribution,
            steps,
        });
    }

    fn one(&mut self, release: &str, sql: &str, parameters: &[&str], writes: &[WrittenRow<'_>]) {
        let step = self.step(release, Some(sql), parameters, writes);
        self.commit(vec![step]);
    }

    async fn trace(self, suspicion: Suspicion<'_>) -> BlastRadius {
        let target = Target { release: ReleaseName::new("v42"), service: None, from: None, until: None };
        let settings = BTreeMap::new();
        let question = Question {
            target: &target,
            suspicion: &suspicion,
            rules: &[],
            derives: &self.derives,
            declarations: &self.declarations,
            list_suspects: false,
            settings: &settings,
        };
        trace(&self.history, self.tables, &self.schemas, question).await.expect("the trace runs")
    }
}

fn fault(table: &str, condition: &str, column: &str, value: &str) -> SuspectingFault {
    SuspectingFault {
        table: table.parse().expect("a table name"),
        operations: vec![Operation::Insert, Operation::Update],
        condition: condition.to_owned(),
        set: Some(vec![(column.into(), value.to_owned())]),
    }
}

fn record<'a>(found: &'a BlastRadius, table: &str, key: &str) -> &'a AffectedRecord {
    let name: TableName = table.parse().expect("a table name");
    let found_record = found.records.iter().find(|record| record.table == name && record.key.to_string() == key);
    found_record.unwrap_or_else(|| panic!("{table} {key} is not among {:#?}\nlimits {:?}", found.records, found.limits))
}

fn cell(record: &AffectedRecord, column: &str) -> (String, Option<String>, bool) {
    let cell = record.columns.iter().find(|cell| cell.name.as_ref() == column);
    let cell = cell.unwrap_or_else(|| panic!("no {column} in {record:#?}"));
    (cell.current.to_string(), cell.expected.as_ref().map(ToString::to_string), cell.exact)
}

fn exactly(current: &str, expected: &str) -> (String, Option<String>, bool) {
    (current.to_owned(), Some(expected.to_owned()), true)
}

/// pgMemento's three transactions: the first sets 100 to 999 (right: 100), the second adds 10, the third stores a sum.
#[tokio::test]
async fn a_relative_update_and_a_sum_carry_the_difference() {
    let mut story = Story::new(shop());
    let opened: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "100.00"]), ("accounts", &[], &["2", "200.00"])];
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2), ($3, $4)", &["1", "100", "2", "200"], &opened);
    let set: WrittenRow<'_> = ("accounts", &["1", "100.00"], &["1", "999.00"]);
    story.one("v42", "UPDATE accounts SET balance = $1 WHERE id = $2", &["999", "1"], &[set]);
    let added: WrittenRow<'_> = ("accounts", &["1", "999.00"], &["1", "1009.00"]);
    story.one("v43", "UPDATE accounts SET balance = balance + $1 WHERE id = $2", &["10", "1"], &[added]);
    let stored: WrittenRow<'_> = ("orders", &[], &["7", "NULL", "1209.00", "NULL"]);
    story.one("v43", "INSERT INTO orders (id, total) SELECT 7, sum(balance) FROM accounts", &[], &[stored]);

    let faults = [fault("accounts", "balance = 999", "balance", "before.balance")];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let root = record(&found, "accounts", "1");
    assert_eq!((root.role, root.state, root.hops), (Role::Root, RecordState::Live, 0));
    assert_eq!(cell(root, "balance"), exactly("1009.00", "110.00"));
    let sum = record(&found, "orders", "7");
    assert_eq!((sum.role, sum.state, sum.hops), (Role::Derived, RecordState::Live, 1));
    assert_eq!(cell(sum, "total"), exactly("1209.00", "310.00"));
    assert_eq!(sum.cause.as_ref().map(|cause| cause.key.to_string()).as_deref(), Some("1"));
    assert_eq!(found.records.len(), 2);
}

#[tokio::test]
async fn a_rule_finds_the_root_and_set_based_statements_derive() {
    let mut story = Story::new(shop());
    for (release, id, total) in [("v41", "1", "10.00"), ("v42", "2", "2000.00"), ("v42", "3", "30.00")] {
        let sql = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, 'new')";
        story.one(release, sql, &[id, "2026-03-02", total], &[("orders", &[], &[id, "2026-03-02", total, "new"])]);
    }
    story.one(
        "v43",
        "INSERT INTO daily (day, orders, total) SELECT day, count(*), sum(total) FROM orders WHERE day = $1 GROUP BY day",
        &["2026-03-02"],
        &[("daily", &[], &["2026-03-02", "3", "2040.00"])],
    );
    story.one(
        "v43",
        "INSERT INTO ranking (id, place) SELECT id, rank() OVER (ORDER BY total DESC) FROM orders",
        &[],
        &[("ranking", &[], &["2", "1"]), ("ranking", &[], &["3", "2"]), ("ranking", &[], &["1", "3"])],
    );
    let paid: WrittenRow<'_> =
        ("orders", &["2", "2026-03-02", "2000.00", "new"], &["2", "2026-03-02", "2000.00", "paid"]);
    story.one("v43", "UPDATE orders SET status = 'paid' WHERE id = $1", &["2"], &[paid]);

    let orders: TableName = "orders".parse().expect("a table name");
    let rules = [SuspectingRule {
        id: "small".into(),
        table: orders.clone(),
        violating: Violating::Predicate("total > 1000".to_owned()),
        reads: [orders].into(),
        expected: vec![("total".into(), "total / 100".to_owned())],
        blamed: vec!["total".into()],
        decides: None,
        group: None,
        reference: None,
    }];
    let found = story.trace(Suspicion::Violating(&rules)).await;
    let root = record(&found, "orders", "2");
    assert_eq!((root.role, root.state), (Role::Root, RecordState::Live));
    assert_eq!(cell(root, "total"), exactly("2000.00", "20.00"));
    assert_eq!(root.rules, [Arc::from("small")]);
    assert_eq!(cell(record(&found, "daily", "2026-03-02"), "total"), exactly("2040.00", "60.00"));
    assert_eq!(cell(record(&found, "ranking", "2"), "place"), exactly("1", "2"));
    assert_eq!(cell(record(&found, "ranking", "3"), "place"), exactly("2", "1"));
    assert_eq!(found.records.len(), 4, "{:#?}", found.records);
    assert_eq!(found.suspects, 1);
}

#[tokio::test]
async fn what_is_overwritten_alike_is_healed_and_what_is_read_is_possible() {
    let mut story = Story::new(shop());
    let right: WrittenRow<'_> = ("orders", &[], &["1", "NULL", "10.00", "NULL"]);
    story.one("v41", "INSERT INTO orders (id, total) VALUES (1, 10)", &[], &[right]);
    for id in ["2", "3"] {
        let sql = "INSERT INTO orders (id, total) VALUES ($1, $2)";
        story.one("v42", sql, &[id, "999"], &[("orders", &[], &[id, "NULL", "999.00", "NULL"])]);
    }
    let corrected: WrittenRow<'_> = ("orders", &["2", "NULL", "999.00", "NULL"], &["2", "NULL", "9.99", "NULL"]);
    story.one("v43", "UPDATE orders SET total = $2 WHERE id = $1", &["2", "9.99"], &[corrected]);
    let read = story.step("v43", Some("SELECT total FROM orders WHERE id = $1"), &["3"], &[]);
    let insert = "INSERT INTO accounts (id, balance) VALUES ($1, $2)";
    let write = story.step("v43", Some(insert), &["5", "999.00"], &[("accounts", &[], &["5", "999.00"])]);
    story.commit(vec![read, write]);
    let deleted: WrittenRow<'_> = ("orders", &["3", "NULL", "999.00", "NULL"], &[]);
    story.one("v43", "DELETE FROM orders WHERE id = $1", &["3"], &[deleted]);

    let faults = [fault("orders", "total = 999", "total", "total / 100")];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(record(&found, "orders", "2").state, RecordState::Healed);
    assert_eq!(cell(record(&found, "orders", "2"), "total"), exactly("999.00", "9.99"));
    assert_eq!(record(&found, "orders", "3").state, RecordState::Gone);
    let possible = record(&found, "accounts", "5");
    assert_eq!((possible.role, possible.state, possible.hops), (Role::Possible, RecordState::Live, 1));
    // A copy, if it is one.
    assert_eq!(cell(possible, "balance"), ("999.00".to_owned(), Some("9.99".to_owned()), false));
    assert_eq!(found.records.len(), 3);
}

fn unwritten(table: &str, operation: Operation) -> SuspectingFault {
    SuspectingFault {
        table: table.parse().expect("a table name"),
        operations: vec![operation],
        condition: "true".to_owned(),
        set: None,
    }
}

#[tokio::test]
async fn a_write_that_should_not_have_happened_leaves_extra_and_missing_rows() {
    let mut story = Story::new(shop());
    for (release, id, total) in [("v41", "1", "10.00"), ("v42", "2", "20.00")] {
        let sql = "INSERT INTO orders (id, day, total) VALUES ($1, $2, $3)";
        story.one(release, sql, &[id, "2026-03-02", total], &[("orders", &[], &[id, "2026-03-02", total, "NULL"])]);
    }
    let closed: WrittenRow<'_> = ("daily", &[], &["2026-03-02", "2", "30.00"]);
    let daily = "INSERT INTO daily SELECT day, count(*), sum(total) FROM orders GROUP BY day ON CONFLICT (day) DO UPDATE \
                 SET orders = excluded.orders, total = daily.total + excluded.total";
    story.one("v43", daily, &[], &[closed]);
    let again: WrittenRow<'_> = ("daily", &["2026-03-02", "2", "30.00"], &["2026-03-02", "2", "60.00"]);
    story.one("v43", daily, &[], &[again]);
    let faults = [unwritten("orders", Operation::Insert)];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(record(&found, "orders", "2").state, RecordState::Extra);
    let day = record(&found, "daily", "2026-03-02");
    assert_eq!((day.role, day.state), (Role::Derived, RecordState::Live));
    assert_eq!(cell(day, "orders"), exactly("2", "1"));
    assert_eq!(cell(day, "total"), exactly("60.00", "20.00"));
}

#[tokio::test]
async fn a_delete_that_should_not_have_happened_leaves_a_missing_row() {
    let mut story = Story::new(shop());
    let opened: WrittenRow<'_> = ("accounts", &[], &["1", "100.00"]);
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2)", &["1", "100"], &[opened]);
    let gone: WrittenRow<'_> = ("accounts", &["1", "100.00"], &[]);
    story.one("v42", "DELETE FROM accounts WHERE id = $1", &["1"], &[gone]);
    // It finds no row now; it would have found one.
    let lost = story.step("v43", Some("UPDATE accounts SET balance = balance + $2 WHERE id = $1"), &["1", "5"], &[]);
    let other = story.step(
        "v43",
        Some("INSERT INTO accounts VALUES ($1, $2)"),
        &["9", "1"],
        &[("accounts", &[], &["9", "1.00"])],
    );
    story.commit(vec![lost, other]);
    let faults = [unwritten("accounts", Operation::Delete)];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let missing = record(&found, "accounts", "1");
    assert_eq!((missing.role, missing.state), (Role::Root, RecordState::Missing));
    assert_eq!(cell(missing, "balance"), exactly("NULL", "105.00"));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn what_the_release_writes_in_the_right_world_alone_is_judged_too() {
    let mut story = Story::new(shop());
    for (id, balance) in [("1", "500.00"), ("2", "200.00")] {
        story.one("v41", "INSERT INTO accounts VALUES ($1, $2)", &[id, balance], &[("accounts", &[], &[id, balance])]);
    }
    let wrong: WrittenRow<'_> = ("accounts", &["1", "500.00"], &["1", "10.00"]);
    story.one("v42", "UPDATE accounts SET balance = $2 WHERE id = $1", &["1", "10"], &[wrong]);
    // It leaves out account 1, which it would have reached.
    let doubled: WrittenRow<'_> = ("accounts", &["2", "200.00"], &["2", "400.00"]);
    story.one("v42", "UPDATE accounts SET balance = balance * 2 WHERE balance >= 100", &[], &[doubled]);
    let faults = [
        fault("accounts", "balance = 10", "balance", "500"),
        fault("accounts", "balance >= 400", "balance", "before.balance + 1"),
    ];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("10.00", "501.00"));
    assert_eq!(cell(record(&found, "accounts", "2"), "balance"), exactly("400.00", "201.00"));
}

#[tokio::test]
async fn a_root_that_was_corrected_stays_one_whatever_is_doubted_of_it_later() {
    let mut story = Story::new(shop());
    let set = "UPDATE accounts SET balance = $2 WHERE id = $1";
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2)", &["1", "500"], &[("accounts", &[], &["1", "500.00"])]);
    story.one("v42", set, &["1", "10"], &[("accounts", &["1", "500.00"], &["1", "10.00"])]);
    // Somebody looks at it and corrects it: nobody knows whether from what was seen.
    let seen = story.step("v43", Some("SELECT balance FROM accounts WHERE id = $1"), &["1"], &[]);
    let corrected: WrittenRow<'_> = ("accounts", &["1", "10.00"], &["1", "500.00"]);
    let correction = story.step("v43", Some(set), &["1", "500"], &[corrected]);
    story.commit(vec![seen, correction]);
    story.one("v43", set, &["1", "700"], &[("accounts", &["1", "500.00"], &["1", "700.00"])]);
    let faults = [fault("accounts", "balance = 10", "balance", "500")];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let healed = record(&found, "accounts", "1");
    assert_eq!((healed.role, healed.state), (Role::Root, RecordState::Healed));
    assert_eq!(cell(healed, "balance"), exactly("10.00", "500.00"));
}

#[tokio::test]
async fn what_an_unknown_statement_may_have_written_to_a_missing_row_is_not_known() {
    let mut story = Story::new(shop());
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2)", &["1", "100"], &[("accounts", &[], &["1", "100.00"])]);
    story.one("v42", "DELETE FROM accounts WHERE id = $1", &["1"], &[("accounts", &["1", "100.00"], &[])]);
    // It finds no row now; it would have found one, and nobody knows what the function makes of it.
    let lost =
        story.step("v43", Some("UPDATE accounts SET balance = our_interest(balance) WHERE id = $1"), &["1"], &[]);
    let other: WrittenRow<'_> = ("accounts", &[], &["9", "1.00"]);
    let other = story.step("v43", Some("INSERT INTO accounts VALUES ($1, $2)"), &["9", "1"], &[other]);
    story.commit(vec![lost, other]);
    let faults = [unwritten("accounts", Operation::Delete)];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let missing = record(&found, "accounts", "1");
    assert_eq!((missing.role, missing.state), (Role::Root, RecordState::Missing));
    assert_eq!(cell(missing, "balance"), ("NULL".to_owned(), None, false));
}

#[tokio::test]
async fn an_update_from_another_table_and_a_changed_key_carry_the_difference() {
    let mut story = Story::new(shop());
    let opened: WrittenRow<'_> = ("accounts", &[], &["1", "0.00"]);
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2)", &["1", "0"], &[opened]);
    let wrong: WrittenRow<'_> = ("orders", &[], &["7", "NULL", "900.00", "NULL"]);
    story.one("v42", "INSERT INTO orders (id, total) VALUES ($1, $2)", &["7", "900"], &[wrong]);
    let charged: WrittenRow<'_> = ("accounts", &["1", "0.00"], &["1", "-900.00"]);
    let sql = "UPDATE accounts AS a SET balance = a.balance - o.total FROM orders o WHERE o.id = $1 AND a.id = $2";
    story.one("v43", sql, &["7", "1"], &[charged]);
    let moved: WrittenRow<'_> = ("accounts", &["1", "-900.00"], &["2", "-900.00"]);
    story.one("v43", "UPDATE accounts SET id = id + 1 WHERE id = $1", &["1"], &[moved]);
    let faults = [fault("orders", "total > 100", "total", "total / 100")];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    let account = record(&found, "accounts", "2");
    assert_eq!((account.role, account.state), (Role::Derived, RecordState::Live));
    assert_eq!(cell(account, "balance"), exactly("-900.00", "-9.00"));
}
