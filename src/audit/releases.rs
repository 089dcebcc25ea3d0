//! How each release's records fare against those of the others.

use std::collections::{BTreeMap, HashSet};

use statrs::distribution::{DiscreteCDF, Hypergeometric};

use super::outcome::{AuditOutcome, ReleaseOutcome};
use super::rule_set::RuleSet;
use crate::model::{History, Operation, RecordKey, Release, TableName, Transaction};

/// A record by its table and key.
type RecordName<'a> = (&'a TableName, &'a RecordKey);

/// The records that a release wrote, and those of them that it put in breach.
#[derive(Debug, Default)]
struct Share<'a> {
    written: HashSet<RecordName<'a>>,
    in_breach: HashSet<RecordName<'a>>,
    violations: u64,
}

/// Every release of the history: the records of audited tables that it wrote, the violations that its transactions made,
/// and how these compare with the other releases'. Most violations first.
pub fn compare_releases(outcome: &AuditOutcome, rules: &RuleSet, history: &History) -> Vec<ReleaseOutcome> {
    let audited: HashSet<&TableName> = rules.rules().iter().map(|rule| &rule.table).collect();
    let mut shares: BTreeMap<&Release, Share<'_>> = BTreeMap::new();
    for write in history.transactions.iter().flat_map(Transaction::writes) {
        if let Some(attribution) = &write.attribution {
            let share = shares.entry(&attribution.release).or_default();
            if audited.contains(&write.table) && write.operation != Operation::Truncate {
                share.written.insert((&write.table, &write.key));
            }
        }
    }
    for violation in &outcome.violations {
        let Some(release) = &violation.release else { continue };
        let share = shares.entry(release).or_default();
        share.violations += 1;
        if violation.key.iter().len() > 0 {
            // One that it broke without writing it counts as touched by it.
            share.written.insert((&violation.table, &violation.key));
            share.in_breach.insert((&violation.table, &violation.key));
        }
    }
    let size = |set: &HashSet<RecordName<'_>>| u64::try_from(set.len()).unwrap_or(u64::MAX);
    let all = shares.values().fold((0, 0), |(written, in_breach): (u64, u64), share| {
        (written.saturating_add(size(&share.written)), in_breach.saturating_add(size(&share.in_breach)))
    });
    let mut outcomes: Vec<ReleaseOutcome> = shares
        .iter()
        .map(|(release, share)| {
            let own = (size(&share.written), size(&share.in_breach));
            ReleaseOutcome {
                service: release.service.clone(),
                release: release.name.clone(),
                written: own.0,
                violations: share.violations,
                lift: lift(own, all),
                p_value: p_value(own, all),
            }
        })
        .collect();
    outcomes.sort_by_key(|outcome| std::cmp::Reverse(outcome.violations));
    outcomes
}

/// The release's share of records in breach over that of all others; `None` where they have none, or wrote nothing.
fn lift((written, in_breach): (u64, u64), (all_written, all_in_breach): (u64, u64)) -> Option<f64> {
    let others = ratio(all_in_breach - in_breach, all_written - written)?;
    Some(ratio(in_breach, written)? / others).filter(|lift| lift.is_finite())
}

/// Fisher's exact test, one-sided: how likely at least so many of the release's records would be in breach, were it like
/// the others. `None` where there is nothing to compare.
fn p_value((written, in_breach): (u64, u64), (all_written, all_in_breach): (u64, u64)) -> Option<f64> {
    if written == 0 || written == all_written || all_in_breach == 0 {
        return None;
    }
    let Some(fewer) = in_breach.checked_sub(1) else { return Some(1.0) };
    let distribution = Hypergeometric::new(all_written, all_in_breach, written).ok()?;
    Some(distribution.sf(fewer).clamp(0.0, 1.0))
}

fn ratio(count: u64, of: u64) -> Option<f64> {
    #[expect(clippy::cast_precision_loss, reason = "statistics need no more than sixteen digits")]
    let ratio = count as f64 / of as f64;
    (of > 0).then_some(ratio)
}

/// The release that most likely has a defect: it made at least half of the violations whose release is known, and more
/// than chance would.
pub fn suspect(outcome: &AuditOutcome) -> Option<&ReleaseOutcome> {
    const UNLIKELY: f64 = 0.01;
    let known: u64 = outcome.releases.iter().map(|release| release.violations).sum();
    let first = outcome.releases.iter().max_by_key(|release| release.violations)?;
    let is_unlikely = first.p_value.is_none_or(|p_value| p_value < UNLIKELY);
    (first.violations > 0 && first.violations.saturating_mul(2) >= known && is_unlikely).then_some(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fisher_s_exact_test_agrees_with_the_tables() {
        // The lady tasting tea: 3 of 4, of 8 cups with 4 of each: 17 in 70; 4 of 4: 1 in 70.
        let p = |own, all| p_value(own, all).expect("there is something to compare");
        assert!((p((4, 3), (8, 4)) - 17.0 / 70.0).abs() < 1e-9);
        assert!((p((4, 4), (8, 4)) - 1.0 / 70.0).abs() < 1e-9);
        assert!((p((4, 0), (8, 4)) - 1.0).abs() < 1e-12);
        assert!(p((10_000, 812), (1_000_000, 815)) < 1e-300);
        assert_eq!(p_value((8, 4), (8, 4)), None);
    }

    #[test]
    fn a_lift_needs_others_to_compare_with() {
        assert_eq!(lift((10, 5), (30, 6)), Some(10.0));
        assert_eq!(lift((10, 5), (30, 5)), None);
        assert_eq!(lift((10, 5), (10, 5)), None);
        assert_eq!(lift((10, 0), (30, 6)), Some(0.0));
    }
}
