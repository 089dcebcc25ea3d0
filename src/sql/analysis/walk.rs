//! The state of one statement's analysis, and what it found at the end.

use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use super::Dialect;
use super::arena::{Arena, ColumnId, TableId};
use super::dependencies::{Dependencies, settle_influences};
use super::outcome::{ColumnLineage, ColumnOwner, Influence, InfluenceKind, QualifiedColumn};
use super::plpgsql::Control;
use super::routines::{Active, Event};
use super::schema::Schema;
use super::scope::{Output, Scope};
use crate::model::{ColumnName, TableName};
use crate::sql::SqlError;

/// What decides which rows a write reaches: shared by all its columns.
pub(super) type Rows = Rc<Vec<(ColumnId, InfluenceKind)>>;

/// A common table expression in reach.
pub(super) struct CommonTable {
    pub(super) name: ColumnName,
    pub(super) output: Rc<Output>,
    /// The tables that its query reads: read where it is named.
    pub(super) reads: Vec<TableId>,
}

/// How many columns all values of one statement may depend on together; what needs more is refused, not computed.
const DEPENDENCY_BUDGET: usize = 20_000_000;

/// How many names may be compared while names of one statement are looked up; what needs more is refused.
const LOOKUP_BUDGET: usize = 50_000_000;

/// How deep queries may stand in one another.
const QUERY_DEPTH: usize = 64;

/// The analysis of one statement as it goes.
pub(super) struct Walk<'s> {
    pub(super) schema: &'s Schema,
    pub(super) dialect: Dialect,
    pub(super) arena: Arena,
    pub(super) scopes: Vec<Scope>,
    pub(super) common_tables: Vec<CommonTable>,
    pub(super) windows: Vec<(ColumnName, Rc<Dependencies>)>,
    targets: Vec<TableId>,
    sources: Vec<TableId>,
    read: HashSet<TableId>,
    written: HashSet<TableId>,
    /// What happens to the rows of views.
    pub(super) view_events: HashSet<(TableId, Event<'static>)>,
    /// What the statement makes anew, or gives another definition.
    pub(super) defined: HashSet<TableId>,
    drafts: Vec<Draft>,
    draft_places: HashMap<(Option<TableId>, ColumnName), usize>,
    error: Option<SqlError>,
    budget: usize,
    lookups: Cell<usize>,
    depth: usize,
    /// The routines that are being read, each called by the one before.
    pub(super) active: Vec<Active>,
    /// How many calls were followed.
    pub(super) calls: usize,
    /// What decides whether the statement of a routine is run.
    pub(super) control: Control,
    /// What the variables of the routine hold so far.
    pub(super) variables: HashMap<ColumnName, Rc<Output>>,
    /// Whether the order of the next query's rows counts by itself.
    pub(super) ordered: bool,
    /// In a trigger: the table of the row.
    pub(super) trigger_row: Option<TableId>,
}

/// One target column as found so far.
struct Draft {
    table: Option<TableId>,
    column: ColumnName,
    dependencies: Dependencies,
    rows: Rows,
}

/// All that was found.
pub(super) struct Findings {
    pub(super) targets: Vec<TableName>,
    pub(super) sources: Vec<TableName>,
    pub(super) columns: Vec<ColumnLineage>,
    pub(super) error: Option<SqlError>,
}

impl<'s> Walk<'s> {
    pub(super) fn new(schema: &'s Schema, dialect: Dialect) -> Self {
        Walk {
            schema,
            dialect,
            arena: Arena::default(),
            scopes: Vec::new(),
            common_tables: Vec::new(),
            windows: Vec::new(),
            targets: Vec::new(),
            sources: Vec::new(),
            read: HashSet::new(),
            written: HashSet::new(),
            view_events: HashSet::new(),
            defined: HashSet::new(),
            drafts: Vec::new(),
            draft_places: HashMap::new(),
            error: None,
            budget: DEPENDENCY_BUDGET,
            lookups: Cell::new(LOOKUP_BUDGET),
            depth: 0,
            active: Vec::new(),
            calls: 0,
            control: Control::default(),
            variables: HashMap::new(),
            ordered: false,
            trigger_row: None,
        }
    }

    /// Notes what was not understood; the first is reported.
    pub(super) fn note(&mut self, error: SqlError) {
        self.error.get_or_insert(error);
    }

    pub(super) fn reads(&mut self, table: TableId) {
        if self.read.insert(table) {
            self.sources.push(table);
        }
    }

    /// Runs `within` and takes back the tables that it found to be read.
    pub(super) fn reads_of<T>(&mut self, within: impl FnOnce(&mut Self) -> T) -> (T, Vec<TableId>) {
        let before = self.sources.len();
        let result = within(self);
        let found = self.sources.split_off(before.min(self.sources.len()));
        for table in &found {
            self.read.remove(table);
        }
        (result, found)
    }

    pub(super) fn writes(&mut self, table: TableId) {
        if self.written.insert(table) {
            self.targets.push(table);
        }
    }

    /// A FROM item that only names the target is no read.
    pub(super) fn unread_target(&mut self, target: &super::writes::Target) {
        let named_once = self.scopes.last().is_some_and(|scope| {
            let tables = scope
                .relations
                .iter()
                .filter(|relation| matches!(&relation.body, super::scope::Body::Table { id, .. } if *id == target.id));
            tables.count() <= 1
        });
        if named_once && self.read.remove(&target.id) {
            self.sources.retain(|table| *table != target.id);
        }
    }

    /// Runs `within` one query deeper; `None` where that is too deep.
    pub(super) fn deeper<T>(&mut self, within: impl FnOnce(&mut Self) -> T) -> Option<T> {
        if self.depth >= QUERY_DEPTH {
            self.note(SqlError::Unsupported(format!("queries more than {QUERY_DEPTH} deep in one another")));
            return None;
        }
        self.depth += 1;
        let result = within(self);
        self.depth -= 1;
        Some(result)
    }

    /// Takes from what the statement may still depend on; `false` where nothing is left.
    pub(super) fn spend(&mut self, dependencies: &Dependencies) -> bool {
        self.spend_count(dependencies.sources.len() + dependencies.influences.len())
    }

    fn spend_count(&mut self, cost: usize) -> bool {
        match self.budget.checked_sub(cost) {
            Some(left) => {
                self.budget = left;
                true
            }
            None => {
                self.note(SqlError::Unsupported(
                    "the statement: its columns depend on one another in too many ways".to_owned(),
                ));
                false
            }
        }
    }

    /// Takes from the comparisons that the statement may still need; `false` where none are left.
    pub(super) fn look(&self, cost: usize) -> bool {
        let left = self.lookups.get().saturating_sub(cost);
        self.lookups.set(left);
        left > 0
    }

    /// Notes that a target column (without a table: one that the query returns) gets a value.
    pub(super) fn assign(
        &mut self,
        table: Option<TableId>,
        column: &ColumnName,
        mut dependencies: Dependencies,
        rows: &Rows,
    ) {
        if table.is_some() {
            dependencies.influences.extend(self.control.deciding());
        }
        dependencies.settle();
        if !self.spend(&dependencies) {
            return;
        }
        if table.is_none() {
            // A query may return several columns of one name.
            self.drafts.push(Draft { table, column: Arc::clone(column), dependencies, rows: Rc::clone(rows) });
            return;
        }
        let place = (table, Arc::clone(column));
        match self.draft_places.get(&place).and_then(|place| self.drafts.get_mut(*place)) {
            Some(draft) => {
                draft.dependencies.sources.extend(dependencies.sources);
                draft.dependencies.influences.extend(dependencies.influences);
                if !Rc::ptr_eq(&draft.rows, rows) {
                    draft.dependencies.influences.extend_from_slice(rows);
                }
                draft.dependencies.settle();
            }
            None => {
                self.draft_places.insert(place, self.drafts.len());
                self.drafts.push(Draft { table, column: Arc::clone(column), dependencies, rows: Rc::clone(rows) });
            }
        }
    }

    /// What was assigned at this place, to a table's column.
    pub(super) fn drafted(&self, place: usize) -> Option<(Option<TableId>, ColumnName, Dependencies, Rows)> {
        let draft = self.drafts.get(place)?;
        Some((draft.table, Arc::clone(&draft.column), draft.dependencies.clone(), Rc::clone(&draft.rows)))
    }

    pub(super) fn finish(mut self) -> Findings {
        if self.schema.has_updatable_views() {
            self.write_through_views();
        }
        self.read_what_flows_on();
        if self.lookups.get() == 0 {
            self.error = Some(SqlError::Unsupported("the statement: it names too much among too much".to_owned()));
        }
        let mut shared: HashMap<*const Vec<(ColumnId, InfluenceKind)>, Arc<[Influence]>> = HashMap::new();
        let drafts = std::mem::take(&mut self.drafts);
        let mut columns = Vec::with_capacity(drafts.len());
        for draft in &drafts {
            // Columns that nothing else influences share what decides on their rows.
            let fits = draft.dependencies.influences.is_empty() || self.spend_count(draft.rows.len());
            columns.push(self.lineage(draft, fits, &mut shared));
        }
        let names = |ids: &[TableId]| ids.iter().filter_map(|id| self.arena.table_name(*id).cloned()).collect();
        Findings { targets: names(&self.targets), sources: names(&self.sources), columns, error: self.error }
    }

    /// A table whose columns flow into another table is read, also where it is known by a RETURNING alone.
    fn read_what_flows_on(&mut self) {
        let flowing: Vec<TableId> = self
            .drafts
            .iter()
            .flat_map(|draft| {
                let owners = draft.dependencies.sources.iter().filter_map(|(column, _)| self.arena.owner(*column));
                owners.filter(|owner| draft.table.is_some_and(|target| target != *owner))
            })
            .collect();
        for table in flowing {
            self.reads(table);
        }
    }

    fn lineage(
        &self,
        draft: &Draft,
        fits: bool,
        shared: &mut HashMap<*const Vec<(ColumnId, InfluenceKind)>, Arc<[Influence]>>,
    ) -> ColumnLineage {
        let owner = match draft.table.and_then(|table| self.arena.table_name(table)) {
            Some(table) => ColumnOwner::Table(table.clone()),
            None => ColumnOwner::Output,
        };
        let influences = if draft.dependencies.influences.is_empty() || !fits {
            let held = shared.entry(Rc::as_ptr(&draft.rows)).or_insert_with(|| self.influences(&draft.rows));
            Arc::clone(held)
        } else {
            let mut all = draft.dependencies.influences.clone();
            all.extend_from_slice(&draft.rows);
            settle_influences(&mut all);
            self.influences(&all)
        };
        ColumnLineage {
            target: QualifiedColumn { owner, column: Arc::clone(&draft.column) },
            sources: draft.dependencies.sources.iter().map(|(column, _)| self.arena.qualified(*column)).collect(),
            via: draft.dependencies.via(),
            influences,
        }
    }

    fn influences(&self, influences: &[(ColumnId, InfluenceKind)]) -> Arc<[Influence]> {
        influences
            .iter()
            .map(|(column, kind)| Influence { column: self.arena.qualified(*column), kind: *kind })
            .collect()
    }
}
