//! The order of the contract: by `seq`; without it by time, then as they came.

use crate::model::{RecordedWrite, Timestamp};

/// Puts writes, each with its place in the order of arrival, in the order of the contract.
///
/// Where some have a `seq` and others have none (two sources), each kind keeps its own order, and a write without a
/// `seq` stands before the first with one that is later than it.
pub(super) fn in_contract_order(writes: Vec<(i64, RecordedWrite)>) -> Vec<(i64, RecordedWrite)> {
    let (mut numbered, mut unnumbered): (Vec<_>, Vec<_>) =
        writes.into_iter().partition(|(_, write)| write.seq.is_some());
    numbered.sort_by_key(|(position, write)| (write.seq, write.ts, *position));
    unnumbered.sort_by_key(|(position, write)| (write.ts, *position));
    let mut merged = Vec::with_capacity(numbered.len() + unnumbered.len());
    let mut unnumbered = unnumbered.into_iter().peekable();
    // `seq` need not follow the clock; what came before the latest time so far is not moved behind it.
    let mut latest: Option<Timestamp> = None;
    for numbered in numbered {
        latest = latest.max(Some(numbered.1.ts));
        while let Some(earlier) = unnumbered.next_if(|(_, other)| Some(other.ts) < latest) {
            merged.push(earlier);
        }
        merged.push(numbered);
    }
    merged.extend(unnumbered);
    merged
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Operation, RecordingId, Row, TableName};

    fn write(seq: Option<u64>, micros: i64) -> RecordedWrite {
        RecordedWrite {
            id: RecordingId([0; 16]),
            seq,
            ts: Timestamp::from_micros(micros),
            table: TableName::new("public", "t"),
            operation: Operation::Truncate,
            key: Row::new(),
            before: None,
            after: None,
            reads: Vec::new(),
            transaction: None,
            session: None,
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    #[test]
    fn seq_goes_before_time_and_time_before_arrival() {
        let order = |writes: &[(Option<u64>, i64)]| -> Vec<(Option<u64>, i64)> {
            let writes = (0..).zip(writes).map(|(position, (seq, micros))| (position, write(*seq, *micros))).collect();
            in_contract_order(writes).into_iter().map(|(_, write)| (write.seq, write.ts.as_micros())).collect()
        };
        assert_eq!(order(&[(Some(2), 1), (Some(1), 9)]), [(Some(1), 9), (Some(2), 1)]);
        assert_eq!(order(&[(None, 2), (None, 1)]), [(None, 1), (None, 2)]);
        assert_eq!(
            order(&[(None, 4), (Some(1), 3), (Some(2), 5), (None, 1), (Some(3), 4)]),
            [(None, 1), (Some(1), 3), (None, 4), (Some(2), 5), (Some(3), 4)]
        );
    }

    #[test]
    fn one_time_keeps_the_order_of_arrival() {
        let named =
            |name: &str| RecordedWrite { service: Some(crate::model::ServiceName::new(name)), ..write(None, 7) };
        let ordered = in_contract_order(vec![(2, named("b")), (1, named("a")), (3, named("c"))]);
        let names: Vec<String> =
            ordered.iter().filter_map(|(_, write)| Some(write.service.as_ref()?.to_string())).collect();
        assert_eq!(names, ["a", "b", "c"]);
    }
}
