//! The committed changes in the slot, as recordings.
//!
//! In: the slot, and the place up to which the store has it. Out: [`Recording`]s in the order of commits, a batch at a
//! time; then the place up to which they tell everything. Nothing is taken out of the slot here: [`confirm`] does that,
//! once the store has it.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio_postgres::types::{PgLsn, ToSql};
use tokio_postgres::{Client, Row as DatabaseRow};

use super::database::{Installation, LogPosition, PUBLICATION, refusal};
use super::pgoutput::{Cell, Message, OldTuple, Relation, Tuple, decode};
use crate::capture::CaptureError;
use crate::capture::change_stream::{ChangeStream, IdentityParts, RowChange, TransactionHead, with_unchanged};
use crate::capture::stamp::{STAMP_PREFIX, Stamp};
use crate::model::{ColumnName, Operation, Recording, RejectedLine, Row, TableName, Timestamp, TransactionId, Value};

/// So many records are handed over at a time.
const BATCH_RECORDS: usize = 16_384;
/// Text of so many bytes is handed over, however few records it is.
const BATCH_BYTES: usize = 32 << 20;
/// So many changes are asked of the slot at once; a larger transaction comes whole.
const CHANGES_AT_ONCE: i32 = 1_000_000;
/// So much of a message that cannot be understood is kept.
const KEPT_DAMAGE: usize = 4_096;

/// Up to where the changes of a slot are told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The end of the last commit that is told, or of the last message outside of any transaction behind it.
    pub position: LogPosition,
    /// The last [`crate::model::RecordedWrite::seq`] that was given.
    pub last_seq: u64,
}

/// The changes that were in the slot when it was asked.
pub struct SlotChanges {
    rows: Pin<Box<dyn Stream<Item = Result<DatabaseRow, tokio_postgres::Error>> + Send>>,
    slot: Arc<str>,
    relations: HashMap<u32, Shape>,
    stream: ChangeStream,
    transaction: Option<Transaction>,
    known: LogPosition,
    told: LogPosition,
    messages: u64,
    transactions: u64,
}

/// A table as it was when its next changes were made.
struct Shape {
    table: TableName,
    columns: Vec<ColumnName>,
}

/// The transaction under way.
#[derive(Clone, Copy)]
struct Transaction {
    /// Told before, and stored.
    is_known: bool,
    has_parts: bool,
}

/// Asks the slot for what was committed up to `until`, after `known`.
///
/// # Errors
/// A slot that somebody else reads, or that lost its log; a database that does not answer.
pub async fn changes(
    client: &Client,
    installation: &Installation,
    known: Place,
    until: LogPosition,
) -> Result<SlotChanges, CaptureError> {
    let sql = "SELECT lsn, data FROM pg_logical_slot_peek_binary_changes($1::text::name, $2, $3,
                   'proto_version', '1', 'publication_names', $4, 'messages', 'true')";
    let until = PgLsn::from(until);
    let parameters: [&(dyn ToSql + Sync); 4] = [&installation.slot, &until, &CHANGES_AT_ONCE, &PUBLICATION];
    let rows = client.query_raw(sql, parameters).await;
    let rows = rows.map_err(refusal(format!("read the slot {}", installation.slot)))?;
    Ok(SlotChanges {
        // Asked again after its end, it would say that the connection is closed.
        rows: Box::pin(rows.fuse()),
        slot: installation.slot.as_str().into(),
        relations: HashMap::new(),
        stream: ChangeStream::after(known.last_seq),
        transaction: None,
        known: known.position,
        told: known.position,
        messages: 0,
        transactions: 0,
    })
}

/// Takes what is stored out of the slot, so that the server may throw its log away.
///
/// # Errors
/// A database that does not answer.
pub async fn confirm(client: &Client, installation: &Installation, stored: LogPosition) -> Result<(), CaptureError> {
    let sql = "SELECT pg_replication_slot_advance(slot_name, $2) FROM pg_replication_slots
               WHERE slot_name = $1::text::name AND confirmed_flush_lsn < $2";
    let done = client.execute(sql, &[&installation.slot, &PgLsn::from(stored)]).await;
    done.map(|_| ()).map_err(refusal(format!("advance the slot {}", installation.slot)))
}

impl SlotChanges {
    /// The next records; `None` where all is told.
    ///
    /// # Errors
    /// A database that does not answer any more.
    pub async fn next(&mut self) -> Result<Option<Recording>, CaptureError> {
        let failed = refusal(format!("read the slot {}", self.slot));
        let mut recording = Recording::default();
        let mut bytes = 0;
        while let Some(row) = self.rows.next().await {
            let row = row.map_err(&failed)?;
            let position: PgLsn = row.try_get(0).map_err(&failed)?;
            let data: &[u8] = row.try_get(1).map_err(&failed)?;
            self.messages += 1;
            bytes += data.len();
            if let Err(reason) = self.message(position.into(), data, &mut recording) {
                recording.rejected.push(self.rejected(position, data, reason));
            }
            let records = recording.writes.len() + recording.stamps.len() + recording.rejected.len();
            if records >= BATCH_RECORDS || bytes >= BATCH_BYTES {
                return Ok(Some(recording));
            }
        }
        Ok((recording != Recording::default()).then_some(recording))
    }

    /// Up to where everything is told, once [`SlotChanges::next`] gave `None`.
    pub fn place(&self) -> Place {
        Place { position: self.told, last_seq: self.stream.last_place() }
    }

    /// How many messages the slot held, those among them that were known.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// How many transactions were told that were not known.
    pub fn transactions(&self) -> u64 {
        self.transactions
    }

    fn message(&mut self, position: LogPosition, data: &[u8], recording: &mut Recording) -> Result<(), String> {
        match decode(data)? {
            Message::Begin { commit_position, committed_micros, transaction } => {
                let position = LogPosition(commit_position);
                self.transaction = Some(Transaction { is_known: position < self.known, has_parts: false });
                self.stream.begin(TransactionHead {
                    id: Some(TransactionId(transaction.to_string().into())),
                    committed: Some(Timestamp::from_micros(committed_micros)),
                    position: Some(position),
                });
                Ok(())
            }
            Message::Commit { end_position } => {
                let ended = self.transaction.take();
                self.told = self.told.max(LogPosition(end_position));
                self.transactions += u64::from(ended.is_some_and(|ended| ended.has_parts && !ended.is_known));
                Ok(())
            }
            Message::Relation(Relation { id, schema, table, columns }) => {
                let columns = columns.into_iter().map(ColumnName::from).collect();
                self.relations.insert(id, Shape { table: TableName::new(schema, table), columns });
                Ok(())
            }
            Message::Insert { relation, new } => {
                let after = image(self.shape(relation)?, &new)?;
                self.write(relation, Operation::Insert, None, Some(after), recording)
            }
            Message::Update { relation, old, new } => {
                let shape = self.shape(relation)?;
                let before = old.as_ref().map(|old| old_image(shape, old)).transpose()?;
                let mut after = image(shape, &new)?;
                // What the update left as it was, out of line, is what stood there before.
                if new.contains(&Cell::Unchanged) {
                    after = with_unchanged(after, before.as_ref());
                }
                self.write(relation, Operation::Update, before, Some(after), recording)
            }
            Message::Delete { relation, old } => {
                let before = old_image(self.shape(relation)?, &old)?;
                self.write(relation, Operation::Delete, Some(before), None, recording)
            }
            Message::Truncate { relations } => relations
                .into_iter()
                .try_for_each(|relation| self.write(relation, Operation::Truncate, None, None, recording)),
            Message::Logical { transactional: true, prefix: STAMP_PREFIX, content } => self.stamp(content, recording),
            // It stands between the commits (a heartbeat), and would be told again and again.
            Message::Logical { transactional: false, .. } => {
                self.told = self.told.max(position);
                Ok(())
            }
            Message::Logical { .. } | Message::Other => Ok(()),
        }
    }

    fn shape(&self, relation: u32) -> Result<&Shape, String> {
        self.relations
            .get(&relation)
            .ok_or_else(|| format!("a change of the table {relation}, whose shape was not told"))
    }

    fn write(
        &mut self,
        relation: u32,
        operation: Operation,
        before: Option<Row>,
        after: Option<Row>,
        recording: &mut Recording,
    ) -> Result<(), String> {
        let table = self.shape(relation)?.table.clone();
        if self.is_new()? {
            let change = RowChange { table, operation, key: Row::new(), before, after };
            recording.writes.push(self.stream.write(change)?);
        }
        Ok(())
    }

    fn stamp(&mut self, content: &[u8], recording: &mut Recording) -> Result<(), String> {
        let content = std::str::from_utf8(content).map_err(|error| format!("a stamp that is no UTF-8: {error}"))?;
        if self.is_new()? {
            recording.stamps.push(self.stream.stamp(Stamp::parse(content)?)?);
        }
        Ok(())
    }

    /// Whether the transaction under way is not stored yet.
    fn is_new(&mut self) -> Result<bool, String> {
        let transaction = self.transaction.as_mut().ok_or("a change outside of a transaction")?;
        transaction.has_parts = true;
        Ok(!transaction.is_known)
    }

    fn rejected(&self, position: PgLsn, data: &[u8], reason: String) -> RejectedLine {
        let kept = data.get(..KEPT_DAMAGE).unwrap_or(data);
        let mut id = IdentityParts::new("pgoutput rejected");
        id.add(&u64::from(position).to_le_bytes());
        id.add(data);
        RejectedLine {
            id: id.finish(),
            source: format!("slot {} at {position}", self.slot).into(),
            line: self.messages,
            reason,
            text: String::from_utf8_lossy(kept).into_owned(),
        }
    }
}

/// The image of a row; what the log does not hold is absent.
fn image(shape: &Shape, tuple: &Tuple<'_>) -> Result<Row, String> {
    if tuple.len() != shape.columns.len() {
        let (table, columns, values) = (&shape.table, shape.columns.len(), tuple.len());
        return Err(format!("a row of {table} has {values} values for {columns} columns"));
    }
    let mut row = Row::new();
    for (column, cell) in shape.columns.iter().zip(tuple) {
        match cell {
            Cell::Null => row.push(Arc::clone(column), Value::NULL),
            Cell::Text(text) => row.push(Arc::clone(column), Value::text(*text)),
            Cell::Unchanged => {}
        }
    }
    Ok(row)
}

fn old_image(shape: &Shape, old: &OldTuple<'_>) -> Result<Row, String> {
    match old {
        OldTuple::Whole(tuple) => image(shape, tuple),
        // A column of a key is never NULL: what is NULL here is not part of it, and not known.
        OldTuple::Key(tuple) => {
            let row = image(shape, tuple)?;
            Ok(row
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), value.clone()))
                .collect())
        }
    }
}
