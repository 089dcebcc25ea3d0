//! What the database does by itself: foreign keys that cascade, columns that it computes.

use blast_radius::model::{ForeignKey, GeneratedColumn, ReferentialAction, View};

use super::*;

/// Accounts with cards that go with them, and loans that stay.
fn bank() -> Schemas {
    let mut schemas = Schemas::from([
        table("accounts", &[("id", ColumnType::Integer), ("owner", ColumnType::Text)], &["id"]),
        table("cards", &[("id", ColumnType::Integer), ("account", ColumnType::Integer)], &["id"]),
        table("loans", &[("id", ColumnType::Integer), ("account", ColumnType::Integer)], &["id"]),
    ]);
    let actions = [("cards", ReferentialAction::Cascade), ("loans", ReferentialAction::SetNull)];
    for (name, on_delete) in actions {
        let name: TableName = name.parse().expect("a table name");
        let schema = schemas.get_mut(&name).and_then(Arc::get_mut).expect("nobody else holds it");
        schema.foreign_keys.push(ForeignKey {
            columns: vec!["account".into()],
            table: "accounts".parse().expect("a table name"),
            referenced: vec!["id".into()],
            on_delete,
            on_update: ReferentialAction::Cascade,
        });
    }
    schemas
}

fn opened() -> Story {
    let mut story = Story::new(bank());
    for id in ["1", "2"] {
        story.one("v41", "INSERT INTO accounts VALUES ($1, 'x')", &[id], &[("accounts", &[], &[id, "x"])]);
        story.one("v41", "INSERT INTO cards VALUES ($1, $1)", &[id], &[("cards", &[], &[id, id])]);
        story.one("v41", "INSERT INTO loans VALUES ($1, $1)", &[id], &[("loans", &[], &[id, id])]);
    }
    story
}

#[tokio::test]
async fn what_went_along_with_a_delete_that_should_not_have_been_is_missing() {
    let mut story = opened();
    let gone: [WrittenRow<'_>; 3] =
        [("accounts", &["1", "x"], &[]), ("cards", &["1", "1"], &[]), ("loans", &["1", "1"], &["1", "NULL"])];
    story.one("v42", "DELETE FROM accounts WHERE id = $1", &["1"], &gone);

    let unwritten = [SuspectingFault {
        operations: vec![Operation::Delete],
        set: None,
        ..fault("accounts", "id = 1", "owner", "NULL")
    }];
    let found = story.trace(Suspicion::Faults(&unwritten)).await;
    let (card, loan) = (record(&found, "cards", "1"), record(&found, "loans", "1"));
    assert_eq!((card.role, card.state), (Role::Derived, RecordState::Missing));
    assert_eq!(cell(card, "account"), exactly("NULL", "1"));
    assert_eq!((loan.role, cell(loan, "account")), (Role::Derived, exactly("NULL", "1")));
    assert_eq!((found.records.len(), found.limits.len()), (3, 0), "{found:#?}");
}

#[tokio::test]
async fn what_is_deleted_in_the_right_world_alone_takes_its_own_along() {
    let mut story = opened();
    story.one(
        "v42",
        "UPDATE accounts SET owner = 'kept' WHERE id = 2",
        &[],
        &[("accounts", &["2", "x"], &["2", "kept"])],
    );
    let gone: [WrittenRow<'_>; 3] =
        [("accounts", &["1", "x"], &[]), ("cards", &["1", "1"], &[]), ("loans", &["1", "1"], &["1", "NULL"])];
    story.one("v43", "DELETE FROM accounts WHERE owner = 'x'", &[], &gone);

    let found = story.trace(Suspicion::Faults(&[fault("accounts", "owner = 'kept'", "owner", "'x'")])).await;
    let (card, loan) = (record(&found, "cards", "2"), record(&found, "loans", "2"));
    assert_eq!((card.role, card.state), (Role::Derived, RecordState::Extra));
    assert_eq!((loan.role, cell(loan, "account")), (Role::Derived, exactly("2", "NULL")));
    assert_eq!((found.records.len(), found.limits.len()), (3, 0), "{found:#?}");
}

#[tokio::test]
async fn a_key_that_changes_changes_what_refers_to_it() {
    let mut story = opened();
    let moved: [WrittenRow<'_>; 3] = [
        ("accounts", &["1", "x"], &["7", "x"]),
        ("cards", &["1", "1"], &["1", "7"]),
        ("loans", &["1", "1"], &["1", "7"]),
    ];
    story.one("v42", "UPDATE accounts SET id = 7 WHERE id = 1", &[], &moved);

    let found = story.trace(Suspicion::Faults(&[fault("accounts", "id = 7", "id", "8")])).await;
    for table in ["cards", "loans"] {
        assert_eq!(cell(record(&found, table, "1"), "account"), exactly("7", "8"), "{found:#?}");
    }
}

#[tokio::test]
async fn a_key_that_changes_in_the_right_world_alone_changes_what_refers_to_it() {
    let mut story = opened();
    let gone: [WrittenRow<'_>; 3] =
        [("accounts", &["1", "x"], &[]), ("cards", &["1", "1"], &[]), ("loans", &["1", "1"], &["1", "NULL"])];
    story.one("v42", "DELETE FROM accounts WHERE id = 1", &[], &gone);
    story.one("v43", "UPDATE accounts SET id = id + 6 WHERE id < 2", &[], &[]);

    let unwritten = [SuspectingFault {
        operations: vec![Operation::Delete],
        set: None,
        ..fault("accounts", "true", "owner", "NULL")
    }];
    let found = story.trace(Suspicion::Faults(&unwritten)).await;
    assert_eq!(record(&found, "accounts", "7").state, RecordState::Missing);
    assert_eq!(cell(record(&found, "cards", "1"), "account"), exactly("NULL", "7"));
    assert_eq!(cell(record(&found, "loans", "1"), "account"), exactly("NULL", "7"));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

/// What runs before an account is written, and changes its owner.
fn trigger() -> Vec<Arc<str>> {
    vec![
        "CREATE OR REPLACE FUNCTION public.named() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF NEW.id > 100 THEN NEW.owner := 'big'; END IF; RETURN NEW; END $$"
            .into(),
        "CREATE TRIGGER named BEFORE UPDATE ON public.accounts FOR EACH ROW EXECUTE FUNCTION public.named()".into(),
    ]
}

#[tokio::test]
async fn what_a_trigger_changes_of_what_is_written_in_the_right_world_alone_is_not_known() {
    let mut story = opened();
    story.declarations.definitions = trigger();
    let gone: [WrittenRow<'_>; 3] =
        [("accounts", &["1", "x"], &[]), ("cards", &["1", "1"], &[]), ("loans", &["1", "1"], &["1", "NULL"])];
    story.one("v42", "DELETE FROM accounts WHERE id = 1", &[], &gone);
    story.one("v43", "UPDATE accounts SET id = id + 600 WHERE id < 2", &[], &[]);

    let unwritten = [SuspectingFault {
        operations: vec![Operation::Delete],
        set: None,
        ..fault("accounts", "true", "owner", "NULL")
    }];
    let found = story.trace(Suspicion::Faults(&unwritten)).await;
    let account = record(&found, "accounts", "601");
    assert_eq!((account.state, cell(account, "owner")), (RecordState::Missing, ("NULL".to_owned(), None, false)));
}

#[tokio::test]
async fn a_column_that_the_database_computes_follows_its_row() {
    let schemas = Schemas::from([
        table(
            "articles",
            &[("sku", ColumnType::Text), ("net", money()), ("gross", ColumnType::Numeric(Some((14, 4))))],
            &["sku"],
        ),
        table("sales", &[("id", ColumnType::Integer), ("gross", money())], &["id"]),
    ]);
    let mut story = Story::new(schemas);
    let insert = "INSERT INTO articles (sku, net) VALUES ($1, $2)";
    story.one("v42", insert, &["a", "100"], &[("articles", &[], &["a", "100.00", "119.0000"])]);
    let sell = "INSERT INTO sales SELECT 1, gross FROM articles WHERE sku = 'a'";
    story.one("v43", sell, &[], &[("sales", &[], &["1", "119.00"])]);
    story.declarations.generated.push(GeneratedColumn {
        table: "articles".parse().expect("a table name"),
        column: "gross".into(),
        expression: "(net * ((1)::numeric + 0.19))".into(),
    });

    let found = story.trace(Suspicion::Faults(&[fault("articles", "net = 100", "net", "10")])).await;
    let article = record(&found, "articles", "a");
    assert_eq!(
        (cell(article, "net"), cell(article, "gross")),
        (exactly("100.00", "10.00"), exactly("119.0000", "11.9000"))
    );
    assert_eq!(cell(record(&found, "sales", "1"), "gross"), exactly("119.00", "11.90"));
    assert_eq!(found.limits.len(), 0, "{found:#?}");
}

#[tokio::test]
async fn a_column_that_cannot_be_computed_again_is_not_known() {
    let schemas = Schemas::from([table(
        "articles",
        &[("sku", ColumnType::Text), ("net", money()), ("hash", ColumnType::Text)],
        &["sku"],
    )]);
    let mut story = Story::new(schemas);
    let insert = "INSERT INTO articles (sku, net) VALUES ($1, $2)";
    story.one("v42", insert, &["a", "100"], &[("articles", &[], &["a", "100.00", "f899"])]);
    story.declarations.generated.push(GeneratedColumn {
        table: "articles".parse().expect("a table name"),
        column: "hash".into(),
        expression: "public.own_hash(net)".into(),
    });

    let found = story.trace(Suspicion::Faults(&[fault("articles", "net = 100", "net", "10")])).await;
    assert_eq!(cell(record(&found, "articles", "a"), "hash"), ("f899".to_owned(), None, false));
    assert!(found.limits.iter().any(|limit| limit.contains("own_hash")), "{:?}", found.limits);
}

#[tokio::test]
async fn a_view_is_read_as_what_it_is_a_view_of() {
    let mut story = Story::new(shop());
    let view = |name: &str, sql: &str| View { name: name.parse().expect("a name"), sql: sql.into() };
    story.declarations.views = vec![
        view("dear", "SELECT o.id, o.day, o.total FROM public.orders o WHERE (o.total > (10)::numeric);"),
        view(
            "dear_days",
            "SELECT dear.day, count(*) AS orders, sum(dear.total) AS total FROM public.dear GROUP BY dear.day;",
        ),
    ];
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
    story.one(
        "v42",
        insert,
        &["1", "2026-03-02", "200", "new"],
        &[("orders", &[], &["1", "2026-03-02", "200.00", "new"])],
    );
    let daily: WrittenRow<'_> = ("daily", &[], &["2026-03-02", "1", "200.00"]);
    story.one("v43", "INSERT INTO daily SELECT day, orders, total FROM dear_days d", &[], &[daily]);

    let found = story.trace(Suspicion::Faults(&[fault("orders", "total = 200", "total", "20")])).await;
    assert_eq!(cell(record(&found, "daily", "2026-03-02"), "total"), exactly("200.00", "20.00"));
    assert_eq!((found.records.len(), found.limits.len()), (2, 0), "{found:#?}");
}

#[tokio::test]
async fn what_is_read_from_a_table_that_nobody_knows_is_possible() {
    let mut story = Story::new(shop());
    let insert = "INSERT INTO orders (id, day, total, status) VALUES ($1, $2, $3, $4)";
    story.one(
        "v42",
        insert,
        &["1", "2026-03-02", "200", "new"],
        &[("orders", &[], &["1", "2026-03-02", "200.00", "new"])],
    );
    let daily: WrittenRow<'_> = ("daily", &[], &["2026-03-02", "1", "200.00"]);
    story.one("v43", "INSERT INTO daily SELECT day, orders, total FROM sums_of_yesterday", &[], &[daily]);
    story.one("v43", "INSERT INTO audit_without_key SELECT now()", &[], &[]);
    let read = story.step("v43", Some("SELECT typname FROM pg_catalog.pg_type WHERE oid = ANY ($1)"), &["{23}"], &[]);
    let written = story.step(
        "v43",
        Some("INSERT INTO accounts VALUES ($1, $2)"),
        &["1", "5"],
        &[("accounts", &[], &["1", "5.00"])],
    );
    story.commit(vec![read, written]);

    let found = story.trace(Suspicion::Faults(&[fault("orders", "total = 200", "total", "20")])).await;
    let day = record(&found, "daily", "2026-03-02");
    assert_eq!((day.role, cell(day, "total")), (Role::Possible, ("200.00".to_owned(), None, false)));
    // The statement, that its table may lack rows, and that a scratch server may run it.
    assert_eq!((found.records.len(), found.limits.len()), (2, 3), "{found:#?}");
}
