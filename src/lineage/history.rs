//! From recordings to a history in commit order.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ahash::HashMap;

use super::attribution::{Attributor, Said};
use super::clocks::{ClockEvidence, Clocks};
use super::databases::{OwnLog, own_log};
use super::images::{self, Completed, Images};
use super::join::{self, Joined, RecordedTransaction};
use super::readings::readings;
use super::sessions::{self, LoggedStatement, LoggedTransaction, Sessions};
use super::stamps::{self, Stamps};
use super::steps::JoinedWrite;
use super::unwritten::{Unwritten, unwritten};
use crate::model::{
    Attribution, ColumnName, CommitSeq, Deploy, History, LogEvent, Operation, RecordRead, RecordedStamp, RecordedWrite,
    ReleaseSettings, SessionId, Statement, StatementLink, Step, TableName, TraceId, Transaction, TransactionId, Write,
    WriteSeq,
};
use crate::sql::{Schemas, Views};

/// Everything a history is put together from.
#[derive(Clone, Copy, Debug)]
pub struct Sources<'a> {
    /// In the store's order: by `seq`, else by time, else as they came.
    pub writes: &'a [RecordedWrite],
    /// What the transactions say of themselves.
    pub stamps: &'a [RecordedStamp],
    /// The SQL log.
    pub log: &'a [LogEvent],
    /// The shapes of the tables.
    pub schemas: &'a Schemas,
    /// The queries of the views.
    pub views: &'a Views,
    /// How a write names its release.
    pub release: &'a ReleaseSettings,
    /// What was live when.
    pub deploys: &'a [Deploy],
    /// The name of the database under audit, where it has one.
    pub database: Option<&'a str>,
}

/// Names the writes to partitions, and what they read, by the table that these are parts of: that is where their rows are.
pub fn name_by_partitioned_table<'a>(
    writes: impl Iterator<Item = &'a mut RecordedWrite>,
    partitions: &BTreeMap<TableName, TableName>,
) {
    if partitions.is_empty() {
        return;
    }
    for write in writes {
        for name in write.reads.iter_mut().map(|read| &mut read.table).chain([&mut write.table]) {
            if let Some(root) = partitions.get(name) {
                name.clone_from(root);
            }
        }
    }
}

/// What is known beside the recordings at hand, from others that were put together before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Before {
    /// What those tell of the clocks.
    pub clocks: ClockEvidence,
    /// Whether any of their transactions is joined to the log: then it is no other database's.
    pub is_joined: bool,
    /// Whether their log names virtual transactions.
    pub is_virtual: bool,
}

/// Puts the history together. What does not fit into it is left out, and named in the history's limits.
pub fn assemble(sources: Sources<'_>) -> History {
    put_together(&sources, &Before::default(), |assembly| assembly.history(&Part::WHOLE))
}

/// Joins the recordings, and hands them to `then`.
pub fn put_together<Outcome>(
    sources: &Sources<'_>,
    before: &Before,
    then: impl FnOnce(&Assembly<'_>) -> Outcome,
) -> Outcome {
    let groups = transactions_in_commit_order(sources.writes);
    let in_order: Vec<&RecordedWrite> = groups.iter().flatten().map(|place| &sources.writes[*place]).collect();
    let Completed { images, unfit } = images::complete(&in_order, sources.schemas);
    let recorded = recorded_transactions(&groups, &in_order, &images, &Stamps::new(sources.stamps));
    let OwnLog { events, undecided } = own_log(sources.log, sources.writes, sources.stamps, sources.database);
    let sessions = sessions::rebuilt(&events, before.is_virtual, sources.views);
    let (joined, clocks) = join::join(&recorded, &sessions.committed, sources.schemas, &before.clocks);
    then(&Assembly {
        sources,
        recorded: &recorded,
        sessions: &sessions,
        joined: &joined,
        clocks,
        is_joined_before: before.is_joined,
        left_out: left_out(&in_order, &images),
        unfit,
        undecided,
    })
}

/// The transactions that writes with images are left of.
fn recorded_transactions<'a>(
    groups: &[Vec<usize>],
    in_order: &[&'a RecordedWrite],
    images: &'a [Option<Images>],
    stamps: &Stamps<'a>,
) -> Vec<RecordedTransaction<'a>> {
    let mut recorded = Vec::with_capacity(groups.len());
    let mut next = 0;
    for group in groups {
        let writes: Vec<JoinedWrite<'_>> = (next..next + group.len())
            .filter_map(|place| Some(JoinedWrite { recorded: in_order[place], images: images[place].as_ref()? }))
            .collect();
        next += group.len();
        if let Some(last) = writes.last() {
            let id = writes.iter().find_map(|write| write.recorded.transaction.clone());
            let stamps = id.as_ref().map(|id| stamps.of(id, last.recorded.ts)).unwrap_or_default();
            let session = writes.iter().find_map(|write| write.recorded.session.clone());
            let session = session.or_else(|| stamps.iter().find_map(|stamp| stamp.session.clone()));
            recorded.push(RecordedTransaction { id, session, ts: last.recorded.ts, stamps, writes });
        }
    }
    recorded
}

/// Recordings that are joined.
pub struct Assembly<'a> {
    sources: &'a Sources<'a>,
    /// The transactions of the recorded writes, in commit order.
    pub recorded: &'a [RecordedTransaction<'a>],
    /// The log's sessions.
    pub sessions: &'a Sessions,
    /// Of each recorded transaction the one that the log has of it.
    pub joined: &'a [Option<Joined>],
    /// How their times compare.
    pub clocks: Clocks,
    is_joined_before: bool,
    left_out: BTreeMap<TableName, usize>,
    unfit: BTreeMap<(TableName, ColumnName), usize>,
    /// The databases of the log, where nothing tells which of them is ours.
    pub undecided: BTreeSet<Arc<str>>,
}

/// A part of what is joined.
pub struct Part<'a> {
    /// Whether a recorded transaction, by its place, is in it.
    pub recorded: &'a dyn Fn(usize) -> bool,
    /// Whether what a session did beside those is in it.
    pub logged: &'a dyn Fn(&SessionId) -> bool,
}

impl Part<'_> {
    /// All of it.
    pub const WHOLE: Part<'static> = Part { recorded: &|_| true, logged: &|_| true };
}

impl Assembly<'_> {
    /// The history of a part.
    pub fn history(&self, part: &Part<'_>) -> History {
        let Assembly { sources, recorded, joined, .. } = *self;
        let log = &self.sessions.committed;
        let mut building = Building { sources, log, next_seq: 0, unlinked: 0, ambiguous: 0, transactions: Vec::new() };
        let (mut unwritten, mut others) =
            unwritten(recorded, joined, log, sources.schemas, &self.clocks, self.is_joined_before);
        unwritten.retain(|one| (part.logged)(one.session));
        others.retain(|(session, _)| (part.logged)(session));
        let others: Vec<&LoggedTransaction> = others.into_iter().map(|(_, logged)| logged).collect();
        let readings = readings(&others, &building.attributor());
        let mut unwritten = unwritten.into_iter().peekable();
        for (place, (transaction, joined)) in recorded.iter().zip(joined).enumerate() {
            while let Some(earlier) = unwritten.next_if(|one| one.before <= place) {
                building.add_unwritten(earlier);
            }
            if (part.recorded)(place) {
                building.add(transaction, joined.as_ref());
            }
        }
        unwritten.for_each(|one| building.add_unwritten(one));
        let mut limits = building.limits();
        limits.extend(self.limits());
        History { transactions: building.transactions, readings, limits, log_precision: self.clocks.log_precision() }
    }

    /// What could not be taken into the history.
    fn limits(&self) -> Vec<String> {
        let left_out = self.left_out.iter().map(|(table, writes)| {
            let reason = match self.sources.schemas.contains_key(table) {
                true => "their keys are no values of the key's type",
                false => "the database has no such table",
            };
            format!("{writes} recorded writes to {table} are left out: {reason}")
        });
        let unfit = self.unfit.iter().map(|((table, column), values)| {
            format!(
                "{values} recorded values of {table}.{column} are no values of its type: they count as not recorded"
            )
        });
        let mut limits: Vec<String> = left_out.chain(unfit).collect();
        if !self.undecided.is_empty() {
            let names: Vec<&str> = self.undecided.iter().map(AsRef::as_ref).collect();
            limits.push(format!(
                "the SQL log is of several databases ({}), and nothing tells which of them the writes were recorded in: \
                 a statement of another may be taken for one of ours",
                names.join(", ")
            ));
        }
        limits
    }
}

/// The places of each transaction's writes. A transaction stands where its last write stands. Without a session an id
/// names the same transaction for a while only.
pub(super) fn transactions_in_commit_order(writes: &[impl Borrow<RecordedWrite>]) -> Vec<Vec<usize>> {
    let mut groups: Vec<Vec<usize>> = Vec::new();
    let mut by_id: HashMap<(&TransactionId, Option<&SessionId>), usize> = HashMap::default();
    for (place, write) in writes.iter().map(Borrow::borrow).enumerate() {
        let known = write.transaction.as_ref().map(|id| (id, write.session.as_ref()));
        let goes_on = |group: &&mut Vec<usize>| {
            let last = group.last().and_then(|last| writes.get(*last)).map(Borrow::borrow);
            let apart = last.map_or(0, |last| last.ts.as_micros().abs_diff(write.ts.as_micros()));
            write.session.is_some() || apart <= stamps::ID_HOLDS_FOR
        };
        let group = known.and_then(|id| by_id.get(&id)).and_then(|group| groups.get_mut(*group)).filter(goes_on);
        match group {
            Some(group) => group.push(place),
            None => {
                if let Some(id) = known {
                    by_id.insert(id, groups.len());
                }
                groups.push(vec![place]);
            }
        }
    }
    groups.sort_by_key(|group| group.last().copied());
    groups
}

/// The statements of a logged transaction, without what they wrote.
fn logged_steps(logged: &LoggedTransaction, link: StatementLink) -> Vec<Step> {
    let step = |statement: &LoggedStatement| Step {
        statement: Some(Statement {
            sql: statement.sql.clone(),
            // Those after one that is not known are left out with it: a statement that needs them cannot be run again.
            parameters: statement.parameters.iter().map_while(Clone::clone).collect(),
            started: statement.started,
            link,
            time_zone: statement.time_zone.clone(),
        }),
        writes: Vec::new(),
    };
    logged.statements.iter().map(step).collect()
}

/// How many writes of each table have no images.
fn left_out(writes: &[&RecordedWrite], images: &[Option<Images>]) -> BTreeMap<TableName, usize> {
    let mut left_out = BTreeMap::new();
    for (write, _) in writes.iter().zip(images).filter(|(_, images)| images.is_none()) {
        *left_out.entry(write.table.clone()).or_insert(0) += 1;
    }
    left_out
}

struct Building<'a> {
    sources: &'a Sources<'a>,
    log: &'a BTreeMap<SessionId, Vec<LoggedTransaction>>,
    next_seq: u64,
    unlinked: usize,
    ambiguous: usize,
    transactions: Vec<Transaction>,
}

impl Building<'_> {
    fn add(&mut self, recorded: &RecordedTransaction<'_>, joined: Option<&Joined>) {
        let logged = joined.and_then(|joined| self.log.get(&joined.session)?.get(joined.place));
        let application_name = logged.and_then(|logged| logged.application_name.clone());
        let steps = match (joined, logged) {
            (Some(joined), Some(logged)) => self.steps_from_log(recorded, joined, logged, application_name.as_deref()),
            _ => self.steps_from_events(recorded),
        };
        match joined.map(|joined| joined.link) {
            None if !self.log.is_empty() && steps.iter().any(|step| step.statement.is_none()) => self.unlinked += 1,
            Some(link) if link.is_ambiguous() => self.ambiguous += 1,
            _ => {}
        }
        let attribution = steps.iter().flat_map(|step| &step.writes).find_map(|write| write.attribution.clone());
        let first = recorded.writes.iter().map(|write| write.recorded.ts).min().unwrap_or(recorded.ts);
        self.push(Transaction {
            commit: CommitSeq(0),
            id: recorded.id.clone().or_else(|| logged.and_then(|logged| logged.transaction.clone())),
            session: recorded.session.clone().or_else(|| joined.map(|joined| joined.session.clone())),
            started: logged.map_or(first, |logged| logged.begun),
            committed: recorded.ts,
            snapshots: logged.map(|logged| logged.snapshots).unwrap_or_default(),
            attribution,
            steps,
        });
    }

    /// A transaction that wrote nothing: all that is known of it is in the log.
    fn add_unwritten(&mut self, one: Unwritten<'_>) {
        let logged = one.logged;
        let texts: Vec<&str> = logged.statements.iter().map(|statement| statement.sql.as_ref()).collect();
        let application_name = logged.application_name.as_deref();
        let attribution = self.attributor().attribute_unwritten(&texts, application_name, logged.committed);
        self.push(Transaction {
            commit: CommitSeq(0),
            id: logged.transaction.clone(),
            session: Some(one.session.clone()),
            started: logged.begun,
            committed: logged.committed,
            snapshots: logged.snapshots,
            attribution,
            steps: logged_steps(logged, StatementLink::SessionOrder),
        });
    }

    /// Numbers it as the next to commit.
    fn push(&mut self, transaction: Transaction) {
        let commit = CommitSeq(u64::try_from(self.transactions.len()).unwrap_or(u64::MAX).saturating_add(1));
        self.transactions.push(Transaction { commit, ..transaction });
    }

    fn steps_from_log(
        &mut self,
        recorded: &RecordedTransaction<'_>,
        joined: &Joined,
        logged: &LoggedTransaction,
        application_name: Option<&str>,
    ) -> Vec<Step> {
        let mut steps = logged_steps(logged, joined.link);
        let mut unmatched = Step { statement: None, writes: Vec::new() };
        for (write, statement) in recorded.writes.iter().zip(&joined.assignment.statement_of) {
            let sql = statement.and_then(|place| logged.statements.get(place)).map(|statement| &statement.sql);
            let stamp = stamps::before(&recorded.stamps, write.recorded.seq);
            let said = Said { sql: sql.map(AsRef::as_ref), application_name, stamp };
            let attribution = self.attributor().attribute(write.recorded, said);
            let trace = write.recorded.trace.clone().or_else(|| sql.and_then(|sql| TraceId::of_comment(sql)));
            let write = self.write(write, attribution, trace);
            match statement.and_then(|place| steps.get_mut(place)) {
                Some(step) => step.writes.push(write),
                None => unmatched.writes.push(write),
            }
        }
        if !unmatched.writes.is_empty() {
            steps.push(unmatched);
        }
        steps
    }

    /// Without a log: writes that name the same statement, themselves or by their stamp, one after the other, are one
    /// execution of it; the same record a second time is the next execution.
    fn steps_from_events(&mut self, recorded: &RecordedTransaction<'_>) -> Vec<Step> {
        let mut steps: Vec<Step> = Vec::new();
        let mut last_stamp = None;
        for joined_write in &recorded.writes {
            let event = joined_write.recorded;
            let stamp = stamps::before(&recorded.stamps, event.seq);
            let text = event.statement.as_ref().or_else(|| stamp?.statement.as_ref());
            let said = Said { sql: text.map(AsRef::as_ref), application_name: None, stamp };
            let attribution = self.attributor().attribute(event, said);
            let trace =
                event.trace.clone().or_else(|| TraceId::of_comment(text?)).or_else(|| TraceId::of_tags(&stamp?.tags));
            let write = self.write(joined_write, attribution, trace);
            let same_stamp = last_stamp == Some(stamp.map(|stamp| stamp.id));
            last_stamp = Some(stamp.map(|stamp| stamp.id));
            let continues = steps.last().is_some_and(|step: &Step| match &step.statement {
                Some(statement) => {
                    same_stamp
                        && Some(&statement.sql) == text
                        && statement.parameters == event.parameters
                        && !step.writes.iter().any(|earlier| earlier.table == write.table && earlier.key == write.key)
                }
                None => text.is_none(),
            });
            match steps.last_mut() {
                Some(step) if continues => step.writes.push(write),
                _ => {
                    let statement = text.cloned().map(|sql| Statement {
                        sql,
                        parameters: event.parameters.clone(),
                        started: event.ts,
                        link: StatementLink::Event,
                        time_zone: None,
                    });
                    steps.push(Step { statement, writes: vec![write] });
                }
            }
        }
        steps
    }

    fn attributor(&self) -> Attributor<'_> {
        Attributor { release: self.sources.release, deploys: self.sources.deploys }
    }

    fn write(&mut self, write: &JoinedWrite<'_>, attribution: Option<Attribution>, trace: Option<TraceId>) -> Write {
        let seq = write.recorded.seq.unwrap_or(self.next_seq + 1);
        self.next_seq = self.next_seq.max(seq);
        let reads = write.recorded.reads.iter().map(|read| self.canonical_read(read)).collect();
        Write {
            seq: WriteSeq(seq),
            ts: write.recorded.ts,
            table: write.recorded.table.clone(),
            operation: write.recorded.operation,
            key: write.images.key.clone(),
            before: write.images.before.clone(),
            after: write.images.after.clone(),
            reads,
            trace,
            attribution,
        }
    }

    fn canonical_read(&self, read: &RecordRead) -> RecordRead {
        let key = match self.sources.schemas.get(&read.table) {
            Some(schema) => images::canonical_key(&read.key, schema),
            None => read.key.clone(),
        };
        RecordRead { table: read.table.clone(), key, columns: read.columns.clone() }
    }

    fn limits(&self) -> Vec<String> {
        let mut limits = Vec::new();
        if self.unlinked > 0 {
            limits.push(format!(
                "{} committed transactions are not in the SQL log: what they computed is not known",
                self.unlinked
            ));
        }
        let writes = self.transactions.iter().flat_map(Transaction::writes);
        let truncates = writes.filter(|write| write.operation == Operation::Truncate).count();
        if truncates > 0 {
            limits
                .push(format!("{truncates} truncates name no rows: what stood in the tables before them is not known"));
        }
        if self.ambiguous > 0 {
            limits.push(format!(
                "{} transactions fit several places of the SQL log: their values are not exact",
                self.ambiguous
            ));
        }
        limits
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{RecordKey, RecordingId, Row, Timestamp};

    fn write(transaction: &str, session: Option<&str>, minute: i64) -> RecordedWrite {
        RecordedWrite {
            id: RecordingId([0; 16]),
            seq: None,
            ts: Timestamp::from_micros(minute * 60_000_000),
            table: TableName::new("public", "t"),
            operation: Operation::Update,
            key: Row::new(),
            before: None,
            after: None,
            reads: Vec::new(),
            transaction: Some(TransactionId(transaction.into())),
            session: session.map(|session| SessionId(session.into())),
            trace: None,
            release: None,
            service: None,
            statement: None,
            parameters: Vec::new(),
        }
    }

    #[test]
    fn a_write_to_a_partition_is_one_to_its_table() {
        let name = |table: &str| TableName::new("public", table);
        let mut writes = [write("7", None, 0), write("7", None, 0)];
        writes[0].table = name("orders_2026");
        writes[0].reads =
            vec![RecordRead { table: name("orders_2025"), key: RecordKey::new(Vec::new()), columns: Vec::new() }];
        let partitions = ["orders_2025", "orders_2026"].map(|partition| (name(partition), name("orders")));
        name_by_partitioned_table(writes.iter_mut(), &BTreeMap::from(partitions));
        assert_eq!((&writes[0].table, &writes[0].reads[0].table), (&name("orders"), &name("orders")));
        assert_eq!(writes[1].table, name("t"));
    }

    #[test]
    fn an_id_that_comes_again_much_later_is_another_transaction() {
        let later = 60 * 24 * 90;
        let writes = [
            write("7", None, 0),
            write("8", None, 0),
            write("7", None, 50),
            write("7", None, 100),
            write("7", None, later),
            write("7", None, later + 1),
            write("9", Some("a"), 0),
            write("9", Some("a"), 100),
        ];
        let expected = [vec![1], vec![0, 2, 3], vec![4, 5], vec![6, 7]];
        assert_eq!(transactions_in_commit_order(&writes), expected, "a session's ids are its own");
    }
}
