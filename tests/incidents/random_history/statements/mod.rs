//! The statements of a random history that are the same in both worlds.

mod inserts;
mod several_tables;
mod surroundings;
mod updates;

use super::grammar::{Scope, Table, value};
use super::plan::Planner;
use super::schema::insert;
use crate::shop::random::Random;

/// What makes a statement one that the built-in evaluator refuses.
const BEYOND: [&str; 9] = [
    "LATERAL",
    "EXCLUDE CURRENT ROW",
    "to_char",
    "WITH TIES",
    "string_agg",
    "percentile_cont",
    "array_agg",
    "SET (amount, base)",
    "t.base >= (SELECT",
];

impl Planner {
    /// One of its tables by chance.
    pub fn any_table(&mut self) -> Table {
        self.random.pick(&self.tables).clone()
    }

    /// A statement by chance; one that can be run again, where the history is to have no others.
    pub fn statement(&mut self) -> String {
        loop {
            let sql = self.any_statement();
            if self.goes_beyond || !BEYOND.iter().any(|part| sql.contains(part)) {
                return sql;
            }
        }
    }

    fn any_statement(&mut self) -> String {
        let (t, u) = (self.any_table(), self.any_table());
        match self.random.below(9) {
            0 | 1 => self.any_update(&t, &u),
            2 => self.any_subquery(&t, &u),
            3 | 4 => self.any_insert(&t, &u),
            5 => self.any_group(&t),
            6 => match self.random.below(2) {
                0 => self.merge(&t, &u),
                _ => self.with_writes(),
            },
            _ => self.any_surrounding(&t),
        }
    }

    fn any_update(&mut self, t: &Table, u: &Table) -> String {
        match self.random.below(10) {
            0 | 1 => self.update_by_key(t),
            2 => self.update_set(t),
            3 => self.update_from(t, u),
            4 => self.update_by_window(t),
            5 => self.update_limited(t),
            6 => self.update_with_ties(t),
            7 => self.update_from_several(t, u),
            8 => self.change_key(t),
            _ => self.delete(t, u),
        }
    }

    fn any_subquery(&mut self, t: &Table, u: &Table) -> String {
        match self.random.below(9) {
            7 => self.update_beyond(t, u),
            0 => self.update_by_subquery(t, u),
            1 => self.update_by_existence(t, u),
            2 => self.update_by_sets(t, u),
            3 => self.update_from_groups(t, u),
            4 => self.update_of_rows(t, u),
            5 => self.update_by_nested(t, u),
            6 => self.update_by_case(t, u),
            _ => self.recursive(t),
        }
    }

    fn any_insert(&mut self, t: &Table, u: &Table) -> String {
        match self.random.below(5) {
            0 => {
                self.next_id += 1;
                insert(&mut self.random, t, self.next_id, "'later'", None)
            }
            1 | 2 => self.insert_select(t, u),
            _ => self.upsert(t),
        }
    }

    fn any_group(&mut self, t: &Table) -> String {
        match self.random.below(6) {
            0 | 1 => self.totals(t),
            2 => self.aggregates(t),
            3 => self.grouping_sets(t),
            _ => self.picks(t),
        }
    }

    fn any_surrounding(&mut self, t: &Table) -> String {
        match self.random.below(7) {
            0 => self.mixed(t),
            1 => self.children(),
            2 => self.followers(),
            3 => self.partitioned(t),
            4 => self.through_view(),
            5 => self.codes(t),
            _ => self.copied_back(t),
        }
    }

    /// What no other statement adds to the keys of the rows that it makes others of.
    pub fn offset(&mut self) -> usize {
        self.next_offset += 1;
        1_000 << (self.next_offset - 1).min(19)
    }

    fn assignment(&mut self, table: &Table, scope: &Scope<'_>) -> String {
        let column = self.random.pick(&table.columns).clone();
        let value = value(&mut self.random, column.of, scope);
        format!("{} = {value}", column.name)
    }
}

fn one_of<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[random.below(texts.len())]
}
