//! Views over one table: what is written to the view is written to the table.

use sqlparser::ast::{GroupByExpr, ObjectName, Query, SelectItem, SetExpr, TableFactor};

use super::arena::ColumnId;
use super::outcome::{ColumnOwner, InfluenceKind, StatementAnalysis, Via};
use super::routines::Event;
use super::walk::{Rows, Walk};
use super::writes::Target;
use crate::model::{ColumnName, TableName};

/// How deep views may stand on views.
const VIEWS_DEEP: usize = 32;

/// The table behind a view.
#[derive(Clone, Debug)]
pub(super) struct Through {
    table: TableName,
    /// The view's columns that are columns of the table, each with that.
    columns: Vec<(ColumnName, ColumnName)>,
    /// The table's columns that decide which rows the view shows.
    shown_by: Vec<ColumnName>,
}

/// The only table that the query reads row by row.
pub(super) fn only_table(query: &Query) -> Option<&ObjectName> {
    let SetExpr::Select(select) = query.body.as_ref() else { return None };
    let is_plain = query.with.is_none()
        && query.limit_clause.is_none()
        && query.fetch.is_none()
        && select.distinct.is_none()
        && select.into.is_none()
        && select.having.is_none()
        && matches!(&select.group_by, GroupByExpr::Expressions(by, more) if by.is_empty() && more.is_empty());
    match select.from.as_slice() {
        [item] if is_plain && item.joins.is_empty() => match &item.relation {
            TableFactor::Table { name, args: None, .. } => Some(name),
            _ => None,
        },
        _ => None,
    }
    .filter(|_| select.projection.iter().all(|item| !matches!(item, SelectItem::ExprWithAliases { .. })))
}

impl Through {
    /// Of a view over this table, by the analysis of its definition.
    pub(super) fn of(table: TableName, view: &TableName, analysis: &StatementAnalysis) -> Option<Through> {
        let of_table = |owner: &ColumnOwner| matches!(owner, ColumnOwner::Table(name) if *name == table);
        let mut columns = Vec::new();
        let mut shown_by: Vec<ColumnName> = Vec::new();
        for lineage in &analysis.columns {
            if !matches!(&lineage.target.owner, ColumnOwner::Table(name) if name == view) {
                continue;
            }
            // Over groups nothing can be written.
            if lineage.via == Via::Aggregate {
                return None;
            }
            if let (Via::Copy, [source]) = (lineage.via, lineage.sources.as_slice())
                && of_table(&source.owner)
            {
                columns.push((lineage.target.column.clone(), source.column.clone()));
            }
            let deciding = lineage.influences.iter().filter(|influence| influence.kind == InfluenceKind::Filter);
            shown_by.extend(
                deciding
                    .filter(|influence| of_table(&influence.column.owner))
                    .map(|influence| influence.column.column.clone()),
            );
        }
        shown_by.sort_unstable();
        shown_by.dedup();
        Some(Through { table, columns, shown_by })
    }

    fn column_of(&self, of_view: &ColumnName) -> Option<ColumnName> {
        if **of_view == *"*" {
            return Some(of_view.clone());
        }
        self.columns.iter().find(|(view, _)| view == of_view).map(|(_, of_table)| of_table.clone())
    }
}

impl Walk<'_> {
    /// The table that a write of this view writes; none where its triggers do it.
    fn through(&self, view: &TableName) -> Option<Through> {
        let shape = self.schema.shape(view)?;
        shape.through.as_deref().filter(|_| self.schema.triggers(view).is_empty()).cloned()
    }

    /// What decides which rows a view shows decides which of them are updated or deleted by it.
    pub(super) fn rows_shown_by_view(&mut self, target: &Target) -> Vec<(ColumnId, InfluenceKind)> {
        let mut shown_by = Vec::new();
        let mut view = target.name.clone();
        for _ in 0..VIEWS_DEEP {
            let Some(through) = self.through(&view) else { break };
            let table = self.arena.table(&through.table);
            for column in &through.shown_by {
                shown_by.push((self.arena.column(Some(table), column), InfluenceKind::Filter));
            }
            view = through.table;
        }
        shown_by
    }

    /// Fires the triggers of the table behind a view; `false` where there is none.
    pub(super) fn fire_through(&mut self, target: &Target, event: Event<'_>, rows: &Rows) -> bool {
        let Some(mut through) = self.through(&target.name) else { return false };
        let mut columns: Vec<ColumnName> = match event {
            Event::Update(columns) => columns.to_vec(),
            Event::Insert | Event::Delete | Event::Truncate => Vec::new(),
        };
        for _ in 0..VIEWS_DEEP {
            columns = columns.iter().filter_map(|name| through.column_of(name)).collect();
            match self.through(&through.table) {
                Some(next) => through = next,
                None => {
                    let table = self.target_table(through.table, None);
                    let event = if matches!(event, Event::Update(_)) { Event::Update(&columns) } else { event };
                    self.fire(&table, event, rows);
                    return true;
                }
            }
        }
        true
    }

    /// What is written to views is written to the tables behind them.
    pub(super) fn write_through_views(&mut self) {
        let mut place = 0;
        while let Some((view, column, dependencies, rows)) = self.drafted(place) {
            place += 1;
            let Some(view) = view.filter(|view| !self.defined.contains(view)) else { continue };
            let Some(name) = self.arena.table_name(view).cloned() else { continue };
            let Some(through) = self.through(&name) else { continue };
            let table = self.arena.table(&through.table);
            self.writes(table);
            if let Some(column) = through.column_of(&column) {
                self.assign(Some(table), &column, dependencies, &rows);
            }
        }
    }
}
