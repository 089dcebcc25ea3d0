//! Tables computed by something that logs no SQL, as `[[derive]]` describes them.

use super::*;
use blast_radius::model::Derive;
use blast_radius::trace::{RepairAction, TraceError};

const DAILY: &str = "SELECT day, count(*) AS orders, sum(total) AS total FROM public.orders GROUP BY day";
const INSERT: &str = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, 'new')";
const SUNDAY: &str = "2026-03-01";
const MONDAY: &str = "2026-03-02";

fn daily() -> Derive {
    Derive { table: TableName::new("public", "daily"), key: vec!["day".into()], sql: DAILY.to_owned() }
}

impl Story {
    fn order(&mut self, release: &str, id: &str, day: &str, total: &str) {
        self.one(release, INSERT, &[id, day, total], &[("orders", &[], &[id, day, total, "new"])]);
    }

    /// Rows written by something of which no statement is known.
    fn silently(&mut self, writes: &[WrittenRow<'_>]) {
        let step = self.step("nightly-7", None, &[], writes);
        self.commit(vec![step]);
    }

    /// The row as the table holds it, written by something of which nothing is recorded.
    fn hold(&mut self, table: &str, cells: &[&str]) {
        let row = self.row(table, cells);
        let name: TableName = table.parse().expect("a table name");
        let key = row.key(&self.schemas[&name].key).expect("a key");
        self.tables.table_mut(&name).expect("the table").set_actual(&key, Some(Arc::new(row)));
    }
}

/// Two orders, the second a hundred times too dear.
fn a_wrong_order() -> Story {
    let mut story = Story::new(shop());
    story.derives = vec![daily()];
    story.order("v41", "1", MONDAY, "10.00");
    story.order("v41", "2", SUNDAY, "7.00");
    story.order("v42", "3", MONDAY, "2000.00");
    story
}

fn too_dear() -> [SuspectingFault; 1] {
    [fault("orders", "total > 1000", "total", "total / 100")]
}

#[tokio::test]
async fn a_table_of_which_no_write_is_recorded_is_recomputed_at_the_end() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    story.hold("daily", &[SUNDAY, "1", "7.00"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((sales.role, sales.state, sales.hops), (Role::Derived, RecordState::Live, 1));
    assert_eq!(cell(sales, "total"), exactly("2010.00", "30.00"));
    assert_eq!((sales.columns.len(), sales.repair), (1, RepairAction::Update));
    assert_eq!(sales.cause.as_ref().map(|cause| cause.key.to_string()).as_deref(), Some("3"));
    assert_eq!(found.records.len(), 2, "{found:#?}");
    assert_eq!(found.statements[0].statement.as_ref(), blast_radius::sql::template(DAILY));
}

#[tokio::test]
async fn a_row_that_the_query_does_not_reproduce_is_possible_and_never_guessed() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "1999.00"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((sales.role, sales.state, sales.repair), (Role::Possible, RecordState::Live, RepairAction::Manual));
    assert_eq!(cell(sales, "total"), ("1999.00".to_owned(), None, false));
}

#[tokio::test]
async fn a_row_computed_before_the_error_is_right() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "30.00"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn what_was_computed_from_an_error_that_is_mended_still_stands() {
    let mut story = a_wrong_order();
    let mended: WrittenRow<'_> = ("orders", &["3", MONDAY, "2000.00", "new"], &["3", MONDAY, "20.00", "new"]);
    story.one("v43", "UPDATE orders SET total = $1 WHERE id = $2", &["20", "3"], &[mended]);
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    assert_eq!(record(&found, "orders", "3").state, RecordState::Healed);
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((sales.role, sales.state), (Role::Derived, RecordState::Live));
    assert_eq!(cell(sales, "total"), exactly("2010.00", "30.00"));
}

#[tokio::test]
async fn a_recorded_write_is_judged_as_of_its_moment_and_carries_on() {
    let mut story = a_wrong_order();
    story.silently(&[("daily", &[], &[SUNDAY, "1", "7.00"]), ("daily", &[], &[MONDAY, "2", "2010.00"])]);
    story.one(
        "v43",
        "INSERT INTO accounts (id, balance) SELECT 1, sum(total) FROM daily",
        &[],
        &[("accounts", &[], &["1", "2017.00"])],
    );
    // Later orders do not matter to what was computed before them.
    story.order("v43", "4", MONDAY, "5.00");
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    assert_eq!(cell(record(&found, "daily", MONDAY), "total"), exactly("2010.00", "30.00"));
    let account = record(&found, "accounts", "1");
    assert_eq!((account.role, account.hops), (Role::Derived, 2));
    assert_eq!(cell(account, "balance"), exactly("2017.00", "37.00"));
    assert_eq!(found.records.len(), 3, "{:#?}", found.records);
}

#[tokio::test]
async fn a_later_computation_from_right_orders_heals() {
    let mut story = a_wrong_order();
    story.silently(&[("daily", &[], &[MONDAY, "2", "2010.00"])]);
    let mended: WrittenRow<'_> = ("orders", &["3", MONDAY, "2000.00", "new"], &["3", MONDAY, "20.00", "new"]);
    story.one("v43", "UPDATE orders SET total = $1 WHERE id = $2", &["20", "3"], &[mended]);
    story.silently(&[("daily", &[MONDAY, "2", "2010.00"], &[MONDAY, "2", "30.00"])]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((sales.role, sales.state), (Role::Derived, RecordState::Healed));
}

#[tokio::test]
async fn a_table_that_a_statement_reads_is_recomputed_before_it() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    story.hold("daily", &[SUNDAY, "1", "7.00"]);
    story.one(
        "v43",
        "INSERT INTO accounts (id, balance) SELECT 1, sum(total) FROM daily",
        &[],
        &[("accounts", &[], &["1", "2017.00"])],
    );
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("2017.00", "37.00"));
    assert_eq!(found.records.len(), 3, "{:#?}", found.records);
}

#[tokio::test]
async fn derived_tables_may_stand_on_each_other_in_any_order() {
    let mut story = a_wrong_order();
    let ranking = Derive {
        table: TableName::new("public", "ranking"),
        key: vec!["id".into()],
        sql: "SELECT 1 AS id, sum(orders) AS place FROM daily WHERE total > 100".to_owned(),
    };
    story.derives.insert(0, ranking);
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    story.hold("daily", &[SUNDAY, "1", "7.00"]);
    story.hold("ranking", &["1", "2"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    let place = record(&found, "ranking", "1");
    assert_eq!((place.role, place.hops), (Role::Derived, 2));
    assert_eq!(cell(place, "place"), exactly("2", "NULL"));
}

#[tokio::test]
async fn rows_only_one_world_has_are_missing_and_extra() {
    let mut story = Story::new(shop());
    story.derives = vec![daily()];
    story.order("v41", "1", MONDAY, "10.00");
    story.order("v42", "2", SUNDAY, "2000.00");
    story.hold("daily", &[MONDAY, "1", "10.00"]);
    story.hold("daily", &[SUNDAY, "1", "2000.00"]);
    let moved = [fault("orders", "total > 1000", "day", "DATE '2026-03-03'")];
    let found = story.trace(Suspicion::Faults(&moved)).await;
    let extra = record(&found, "daily", SUNDAY);
    assert_eq!((extra.role, extra.state, extra.repair), (Role::Derived, RecordState::Extra, RepairAction::Delete));
    let missing = record(&found, "daily", "2026-03-03");
    assert_eq!(
        (missing.role, missing.state, missing.repair),
        (Role::Derived, RecordState::Missing, RepairAction::Insert)
    );
    assert_eq!(cell(missing, "total").1.as_deref(), Some("2000.00"));
}

#[tokio::test]
async fn a_query_that_cannot_be_evaluated_makes_every_row_possible() {
    let mut story = a_wrong_order();
    story.derives[0].sql = "SELECT day, my_total(total) AS total FROM orders GROUP BY day".to_owned();
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    story.hold("daily", &[SUNDAY, "1", "7.00"]);
    let found = story.trace(Suspicion::Faults(&too_dear())).await;
    for day in [MONDAY, SUNDAY] {
        assert_eq!(record(&found, "daily", day).role, Role::Possible);
    }
    assert!(found.limits.iter().any(|limit| limit.contains("my_total")), "{:?}", found.limits);
}

#[tokio::test]
async fn what_should_not_have_been_written_is_not_counted() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    let unwritten = [SuspectingFault { set: None, ..fault("orders", "total > 1000", "total", "NULL") }];
    let found = story.trace(Suspicion::Faults(&unwritten)).await;
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((cell(sales, "orders"), cell(sales, "total")), (exactly("2", "1"), exactly("2010.00", "10.00")));
}

#[tokio::test]
async fn a_right_value_that_is_not_known_makes_just_what_is_computed_from_it_unknown() {
    let mut story = a_wrong_order();
    story.hold("daily", &[MONDAY, "2", "2010.00"]);
    story.hold("daily", &[SUNDAY, "1", "7.00"]);
    let orders: TableName = "orders".parse().expect("a table name");
    let rules = [SuspectingRule {
        id: "small".into(),
        table: orders.clone(),
        violating: Violating::Predicate("total > 1000".to_owned()),
        reads: [orders].into(),
        expected: vec![],
        blamed: vec!["total".into()],
        decides: None,
        group: None,
        reference: None,
    }];
    let found = story.trace(Suspicion::Violating(&rules)).await;
    let sales = record(&found, "daily", MONDAY);
    assert_eq!((sales.role, sales.columns.len()), (Role::Possible, 1));
    assert_eq!(cell(sales, "total"), ("2010.00".to_owned(), None, false));
    assert!(!found.records.iter().any(|record| record.key.to_string() == SUNDAY), "{:#?}", found.records);
}

#[tokio::test]
async fn what_is_no_query_is_refused() {
    for (sql, expected) in [("DELETE FROM orders", "not one query"), ("SELEC 1", "parse SQL")] {
        let mut story = a_wrong_order();
        story.derives[0].sql = sql.to_owned();
        let target = Target { release: ReleaseName::new("v42"), service: None, from: None, until: None };
        let (faults, settings) = (too_dear(), BTreeMap::new());
        let suspicion = Suspicion::Faults(&faults);
        let question = Question {
            target: &target,
            suspicion: &suspicion,
            rules: &[],
            derives: &story.derives,
            declarations: &story.declarations,
            list_suspects: false,
            settings: &settings,
        };
        let error = trace(&story.history, story.tables, &story.schemas, question).await.expect_err(sql);
        assert!(matches!(&error, TraceError::Evaluate { .. }) && error.to_string().contains(expected), "{error}");
    }
}
