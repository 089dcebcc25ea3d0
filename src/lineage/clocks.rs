//! How the times of a recording and of the log compare: which is more exact, and whether one clock told both.

use serde::{Deserialize, Serialize};

use super::join::{Joined, Log, RecordedTransaction};
use super::sessions::LoggedTransaction;
use crate::model::Timestamp;

/// Whether the recording's times and the log's are of one clock is told by so many transactions that both name.
const WITNESSES: u64 = 5;

/// How exact a recording's times may be, in microseconds, the least exact first: some sources cut them to milliseconds.
const PRECISIONS: [i64; 3] = [1_000_000, 1_000, 1];

/// How times compare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clocks {
    /// How exact the log's times are, in milliseconds, and the time that a commit takes to be logged: `%t` prints whole
    /// seconds.
    pub tolerance: u64,
    /// How exact the recorded times are, in microseconds.
    precision: i64,
    /// Whether the recorded times are the server's own, as the log's are: then a transaction committed after it began, and
    /// before its session went on.
    is_one: bool,
}

impl Clocks {
    /// Whether a transaction can have committed at this time.
    pub fn allow(&self, logged: &LoggedTransaction, ts: Timestamp) -> bool {
        !self.is_one || self.agree(logged, ts)
    }

    /// How exact the log's times are, in microseconds: they are cut to that.
    pub fn log_precision(&self) -> i64 {
        if self.tolerance > 1_000 { 1_000_000 } else { 1_000 }
    }

    /// Whether, by one clock, a transaction can have committed at this time. Times are cut to their precision.
    fn agree(&self, logged: &LoggedTransaction, ts: Timestamp) -> bool {
        let has_begun = ts.as_micros().saturating_add(self.precision) > logged.begun.as_micros();
        let goes_on = |followed: Timestamp| ts.as_micros() > followed.as_micros().saturating_add(self.log_precision());
        has_begun && !logged.followed.is_some_and(goes_on)
    }
}

/// What a part of the recordings tells of the clocks. What its parts tell adds up to what the whole tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockEvidence {
    /// Whether every time of the log is a whole second.
    whole_seconds: bool,
    /// The least exact precision that all recorded times have.
    precision: i64,
    /// How many transactions both sides name.
    witnesses: u64,
    /// Whether all of those committed when the log says that they could.
    agree: bool,
}

/// Nothing is told.
impl Default for ClockEvidence {
    fn default() -> Self {
        ClockEvidence { whole_seconds: true, precision: PRECISIONS[0], witnesses: 0, agree: true }
    }
}

impl ClockEvidence {
    /// What the times alone tell.
    pub fn of_times<'t>(
        recorded: impl Iterator<Item = &'t RecordedTransaction<'t>> + Clone,
        mut logged: impl Iterator<Item = &'t LoggedTransaction>,
    ) -> ClockEvidence {
        let all_are = |of: &i64| recorded.clone().all(|transaction| transaction.ts.as_micros() % of == 0);
        ClockEvidence {
            whole_seconds: logged.all(|transaction| transaction.committed.as_micros() % 1_000_000 == 0),
            precision: PRECISIONS.into_iter().find(all_are).unwrap_or(1),
            ..ClockEvidence::default()
        }
    }

    /// What transactions tell that both sides name, by clocks of which the times are known.
    pub fn of_witnesses<'t>(
        pairs: impl Iterator<Item = (&'t RecordedTransaction<'t>, &'t Joined)>,
        log: &Log,
        clocks: &Clocks,
    ) -> ClockEvidence {
        let mut evidence = ClockEvidence::default();
        for (recorded, joined) in pairs.filter(|(_, joined)| joined.by_id) {
            let logged = log.get(&joined.session).and_then(|log| log.get(joined.place));
            evidence.witnesses += 1;
            evidence.agree &= logged.is_some_and(|logged| clocks.agree(logged, recorded.ts));
        }
        evidence
    }

    /// What both tell together.
    pub fn and(&self, other: &ClockEvidence) -> ClockEvidence {
        ClockEvidence {
            whole_seconds: self.whole_seconds && other.whole_seconds,
            precision: self.precision.min(other.precision),
            witnesses: self.witnesses + other.witnesses,
            agree: self.agree && other.agree,
        }
    }

    /// What is concluded.
    pub fn clocks(&self) -> Clocks {
        Clocks {
            tolerance: if self.whole_seconds { 1_500 } else { 3 },
            precision: self.precision,
            is_one: self.witnesses >= WITNESSES && self.agree,
        }
    }
}
