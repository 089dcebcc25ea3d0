//! Rules about rows that the scan of their table cannot answer: what holds a subquery, and queries.
//!
//! In: the rules of a table. Out: of each, how many rows it is about, and the keys of those in breach. What can be printed
//! for each row is asked in one query for all rules; what can only filter rows, in one query for all rules that filter by
//! the same, such as a reference.

use arrow::record_batch::RecordBatch;

use super::checks::Violating;
use super::evaluation::{AuditedTable, Tally, count, true_rows};
use super::found_keys::{FoundKeys, SortedKeys};
use super::planning::{key_as_positions, select_violating};
use super::rule::Rule;
use super::sessions::Sessions;
use super::shared_groups::SharedGroups;
use super::sql_text::{SqlExpression, asks_for_existence, parsed_condition, place_among, quoted_table};

/// What one query over the table answers for one rule, each as an SQL predicate.
struct Question<'a> {
    rule: &'a Rule,
    /// Whether the row is in breach; `None` where a query of its own tells.
    breach: Option<String>,
    /// Whether the row is checked at all; `None` where every row is, or a query of its own counts them.
    filter: Option<String>,
}

/// Rules whose rows in breach are found by one condition, each among those that its own filter lets pass.
struct Selection {
    /// The condition, which the engine can only filter by.
    condition: String,
    /// Places among the questions, each with the filter that comes on top.
    questions: Vec<(usize, Option<String>)>,
}

impl<'a> Question<'a> {
    fn new(rule: &'a Rule, breach: Option<String>) -> Self {
        let filter = rule.filter.as_ref().filter(|filter| !asks_for_existence(&filter.expression));
        Question { rule, breach, filter: filter.map(|filter| format!("({}) IS TRUE", filter.sql)) }
    }

    /// The rule's `where`, where the scan cannot tell whether it holds.
    fn filter_beside_scan(&self) -> Option<&SqlExpression> {
        self.rule.filter.as_ref().filter(|_| self.filter.is_none())
    }
}

impl AuditedTable<'_> {
    /// What is found of each rule, by its place.
    pub(super) async fn check_rows(
        &self,
        sessions: &Sessions,
        rules: &[(usize, &Rule)],
    ) -> Vec<(usize, Result<Tally, String>)> {
        let questions: Vec<Question<'_>> =
            rules.iter().map(|(_, rule)| Question::new(rule, self.breach_in_scan(rule))).collect();
        let mut tallies = self.scan_or_ask_each(sessions, &questions).await;
        let mut alone = Vec::new();
        for selection in self.selections(&questions) {
            match self.select(sessions, &selection, &questions).await {
                Ok(found) => {
                    for ((place, _), keys) in selection.questions.iter().zip(found) {
                        place_keys(&mut tallies[*place], Ok(keys));
                    }
                }
                // One of them spoils it for all: ask one by one, so that only that one fails.
                Err(_) => alone.extend(selection.questions.iter().map(|(place, _)| *place)),
            }
        }
        let is_query = |question: &Question<'_>| matches!(question.rule.violating(self.schema), Violating::Query(_));
        let filters_twice =
            |question: &Question<'_>| question.breach.is_none() && question.filter_beside_scan().is_some();
        for (place, question) in questions.iter().enumerate() {
            if is_query(question) || filters_twice(question) || alone.contains(&place) {
                place_keys(&mut tallies[place], self.query(sessions, question.rule).await);
            }
            if let Some(filter) = question.filter_beside_scan()
                && let Ok(found) = &mut tallies[place]
            {
                match self.count_where(sessions, question.rule, filter).await {
                    Ok(checked) => found.checked = checked,
                    Err(message) => tallies[place] = Err(message),
                }
            }
        }
        rules.iter().map(|(place, _)| *place).zip(tallies).collect()
    }

    /// One query for all; where one question spoils it, one for each.
    async fn scan_or_ask_each(&self, sessions: &Sessions, questions: &[Question<'_>]) -> Vec<Result<Tally, String>> {
        match self.scan(sessions, questions).await {
            Ok(tallies) => tallies.into_iter().map(Ok).collect(),
            Err(message) if questions.len() == 1 => vec![Err(message)],
            Err(_) => {
                let mut tallies = Vec::with_capacity(questions.len());
                for question in questions {
                    let alone = self.scan(sessions, std::slice::from_ref(question)).await;
                    tallies.push(alone.map(|mut tallies| tallies.pop().unwrap_or_default()));
                }
                tallies
            }
        }
    }

    /// The predicate to compute for every row; `None` where the engine only filters by such a predicate.
    fn breach_in_scan(&self, rule: &Rule) -> Option<String> {
        let Violating::Row(predicate) = rule.violating(self.schema) else { return None };
        parsed_condition(&predicate).is_some_and(|parsed| !asks_for_existence(&parsed)).then_some(predicate)
    }

    /// One scan of the table that answers every question: rows checked, and the rows in breach where it tells them.
    async fn scan(&self, sessions: &Sessions, questions: &[Question<'_>]) -> Result<Vec<Tally>, String> {
        if questions.is_empty() {
            return Ok(Vec::new());
        }
        let rules: Vec<&Rule> = questions.iter().map(|question| question.rule).collect();
        let (groups, of_groups) = SharedGroups::of(&rules);
        let mut columns = vec![key_as_positions(&self.key)];
        if questions.iter().all(|question| question.breach.is_none()) {
            columns = vec!["1".to_owned()];
        }
        for (position, question) in questions.iter().enumerate() {
            columns.extend(question.filter.as_ref().map(|filter| format!("({filter}) AS checked_{position}")));
            let breach = of_groups.get(position).and_then(Option::as_ref).or(question.breach.as_ref());
            let breach = breach.filter(|_| question.breach.is_some());
            columns.extend(breach.map(|breach| format!("({breach}) AS breach_{position}")));
        }
        let sql = format!("SELECT {} FROM {}", columns.join(", "), groups.from(&self.schema.name));
        let look = |found: &mut Vec<(u64, FoundKeys)>, batch: &RecordBatch| {
            found.resize_with(questions.len(), Default::default);
            for (position, (question, (checked, keys))) in questions.iter().zip(found).enumerate() {
                *checked += match question.filter {
                    Some(_) => count(true_rows(batch, &format!("checked_{position}"))?.len()),
                    None => count(batch.num_rows()),
                };
                if question.breach.is_some() {
                    for row in true_rows(batch, &format!("breach_{position}"))? {
                        keys.push(self.key_at(batch, row)?, self.holding())?;
                    }
                }
            }
            Ok(())
        };
        let found = sessions.fold(&sql, look).await;
        let mut found: Vec<(u64, FoundKeys)> = found.map_err(|stopped| self.message_of(&stopped, &rules))?;
        found.resize_with(questions.len(), Default::default);
        let tally = |(checked, keys): (u64, FoundKeys)| Ok(Tally::of_rows(checked, keys.finish(self.holding())?));
        found.into_iter().map(tally).collect()
    }

    /// The questions that the scan leaves open and a query with a plain filter answers, together where that is the same.
    fn selections(&self, questions: &[Question<'_>]) -> Vec<Selection> {
        let mut conditions: Vec<String> = Vec::new();
        let mut selections: Vec<Selection> = Vec::new();
        for (place, question) in questions.iter().enumerate() {
            if question.breach.is_some() || question.filter_beside_scan().is_some() {
                continue;
            }
            let Violating::Row(condition) = question.rule.violating_of_check(self.schema) else { continue };
            let selection = place_among(&mut conditions, condition.clone());
            if selection == selections.len() {
                selections.push(Selection { condition, questions: Vec::new() });
            }
            selections[selection].questions.push((place, question.filter.clone()));
        }
        selections
    }

    /// The rows in breach of each rule of a selection.
    async fn select(
        &self,
        sessions: &Sessions,
        selection: &Selection,
        questions: &[Question<'_>],
    ) -> Result<Vec<SortedKeys>, String> {
        let mut filters: Vec<String> = Vec::new();
        let of_question: Vec<Option<usize>> = selection
            .questions
            .iter()
            .map(|(_, filter)| filter.clone().map(|filter| place_among(&mut filters, filter)))
            .collect();
        let flags = filters.iter().enumerate().map(|(place, filter)| format!("({filter}) AS filter_{place}"));
        let columns: Vec<String> = std::iter::once(key_as_positions(&self.key)).chain(flags).collect();
        // The filters first: what they leave out, the condition need not be able to judge.
        let all_filter = of_question.iter().all(Option::is_some);
        let filters_sql = all_filter.then(|| format!("({})", filters.join(" OR ")));
        let conditions: Vec<String> = filters_sql.into_iter().chain([format!("({})", selection.condition)]).collect();
        let table = quoted_table(&self.schema.name);
        let sql = format!("SELECT {} FROM {table} WHERE {}", columns.join(", "), conditions.join(" AND "));
        let look = |found: &mut Vec<FoundKeys>, batch: &RecordBatch| {
            found.resize_with(of_question.len(), FoundKeys::default);
            for (filter, keys) in of_question.iter().zip(found) {
                let rows = match filter {
                    Some(filter) => true_rows(batch, &format!("filter_{filter}"))?,
                    None => (0..batch.num_rows()).collect(),
                };
                for row in rows {
                    keys.push(self.key_at(batch, row)?, self.holding())?;
                }
            }
            Ok(())
        };
        let rules: Vec<&Rule> = selection.questions.iter().map(|(place, _)| questions[*place].rule).collect();
        let found = sessions.fold(&sql, look).await;
        let mut found: Vec<FoundKeys> = found.map_err(|stopped| self.message_of(&stopped, &rules))?;
        found.resize_with(of_question.len(), FoundKeys::default);
        found.into_iter().map(|keys| keys.finish(self.holding())).collect()
    }

    /// The rows that a rule is about, where the scan could not tell.
    async fn count_where(&self, sessions: &Sessions, rule: &Rule, filter: &SqlExpression) -> Result<u64, String> {
        let sql = format!("SELECT 1 FROM {} WHERE ({}) IS TRUE", quoted_table(&self.schema.name), filter.sql);
        let look = |rows: &mut u64, batch: &RecordBatch| {
            *rows += count(batch.num_rows());
            Ok(())
        };
        sessions.fold(&sql, look).await.map_err(|stopped| self.message_of(&stopped, &[rule]))
    }

    /// The rows in breach of one rule.
    async fn query(&self, sessions: &Sessions, rule: &Rule) -> Result<SortedKeys, String> {
        let sql = select_violating(rule, self.schema, &self.key);
        let look = |keys: &mut FoundKeys, batch: &RecordBatch| {
            for row in 0..batch.num_rows() {
                keys.push(self.key_at(batch, row)?, self.holding())?;
            }
            Ok(())
        };
        let found = sessions.fold(&sql, look).await;
        found.map_err(|stopped| self.message_of(&stopped, &[rule]))?.finish(self.holding())
    }
}

/// Puts the rows in breach beside the rows checked, where that could be done.
fn place_keys(tally: &mut Result<Tally, String>, keys: Result<SortedKeys, String>) {
    if let Ok(found) = tally {
        match keys {
            Ok(keys) => *found = Tally::of_rows(found.checked, keys),
            Err(message) => *tally = Err(message),
        }
    }
}
