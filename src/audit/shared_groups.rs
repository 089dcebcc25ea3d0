//! Rules about the same groups of rows, answered by one query that groups the table once for all of them.
//!
//! In: the rules of a table. Out: tables of measures to be joined to it, one for each way to group the same rows, and of each
//! rule the condition for a row in breach over these.

use super::checks::GroupDemand;
use super::rule::Rule;
use super::sql_text::{place_among, quoted_name, quoted_table};
use crate::model::{ColumnName, TableName};

/// One way to group the rows of a table that some filter lets pass.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Grouping {
    by: Vec<ColumnName>,
    filter: Option<String>,
}

/// The groups that several rules share.
#[derive(Debug, Default)]
pub(super) struct SharedGroups {
    groupings: Vec<Grouping>,
    /// Of each grouping, what is measured.
    measures: Vec<Vec<String>>,
}

impl SharedGroups {
    /// The groups of these rules, and of each rule that shares its groups with another the condition for a row in breach.
    pub(super) fn of(rules: &[&Rule]) -> (SharedGroups, Vec<Option<String>>) {
        let demands: Vec<Option<(GroupDemand, Grouping)>> = rules.iter().map(|rule| demand_of(rule)).collect();
        let mut shared = SharedGroups::default();
        let conditions = rules.iter().zip(&demands).map(|(rule, demand)| {
            let (demand, grouping) = demand.as_ref()?;
            let alike = demands.iter().flatten().filter(|(_, other)| other == grouping).count();
            (alike > 1).then(|| shared.condition(rule, demand, grouping))
        });
        let conditions = conditions.collect();
        (shared, conditions)
    }

    fn condition(&mut self, rule: &Rule, demand: &GroupDemand, grouping: &Grouping) -> String {
        let group = place_among(&mut self.groupings, grouping.clone());
        if group == self.measures.len() {
            self.measures.push(Vec::new());
        }
        let measure = place_among(&mut self.measures[group], demand.measure.clone());
        let measured = measured_name(group, measure);
        let is_broken = match &demand.equals {
            Some(equals) => format!("({measured} IS DISTINCT FROM ({equals}))"),
            None => measured,
        };
        let filter = rule.filter.iter().map(|filter| format!("({}) IS TRUE", filter.sql));
        let present = demand.by.iter().map(|column| format!("{} IS NOT NULL", row_column(&rule.table, column)));
        filter.chain(present).chain([is_broken]).collect::<Vec<_>>().join(" AND ")
    }

    /// The table, and the groups of each of its rows: what stands behind FROM.
    pub(super) fn from(&self, table: &TableName) -> String {
        let mut from = quoted_table(table);
        for (group, (grouping, measures)) in self.groupings.iter().zip(&self.measures).enumerate() {
            let columns: Vec<String> = grouping.by.iter().map(|column| quoted_name(column)).collect();
            let keys =
                columns.iter().enumerate().map(|(place, column)| format!("{column} AS {}", key_name(group, place)));
            let measured = measures
                .iter()
                .enumerate()
                .map(|(place, measure)| format!("{measure} AS {}", measured_name(group, place)));
            let selected: Vec<String> = keys.chain(measured).collect();
            let filter =
                grouping.filter.as_ref().map(|filter| format!(" WHERE ({filter}) IS TRUE")).unwrap_or_default();
            let by = if columns.is_empty() { String::new() } else { format!(" GROUP BY {}", columns.join(", ")) };
            let same = grouping.by.iter().enumerate();
            let same =
                same.map(|(place, column)| format!("{} = {}", key_name(group, place), row_column(table, column)));
            let same: Vec<String> = same.collect();
            let same = if same.is_empty() { "TRUE".to_owned() } else { same.join(" AND ") };
            from.push_str(&format!(
                " LEFT JOIN (SELECT {} FROM {}{filter}{by}) AS shared_group_{group} ON {same}",
                selected.join(", "),
                quoted_table(table)
            ));
        }
        from
    }
}

fn demand_of(rule: &Rule) -> Option<(GroupDemand, Grouping)> {
    let demand = rule.of_group()?;
    let grouping = Grouping { by: demand.by.clone(), filter: rule.filter.as_ref().map(|filter| filter.sql.clone()) };
    Some((demand, grouping))
}

fn row_column(table: &TableName, column: &str) -> String {
    format!("{}.{}", quoted_name(&table.table), quoted_name(column))
}

fn key_name(group: usize, place: usize) -> String {
    format!("shared_group_{group}_key_{place}")
}

fn measured_name(group: usize, place: usize) -> String {
    format!("shared_group_{group}_measure_{place}")
}
