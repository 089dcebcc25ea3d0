//! What other engines mean by the same words, so that answers can be compared.
//!
//! Both corpora take the conditions of a CASE and what a window is over for sources of the value; here they are
//! influences. sqllineage looks at a script as a whole: a table that one statement fills and another reads is neither a
//! source nor a target, and columns are followed through it. It does not count DELETE, TRUNCATE, DROP
//! and renames. OpenLineage's parser has no edges for `*`, and numbers the columns that have no name.

use std::collections::{BTreeMap, BTreeSet};

use blast_radius::sql::{ColumnOwner, InfluenceKind, QualifiedColumn, StatementAnalysis, StatementKind};

use super::Expected;

/// A column of a table, or of a result.
pub type End = (Option<String>, String);

/// One column feeds another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: End,
    pub to: End,
}

fn table_name(name: &blast_radius::model::TableName) -> String {
    let full = name.to_string().to_lowercase();
    let bare = full.strip_prefix("public.").or_else(|| full.strip_prefix("pg_temp."));
    bare.unwrap_or(&full).to_owned()
}

/// Files and folders are no tables here; sqllineage counts them.
pub fn is_file(name: &str) -> bool {
    name.contains('/')
}

fn counts(statement: &StatementAnalysis, suite: &str) -> bool {
    let left_out = matches!(
        statement.kind,
        StatementKind::Delete | StatementKind::Truncate | StatementKind::Drop | StatementKind::Alter
    );
    suite != "sqllineage" || !left_out
}

pub fn tables(statements: &[StatementAnalysis], suite: &str) -> Expected {
    let names = |tables: &[blast_radius::model::TableName]| {
        tables.iter().map(table_name).filter(|name| !is_file(name)).collect::<BTreeSet<_>>()
    };
    let (mut sources, mut targets) = (BTreeSet::new(), BTreeSet::new());
    let (mut fed, mut feeding, mut itself) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for statement in statements.iter().filter(|statement| counts(statement, suite)) {
        let (read, written) = (names(&statement.sources), names(&statement.targets));
        itself.extend(read.intersection(&written).cloned());
        if !read.is_empty() && !written.is_empty() {
            fed.extend(written.iter().cloned());
            feeding.extend(read.iter().cloned());
        }
        sources.extend(read);
        targets.extend(written);
    }
    if suite == "sqllineage" {
        sources.retain(|table| !fed.contains(table) || itself.contains(table));
        targets.retain(|table| !feeding.contains(table) || itself.contains(table));
    }
    Expected::Tables { sources, targets }
}

fn end(column: &QualifiedColumn) -> End {
    let table = match &column.owner {
        ColumnOwner::Table(table) => Some(table_name(table)),
        ColumnOwner::Output | ColumnOwner::Unresolved => None,
    };
    let unnamed = column.column.as_ref() == "?column?";
    (table, if unnamed { "_0".to_owned() } else { column.column.to_lowercase() })
}

pub fn column_edges(statements: &[StatementAnalysis], suite: &str) -> BTreeSet<Edge> {
    let mut feeds: BTreeMap<End, BTreeSet<End>> = BTreeMap::new();
    for statement in statements.iter().filter(|statement| counts(statement, suite)) {
        if suite == "sqllineage" && statement.targets.is_empty() {
            continue;
        }
        let mut new: BTreeMap<End, BTreeSet<End>> = BTreeMap::new();
        for column in &statement.columns {
            let values = column.influences.iter().filter_map(|influence| {
                matches!(influence.kind, InfluenceKind::Conditional | InfluenceKind::Window)
                    .then_some(&influence.column)
            });
            let from = new.entry(end(&column.target)).or_default();
            let sources = column.sources.iter().chain(values).map(end);
            for source in sources.filter(|(_, column)| suite == "sqllineage" || column != "*") {
                match feeds.get(&source).filter(|_| suite == "sqllineage") {
                    Some(further) => from.extend(further.iter().cloned()),
                    None => {
                        from.insert(source);
                    }
                }
            }
        }
        for (to, from) in new {
            feeds.entry(to).or_default().extend(from);
        }
    }
    let reads_only = |statement: &StatementAnalysis| {
        let written: BTreeSet<String> = statement.targets.iter().map(table_name).collect();
        statement.sources.iter().map(table_name).filter(|table| !written.contains(table)).collect::<Vec<_>>()
    };
    let read: BTreeSet<String> = statements.iter().flat_map(reads_only).collect();
    let last = |to: &End| to.0.as_ref().is_none_or(|table| suite != "sqllineage" || !read.contains(table));
    let all = feeds.into_iter().filter(|(to, _)| last(to));
    all.flat_map(|(to, from)| from.into_iter().map(move |from| Edge { from, to: to.clone() })).collect()
}
