//! Records with their places in the order of arrival: those that came last, and some from before.

use datafusion::logical_expr::Expr;
use datafusion::prelude::lit;

use super::batch::POSITION;
use super::delta::{exact_column, scan};
use super::log_table::{self, log_of_batch};
use super::order::in_contract_order;
use super::stamps_table::{self, stamps_of_batch};
use super::writes_table::{Texts, writes_of_batch};
use super::{Store, StoreError};
use crate::model::{LogEvent, RecordedStamp, RecordedWrite};

/// What is asked of the tables' files at the most; the rest is left out once it is read.
const MOST_RANGES: usize = 16;

/// Records with their places in the order of arrival.
#[derive(Clone, Debug, Default)]
pub struct PlacedRecords {
    /// Write events in the order of the contract.
    pub writes: Vec<(i64, RecordedWrite)>,
    /// Stamps in the order they came.
    pub stamps: Vec<(i64, RecordedStamp)>,
    /// Log events as they came: of an execution that was read twice, both.
    pub log: Vec<(i64, LogEvent)>,
}

impl PlacedRecords {
    /// How many they are.
    pub fn len(&self) -> usize {
        self.writes.len() + self.stamps.len() + self.log.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Store {
    /// The records from a place on, and those in these ranges before it: first and last place, in order.
    ///
    /// # Errors
    /// A store that cannot be read.
    pub async fn records(&self, from: i64, before: &[(i64, i64)]) -> Result<PlacedRecords, StoreError> {
        let is_wanted = |place: i64| {
            let range = before.partition_point(|(_, last)| *last < place);
            place >= from || before.get(range).is_some_and(|(first, _)| *first <= place)
        };
        let wanted = asked_of_files(from, before);
        let mut records = PlacedRecords::default();
        let mut texts = Texts::default();
        for (table, folder) in self.contents().tables.iter() {
            let Some(version) = self.contents().versions.get(folder) else { continue };
            let stored = self.tables().at(folder, *version).await?;
            scan(folder, &stored, None, Some(wanted.clone()), |batch| {
                let writes = writes_of_batch(folder, table, &batch, &mut texts)?;
                records.writes.extend(writes.into_iter().filter(|(place, _)| is_wanted(*place)));
                Ok(())
            })
            .await?;
        }
        records.writes = in_contract_order(records.writes);
        if let Some(version) = self.contents().versions.get(stamps_table::FOLDER) {
            let stored = self.tables().at(stamps_table::FOLDER, *version).await?;
            scan(stamps_table::FOLDER, &stored, None, Some(wanted.clone()), |batch| {
                let stamps = stamps_of_batch(&batch, &mut texts)?;
                records.stamps.extend(stamps.into_iter().filter(|(place, _)| is_wanted(*place)));
                Ok(())
            })
            .await?;
        }
        records.stamps.sort_by_key(|(place, _)| *place);
        if let Some(version) = self.contents().versions.get(log_table::FOLDER) {
            let stored = self.tables().at(log_table::FOLDER, *version).await?;
            scan(log_table::FOLDER, &stored, None, Some(wanted), |batch| {
                let log = log_of_batch(&batch, &mut texts)?;
                records.log.extend(log.into_iter().filter(|(place, _)| is_wanted(*place)));
                Ok(())
            })
            .await?;
        }
        Ok(records)
    }
}

/// By few ranges that hold all those wanted, what has none of them need not be opened: the narrowest gaps are closed.
fn asked_of_files(from: i64, before: &[(i64, i64)]) -> Expr {
    let mut gaps: Vec<i64> = before.windows(2).map(|pair| pair[1].0 - pair[0].1).collect();
    gaps.sort_unstable_by(|one, other| other.cmp(one));
    let closed = gaps.get(MOST_RANGES).copied().unwrap_or_default();
    let mut ranges: Vec<(i64, i64)> = Vec::new();
    for (first, last) in before {
        match ranges.last_mut() {
            Some(held) if first - held.1 <= closed => held.1 = *last,
            _ => ranges.push((*first, *last)),
        }
    }
    let later = exact_column(POSITION).gt_eq(lit(from));
    ranges
        .into_iter()
        .fold(later, |wanted, (first, last)| wanted.or(exact_column(POSITION).between(lit(first), lit(last))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{LogEventKind, Recording, RecordingId, SessionId, Timestamp};

    #[tokio::test]
    async fn what_came_last_is_read_with_what_is_asked_for_beside_it() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut store = Store::open(&folder.path().to_string_lossy()).await.expect("opened");
        let event = |line: u64| LogEvent {
            id: RecordingId((u128::from(line) << 64).to_be_bytes()),
            session: SessionId("a.1".into()),
            line,
            ts: Timestamp::from_micros(1),
            started: Timestamp::from_micros(1),
            kind: LogEventKind::Statement,
            transaction: None,
            virtual_transaction: None,
            application_name: None,
            database: None,
            sql: Some("SELECT 1".into()),
            prepared: None,
            parameters: Vec::new(),
            message: None,
        };
        for lines in [0..60, 60..90, 90..100] {
            let recording = Recording { log: lines.map(event).collect(), ..Recording::default() };
            store.append(&recording).await.expect("stored");
        }
        // One in three, so that there are more ranges than files are asked for.
        let open: Vec<(i64, i64)> = (0..60).step_by(3).map(|place| (place, place)).chain([(70, 74)]).collect();
        assert!(open.len() > MOST_RANGES);
        let records = store.records(95, &open).await.expect("read");
        let mut lines: Vec<u64> = records.log.iter().map(|(_, event)| event.line).collect();
        lines.sort_unstable();
        let expected: Vec<u64> = (0..60).step_by(3).chain(70..75).chain(95..100).collect();
        assert_eq!(lines, expected);
        assert_eq!(store.records(0, &[]).await.expect("read").len(), 100);
        assert!(store.records(100, &[]).await.expect("read").is_empty());
    }
}
