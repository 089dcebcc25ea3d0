//! `drift: {column: c, against: earlier-releases}`: what a release writes is distributed as what the releases before wrote.
//!
//! **Why.** A release that writes cents for euros, one country for all, or NULL where a value was breaks no rule that
//! anybody thought of. Its writes as a whole look different.
//!
//! **Example.** `check: { drift: { column: total, against: earlier-releases } }`
//!
//! It needs the history. For each release, the values that its inserts and updates gave the column are compared with those
//! that earlier releases of the same service gave it: numbers, dates and times by the Kolmogorov-Smirnov test, everything
//! else by a chi-squared test over the values (rare ones taken together), and the share of NULLs for itself. A release
//! violates it where the difference is unlikely by chance (p below 0.001, shared among the comparisons) *and* large: a
//! distance of a tenth or more, as a share of the writes. Fewer than thirty writes on either side say nothing.
//!
//! **Misses.** A few wrong values among many, and a wrong value as likely as the right one. A difference may be meant: it is
//! a question, not a proof; begin with `severity: warn`. It names a release and no record, so a trace does not use it.

use std::collections::BTreeMap;
use std::sync::Arc;

use statrs::distribution::{ChiSquared, ContinuousCDF};

use super::{Check, CheckContext, CheckKind, Target, Violating};
use crate::audit::document::Node;
use crate::audit::mistake::Mistakes;
use crate::audit::planning::written_rows;
use crate::audit::sql_text::quoted_name;
use crate::model::{ColumnName, ColumnType, Release};

pub(super) const KIND: CheckKind = CheckKind { name: "drift", read, judges_writes: true };

/// How unlikely a difference must be, all comparisons of a rule together.
const UNLIKELY: f64 = 0.001;
/// How large it must be, as a share of the writes.
const LARGE: f64 = 0.1;
/// Fewer writes than this, on either side, say nothing.
const ENOUGH: u64 = 30;
/// Values expected less often than this are taken together: the chi-squared test is no good for them.
const RARE: f64 = 5.0;

#[derive(Debug)]
struct DriftCheck {
    column: ColumnName,
    is_ordered: bool,
}

/// A question about the writes of each release as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DriftQuestion {
    /// Selects, for each release and each value that it gave the column, in the order of the values: `_service`,
    /// `_release`, the `value` as text, the number of `writes`, and the `first` of them.
    pub sql: String,
    /// The column.
    pub column: ColumnName,
    /// Whether nearness of values means something: numbers, dates and times.
    pub is_ordered: bool,
}

/// How often a release gave a column a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::audit) struct ReleaseValues {
    pub(in crate::audit) release: Release,
    /// The value's place among all values; `None` for NULL.
    pub(in crate::audit) value: Option<usize>,
    pub(in crate::audit) writes: u64,
    /// The place of the first of them in the order of writes.
    pub(in crate::audit) first: u64,
}

/// A release whose writes differ from those before it.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::audit) struct Drift {
    pub(in crate::audit) release: Release,
    /// How, in words.
    pub(in crate::audit) description: String,
}

fn read(context: &CheckContext<'_>, node: &Node, mistakes: &mut Mistakes) -> Option<Arc<dyn Check>> {
    let fields = context.fields(node, "drift", &["column", "against"], mistakes)?;
    let column = context.column(&fields, mistakes);
    let against = fields.require_text("against", mistakes)?;
    if against != "earlier-releases" {
        let help = Some("write against: earlier-releases".to_owned());
        context.note(fields.get("against")?, format!("drift against '{against}' is unknown"), help, mistakes);
        return None;
    }
    let column = context.table.column(&column?)?;
    let is_ordered = column.column_type.is_numeric()
        || matches!(column.column_type, ColumnType::Date | ColumnType::Timestamp | ColumnType::TimestampTz);
    Some(Arc::new(DriftCheck { column: Arc::clone(&column.name), is_ordered }))
}

impl Check for DriftCheck {
    fn violating(&self, target: &Target<'_>) -> Violating {
        let column = quoted_name(&self.column);
        let given = format!("(_op = 'insert' OR {column} IS DISTINCT FROM {})", super::before_column(&self.column));
        let filter = target.filter_sql().map(|filter| format!(" AND {filter}")).unwrap_or_default();
        let sql = format!(
            "SELECT _service, _release, CAST({column} AS text) AS value, count(*) AS writes, min(_seq) AS first FROM {} \
             WHERE _release IS NOT NULL AND {given}{filter} GROUP BY _service, _release, {column} ORDER BY {column}",
            written_rows(target.table),
        );
        Violating::Release(DriftQuestion { sql, column: Arc::clone(&self.column), is_ordered: self.is_ordered })
    }

    fn columns(&self) -> Vec<ColumnName> {
        vec![Arc::clone(&self.column)]
    }
}

/// How often each value was given; `None` is NULL.
#[derive(Clone, Debug, Default)]
struct Frequencies(BTreeMap<Option<usize>, u64>);

impl Frequencies {
    fn total(&self) -> u64 {
        self.0.values().sum()
    }

    fn of(&self, value: Option<usize>) -> u64 {
        self.0.get(&value).copied().unwrap_or(0)
    }

    fn add(&mut self, other: &Frequencies) {
        for (value, writes) in &other.0 {
            *self.0.entry(*value).or_default() += writes;
        }
    }

    fn without_null(&self) -> Frequencies {
        Frequencies(
            self.0.iter().filter(|(value, _)| value.is_some()).map(|(value, writes)| (*value, *writes)).collect(),
        )
    }

    /// NULL, or any value.
    fn nullness(&self) -> Frequencies {
        let nulls = self.of(None);
        Frequencies(BTreeMap::from([(None, nulls), (Some(0), self.total() - nulls)]))
    }
}

/// How far two samples are apart (0 to 1), and how likely that is by chance.
#[derive(Clone, Copy, Debug)]
struct Difference {
    distance: f64,
    p_value: f64,
}

impl DriftQuestion {
    /// The releases whose writes differ from those of the releases before them.
    pub(in crate::audit) fn judge(&self, values: Vec<ReleaseValues>) -> Vec<Drift> {
        let mut releases: BTreeMap<Release, (u64, Frequencies)> = BTreeMap::new();
        for given in values {
            let (first, frequencies) = releases.entry(given.release).or_insert((u64::MAX, Frequencies::default()));
            *first = (*first).min(given.first);
            *frequencies.0.entry(given.value).or_default() += given.writes;
        }
        let mut in_order: Vec<(u64, Release, Frequencies)> =
            releases.into_iter().map(|(release, (first, frequencies))| (first, release, frequencies)).collect();
        in_order.sort_by_key(|(first, _, _)| *first);
        let comparisons = ratio(u64::try_from(in_order.len()).unwrap_or(u64::MAX), 1) * 2.0;
        let mut earlier: BTreeMap<Option<String>, Frequencies> = BTreeMap::new();
        let mut drifts = Vec::new();
        for (_, release, frequencies) in in_order {
            let service = release.service.as_ref().map(|service| service.as_str().to_owned());
            let before = earlier.entry(service).or_default();
            let tests = [
                ("the share of NULLs", Some(categories(&before.nullness(), &frequencies.nullness()))),
                ("the distribution", self.compare(&before.without_null(), &frequencies.without_null())),
            ];
            let enough = before.total() >= ENOUGH && frequencies.total() >= ENOUGH;
            let found = tests.into_iter().find_map(|(what, difference)| {
                difference
                    .filter(|found| enough && found.distance >= LARGE && found.p_value * comparisons < UNLIKELY)
                    .map(|found| (what, found))
            });
            if let Some((what, Difference { distance, p_value })) = found {
                let description = format!(
                    "{what} of {} in the {} writes of {release} differs from that in {} earlier ones (distance {distance:.2}, p {p_value:.1e})",
                    self.column,
                    frequencies.total(),
                    before.total(),
                );
                drifts.push(Drift { release: release.clone(), description });
            }
            before.add(&frequencies);
        }
        drifts
    }

    fn compare(&self, before: &Frequencies, release: &Frequencies) -> Option<Difference> {
        if before.total() < ENOUGH || release.total() < ENOUGH {
            return None;
        }
        Some(if self.is_ordered { kolmogorov_smirnov(before, release) } else { categories(before, release) })
    }
}

/// The greatest distance between the cumulative distributions.
fn kolmogorov_smirnov(one: &Frequencies, other: &Frequencies) -> Difference {
    let (of_one, of_other) = (one.total(), other.total());
    let mut values: Vec<Option<usize>> = one.0.keys().chain(other.0.keys()).copied().collect();
    values.sort_unstable();
    values.dedup();
    let (mut up_to_one, mut up_to_other, mut distance) = (0, 0, 0.0_f64);
    for value in values {
        up_to_one += one.of(value);
        up_to_other += other.of(value);
        distance = distance.max((ratio(up_to_one, of_one) - ratio(up_to_other, of_other)).abs());
    }
    let size = (1.0 / (1.0 / ratio(of_one, 1) + 1.0 / ratio(of_other, 1))).sqrt();
    let statistic = (size + 0.12 + 0.11 / size) * distance;
    Difference { distance, p_value: kolmogorov_tail(statistic) }
}

/// How likely the Kolmogorov distribution exceeds `statistic`.
fn kolmogorov_tail(statistic: f64) -> f64 {
    // Below this the series converges too slowly, and the answer is 1 to eight digits.
    if statistic < 0.3 {
        return 1.0;
    }
    let terms = (1..=100_i32).map(|term| {
        let sign = if term % 2 == 1 { 2.0 } else { -2.0 };
        sign * (-2.0 * f64::from(term * term) * statistic * statistic).exp()
    });
    terms.sum::<f64>().clamp(0.0, 1.0)
}

/// The chi-squared test of homogeneity, and the share of writes that went elsewhere.
fn categories(one: &Frequencies, other: &Frequencies) -> Difference {
    let (of_one, of_other) = (one.total(), other.total());
    let mut distance = 0.0;
    let mut cells: Vec<(u64, u64)> = Vec::new();
    let mut rare = (0, 0);
    let mut values: Vec<Option<usize>> = one.0.keys().chain(other.0.keys()).copied().collect();
    values.sort_unstable();
    values.dedup();
    let share = ratio(of_one.min(of_other), of_one.saturating_add(of_other));
    for value in values {
        let (in_one, in_other) = (one.of(value), other.of(value));
        distance += (ratio(in_one, of_one) - ratio(in_other, of_other)).abs() / 2.0;
        if ratio(in_one + in_other, 1) * share < RARE {
            rare = (rare.0 + in_one, rare.1 + in_other);
        } else {
            cells.push((in_one, in_other));
        }
    }
    if rare != (0, 0) {
        cells.push(rare);
    }
    let all = ratio(of_one.saturating_add(of_other), 1);
    let statistic: f64 = cells
        .iter()
        .flat_map(|(in_one, in_other)| {
            let both = ratio(in_one + in_other, 1);
            [(*in_one, of_one), (*in_other, of_other)].map(|(found, of)| {
                let expected = both * ratio(of, 1) / all;
                let off = ratio(found, 1) - expected;
                if expected > 0.0 { off * off / expected } else { 0.0 }
            })
        })
        .sum();
    let freedom = ratio(u64::try_from(cells.len()).unwrap_or(u64::MAX), 1) - 1.0;
    let p_value = ChiSquared::new(freedom).map_or(1.0, |distribution| distribution.sf(statistic));
    Difference { distance, p_value }
}

/// A quotient of counts; 0 over nothing.
fn ratio(count: u64, of: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "statistics need no more than sixteen digits")]
    let (count, of) = (count as f64, of as f64);
    if of == 0.0 { 0.0 } else { count / of }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::checks::tests::mistakes_of;
    use crate::model::{ReleaseName, ServiceName};

    fn given(release: &str, value: Option<usize>, writes: u64, first: u64) -> ReleaseValues {
        let release = Release { service: Some(ServiceName::new("shop")), name: ReleaseName::new(release) };
        ReleaseValues { release, value, writes, first }
    }

    fn drifted(is_ordered: bool, values: Vec<ReleaseValues>) -> Vec<String> {
        let question = DriftQuestion { sql: String::new(), column: "total".into(), is_ordered };
        question.judge(values).into_iter().map(|drift| drift.release.name.as_str().to_owned()).collect()
    }

    #[test]
    fn a_release_that_writes_otherwise_is_found() {
        for is_ordered in [true, false] {
            let alike =
                |release: &'static str, from: u64| (0..4).map(move |value| given(release, Some(value), 25, from));
            let mut values: Vec<ReleaseValues> = alike("v41", 1).chain(alike("v42", 101)).collect::<Vec<_>>();
            assert_eq!(drifted(is_ordered, values.clone()), [""; 0]);
            values.push(given("v43", Some(3), 100, 201));
            assert_eq!(drifted(is_ordered, values.clone()), ["v43"]);
            values.push(given("v44", None, 40, 301));
            assert_eq!(drifted(is_ordered, values), ["v43", "v44"]);
        }
    }

    #[test]
    fn few_writes_say_nothing() {
        let values = vec![given("v41", Some(0), 100, 1), given("v42", Some(9), 29, 101)];
        assert_eq!(drifted(true, values), [""; 0]);
    }

    #[test]
    fn the_tests_agree_with_the_tables() {
        // The 5% and 0.1% points of the Kolmogorov distribution.
        assert!((kolmogorov_tail(1.3581) - 0.05).abs() < 1e-4 && (kolmogorov_tail(1.9495) - 0.001).abs() < 1e-5);
        // 2 x 2 with a statistic of 200 * (30 * 70 - 20 * 80)^2 / (110 * 90 * 100 * 100)
        let frequencies = |yes, no| Frequencies(BTreeMap::from([(Some(0), yes), (Some(1), no)]));
        let found = categories(&frequencies(60, 40), &frequencies(50, 50));
        assert!((found.p_value - 0.1552).abs() < 1e-3 && (found.distance - 0.1).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn it_is_against_earlier_releases() {
        assert!(mistakes_of("drift: {column: total, against: yesterday}").contains("earlier-releases"));
    }
}
