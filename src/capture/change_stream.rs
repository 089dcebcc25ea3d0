//! The row changes of a database's own change stream, put into transactions, whatever decoded them.
//!
//! In: where a transaction begins, its changes and its stamps, in the order of commits. Out: [`RecordedWrite`]s and
//! [`RecordedStamp`]s with an identity that is the same whichever recording of the same changes they come from.

use std::collections::HashMap;
use std::sync::Arc;

use super::read::identity;
use super::stamp::Stamp;
use crate::model::{
    Operation, RecordedStamp, RecordedWrite, RecordingId, Row, TableName, Timestamp, TransactionId, Value,
};

/// Places between two neighbouring bytes of the write-ahead log: a commit is some thirty bytes long.
pub(super) const PLACES_PER_BYTE: u64 = 4_096;

/// A position in PostgreSQL's write-ahead log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(pub u64);

impl LogPosition {
    /// Reads `0/33F27A0`.
    ///
    /// # Errors
    /// A text of another form.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let halves = text.split_once('/').and_then(|(high, low)| {
            let half = |digits: &str| u32::from_str_radix(digits, 16).ok();
            Some(u64::from(half(high)?) << 32 | u64::from(half(low)?))
        });
        halves.map(LogPosition).ok_or_else(|| format!("'{text}' is no position in the write-ahead log"))
    }
}

/// What the stream says of a transaction where it begins.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct TransactionHead {
    /// PostgreSQL's transaction id.
    pub(super) id: Option<TransactionId>,
    /// When it was committed.
    pub(super) committed: Option<Timestamp>,
    /// Where its commit stands in the write-ahead log.
    pub(super) position: Option<LogPosition>,
}

/// What a change did to one row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct RowChange {
    pub(super) table: TableName,
    pub(super) operation: Operation,
    /// Empty where an image holds the key.
    pub(super) key: Row,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

/// A stream from its first line on.
#[derive(Default)]
pub(super) struct ChangeStream {
    head: TransactionHead,
    /// How many changes of each table the transaction made so far.
    changes: HashMap<TableName, u64>,
    stamps: u64,
    /// When the transaction's last stamped statement began.
    stamped: Option<Timestamp>,
    /// The latest time that the stream told.
    latest: Option<Timestamp>,
    last_place: u64,
    /// Of everything so far: the identity of what has neither transaction id nor time.
    content: blake3::Hasher,
}

impl ChangeStream {
    /// A stream that goes on after one whose last place this was.
    pub(super) fn after(last_place: u64) -> Self {
        ChangeStream { last_place, ..ChangeStream::default() }
    }

    /// The last place that was given.
    pub(super) fn last_place(&self) -> u64 {
        self.last_place
    }

    /// The next transaction begins.
    pub(super) fn begin(&mut self, head: TransactionHead) {
        self.latest = self.latest.max(head.committed);
        self.head = head;
        self.changes.clear();
        self.stamps = 0;
        self.stamped = None;
    }

    /// What a single change says of its transaction: where it is another than the one under way, by its id or by the
    /// time of its commit, that one begins.
    pub(super) fn belongs_to(&mut self, id: Option<TransactionId>, committed: Option<Timestamp>) {
        let is_told_otherwise =
            self.head.committed.is_some() && committed.is_some() && committed != self.head.committed;
        if id.is_some() && id != self.head.id || is_told_otherwise {
            self.begin(TransactionHead { id, committed, position: None });
        } else if self.head.committed.is_none() && committed.is_some() {
            self.latest = self.latest.max(committed);
            self.head.committed = committed;
        }
    }

    /// A change of the transaction under way.
    ///
    /// # Errors
    /// A change of which nothing says when it was made.
    pub(super) fn write(&mut self, change: RowChange) -> Result<RecordedWrite, String> {
        let ts = self.time()?;
        let id = self.identity_of(&change);
        Ok(RecordedWrite {
            id,
            seq: self.next_place(),
            ts,
            table: change.table,
            operation: change.operation,
            key: change.key,
            before: change.before,
            after: change.after,
            reads: Vec::new(),
            transaction: self.head.id.clone(),
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        })
    }

    /// A stamp of the transaction under way.
    ///
    /// # Errors
    /// A stamp that no transaction can be told for, or no time.
    pub(super) fn stamp(&mut self, stamp: Stamp) -> Result<RecordedStamp, String> {
        if self.head.id.is_none() {
            self.head.id = stamp.transaction.clone();
        }
        self.stamped = stamp.statement_time.or(self.stamped);
        let ts = self.time()?;
        let Some(transaction) = self.head.id.clone() else {
            return Err("neither the stamp nor the stream names the transaction: record with include-xids".to_owned());
        };
        self.stamps += 1;
        let mut parts = IdentityParts::new("stamp");
        parts.add(transaction.0.as_bytes());
        parts.add(&self.head.committed.map(Timestamp::as_micros).unwrap_or_default().to_le_bytes());
        parts.add(&self.stamps.to_le_bytes());
        let place = self.next_place();
        Ok(stamp.of_transaction(transaction, parts.finish(), place, ts))
    }

    /// The commit's time; in a stream that tells none, the stamp's, and never earlier than a transaction before it:
    /// the stream is in the order of commits, and statements begin in another.
    fn time(&mut self) -> Result<Timestamp, String> {
        if let Some(committed) = self.head.committed {
            return Ok(committed);
        }
        self.latest = self.latest.max(self.stamped);
        self.latest.ok_or_else(|| {
            "nothing says when this was committed: record with include-timestamp, or stamp transactions".to_owned()
        })
    }

    /// A place after every earlier one of the stream, in the order of commits across recordings.
    fn next_place(&mut self) -> Option<u64> {
        let base = self.head.position?.0.checked_mul(PLACES_PER_BYTE)?;
        let place = base.max(self.last_place.checked_add(1)?);
        self.last_place = place;
        // The store keeps it as a signed integer.
        i64::try_from(place).is_ok().then_some(place)
    }

    fn identity_of(&mut self, change: &RowChange) -> RecordingId {
        let nth = self.changes.entry(change.table.clone()).or_insert(0);
        *nth += 1;
        let mut parts = IdentityParts::new("change");
        parts.add(change.table.schema.as_bytes());
        parts.add(change.table.table.as_bytes());
        parts.add(change.operation.as_str().as_bytes());
        parts.add(&nth.to_le_bytes());
        // One decoder tells a NULL that another leaves out, and only some tell the image before an update.
        let told = match change.operation {
            Operation::Delete => change.before.as_ref(),
            _ => change.after.as_ref(),
        };
        for (column, value) in told.into_iter().flat_map(Row::iter) {
            if let Some(text) = value.as_str() {
                parts.add(column.as_bytes());
                parts.add(text.as_bytes());
            }
        }
        match (&self.head.id, self.head.committed) {
            (None, None) => {
                self.content.update(&parts.finish().0);
                return identity(&self.content);
            }
            (id, committed) => {
                parts.add(id.as_ref().map_or(b"".as_slice(), |id| id.0.as_bytes()));
                parts.add(&committed.map(Timestamp::as_micros).unwrap_or_default().to_le_bytes());
            }
        }
        parts.finish()
    }
}

/// Parts of an identity, each with its length, so that no two lists of parts are written alike.
pub(super) struct IdentityParts(blake3::Hasher);

impl IdentityParts {
    /// Of a fact of this kind.
    pub(super) fn new(kind: &str) -> Self {
        let mut parts = IdentityParts(blake3::Hasher::new());
        parts.add(kind.as_bytes());
        parts
    }

    pub(super) fn add(&mut self, part: &[u8]) {
        self.0.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_le_bytes());
        self.0.update(part);
    }

    pub(super) fn finish(&self) -> RecordingId {
        identity(&self.0)
    }
}

/// Adds a column.
///
/// # Errors
/// A column that the image holds already.
pub(super) fn add_column(row: &mut Row, column: Arc<str>, value: Value) -> Result<(), String> {
    if row.get(&column).is_some() {
        return Err(format!("column `{column}` stands twice in one image"));
    }
    row.push(column, value);
    Ok(())
}

/// The image after an update with what its source leaves out because it did not change: an oversized value that the
/// image before has.
pub(super) fn with_unchanged(mut after: Row, before: Option<&Row>) -> Row {
    for (column, value) in before.into_iter().flat_map(Row::iter) {
        if after.get(column).is_none() {
            after.push(Arc::clone(column), value.clone());
        }
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(id: &str) -> RowChange {
        let mut after = Row::new();
        after.push("id".into(), Value::text(id));
        let table = TableName::new("public", "t");
        RowChange { table, operation: Operation::Insert, key: Row::new(), before: None, after: Some(after) }
    }

    fn head(id: &str, micros: i64, position: &str) -> TransactionHead {
        TransactionHead {
            id: Some(TransactionId(id.into())),
            committed: Some(Timestamp::from_micros(micros)),
            position: Some(LogPosition::parse(position).expect("a position")),
        }
    }

    #[test]
    fn places_follow_the_commits_however_large_a_transaction_is() {
        let mut stream = ChangeStream::default();
        stream.begin(head("7", 10, "0/33F27A0"));
        let first = stream.write(change("1")).expect("a write").seq;
        assert_eq!(first, Some(0x33F_27A0 * PLACES_PER_BYTE));
        stream.last_place = 0x33F_27D5 * PLACES_PER_BYTE;
        stream.begin(head("8", 10, "0/33F27D0"));
        assert!(stream.write(change("1")).expect("a write").seq > Some(0x33F_27D5 * PLACES_PER_BYTE));
        assert!(LogPosition::parse("33F27A0").is_err());
        assert_eq!(LogPosition::parse("1/0"), Ok(LogPosition(1 << 32)));
    }

    #[test]
    fn the_same_change_has_one_identity_and_a_repeated_one_another() {
        let ids = |transactions: &[&str]| -> Vec<RecordingId> {
            let mut stream = ChangeStream::default();
            let mut ids = Vec::new();
            for id in transactions {
                stream.begin(head(id, 10, "0/1"));
                ids.extend([change("1"), change("1")].map(|change| stream.write(change).expect("a write").id));
            }
            ids
        };
        let (once, later) = (ids(&["7", "8"]), ids(&["8"]));
        assert_eq!(once[2..], later[..], "a recording that begins later");
        let mut distinct = once.clone();
        distinct.sort();
        distinct.dedup();
        assert_eq!(distinct.len(), once.len(), "the same row twice in a table without a key");
    }

    #[test]
    fn without_ids_another_time_of_commit_is_another_transaction() {
        let mut stream = ChangeStream::default();
        let writes = [10, 10, 20, 20].map(|micros| {
            stream.belongs_to(None, Some(Timestamp::from_micros(micros)));
            stream.write(change("1")).expect("a write")
        });
        assert_eq!(writes.each_ref().map(|write| write.ts.as_micros()), [10, 10, 20, 20]);
        let mut later = ChangeStream::default();
        later.belongs_to(None, Some(Timestamp::from_micros(20)));
        assert_eq!(later.write(change("1")).expect("a write").id, writes[2].id, "a recording that begins later");
    }

    #[test]
    fn without_any_time_a_change_is_refused_and_a_stamp_dates_it() {
        let mut stream = ChangeStream::default();
        stream.begin(TransactionHead::default());
        assert!(stream.write(change("1")).expect_err("no time").contains("include-timestamp"));
        let stamp = |micros: i64| Stamp {
            transaction: Some(TransactionId("9".into())),
            statement_time: Some(Timestamp::from_micros(micros)),
            ..Stamp::default()
        };
        stream.stamp(stamp(20)).expect("a stamp");
        let write = stream.write(change("1")).expect("a write");
        assert_eq!((write.ts.as_micros(), write.transaction), (20, Some(TransactionId("9".into()))));
        stream.begin(TransactionHead::default());
        stream.stamp(stamp(15)).expect("a stamp");
        assert_eq!(stream.write(change("1")).expect("a write").ts.as_micros(), 20, "in the order of commits");
    }
}
