//! Log and row changes of one workload, recorded side by side: which statement made which change.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use blast_radius::capture::{FormatChoice, Input, read};
use blast_radius::lineage::{Sources, assemble};
use blast_radius::model::{
    Column, ColumnType, LogEvent, Recording, ReleaseSettings, StatementLink, TableName, TableSchema, Transaction,
};
use blast_radius::sql::Views;
use regex::Regex;

use super::samples;

fn read_whole(name: &str) -> Recording {
    let input = Input::file(&samples().join("log+cdc-pairs").join(name), name).expect("a recording");
    let mut whole = Recording::default();
    read(input, &FormatChoice::AUTO, &mut |recording| {
        whole.writes.extend(recording.writes);
        whole.stamps.extend(recording.stamps);
        whole.log.extend(recording.log);
        ControlFlow::Continue(())
    })
    .expect("read");
    whole
}

/// The workload's tables: `scripts/schema.sql` beside the recordings.
fn schemas() -> BTreeMap<TableName, Arc<TableSchema>> {
    let numeric = |precision, scale| ColumnType::Numeric(Some((precision, scale)));
    let other = |name: &str| ColumnType::Other(name.to_owned());
    let (bigint, integer, text) = (ColumnType::BigInt, ColumnType::Integer, ColumnType::Text);
    let tables: Vec<(&str, Vec<&str>, Vec<(&str, ColumnType)>)> = vec![
        (
            "customer",
            vec!["id"],
            vec![("id", bigint.clone()), ("email", text.clone()), ("tier", text.clone()), ("score", integer.clone())],
        ),
        (
            "orders",
            vec!["id"],
            vec![
                ("id", bigint.clone()),
                ("customer_id", bigint.clone()),
                ("total", numeric(12, 2)),
                ("note", text.clone()),
                ("doc", other("jsonb")),
                ("blob", other("bytea")),
                ("created", ColumnType::TimestampTz),
            ],
        ),
        (
            "order_item",
            vec!["order_id", "line"],
            vec![
                ("order_id", bigint.clone()),
                ("line", integer.clone()),
                ("sku", text.clone()),
                ("price", numeric(12, 2)),
            ],
        ),
        ("daily_revenue", vec!["day"], vec![("day", ColumnType::Date), ("revenue", numeric(14, 2))]),
        ("no_pk", vec![], vec![("a", integer.clone()), ("b", text.clone())]),
        ("Weird Name", vec!["Col umn"], vec![("Col umn", integer.clone()), ("select", text.clone())]),
        ("audit_log", vec!["id"], vec![("id", bigint), ("tbl", text.clone()), ("op", text)]),
        ("dfr", vec!["id"], vec![("id", integer.clone()), ("p", integer)]),
    ];
    let column = |(name, column_type): (&str, ColumnType)| Column {
        name: name.into(),
        column_type,
        not_null: false,
        generated: false,
    };
    let schema = |(table, key, columns): (&str, Vec<&str>, Vec<(&str, ColumnType)>)| {
        let name = TableName::new("public", table);
        let key = key.into_iter().map(Arc::from).collect();
        let columns = columns.into_iter().map(column).collect();
        (name.clone(), Arc::new(TableSchema { name, columns, key, foreign_keys: Vec::new(), unique_keys: Vec::new() }))
    };
    tables.into_iter().map(schema).collect()
}

fn history(changes: &Recording, stamped: bool, log: &[LogEvent]) -> Vec<Transaction> {
    let release = ReleaseSettings {
        pattern: Regex::new(r"^(?<service>[\w.-]+)@(?<release>[\w.+-]+)$").expect("a pattern"),
        release_tags: vec!["release".to_owned()],
        service_tags: vec!["service".to_owned()],
    };
    let history = assemble(Sources {
        writes: &changes.writes,
        stamps: if stamped { &changes.stamps } else { &[] },
        log,
        schemas: &schemas(),
        views: &Views::new(),
        release: &release,
        deploys: &[],
        database: None,
    });
    let mut transactions = history.transactions;
    // Those that wrote nothing are the log's alone: there is nothing to join them to.
    transactions.retain(|transaction| transaction.writes().next().is_some());
    transactions
}

/// How the transactions of one pair were joined.
#[derive(Debug, Default, PartialEq, Eq)]
struct Figures {
    transactions: usize,
    by_id: usize,
    by_order: usize,
    ambiguous: usize,
    unlinked: usize,
    wrong: usize,
}

/// The statement that each transaction began its writing with, as the stamps of a run of the same workload tell it; the
/// stamp's own place in the workload is the transaction's.
fn truth() -> Vec<Option<String>> {
    let changes = read_whole("Btag2.wal2json-v2.jsonl");
    let mut truth: Vec<Option<String>> = Vec::new();
    for transaction in history(&changes, false, &[]) {
        let stamp = changes.stamps.iter().find(|stamp| Some(&stamp.transaction) == transaction.id.as_ref());
        truth.push(stamp.and_then(|stamp| Some(stamp.statement.as_ref()?.to_string())));
    }
    truth
}

fn figures(transactions: &[Transaction], truth: &[Option<String>]) -> Figures {
    let mut figures = Figures { transactions: transactions.len(), ..Figures::default() };
    assert_eq!(transactions.len(), truth.len(), "one workload");
    for (transaction, truth) in transactions.iter().zip(truth) {
        let statements: Vec<_> = transaction.steps.iter().filter_map(|step| step.statement.as_ref()).collect();
        let Some(link) = statements.first().map(|statement| statement.link) else {
            figures.unlinked += 1;
            continue;
        };
        match link {
            StatementLink::TransactionId => figures.by_id += 1,
            StatementLink::SessionOrder => figures.by_order += 1,
            StatementLink::AmbiguousStatement | StatementLink::Ambiguous => figures.ambiguous += 1,
            StatementLink::Event => panic!("no event names its statement"),
        }
        // An EXECUTE counts as what it ran.
        let is_meant = |truth: &String| {
            truth.starts_with("EXECUTE ") || statements.iter().any(|statement| statement.sql.as_ref() == truth.as_str())
        };
        if !link.is_ambiguous() && !truth.as_ref().is_none_or(is_meant) {
            println!("wrong: {truth:?}: {:?}", statements.iter().map(|one| one.sql.as_ref()).collect::<Vec<_>>());
            figures.wrong += 1;
        }
    }
    figures
}

#[test]
fn each_transaction_is_joined_to_the_statements_that_made_it() {
    let truth = truth();
    println!("| pair | committed | by id | by order | ambiguous | not in the log | wrong |");
    println!("|---|---|---|---|---|---|---|");
    for Pair { pair, stamped, named, untold, doubtful } in PAIRS {
        let changes = read_whole(&format!("{pair}.wal2json-v2.jsonl"));
        let mut log = read_whole(&format!("{pair}.json")).log;
        if !named {
            log.iter_mut().for_each(|event| event.transaction = None);
        }
        let transactions = history(&changes, *stamped, &log);
        let Figures { transactions, by_id, by_order, ambiguous, unlinked, wrong } = figures(&transactions, &truth);
        assert_eq!(wrong, 0, "{pair}");
        assert!(unlinked <= *untold, "{pair}: {unlinked} of {transactions} are not joined");
        assert!(ambiguous <= *doubtful, "{pair}: {ambiguous} of {transactions} are ambiguous");
        let how = match (stamped, named) {
            (true, true) => ", stamps",
            (true, false) => ", stamps alone",
            (false, true) => "",
            (false, false) => ", order alone",
        };
        println!("| {pair}{how} | {transactions} | {by_id} | {by_order} | {ambiguous} | {unlinked} | {wrong} |");
    }
}

/// A log and the row changes beside it, and how they are joined.
struct Pair {
    pair: &'static str,
    /// Whether the stamps are used.
    stamped: bool,
    /// Whether the transaction ids of the log are.
    named: bool,
    /// How many transactions at most are not in the log: with `log_statement = mod`, calls and `DO` blocks are not; with
    /// `auto_explain` alone, neither are `COPY … FROM` and `TRUNCATE`.
    untold: usize,
    /// How many at most fit several places: next to a call or a block, of which the log does not tell what it wrote.
    doubtful: usize,
}

const fn pair(pair: &'static str, [stamped, named]: [bool; 2], [untold, doubtful]: [usize; 2]) -> Pair {
    Pair { pair, stamped, named, untold, doubtful }
}

const PAIRS: &[Pair] = &[
    pair("A", [false, true], [0, 0]),
    pair("A", [false, false], [0, 3]),
    pair("B", [false, true], [0, 2]),
    pair("B", [false, false], [0, 3]),
    pair("C", [false, true], [4, 0]),
    pair("D", [false, true], [6, 0]),
    pair("E-rows", [false, true], [0, 0]),
    pair("E-norows", [false, true], [0, 0]),
    // One of its tables was made later than the triggers, and so its writes bear no stamp.
    pair("Btag", [true, true], [0, 1]),
    pair("Btag2", [true, true], [0, 0]),
    pair("Btag2", [true, false], [0, 0]),
];
