//! Rules that are not about the rows that stand: about writes, about tables as a whole, about releases.

use std::collections::{HashMap, HashSet};

use arrow::array::{Array, AsArray};
use arrow::datatypes::{Int64Type, TimestampMicrosecondType, UInt64Type};
use arrow::record_batch::RecordBatch;

use super::checks::{DriftQuestion, ReleaseValues, TableQuestion, shared_sql};
use super::evaluation::{AuditedTable, Breach, Tally, true_rows};
use super::outcome::WrittenBy;
use super::planning::{select_violating, written_rows};
use super::rule::Rule;
use super::sessions::Sessions;
use crate::model::{RecordKey, Release, ReleaseName, ServiceName, Timestamp, TransactionId, WriteSeq};

/// How many groups a message tells of.
const FEW: usize = 5;

impl AuditedTable<'_> {
    /// The records that some write has put in breach: each once, with the first such write.
    pub(super) async fn check_writes(&self, sessions: &Sessions, rule: &Rule) -> Result<Tally, String> {
        let checked = self.writes_checked(sessions, rule).await?;
        let key = &self.schema.key;
        if key.is_empty() {
            return Err(format!("{} has no key: its writes cannot be told apart", self.schema.name));
        }
        let sql = select_violating(rule, self.schema, key);
        let look = |(known, found): &mut (HashSet<RecordKey>, Vec<Breach>), batch: &RecordBatch| {
            for row in 0..batch.num_rows() {
                let key = self.cells_at(key, batch, row)?;
                if known.insert(key.clone()) {
                    let written = written_at(batch, row)?;
                    found.push(Breach { key, release: written.release.clone(), written: Some(written) });
                }
            }
            Ok(())
        };
        let found = sessions.fold_in_order(&sql, look).await;
        let (_, found) = found.map_err(|stopped| self.message_of(&stopped, &[rule]))?;
        let note = (checked == 0).then(|| format!("no write of {} is recorded that it could check", self.schema.name));
        Ok(Tally { checked, found, rest: None, note })
    }

    async fn writes_checked(&self, sessions: &Sessions, rule: &Rule) -> Result<u64, String> {
        let filter = rule.filter.as_ref().map(|filter| format!(" WHERE ({}) IS TRUE", filter.sql)).unwrap_or_default();
        let sql = format!("SELECT count(*) AS checked FROM {}{filter}", written_rows(self.schema));
        let look = |checked: &mut u64, batch: &RecordBatch| {
            *checked +=
                (0..batch.num_rows()).map(|row| number_at(batch, "checked", row)).sum::<Result<u64, String>>()?;
            Ok(())
        };
        sessions.fold(&sql, look).await.map_err(|stopped| self.message_of(&stopped, &[rule]))
    }

    /// The groups of rows (or the table as one) that questions find in breach, by the place of each: one query for all that
    /// are about the same groups.
    pub(super) async fn check_groups(
        &self,
        sessions: &Sessions,
        questions: &[(usize, &Rule, &TableQuestion)],
    ) -> Vec<(usize, Result<Tally, String>)> {
        let mut shared: Vec<Vec<(usize, &Rule, &TableQuestion)>> = Vec::new();
        for asked in questions {
            let alike = shared.iter_mut().find(|group| group.iter().all(|other| other.2.shares_groups(asked.2)));
            match alike {
                Some(group) => group.push(*asked),
                None => shared.push(vec![*asked]),
            }
        }
        let mut tallies = Vec::with_capacity(questions.len());
        for group in shared {
            let together = self.ask_of_groups(sessions, &group).await;
            match together {
                Ok(found) => tallies.extend(group.iter().map(|asked| asked.0).zip(found.into_iter().map(Ok))),
                Err(message) if group.len() == 1 => {
                    tallies.extend(group.iter().map(|asked| (asked.0, Err(message.clone()))))
                }
                // One of them spoils it for all: ask one by one, so that only that one fails.
                Err(_) => {
                    for asked in group {
                        let alone = self.ask_of_groups(sessions, &[asked]).await;
                        tallies.push((asked.0, alone.map(|mut found| found.pop().unwrap_or_default())));
                    }
                }
            }
        }
        tallies
    }

    /// What is found for each question about the same groups.
    async fn ask_of_groups(
        &self,
        sessions: &Sessions,
        asked: &[(usize, &Rule, &TableQuestion)],
    ) -> Result<Vec<Tally>, String> {
        let questions: Vec<&TableQuestion> = asked.iter().map(|(_, _, question)| *question).collect();
        let rules: Vec<&Rule> = asked.iter().map(|(_, rule, _)| *rule).collect();
        let Some(by) = questions.first().map(|question| &question.by) else { return Ok(Vec::new()) };
        let personal = self.catalog.personal_columns(&self.schema.name);
        if let Some(column) = by.iter().find(|column| personal.contains(column)) {
            return Err(format!("{column} is personal: its values would be printed as names of groups"));
        }
        let look = |found: &mut Vec<MeasuredGroups>, batch: &RecordBatch| {
            found.resize_with(questions.len(), MeasuredGroups::default);
            for (place, (question, found)) in questions.iter().zip(found).enumerate() {
                for row in 0..batch.num_rows() {
                    found.checked += number_at(batch, "checked", row)?;
                }
                for row in true_rows(batch, &format!("breach_{place}"))? {
                    let measured = match text_at(batch, &format!("measured_{place}"), row)? {
                        _ if question.quotes.as_ref().is_some_and(|column| personal.contains(column)) => {
                            "(personal)".to_owned()
                        }
                        Some(measured) => measured,
                        None => "none".to_owned(),
                    };
                    found.in_breach.push((self.cells_at(by, batch, row)?, measured));
                }
            }
            Ok(())
        };
        let found = sessions.fold(&shared_sql(&self.schema.name, &questions), look).await;
        let mut found: Vec<MeasuredGroups> = found.map_err(|stopped| self.message_of(&stopped, &rules))?;
        found.resize_with(questions.len(), MeasuredGroups::default);
        Ok(questions.iter().zip(found).map(|(question, found)| found.tally(question)).collect())
    }

    /// The releases whose writes as a whole differ.
    pub(super) async fn check_releases(
        &self,
        sessions: &Sessions,
        rule: &Rule,
        question: &DriftQuestion,
    ) -> Result<Tally, String> {
        let look = |state: &mut (Vec<ReleaseValues>, HashMap<String, usize>, u64), batch: &RecordBatch| {
            let (values, known, checked) = state;
            for row in 0..batch.num_rows() {
                let Some(release) = release_at(batch, row)? else { continue };
                // They come in the order of the values, so that places are in that order as well.
                let value = text_at(batch, "value", row)?.map(|value| {
                    let next = known.len();
                    *known.entry(value).or_insert(next)
                });
                let writes = number_at(batch, "writes", row)?;
                *checked += writes;
                values.push(ReleaseValues { release, value, writes, first: number_at(batch, "first", row)? });
            }
            Ok(())
        };
        let found = sessions.fold_in_order(&question.sql, look).await;
        let (values, _, checked) = found.map_err(|stopped| self.message_of(&stopped, &[rule]))?;
        let drifts = question.judge(values);
        let told: Vec<&str> = drifts.iter().map(|drift| drift.description.as_str()).collect();
        let note = (!told.is_empty()).then(|| told.join("; "));
        let nothing = RecordKey::new(Vec::new());
        let found = drifts
            .iter()
            .map(|drift| Breach { key: nothing.clone(), release: Some(drift.release.clone()), written: None })
            .collect();
        Ok(Tally { checked, found, rest: None, note })
    }
}

/// What one question finds of groups of rows.
#[derive(Default)]
struct MeasuredGroups {
    /// Rows of all groups.
    checked: u64,
    /// Each group in breach with what was measured.
    in_breach: Vec<(RecordKey, String)>,
}

impl MeasuredGroups {
    fn tally(self, question: &TableQuestion) -> Tally {
        let told = self.in_breach.iter().take(FEW).map(|(key, measured)| {
            let group = if question.by.is_empty() { String::new() } else { format!("{key}: ") };
            format!("{group}{} {measured}", question.measured)
        });
        let told = told.collect::<Vec<_>>().join("; ");
        let more = match self.in_breach.len().saturating_sub(FEW) {
            0 => String::new(),
            more => format!("; and {more} more"),
        };
        let note = (!told.is_empty()).then(|| format!("{told}{more}; {}", question.demanded));
        Tally {
            checked: self.checked,
            found: self.in_breach.into_iter().map(|(key, _)| Breach::of_row(key)).collect(),
            rest: None,
            note,
        }
    }
}

/// The tally of a question about the number of a table's rows, where these are counted already.
pub(super) fn tally_of_rows(question: &TableQuestion, rows: u64) -> Tally {
    let is_broken = question.whole_table().is_some_and(|bounds| bounds.are_broken_by(rows));
    let in_breach = is_broken.then(|| (RecordKey::new(Vec::new()), rows.to_string()));
    MeasuredGroups { checked: rows, in_breach: in_breach.into_iter().collect() }.tally(question)
}

fn written_at(batch: &RecordBatch, row: usize) -> Result<WrittenBy, String> {
    let times = batch.column_by_name("_ts").and_then(|array| array.as_primitive_opt::<TimestampMicrosecondType>());
    let ts = times.ok_or_else(|| "the engine gave no time _ts".to_owned())?.value(row);
    Ok(WrittenBy {
        seq: Some(WriteSeq(number_at(batch, "_seq", row)?)),
        ts: Timestamp::from_micros(ts),
        tx: text_at(batch, "_tx", row)?.map(|tx| TransactionId(tx.into())),
        release: release_at(batch, row)?,
    })
}

fn release_at(batch: &RecordBatch, row: usize) -> Result<Option<Release>, String> {
    let service = text_at(batch, "_service", row)?.map(ServiceName::new);
    Ok(text_at(batch, "_release", row)?.map(|name| Release { service, name: ReleaseName::new(name) }))
}

fn number_at(batch: &RecordBatch, column: &str, row: usize) -> Result<u64, String> {
    let array = batch.column_by_name(column).ok_or_else(|| format!("the engine gave no {column}"))?;
    if let Some(numbers) = array.as_primitive_opt::<UInt64Type>() {
        return Ok(numbers.value(row));
    }
    let numbers = array.as_primitive_opt::<Int64Type>().ok_or_else(|| format!("the engine gave no number {column}"))?;
    u64::try_from(numbers.value(row)).map_err(|_| format!("the engine gave a negative {column}"))
}

fn text_at(batch: &RecordBatch, column: &str, row: usize) -> Result<Option<String>, String> {
    let array = batch.column_by_name(column).ok_or_else(|| format!("the engine gave no {column}"))?;
    if array.is_null(row) {
        return Ok(None);
    }
    let text = arrow::util::display::array_value_to_string(array, row);
    text.map(Some).map_err(|error| error.to_string())
}
