//! The outbox: row triggers that keep each write's images, and the relay that hands them out in commit order.

use serde_json::{Map, Value};
use tokio_postgres::{Client, Row};

use super::Telling;

/// What is committed, as it was: `track_commit_timestamp` says in which order.
const COMMITTED_WRITES: &str = r#"
SELECT to_char(pg_xact_commit_timestamp(tx) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"') AS ts,
       tx::text, session, application_name, operation, statement,
       format('%s.%s', relnamespace::regnamespace, relname) AS "table",
       before::text, after::text,
       ARRAY(SELECT attname::text
             FROM pg_index, unnest(indkey) WITH ORDINALITY AS place (attnum, position)
             JOIN pg_attribute USING (attnum)
             WHERE indisprimary AND indrelid = relation AND attrelid = relation
             ORDER BY position) AS key,
       ARRAY(SELECT attname::text FROM pg_attribute WHERE attrelid = relation AND attgenerated <> '') AS generated
FROM outbox.writes JOIN pg_class ON pg_class.oid = relation
ORDER BY pg_xact_commit_timestamp(tx), id
"#;

/// Lets every table of `public` write to the outbox.
pub async fn install(client: &Client) {
    client.batch_execute(include_str!("outbox.sql")).await.expect("the outbox can be installed");
}

/// Leaves the database as if it had never been recorded.
pub async fn remove(client: &Client) {
    client.batch_execute("DROP SCHEMA outbox CASCADE").await.expect("the outbox can be removed");
}

/// Every committed write as an event, a line each, numbered in commit order, as such a recording has it.
pub async fn drain(client: &Client, telling: Telling) -> Vec<String> {
    let writes = client.query(COMMITTED_WRITES, &[]).await.expect("the outbox can be read");
    writes.iter().zip(1_u64..).map(|(write, seq)| event(write, seq, telling)).collect()
}

fn event(write: &Row, seq: u64, telling: Telling) -> String {
    let image = |column: &str| -> Option<Value> {
        let text: Option<String> = write.get(column);
        let mut image: Map<String, Value> = serde_json::from_str(&text?).expect("PostgreSQL writes JSON");
        let generated: Vec<String> = write.get("generated");
        image.retain(|column, _| telling != Telling::Decoded || !generated.contains(column));
        Some(Value::Object(image))
    };
    let (before, after) = (image("before"), image("after"));
    let row = after.as_ref().or(before.as_ref()).expect("a row write has an image");
    let key_columns: Vec<String> = write.get("key");
    let key: Map<String, Value> =
        key_columns.into_iter().map(|column| (column.clone(), row[&column].clone())).collect();
    let text = |column: &str| Value::String(write.get(column));

    let mut event = Map::new();
    event.insert("ts".to_owned(), text("ts"));
    // As an application does that knows its own release; a person at a console has none.
    if let Some((service, release)) = write.get::<_, &str>("application_name").split_once('@') {
        event.insert("release".to_owned(), release.into());
        event.insert("service".to_owned(), service.into());
    }
    event.insert("tx".to_owned(), text("tx"));
    event.insert("seq".to_owned(), seq.into());
    event.insert("table".to_owned(), text("table"));
    event.insert("op".to_owned(), text("operation"));
    event.insert("key".to_owned(), Value::Object(key));
    event.extend(before.map(|image| ("before".to_owned(), image)));
    event.extend(after.map(|image| ("after".to_owned(), image)));
    event.insert("session".to_owned(), text("session"));
    if telling == Telling::Events {
        event.insert("statement".to_owned(), text("statement"));
    }
    Value::Object(event).to_string()
}
