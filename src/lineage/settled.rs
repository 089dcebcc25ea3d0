//! What of the recordings is settled: it is counted once, and need not be read again when more is ingested.
//!
//! Recordings bear on each other: a log's line says whose a write was, and a session's lines are understood from those
//! before them. So only what nothing else bears on is settled, and whatever comes later is first looked at whether it does:
//!
//! - Beside a log, a session that has paused: more than [`FAR`] lies between its last record and the newest of all, it is in no
//!   transaction and has nothing prepared, and all of its writes are told of as its own. The join looks no further than that,
//!   and never beyond a session.
//! - Without a log, a transaction all of whose writes are that old.
//!
//! Nothing is settled, and all is counted anew, where writes beside a log name no session, or hold part of their rows only
//! (the rest comes from any write before), or where the log is of several databases.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::clocks::{ClockEvidence, Clocks};
use super::graph::Executions;
use super::history::{Assembly, Before, Part, Sources, put_together, transactions_in_commit_order};
use super::images::are_whole;
use super::join::FAR;
use super::stamps::Stamps;
use crate::model::{RecordedStamp, RecordedWrite, RecordingId, SessionId, Timestamp, TransactionId};
use crate::store::{PlacedRecords, complete_log};

/// So many sessions are remembered; past that nothing more is settled.
const MOST_SESSIONS: usize = 200_000;

/// What is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settled {
    /// Every record before this place was looked at …
    pub through: i64,
    /// … and is settled, save those in these ranges of places, first and last.
    pub open: Vec<(i64, i64)>,
    /// By what rules, once anything is settled.
    rules: Option<Rules>,
    /// What is settled tells this of the clocks.
    evidence: ClockEvidence,
    /// The greatest transaction id of what is settled without a log …
    greatest_id: u64,
    /// … and of the log, where there is one.
    greatest_logged_id: u64,
    /// The sessions that are settled up to now.
    sessions: BTreeMap<String, SettledSession>,
}

/// What was taken for granted of the whole when a part of it was settled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Rules {
    is_logged: bool,
    /// Whether the log names virtual transactions.
    is_virtual: bool,
    /// Whether the writes have numbers; `None` where there are none.
    is_numbered: Option<bool>,
    clocks: Clocks,
    databases: BTreeSet<String>,
}

/// How far a session is settled.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SettledSession {
    /// The time of its last record, in microseconds.
    last: i64,
    greatest_id: u64,
    /// The greatest number of its writes.
    greatest_seq: Option<u64>,
    /// The virtual transaction that its log named last.
    within: Option<String>,
}

/// What has become of the recordings with those that came since.
#[derive(Debug)]
pub struct Advanced {
    /// What is settled now.
    pub settled: Settled,
    /// What of it was not settled before, counted.
    pub gained: Executions,
    /// What is not settled, counted.
    pub open: Executions,
}

/// Counts the records that are not settled, and settles what can be: all records from [`Settled::through`] on, and those in
/// [`Settled::open`]. `None` where one of them bears on what is settled already: then all are to be counted anew.
///
/// `context` is what a history is put together from beside the recordings; `through` the place after the last record.
pub fn advance(before: &Settled, placed: PlacedRecords, through: i64, context: &Sources<'_>) -> Option<Advanced> {
    let facts = Facts::of(&placed);
    if facts.reach_back(before) {
        return None;
    }
    let writes: Vec<RecordedWrite> = placed.writes.into_iter().map(|(_, write)| write).collect();
    let stamps: Vec<RecordedStamp> = placed.stamps.into_iter().map(|(_, stamp)| stamp).collect();
    let log = complete_log(placed.log);
    let is_whole = are_whole(&writes, context.schemas);
    let sources = Sources { writes: &writes, stamps: &stamps, log: &log, ..*context };
    let rules = before.rules.as_ref();
    let known = Before {
        clocks: before.evidence,
        is_joined: rules.is_some_and(|rules| rules.is_logged),
        is_virtual: rules.is_some_and(|rules| rules.is_virtual),
    };
    put_together(&sources, &known, |assembly| {
        let rules = facts.rules(before, assembly, is_whole);
        if before.rules.is_some() && before.rules != rules {
            return None;
        }
        let settling =
            rules.as_ref().map(|rules| facts.settling(before, assembly, rules.is_logged)).unwrap_or_default();
        Some(settling.advanced(before, &facts, rules, assembly, through))
    })
}

/// What a record says of where it belongs.
#[derive(Debug)]
struct Fact {
    place: i64,
    kind: Kind,
    session: Option<SessionId>,
    /// In microseconds.
    first: i64,
    last: i64,
    id: Option<TransactionId>,
    /// Its virtual transaction.
    within: Option<Arc<str>>,
    identity: RecordingId,
    /// A write's number.
    seq: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A write, of a transaction that has its last at this time.
    Write,
    Stamp,
    Log,
}

/// What all records at hand say.
#[derive(Debug, Default)]
struct Facts {
    all: Vec<Fact>,
    /// The sessions that the log tells of.
    logged: HashSet<SessionId>,
    databases: BTreeSet<String>,
    newest: i64,
}

impl Facts {
    fn of(placed: &PlacedRecords) -> Facts {
        let mut facts = Facts::default();
        let writes: Vec<&RecordedWrite> = placed.writes.iter().map(|(_, write)| write).collect();
        let stamps: Vec<RecordedStamp> = placed.stamps.iter().map(|(_, stamp)| stamp.clone()).collect();
        let stamps_by_id = Stamps::new(&stamps);
        for group in transactions_in_commit_order(&writes) {
            let of_group = || group.iter().filter_map(|place| placed.writes.get(*place));
            let last = of_group().map(|(_, write)| write.ts).max().unwrap_or(Timestamp::from_micros(0));
            let id = of_group().find_map(|(_, write)| write.transaction.clone());
            let of_stamps =
                || id.as_ref().and_then(|id| stamps_by_id.of(id, last).iter().find_map(|stamp| stamp.session.clone()));
            let session = of_group().find_map(|(_, write)| write.session.clone()).or_else(of_stamps);
            facts.all.extend(of_group().map(|(place, write)| Fact {
                place: *place,
                kind: Kind::Write,
                session: session.clone(),
                first: write.ts.as_micros(),
                last: last.as_micros(),
                id: id.clone(),
                within: None,
                identity: write.id,
                seq: write.seq,
            }));
        }
        facts.all.extend(placed.stamps.iter().map(|(place, stamp)| Fact {
            place: *place,
            kind: Kind::Stamp,
            session: stamp.session.clone(),
            first: stamp.ts.as_micros(),
            last: stamp.ts.as_micros(),
            id: Some(stamp.transaction.clone()),
            within: None,
            identity: stamp.id,
            seq: None,
        }));
        facts.all.extend(placed.log.iter().map(|(place, event)| Fact {
            place: *place,
            kind: Kind::Log,
            session: Some(event.session.clone()),
            first: event.started.min(event.ts).as_micros(),
            last: event.ts.max(event.started).as_micros(),
            id: event.transaction.clone(),
            within: event.virtual_transaction.clone(),
            identity: event.id,
            seq: None,
        }));
        facts.logged.extend(placed.log.iter().map(|(_, event)| event.session.clone()));
        facts.databases.extend(placed.log.iter().filter_map(|(_, event)| event.database.as_deref().map(str::to_owned)));
        facts.newest = facts.all.iter().map(|fact| fact.last).max().unwrap_or(i64::MIN);
        facts
    }

    /// Whether a record that came since may bear on what is settled.
    fn reach_back(&self, settled: &Settled) -> bool {
        let Some(rules) = &settled.rules else { return false };
        // What was open then was compared with it then.
        let open_ids: HashSet<&TransactionId> =
            self.all.iter().filter(|fact| fact.place < settled.through).filter_map(|fact| fact.id.as_ref()).collect();
        let is_new = |fact: &&Fact| fact.place >= settled.through;
        self.all.iter().filter(is_new).any(|fact| {
            if !rules.is_logged {
                let is_other = |id| !open_ids.contains(id) && number(id).is_none_or(|id| id <= settled.greatest_id);
                return fact.kind == Kind::Log || fact.id.as_ref().is_some_and(is_other);
            }
            let Some(session) = &fact.session else { return true };
            let is_before =
                |greatest: u64| fact.id.as_ref().is_some_and(|id| number(id).is_none_or(|id| id <= greatest));
            match settled.sessions.get(session.0.as_ref()) {
                Some(known) => {
                    !is_past(known.last, fact.first)
                        || is_before(known.greatest_id)
                        || fact.seq.is_some() && fact.seq <= known.greatest_seq
                        || known.within.is_some() && known.within.as_deref() == fact.within.as_deref()
                }
                None => !self.logged.contains(session) && is_before(settled.greatest_logged_id),
            }
        })
    }

    /// By what rules anything can be settled; `None` where nothing can.
    fn rules(&self, before: &Settled, assembly: &Assembly<'_>, is_whole: bool) -> Option<Rules> {
        let known = before.rules.as_ref();
        let writes = || self.all.iter().filter(|fact| fact.kind == Kind::Write);
        let mut is_numbered = known.and_then(|rules| rules.is_numbered);
        for write in writes() {
            if *is_numbered.get_or_insert(write.seq.is_some()) != write.seq.is_some() {
                return None;
            }
        }
        let is_logged = !self.logged.is_empty() || known.is_some_and(|rules| rules.is_logged);
        let mut databases = self.databases.clone();
        databases.extend(known.iter().flat_map(|rules| rules.databases.iter().cloned()));
        if is_logged {
            let keeps_to_its_session = assembly.recorded.iter().zip(assembly.joined).all(|(recorded, joined)| {
                recorded.session.is_some()
                    && joined.as_ref().is_none_or(|joined| recorded.session.as_ref() == Some(&joined.session))
            });
            let is_joined = known.is_some_and(|rules| rules.is_logged) || assembly.joined.iter().any(Option::is_some);
            let are_sessions_told = self.all.iter().all(|fact| fact.session.as_ref().is_some_and(is_servers_own));
            let is_separable = keeps_to_its_session && is_joined && are_sessions_told && is_whole;
            if !is_separable || databases.len() > 1 {
                return None;
            }
        }
        // Without a log, nothing is asked of the clocks.
        let clocks = if is_logged { assembly.clocks } else { Clocks::default() };
        let is_virtual =
            self.all.iter().any(|fact| fact.within.is_some()) || known.is_some_and(|rules| rules.is_virtual);
        Some(Rules { is_logged, is_virtual, is_numbered, clocks, databases })
    }

    /// What is settled by those rules.
    fn settling(&self, before: &Settled, assembly: &Assembly<'_>, is_logged: bool) -> Settling {
        if is_logged { self.paused_sessions(before, assembly) } else { self.old_transactions() }
    }

    fn paused_sessions(&self, before: &Settled, assembly: &Assembly<'_>) -> Settling {
        let mut last: HashMap<&SessionId, i64> = HashMap::new();
        for fact in &self.all {
            if let Some(session) = &fact.session {
                let known = last.entry(session).or_insert(fact.last);
                *known = (*known).max(fact.last);
            }
        }
        let has_paused = |session: &SessionId| {
            self.logged.contains(session)
                && !assembly.sessions.unfinished.contains(session)
                && last.get(session).is_some_and(|last| is_past(*last, self.newest))
        };
        let mut sessions: HashSet<SessionId> =
            last.keys().filter(|session| has_paused(session)).map(|session| (*session).clone()).collect();
        if before.sessions.len() + sessions.len() > MOST_SESSIONS {
            sessions.clear();
        }
        let is_settled = |fact: &&Fact| fact.session.as_ref().is_some_and(|session| sessions.contains(session));
        let records = self.all.iter().filter(is_settled).map(|fact| fact.identity).collect();
        Settling { sessions, records }
    }

    fn old_transactions(&self) -> Settling {
        let is_old = |fact: &&Fact| is_past(fact.last, self.newest);
        let of_writes = |fact: &&Fact| fact.kind == Kind::Write;
        let open_ids: HashSet<&TransactionId> = self
            .all
            .iter()
            .filter(of_writes)
            .filter(|fact| !is_old(fact))
            .filter_map(|fact| fact.id.as_ref())
            .collect();
        let is_settled = |fact: &&Fact| is_old(fact) && !fact.id.as_ref().is_some_and(|id| open_ids.contains(id));
        let records = self.all.iter().filter(is_settled).map(|fact| fact.identity).collect();
        Settling { sessions: HashSet::new(), records }
    }
}

/// What is settled anew.
#[derive(Debug, Default)]
struct Settling {
    sessions: HashSet<SessionId>,
    records: HashSet<RecordingId>,
}

impl Settling {
    fn advanced(
        &self,
        before: &Settled,
        facts: &Facts,
        rules: Option<Rules>,
        assembly: &Assembly<'_>,
        through: i64,
    ) -> Advanced {
        let is_settled = |place: usize| {
            let write = assembly.recorded.get(place).and_then(|recorded| recorded.writes.first());
            write.is_some_and(|write| self.records.contains(&write.recorded.id))
        };
        let in_session = |session: &SessionId| self.sessions.contains(session);
        let gained = Part { recorded: &is_settled, logged: &in_session };
        let open = Part { recorded: &|place| !is_settled(place), logged: &|session| !in_session(session) };
        let mut settled =
            Settled { through, open: facts.places(|fact| !self.records.contains(&fact.identity)), ..before.clone() };
        if !self.records.is_empty() {
            settled.rules = rules;
            settled.evidence = before.evidence.and(&self.evidence(assembly, is_settled));
            facts.all.iter().filter(|fact| self.records.contains(&fact.identity)).for_each(|fact| settled.note(fact));
        }
        Advanced {
            settled,
            gained: Executions::of(&assembly.history(&gained)),
            open: Executions::of(&assembly.history(&open)),
        }
    }

    fn evidence(&self, assembly: &Assembly<'_>, is_settled: impl Fn(usize) -> bool) -> ClockEvidence {
        let log = &assembly.sessions.committed;
        let pairs = || assembly.recorded.iter().zip(assembly.joined).enumerate();
        let settled = || pairs().filter(|(place, _)| is_settled(*place)).map(|(_, pair)| pair);
        let recorded: Vec<_> = settled().map(|(recorded, _)| recorded).collect();
        let logged = log.iter().filter(|(session, _)| self.sessions.contains(session)).flat_map(|(_, logged)| logged);
        let witnesses = settled().filter_map(|(recorded, joined)| Some((recorded, joined.as_ref()?)));
        ClockEvidence::of_times(recorded.iter().copied(), logged).and(&ClockEvidence::of_witnesses(
            witnesses,
            log,
            &assembly.clocks,
        ))
    }
}

impl Settled {
    fn note(&mut self, fact: &Fact) {
        let id = fact.id.as_ref().map_or(0, |id| number(id).unwrap_or(u64::MAX));
        self.greatest_id = self.greatest_id.max(id);
        if fact.kind == Kind::Log {
            self.greatest_logged_id = self.greatest_logged_id.max(id);
        }
        if self.rules.as_ref().is_some_and(|rules| rules.is_logged)
            && let Some(session) = &fact.session
        {
            let known = self.sessions.entry(session.0.to_string()).or_default();
            known.greatest_id = known.greatest_id.max(id);
            known.greatest_seq = known.greatest_seq.max(fact.seq);
            let is_later = fact.last >= known.last;
            known.last = known.last.max(fact.last);
            if is_later && let Some(within) = fact.within.as_deref() {
                known.within = Some(within.to_owned());
            }
        }
    }
}

impl Facts {
    /// The places of some records, as ranges.
    fn places(&self, wanted: impl Fn(&Fact) -> bool) -> Vec<(i64, i64)> {
        let places: BTreeSet<i64> = self.all.iter().filter(|fact| wanted(fact)).map(|fact| fact.place).collect();
        let mut ranges: Vec<(i64, i64)> = Vec::new();
        for place in places {
            match ranges.last_mut() {
                Some((_, last)) if *last + 1 == place => *last = place,
                _ => ranges.push((place, place)),
            }
        }
        ranges
    }
}

/// Whether a time is so far behind the other that the join does not look from one to the other. In microseconds.
fn is_past(time: i64, other: i64) -> bool {
    i64::try_from(FAR).is_ok_and(|far| time.saturating_add(far) < other)
}

fn number(id: &TransactionId) -> Option<u64> {
    id.0.parse().ok()
}

/// Whether it is a session's identity as PostgreSQL makes it of its start and its process: no other has it.
fn is_servers_own(session: &SessionId) -> bool {
    let is_hexadecimal = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_hexdigit());
    session.0.split_once('.').is_some_and(|(start, process)| is_hexadecimal(start) && is_hexadecimal(process))
}
