//! Inserts that meet a row: what they do depends on whether it is there.

use super::*;

const DAY: &str = "2026-03-02";

#[tokio::test]
async fn a_row_that_should_not_be_there_kept_another_out() {
    let mut story = Story::new(shop());
    let wrong: WrittenRow<'_> = ("orders", &[], &["5", DAY, "1.00", "new"]);
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
    story.one("v42", insert, &["5", DAY, "1", "new"], &[wrong]);
    let careful = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING";
    story.one("v43", careful, &["5", DAY, "20", "paid"], &[]);
    let other: WrittenRow<'_> = ("orders", &[], &["6", DAY, "7.00", "paid"]);
    story.one("v43", careful, &["6", DAY, "7", "paid"], &[other]);

    let unwritten = [SuspectingFault { set: None, ..fault("orders", "id = 5", "total", "NULL") }];
    let found = story.trace(Suspicion::Faults(&unwritten)).await;
    let order = record(&found, "orders", "5");
    assert_eq!((order.role, order.state), (Role::Root, RecordState::Live));
    assert_eq!((cell(order, "total"), cell(order, "status")), (exactly("1.00", "20.00"), exactly("new", "paid")));
    assert_eq!(found.records.len(), 1, "{:#?}", found.records);
}

#[tokio::test]
async fn an_upsert_touches_the_row_that_it_names_and_no_other() {
    let mut story = Story::new(shop());
    let opened: [WrittenRow<'_>; 2] = [("accounts", &[], &["1", "100.00"]), ("accounts", &[], &["2", "200.00"])];
    story.one("v41", "INSERT INTO accounts VALUES ($1, $2), ($3, $4)", &["1", "100", "2", "200"], &opened);
    let set: WrittenRow<'_> = ("accounts", &["1", "100.00"], &["1", "999.00"]);
    story.one("v42", "UPDATE accounts SET balance = $1 WHERE id = ANY($2)", &["999", "{1}"], &[set]);
    let upsert = "INSERT INTO accounts VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET balance = accounts.balance + excluded.balance";
    story.one("v43", upsert, &["2", "5"], &[("accounts", &["2", "200.00"], &["2", "205.00"])]);
    story.one("v43", upsert, &["1", "5"], &[("accounts", &["1", "999.00"], &["1", "1004.00"])]);

    let faults = [fault("accounts", "balance = 999", "balance", "before.balance")];
    let found = story.trace(Suspicion::Faults(&faults)).await;
    assert_eq!(cell(record(&found, "accounts", "1"), "balance"), exactly("1004.00", "105.00"));
    assert_eq!((found.records.len(), found.limits.len()), (1, 0), "{found:#?}");
}

#[tokio::test]
async fn what_an_upsert_leaves_alone_keeps_its_difference() {
    let schemas = Schemas::from([table(
        "articles",
        &[
            ("sku", ColumnType::Text),
            ("net", money()),
            ("rate", money()),
            ("version", ColumnType::Integer),
            ("deleted_at", ColumnType::TimestampTz),
        ],
        &["sku"],
    )]);
    let mut story = Story::new(schemas);
    let upsert = "INSERT INTO articles (sku, net, rate) VALUES ($1, $2, $3) ON CONFLICT (sku) DO UPDATE
        SET net = excluded.net, version = articles.version + 1, deleted_at = NULL";
    story.one("v42", upsert, &["a", "10", "0.20"], &[("articles", &[], &["a", "10.00", "0.20", "1", "NULL"])]);
    let updated: WrittenRow<'_> =
        ("articles", &["a", "10.00", "0.20", "1", "NULL"], &["a", "11.00", "0.20", "2", "NULL"]);
    story.one("v41", upsert, &["a", "11", "0.07"], &[updated]);

    let found = story.trace(Suspicion::Faults(&[fault("articles", "rate = 0.20", "rate", "0.07")])).await;
    let article = record(&found, "articles", "a");
    assert_eq!(cell(article, "rate"), exactly("0.20", "0.07"));
    assert_eq!((article.role, article.columns.len(), found.limits.len()), (Role::Root, 1, 0), "{found:#?}");
}

#[tokio::test]
async fn a_row_that_is_met_in_the_right_world_alone_keeps_what_is_not_set() {
    let mut story = Story::new(shop());
    let wrong: WrittenRow<'_> = ("orders", &[], &["5", DAY, "1.00", "new"]);
    story.one("v42", "INSERT INTO orders VALUES ($1, $2, $3, $4)", &["5", DAY, "1", "new"], &[wrong]);
    let large = "INSERT INTO daily SELECT day, count(*), sum(total) FROM orders WHERE total > 10 GROUP BY day";
    story.one("v43", large, &[], &[]);
    let upsert = "INSERT INTO daily VALUES ($1, $2, $3) ON CONFLICT (day) DO UPDATE SET total = excluded.total";
    story.one("v43", upsert, &[DAY, "7", "3"], &[("daily", &[], &[DAY, "7", "3.00"])]);

    let found = story.trace(Suspicion::Faults(&[fault("orders", "id = 5", "total", "20")])).await;
    assert_eq!(cell(record(&found, "daily", DAY), "orders"), exactly("7", "1"));
    assert_eq!(found.records.len(), 2, "{found:#?}");
}

#[tokio::test]
async fn an_insert_that_names_no_key_meets_a_row_in_any() {
    let columns = [("id", ColumnType::Integer), ("mail", ColumnType::Text), ("name", ColumnType::Text)];
    let mut schemas = Schemas::from([table("customers", &columns, &["id"])]);
    let unique = UniqueKey { columns: vec!["mail".into()], is_plain: true };
    for schema in schemas.values_mut() {
        Arc::get_mut(schema).expect("nobody else holds it").unique_keys.push(unique.clone());
    }
    let mut story = Story::new(schemas);
    let insert = "INSERT INTO customers VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    let wrong = ["1", "a@b.x", "Ada"];
    story.one("v42", insert, &wrong, &[("customers", &[], &wrong)]);
    // In the right world the first has this mail.
    let second = ["2", "a@b.c", "Ben"];
    story.one("v43", insert, &second, &[("customers", &[], &second)]);
    let found = story.trace(Suspicion::Faults(&[fault("customers", "id = 1", "mail", "'a@b.c'")])).await;
    assert_eq!(cell(record(&found, "customers", "1"), "mail"), exactly("a@b.x", "a@b.c"));
    let other = record(&found, "customers", "2");
    assert_eq!((other.role, other.state), (Role::Derived, RecordState::Extra));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}
