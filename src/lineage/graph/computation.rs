//! What one SQL text computes, for the graph.

use std::collections::BTreeSet;

use super::Computation;
use crate::model::{FeedKind, StatedFeed, TableColumn, TableName};
use crate::sql::{
    ColumnLineage, ColumnOwner, Dialect, QualifiedColumn, Schema, StatementAnalysis, StatementKind, Via, analyze,
};

/// What the statements of a text read and write.
pub(super) fn computation_of_sql(text: &str, schema: &Schema) -> Computation {
    computation_of(&analyze(text, schema, Dialect::default()))
}

/// What a query that gives the rows of a table reads and writes; a text that is another statement, as it stands.
pub(super) fn computation_of_query(text: &str, table: &TableName, schema: &Schema) -> Computation {
    let analyses = analyze(text, schema, Dialect::default());
    let [StatementAnalysis { kind: StatementKind::Select, .. }] = analyses.as_slice() else {
        let mut computation = computation_of(&analyses);
        if computation.targets.is_empty() {
            computation.targets.push(table.clone());
        }
        return computation;
    };
    // The columns that it returns are the table's.
    let returned = |lineage: &ColumnLineage| ColumnLineage {
        target: QualifiedColumn { owner: ColumnOwner::Table(table.clone()), column: lineage.target.column.clone() },
        ..lineage.clone()
    };
    let written = analyses.iter().map(|analysis| StatementAnalysis {
        targets: vec![table.clone()],
        columns: analysis.columns.iter().map(returned).collect(),
        ..analysis.clone()
    });
    computation_of(&written.collect::<Vec<_>>())
}

/// What analysed statements read and write together.
pub(super) fn computation_of(analyses: &[StatementAnalysis]) -> Computation {
    let mut targets: BTreeSet<TableName> = BTreeSet::new();
    let mut sources: BTreeSet<TableName> = BTreeSet::new();
    let mut feeds: BTreeSet<StatedFeed> = BTreeSet::new();
    let mut unresolved: BTreeSet<String> = BTreeSet::new();
    for analysis in analyses {
        targets.extend(analysis.targets.iter().cloned());
        sources.extend(analysis.sources.iter().cloned());
        for lineage in &analysis.columns {
            add_feeds(lineage, &mut feeds, &mut unresolved);
        }
    }
    let errors =
        analyses.iter().filter_map(|analysis| analysis.error.as_ref()).map(|error| format!("failed to {error}"));
    let mut errors: Vec<String> = errors.collect();
    if !unresolved.is_empty() {
        let names: Vec<String> = unresolved.into_iter().collect();
        errors.push(format!("it is not known whose these columns are: {}", names.join(", ")));
    }
    Computation {
        kind: analyses.first().map_or(StatementKind::Other, |analysis| analysis.kind).as_str(),
        targets: targets.into_iter().collect(),
        sources: sources.into_iter().collect(),
        feeds: feeds.into_iter().collect(),
        error: (!errors.is_empty()).then(|| errors.join("; ")),
    }
}

fn add_feeds(lineage: &ColumnLineage, feeds: &mut BTreeSet<StatedFeed>, unresolved: &mut BTreeSet<String>) {
    let kind = match lineage.via {
        Via::Copy => FeedKind::Copy,
        Via::Transform => FeedKind::Transform,
        Via::Aggregate => FeedKind::Aggregate,
    };
    let ColumnOwner::Table(table) = &lineage.target.owner else { return };
    let values = lineage.sources.iter().map(|source| (source, kind));
    let influences = lineage.influences.iter().map(|influence| (&influence.column, FeedKind::Influence));
    for (source, kind) in values.chain(influences) {
        match &source.owner {
            ColumnOwner::Table(of) => {
                _ = feeds.insert(StatedFeed {
                    table: table.clone(),
                    column: Some(lineage.target.column.clone()),
                    source: TableColumn { table: of.clone(), column: source.column.clone() },
                    kind,
                })
            }
            ColumnOwner::Unresolved => _ = unresolved.insert(source.column.to_string()),
            ColumnOwner::Output => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_columns_are_told_with_what_decides_which_rows_get_there() {
        let schema = Schema::default();
        let told = |text: &str| {
            let computation = computation_of_sql(text, &schema);
            let names = |tables: &[TableName]| tables.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
            (computation.kind, names(&computation.targets), names(&computation.sources))
        };
        let with = "INSERT INTO daily WITH paid AS (SELECT * FROM orders) SELECT day FROM paid";
        assert_eq!(told(with), ("insert", "public.daily".into(), "public.orders".into()));
        assert!(computation_of_sql("SELEC 1", &schema).error.is_some());
        let sql = "SELECT o.day, sum(o.total) AS total FROM orders AS o WHERE o.status = 'paid' GROUP BY o.day";
        let query = computation_of_query(sql, &TableName::new("public", "daily"), &schema);
        assert_eq!(query.targets, [TableName::new("public", "daily")]);
        let told: Vec<String> = query
            .feeds
            .iter()
            .map(|feed| {
                format!("{} -{}-> {}", feed.source.column, feed.kind.as_str(), feed.column.as_deref().unwrap_or("*"))
            })
            .collect();
        for feed in
            ["day -copy-> day", "total -aggregate-> total", "status -influence-> total", "day -influence-> total"]
        {
            assert!(told.iter().any(|one| one == feed), "{feed} is not among {told:?}");
        }
    }
}
