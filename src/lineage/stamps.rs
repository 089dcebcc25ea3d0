//! What transactions say of themselves: the stamps of each, found by its id.

use std::collections::HashMap;

use crate::model::{RecordedStamp, Timestamp, TransactionId};

/// How far apart what one transaction id names may lie, in microseconds: ids come again after four thousand million
/// transactions, which no server makes in an hour, and on a new server.
pub const ID_HOLDS_FOR: u64 = 3_600_000_000;

/// Every stamp, by transaction.
#[derive(Debug)]
pub struct Stamps<'a>(HashMap<&'a TransactionId, Vec<&'a RecordedStamp>>);

impl<'a> Stamps<'a> {
    /// Of stamps in the order they came.
    pub fn new(stamps: &'a [RecordedStamp]) -> Self {
        let mut by_transaction: HashMap<&TransactionId, Vec<&RecordedStamp>> = HashMap::new();
        for stamp in stamps {
            by_transaction.entry(&stamp.transaction).or_default().push(stamp);
        }
        // Those without a place keep the order they came in, before all others.
        by_transaction.values_mut().for_each(|stamps| stamps.sort_by_key(|stamp| stamp.seq));
        Stamps(by_transaction)
    }

    /// Those of one transaction, in order: of the transaction with this id that is nearest in time.
    pub fn of(&self, transaction: &TransactionId, ts: Timestamp) -> Vec<&'a RecordedStamp> {
        let Some(stamps) = self.0.get(transaction) else { return Vec::new() };
        let apart = |stamp: &RecordedStamp| stamp.ts.as_micros().abs_diff(ts.as_micros());
        let Some(nearest) = stamps.iter().map(|stamp| apart(stamp)).min().filter(|nearest| *nearest <= ID_HOLDS_FOR)
        else {
            return Vec::new();
        };
        stamps.iter().filter(|stamp| apart(stamp) == nearest).copied().collect()
    }
}

/// The stamp that a write at this place stands behind: the last before it, or the transaction's first.
pub fn before<'a>(stamps: &[&'a RecordedStamp], seq: Option<u64>) -> Option<&'a RecordedStamp> {
    let behind = |stamp: &&&RecordedStamp| matches!((stamp.seq, seq), (Some(stamp), Some(write)) if stamp <= write);
    stamps.iter().rev().find(behind).or_else(|| stamps.first()).copied()
}
