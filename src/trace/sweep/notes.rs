//! What the sweep notes on its way, for the report.

use std::collections::BTreeMap;
use std::sync::Arc;

use ahash::HashMap;

use crate::sql;

/// How one statement (by template) behaved.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CarrierNotes {
    /// Executions since the first write of the release.
    pub executions: u64,
    /// Records that it made wrong.
    pub affected: u64,
    /// Whether an affected execution could not be run again.
    pub inexact: bool,
}

/// Notes of a sweep.
#[derive(Clone, Debug, Default)]
pub struct Notes {
    templates: HashMap<Arc<str>, Arc<str>>,
    carriers: BTreeMap<Arc<str>, CarrierNotes>,
    limits: BTreeMap<String, u64>,
    /// Whether a trigger or function was not run again.
    code_not_run: bool,
}

impl Notes {
    /// A statement ran.
    pub fn executed(&mut self, sql: &Arc<str>) {
        self.carrier(sql).executions += 1;
    }

    /// A statement made a record wrong.
    pub fn affected(&mut self, sql: &Arc<str>) {
        self.carrier(sql).affected += 1;
    }

    /// A statement that read or wrote something affected could not be run again.
    pub fn inexact(&mut self, sql: &Arc<str>, reason: &str) {
        self.carrier(sql).inexact = true;
        let template = self.template(sql);
        self.limit(format!("'{}' could not be run again: it {reason}", shortened(&template)));
    }

    /// What a trigger or function of the database wrote was doubted, because nobody ran it again.
    pub fn code_not_run(&mut self) {
        self.code_not_run = true;
    }

    /// Where something could not be run again, a scratch server might have.
    pub fn tell_of_scratch_servers(&mut self) {
        if self.code_not_run {
            self.limit("triggers and functions of the database were not run again".to_owned());
        }
        if self.code_not_run || self.carriers.values().any(|notes| notes.inexact) {
            self.limit(
                "what could not be run again may run as it was in a scratch PostgreSQL: --reenact-on URL".to_owned(),
            );
        }
    }

    /// Something could not be decided.
    pub fn limit(&mut self, limit: String) {
        *self.limits.entry(limit).or_insert(0) += 1;
    }

    /// The statements that carried the damage, most affected first.
    pub fn carriers(&self) -> Vec<(Arc<str>, CarrierNotes)> {
        let mut carriers: Vec<_> = self
            .carriers
            .iter()
            .filter(|(_, notes)| notes.affected > 0 || notes.inexact)
            .map(|(template, notes)| (template.clone(), notes.clone()))
            .collect();
        carriers.sort_by_key(|(_, notes)| std::cmp::Reverse(notes.affected));
        carriers
    }

    /// The limits, one line each.
    pub fn limits(&self) -> Vec<String> {
        let line = |(limit, count): (&String, &u64)| match count {
            1 => limit.clone(),
            count => format!("{limit} ({count} times)"),
        };
        self.limits.iter().map(line).collect()
    }

    fn template(&mut self, sql: &Arc<str>) -> Arc<str> {
        self.templates.entry(sql.clone()).or_insert_with(|| sql::template(sql).into()).clone()
    }

    fn carrier(&mut self, sql: &Arc<str>) -> &mut CarrierNotes {
        let template = self.template(sql);
        self.carriers.entry(template).or_default()
    }
}

fn shortened(sql: &str) -> String {
    const LENGTH: usize = 120;
    match sql.char_indices().nth(LENGTH) {
        Some((end, _)) => format!("{}…", &sql[..end]),
        None => sql.to_owned(),
    }
}
