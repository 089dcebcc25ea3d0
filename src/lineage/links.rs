//! How surely the writing transactions of a history are joined to the statements that made their writes.

use crate::model::{History, StatementLink, Transaction};

/// How many committed transactions with recorded writes are joined how. Each is counted once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkCounts {
    /// All of them.
    pub transactions: usize,
    /// Every write carries its own statement, by its event or its stamp.
    pub by_event: usize,
    /// The log names the transaction's id.
    pub by_transaction_id: usize,
    /// By the order of the session's transactions, or by time alone where nothing else fits.
    pub by_order: usize,
    /// Another statement, or another place of the log, would fit as well: values that its statements would have written are not exact.
    pub ambiguous: usize,
    /// No statement is known of some of its writes: what they were computed from is not known.
    pub unlinked: usize,
}

impl LinkCounts {
    /// Counts those of a history.
    pub fn of(history: &History) -> LinkCounts {
        let mut counts = LinkCounts::default();
        for transaction in &history.transactions {
            if transaction.writes().next().is_none() {
                continue;
            }
            counts.transactions += 1;
            *match least_sure(transaction) {
                Some(StatementLink::Event) => &mut counts.by_event,
                Some(StatementLink::TransactionId) => &mut counts.by_transaction_id,
                Some(StatementLink::SessionOrder) => &mut counts.by_order,
                Some(StatementLink::AmbiguousStatement | StatementLink::Ambiguous) => &mut counts.ambiguous,
                None => &mut counts.unlinked,
            } += 1;
        }
        counts
    }
}

/// The least sure link of a transaction's writes; `None` where a write has no statement.
fn least_sure(transaction: &Transaction) -> Option<StatementLink> {
    let writing = transaction.steps.iter().filter(|step| !step.writes.is_empty());
    let links: Option<Vec<StatementLink>> =
        writing.map(|step| step.statement.as_ref().map(|statement| statement.link)).collect();
    links?.into_iter().max()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        CommitSeq, Operation, RecordKey, Snapshots, Statement, Step, TableName, Timestamp, Write, WriteSeq,
    };

    fn transaction(links: &[Option<StatementLink>]) -> Transaction {
        let time = Timestamp::from_micros(0);
        let write = Write {
            seq: WriteSeq(1),
            ts: time,
            table: TableName::new("public", "t"),
            operation: Operation::Truncate,
            key: RecordKey::new(Vec::new()),
            before: None,
            after: None,
            reads: Vec::new(),
            trace: None,
            attribution: None,
        };
        let step = |link: &Option<StatementLink>| Step {
            statement: link.map(|link| Statement {
                sql: "UPDATE".into(),
                parameters: vec![],
                started: time,
                link,
                time_zone: None,
            }),
            writes: vec![write.clone()],
        };
        Transaction {
            commit: CommitSeq(1),
            id: None,
            session: None,
            started: time,
            committed: time,
            snapshots: Snapshots::default(),
            attribution: None,
            steps: links.iter().map(step).collect(),
        }
    }

    #[test]
    fn a_transaction_is_as_sure_as_its_least_sure_write() {
        let (id, order, ambiguous) =
            (Some(StatementLink::TransactionId), Some(StatementLink::SessionOrder), Some(StatementLink::Ambiguous));
        let transactions =
            [&[id][..], &[id, order], &[order, ambiguous], &[id, None], &[], &[Some(StatementLink::Event)]];
        let history = History {
            transactions: transactions.iter().map(|links| transaction(links)).collect(),
            ..History::default()
        };
        let counts = LinkCounts::of(&history);
        let expected =
            LinkCounts { transactions: 5, by_event: 1, by_transaction_id: 1, by_order: 1, ambiguous: 1, unlinked: 1 };
        assert_eq!(counts, expected);
    }
}
