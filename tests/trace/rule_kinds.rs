//! Rules of every kind that names records, in a trace: which write of the release is the root, and what stood before it.

use blast_radius::audit::RuleSet;
use blast_radius::trace::suspecting_rules;

use super::*;

/// The rules of a check, as a trace judges by them.
async fn rules(schemas: &Schemas, table: &str, check: &str) -> Vec<SuspectingRule> {
    rules_expecting(schemas, table, check, "").await
}

/// The same of a rule that says what its cells should hold.
async fn rules_expecting(schemas: &Schemas, table: &str, check: &str, expect: &str) -> Vec<SuspectingRule> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("rules.yaml");
    let text =
        format!("rules:\n  - id: kind\n    table: {table}\n    check: {{ {check} }}\n    expect: {{ {expect} }}\n");
    std::fs::write(&path, text).expect("the rules can be written");
    let set = RuleSet::load(&[path], schemas).await.expect("the rule is right");
    suspecting_rules(&set, schemas)
}

async fn roots(story: Story, table: &str, check: &str) -> BlastRadius {
    let rules = rules(&story.schemas, table, check).await;
    assert_eq!(rules.len(), 1);
    story.trace(Suspicion::Violating(&rules)).await
}

/// An order that one release places and others update.
fn order(story: &mut Story, id: &str, versions: &[(&str, [&str; 3])]) {
    let mut before: Option<[&str; 4]> = None;
    for (release, [day, total, status]) in versions {
        let after = [id, day, total, status];
        match before {
            None => {
                let sql = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
                story.one(release, sql, &after, &[("orders", &[], &after)]);
            }
            Some(before) => {
                let sql = "UPDATE orders SET day = $2, total = $3, status = $4 WHERE id = $1";
                story.one(release, sql, &after, &[("orders", &before, &after)]);
            }
        }
        before = Some(after);
    }
}

const DAY: &str = "2026-03-02";

#[tokio::test]
async fn a_forbidden_transition_is_a_root() {
    let mut story = Story::new(shop());
    order(&mut story, "1", &[("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "10.00", "paid"])]);
    order(&mut story, "2", &[("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "10.00", "shipped"])]);
    // Somebody else's forbidden step is none of v42's.
    order(&mut story, "3", &[("v41", [DAY, "10.00", "paid"]), ("v41", [DAY, "10.00", "new"])]);
    let found = roots(story, "orders", "transition: {column: status, allowed: {new: [paid], paid: [shipped]}}").await;
    let root = record(&found, "orders", "2");
    assert_eq!((root.role, root.state), (Role::Root, RecordState::Live));
    assert_eq!(cell(root, "status"), exactly("shipped", "new"));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn a_forbidden_beginning_is_a_root_without_a_right_value() {
    let mut story = Story::new(shop());
    order(&mut story, "1", &[("v42", [DAY, "10.00", "shipped"])]);
    let check = "transition: {column: status, allowed: {new: [shipped]}, initial: [new]}";
    let found = roots(story, "orders", check).await;
    let root = record(&found, "orders", "1");
    assert_eq!(root.role, Role::Root);
    assert_eq!(cell(root, "status"), ("shipped".to_owned(), None, false));
}

#[tokio::test]
async fn a_changed_immutable_column_is_a_root_and_later_writes_carry_it() {
    let mut story = Story::new(shop());
    order(&mut story, "1", &[("v41", [DAY, "10.00", "new"]), ("v42", ["2026-03-03", "10.00", "new"])]);
    let paid: WrittenRow<'_> = ("orders", &["1", "2026-03-03", "10.00", "new"], &["1", "2026-03-03", "10.00", "paid"]);
    story.one("v43", "UPDATE orders SET status = 'paid' WHERE id = $1", &["1"], &[paid]);
    let found = roots(story, "orders", "immutable: [day]").await;
    assert_eq!(cell(record(&found, "orders", "1"), "day"), exactly("2026-03-03", DAY));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn a_value_that_goes_back_is_a_root() {
    let mut story = Story::new(shop());
    order(&mut story, "1", &[("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "9.00", "new"])]);
    order(&mut story, "2", &[("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "11.00", "new"])]);
    let found = roots(story, "orders", "monotonic: {column: total, direction: increasing}").await;
    assert_eq!(cell(record(&found, "orders", "1"), "total"), exactly("9.00", "10.00"));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn of_a_group_that_is_off_the_release_s_writes_are_roots() {
    let mut story = Story::new(shop());
    let sql = Some("INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)");
    for (first, second, day) in [("1", "2", DAY), ("3", "4", "2026-03-03")] {
        let one = [first, day, "60.00", "new"];
        let other = [second, day, "-60.00", "new"];
        let steps = [one, other].map(|row| story.step("v41", sql, &row, &[("orders", &[], &row)]));
        story.commit(steps.into());
    }
    story.one(
        "v42",
        "UPDATE orders SET total = $2 WHERE id = $1",
        &["1", "61.00"],
        &[("orders", &["1", DAY, "60.00", "new"], &["1", DAY, "61.00", "new"])],
    );
    story.one(
        "v42",
        "DELETE FROM orders WHERE id = $1",
        &["3"],
        &[("orders", &["3", "2026-03-03", "60.00", "new"], &[])],
    );
    let found = roots(story, "orders", "balance: {sum: total, by: [day], equals: '0'}").await;
    assert_eq!(cell(record(&found, "orders", "1"), "total"), exactly("61.00", "60.00"));
    let deleted = record(&found, "orders", "3");
    assert_eq!((deleted.role, deleted.state), (Role::Root, RecordState::Missing));
    assert_eq!(found.records.len(), 2, "{:#?}", found.records);
}

#[tokio::test]
async fn a_number_that_repeats_is_the_root_not_the_one_it_repeats() {
    let mut story = Story::new(shop());
    for (release, id, place) in [("v41", "1", "1"), ("v41", "2", "2"), ("v42", "3", "2"), ("v42", "4", "3")] {
        let sql = "INSERT INTO ranking (id, place) VALUES ($1, $2)";
        story.one(release, sql, &[id, place], &[("ranking", &[], &[id, place])]);
    }
    let found = roots(story, "ranking", "sequence: {column: place}").await;
    let root = record(&found, "ranking", "3");
    assert_eq!((root.role, cell(root, "place")), (Role::Root, ("2".to_owned(), None, false)));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn what_no_image_tells_breaks_no_rule() {
    let mut story = Story::new(shop());
    let sql = "INSERT INTO orders (id, day, total) VALUES ($1, $2, $3)";
    // An event may leave out what a default gave: the status is not known, so nobody can say that it is missing.
    story.one("v42", sql, &["1", DAY, "10.00"], &[("orders", &[], &["1", DAY, "10.00"])]);
    story.one("v42", sql, &["2", DAY, "10.00"], &[("orders", &[], &["2", DAY, "10.00", "NULL"])]);
    let found = roots(story, "orders", "not_null: [status]").await;
    assert_eq!(record(&found, "orders", "2").role, Role::Root);
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
    let limit = "the rule kind was not judged where no image tells a column that it reads";
    assert_eq!(found.limits, [limit], "one line for it");
}

#[tokio::test]
async fn what_no_image_tells_gives_no_right_value() {
    let mut story = Story::new(shop());
    let sql = "INSERT INTO orders (id, day, total) VALUES ($1, $2, $3)";
    story.one("v42", sql, &["1", DAY, "-10.00"], &[("orders", &[], &["1", DAY, "-10.00"])]);
    story.one("v42", sql, &["2", DAY, "-10.00"], &[("orders", &[], &["2", DAY, "-10.00", "open"])]);
    let expect = "total: \"CASE WHEN status = 'open' THEN 10 ELSE 5 END\"";
    let rules = rules_expecting(&story.schemas, "orders", "range: {column: total, min: 0}", expect).await;
    let found = story.trace(Suspicion::Violating(&rules)).await;
    let told = record(&found, "orders", "2");
    assert_eq!(cell(told, "total"), exactly("-10.00", "10.00"));
    let untold = record(&found, "orders", "1");
    assert_eq!(untold.role, Role::Root);
    assert_eq!(cell(untold, "total").1, None, "its status decides, and nobody knows it");
}

#[tokio::test]
async fn what_the_release_gets_wrong_again_is_wrong_again() {
    let mut story = Story::new(shop());
    let versions = [("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "-5.00", "new"]), ("v42", [DAY, "-7.00", "paid"])];
    order(&mut story, "1", &versions);
    let found = roots(story, "orders", "range: {column: total, min: 0}").await;
    let root = record(&found, "orders", "1");
    assert_eq!((root.role, root.state), (Role::Root, RecordState::Live));
    assert_eq!(cell(root, "total"), exactly("-7.00", "10.00"));
}

#[tokio::test]
async fn what_the_release_gets_wrong_again_is_wrong_again_beside_another_table() {
    let mut story = Story::new(shop());
    let opened: [WrittenRow<'_>; 1] = [("accounts", &[], &["1", "10.00"])];
    story.one("v41", "INSERT INTO accounts VALUES (1, 10)", &[], &opened);
    let versions = [("v41", [DAY, "10.00", "new"]), ("v42", [DAY, "-5.00", "new"]), ("v42", [DAY, "-7.00", "paid"])];
    order(&mut story, "1", &versions);
    let check = "equals: {column: total, sql: '(SELECT a.balance FROM accounts AS a WHERE a.id = orders.id)'}";
    let found = roots(story, "orders", check).await;
    let root = record(&found, "orders", "1");
    assert_eq!((root.role, root.state), (Role::Root, RecordState::Live));
    assert_eq!(cell(root, "total"), exactly("-7.00", "10.00"));
}
