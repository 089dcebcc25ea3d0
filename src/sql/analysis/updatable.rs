//! Views over one table: what is written to the view is written to the table.

use std::sync::Arc;

use sqlparser::ast::{GroupByExpr, ObjectName, Query, SelectItem, SetExpr, TableFactor};

use super::arena::ColumnId;
use super::outcome::{ColumnOwner, InfluenceKind, StatementAnalysis, Via};
use super::routines::{Event, Trigger};
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

    /// The same view once a table has another name.
    pub(super) fn rename_table(&mut self, from: &TableName, to: &TableName) {
        if self.table == *from {
            self.table = to.clone();
        }
    }

    /// The same view once a column of the table behind it has another name.
    pub(super) fn rename_source(&mut self, table: &TableName, old: &str, new: &ColumnName) {
        if self.table == *table {
            let named = self.columns.iter_mut().map(|(_, of_table)| of_table).chain(&mut self.shown_by);
            named.filter(|name| ***name == *old).for_each(|name| *name = Arc::clone(new));
        }
    }

    /// The same view once a column of its own has another name.
    pub(super) fn rename_own(&mut self, old: &str, new: &ColumnName) {
        let own = self.columns.iter_mut().map(|(of_view, _)| of_view);
        own.filter(|name| ***name == *old).for_each(|name| *name = Arc::clone(new));
    }

    fn column_of(&self, of_view: &ColumnName) -> Option<ColumnName> {
        if **of_view == *"*" {
            return Some(of_view.clone());
        }
        self.columns.iter().find(|(view, _)| view == of_view).map(|(_, of_table)| of_table.clone())
    }
}

impl Walk<'_> {
    fn view(&self, view: &TableName) -> Option<Arc<Through>> {
        self.schema.shape(view)?.through.clone()
    }

    /// What a write of this kind to a view writes; none where a trigger of the view does it instead.
    fn through(&self, view: &TableName, event: Event<'_>) -> Option<Arc<Through>> {
        let replaces = |trigger: &Trigger| trigger.replaces(event.of_any_columns());
        self.view(view).filter(|_| !self.schema.triggers(view).iter().any(replaces))
    }

    /// What decides which rows a view shows decides which of them are updated or deleted by it.
    pub(super) fn rows_shown_by_view(&mut self, target: &Target) -> Vec<(ColumnId, InfluenceKind)> {
        let mut shown_by = Vec::new();
        let mut view = target.name.clone();
        for _ in 0..VIEWS_DEEP {
            let Some(through) = self.view(&view) else { break };
            let table = self.arena.table(&through.table);
            for column in &through.shown_by {
                shown_by.push((self.arena.column(Some(table), column), InfluenceKind::Filter));
            }
            view = through.table.clone();
        }
        shown_by
    }

    /// Fires the triggers of the table behind a view; `false` where there is none.
    pub(super) fn fire_through(&mut self, target: &Target, event: Event<'_>, rows: &Rows) -> bool {
        let mut columns: Vec<ColumnName> = match event {
            Event::Update(columns) => columns.to_vec(),
            Event::Insert | Event::Delete | Event::Truncate => Vec::new(),
        };
        let mut name = target.name.clone();
        for _ in 0..VIEWS_DEEP {
            if self.view(&name).is_some() {
                let id = self.arena.table(&name);
                self.view_events.insert((id, event.of_any_columns()));
            }
            let Some(through) = self.through(&name, event) else {
                if name == target.name {
                    return false;
                }
                let table = self.target_table(name, None);
                let event = if matches!(event, Event::Update(_)) { Event::Update(&columns) } else { event };
                self.fire(&table, event, rows);
                return true;
            };
            columns = columns.iter().filter_map(|name| through.column_of(name)).collect();
            name = through.table.clone();
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
            // Of several writes of one statement it is not kept apart which column each of them wrote.
            let events: Vec<Event<'static>> =
                self.view_events.iter().filter(|(of, _)| *of == view).map(|(_, event)| *event).collect();
            let through = match events.is_empty() {
                true => self.view(&name),
                false => events.into_iter().find_map(|event| self.through(&name, event)),
            };
            let Some(through) = through else { continue };
            let table = self.arena.table(&through.table);
            self.writes(table);
            if let Some(column) = through.column_of(&column) {
                self.assign(Some(table), &column, dependencies, &rows);
            }
        }
    }
}
