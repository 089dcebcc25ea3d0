//! Temporary tables and materialized views: no write to them is ever recorded, so their rows in both worlds are what the
//! statements that fill them make of them.
//!
//! They are filled from where the worlds first differ; before that, their rows are the same in both worlds and need not
//! be known. One that was filled by something that cannot be run again is in doubt, as is all that is computed from it.
//! So is a view of which no log tells when it was refreshed, once its query touches something wrong.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use arrow::array::RecordBatch;

use super::snapshot::Looking;
use super::touch::Touched;
use super::{Progress, Sweep};
use crate::catalog::{TemporaryRows, World, column_type_of, value_from_array};
use crate::model::{Column, ColumnName, ColumnType, Row, SessionId, TableName, TableSchema, TimeZone, Transaction};
use crate::sql::{self, AtCommit, Schemas, TableReference, TemporaryEffect, TemporaryTemplates, TemporaryWrite};
use crate::trace::reenact::{Compiled, Execution, Refusal};
use crate::trace::worlds::RecordName;

/// Of how many affected records a table remembers that its rows were computed from them.
const MOST_SOURCES: usize = 256;

/// The temporary tables of every session, and the materialized views.
#[derive(Default)]
pub(super) struct TemporaryTables {
    of_sessions: HashMap<SessionId, Held>,
    /// The views, and the tables of the session at hand.
    at_hand: Held,
    views: BTreeMap<TableName, MaterializedView>,
    templates: TemporaryTemplates,
}

/// A materialized view's query.
struct MaterializedView {
    query: Box<sqlparser::ast::Query>,
    text: Arc<str>,
    /// Whether the history tells of a refresh: then it tells of all.
    is_told: bool,
}

impl TemporaryTables {
    /// Whether a temporary table or materialized view of this name is there.
    pub(super) fn is_at_hand(&self, table: &TableName) -> bool {
        self.at_hand.contains_key(table)
    }

    /// Whether the name may stand for rows that no write tells of.
    pub(super) fn stands_before(&self, table: &TableName) -> bool {
        self.is_at_hand(table) || self.is_view(table)
    }

    fn is_view(&self, table: &TableName) -> bool {
        self.views.contains_key(table)
    }
}

/// Temporary tables and views by name.
pub(super) type Held = BTreeMap<TableName, Temporary>;

/// A temporary table.
#[derive(Clone, Debug)]
pub(super) struct Temporary {
    /// Its columns, where they are known.
    schema: Option<Arc<TableSchema>>,
    contents: Contents,
    at_commit: AtCommit,
}

impl Temporary {
    /// What stands there for it.
    fn rows(&self, is_view: bool) -> Option<Arc<TemporaryRows>> {
        match &self.contents {
            Contents::Known { rows, .. } => Some(rows.clone()),
            // A rule reads a view as it stands.
            Contents::Same | Contents::Doubtful { .. } if is_view => None,
            // It hides a table of its name even so.
            Contents::Same | Contents::Doubtful { .. } => Some(Arc::default()),
        }
    }
}

#[derive(Clone, Debug)]
enum Contents {
    /// The same in both worlds, and not known.
    Same,
    /// Known in both worlds.
    Known {
        rows: Arc<TemporaryRows>,
        /// Whether they are others in the right world.
        differs: bool,
        /// Affected records that they were computed from: enough to name a cause.
        sources: Vec<RecordName>,
        /// Whether one of those was suspected in what was read of it.
        is_suspected: bool,
    },
    /// They may differ, and nobody knows how.
    Doubtful { source: RecordName },
}

impl Contents {
    /// A record that makes them others than they should be, or may; `None` where they are the same in both worlds.
    fn source(&self) -> Option<RecordName> {
        match self {
            Contents::Doubtful { source } => Some(source.clone()),
            Contents::Known { differs, is_suspected, sources, .. } if *differs || *is_suspected => {
                sources.first().cloned()
            }
            Contents::Known { .. } | Contents::Same => None,
        }
    }
}

/// A query's rows in both worlds, with what it touched.
struct Filling {
    schema: TableSchema,
    rows: TemporaryRows,
    touched: Touched,
}

impl Sweep {
    /// From now on, what these statements define is known as materialized views.
    pub(super) fn declare_materialized<'a>(&mut self, definitions: impl Iterator<Item = &'a str>) {
        for (name, query) in definitions.filter_map(sql::materialized_view) {
            let Some(schema) = self.statements.schemas().get(&name).cloned() else { continue };
            let view = Temporary { schema: Some(schema), contents: Contents::Same, at_commit: AtCommit::Kept };
            let text = query.to_string().into();
            self.temporary.views.insert(name.clone(), MaterializedView { query, text, is_told: false });
            self.put(name, view);
        }
    }

    /// Notices of which views the history tells when they are refreshed.
    pub(super) fn notice_refreshes(&mut self, transactions: &[Transaction]) {
        if self.temporary.views.is_empty() {
            return;
        }
        let statements = transactions.iter().flat_map(|transaction| &transaction.steps);
        let texts = statements.filter_map(|step| step.statement.as_ref()).map(|statement| &statement.sql);
        for refreshed in texts.filter_map(|text| sql::refreshed_view(text)) {
            if let Some(view) = self.temporary.views.get_mut(&refreshed.view) {
                view.is_told = true;
            }
        }
    }

    /// Says which materialized views hold, or may hold, something wrong at the end.
    pub(super) fn tell_materialized(&mut self) {
        let names: Vec<TableName> = self.temporary.views.keys().cloned().collect();
        for name in names {
            let reference = TableReference { table: name.clone(), columns: sql::ColumnsRead::All, bounds: Vec::new() };
            let touched = self.touched(std::iter::once(&reference), &[]);
            if touched.differs || touched.unknown {
                let holds = if touched.unknown { "may hold" } else { "holds" };
                self.notes.limit(format!(
                    "the materialized view {name} {holds} what was computed from wrong records: refresh it once they are repaired"
                ));
            }
        }
    }

    /// The tables of the transaction's session are at hand from here on.
    pub(super) fn enter_session(&mut self, transaction: &Transaction) {
        let held = transaction.session.as_ref().and_then(|session| self.temporary.of_sessions.remove(session));
        for (name, table) in held.into_iter().flatten() {
            self.put(name, table);
        }
    }

    /// The transaction has ended: what its session keeps is put aside.
    pub(super) fn leave_session(&mut self, transaction: &Transaction) {
        if self.temporary.at_hand.len() == self.temporary.views.len() {
            return;
        }
        let all = std::mem::take(&mut self.temporary.at_hand);
        let (views, mut held): (Held, Held) = all.into_iter().partition(|(name, _)| self.temporary.is_view(name));
        held.retain(|_, table| table.at_commit != AtCommit::Dropped);
        for table in held.values_mut().filter(|table| table.at_commit == AtCommit::Emptied) {
            table.contents = nothing();
        }
        if let Some(session) = transaction.session.clone().filter(|_| !held.is_empty()) {
            self.temporary.of_sessions.insert(session, held);
        }
        self.hold(views);
    }

    /// The temporary tables at hand, to be put back by [`Sweep::hold`].
    pub(super) fn held(&self) -> Held {
        self.temporary.at_hand.clone()
    }

    /// These are the temporary tables at hand now.
    pub(super) fn hold(&mut self, held: Held) {
        self.temporary.at_hand = held;
        self.worlds.tables.clear_temporary();
        for (name, table) in &self.temporary.at_hand {
            self.worlds.tables.set_temporary(name, table.rows(self.temporary.is_view(name)));
        }
        self.statements.set_temporary(&self.temporary_shapes());
    }

    /// The temporary table stands there as it is now.
    fn put(&mut self, name: TableName, table: Temporary) {
        self.worlds.tables.set_temporary(&name, table.rows(self.temporary.is_view(&name)));
        self.temporary.at_hand.insert(name, table);
        self.statements.set_temporary(&self.temporary_shapes());
    }

    fn temporary_shapes(&self) -> Schemas {
        let known = self.temporary.at_hand.iter().filter(|(name, _)| !self.temporary.is_view(name));
        known.filter_map(|(name, table)| Some((name.clone(), table.schema.clone()?))).collect()
    }

    /// Whether the worlds differ, or may, on a temporary table at hand.
    pub(super) fn is_temporary_affected(&self) -> bool {
        self.temporary.at_hand.values().any(|table| match &table.contents {
            Contents::Same => false,
            Contents::Known { differs, is_suspected, .. } => *is_suspected || *differs,
            Contents::Doubtful { .. } => true,
        })
    }

    /// Whether it is a temporary table at hand whose rows are the same in both worlds, or known.
    pub(super) fn is_sure_temporary(&self, table: &TableName) -> bool {
        let held = self.temporary.at_hand.get(table);
        held.is_some_and(|held| !matches!(held.contents, Contents::Doubtful { .. }))
    }

    /// A record that makes one of these temporary tables, or of all where none is named, another than it should be.
    pub(super) fn source_of_temporary(&self, tables: &[TableName]) -> Option<RecordName> {
        let held = self.temporary.at_hand.iter();
        let mut named = held.filter(|(name, _)| tables.is_empty() || tables.contains(name));
        named.find_map(|(_, table)| table.contents.source())
    }

    /// What a reference to a temporary table touches; `None` for any other table.
    pub(super) fn touched_temporary(&self, reference: &TableReference) -> Option<Touched> {
        let held = self.temporary.at_hand.get(&reference.table)?;
        Some(match &held.contents {
            Contents::Same => Touched::default(),
            Contents::Known { differs, sources, is_suspected, .. } => {
                let records = if *differs || *is_suspected { sources.clone() } else { Vec::new() };
                Touched { records, differs: *differs, unknown: false, suspected: *is_suspected }
            }
            Contents::Doubtful { source } => {
                Touched { records: vec![source.clone()], unknown: true, ..Touched::default() }
            }
        })
    }

    /// Why a statement with these references cannot be run again: it reads a temporary table whose rows are not known.
    pub(super) fn unknown_temporary<'a>(
        &self,
        mut references: impl Iterator<Item = &'a TableReference>,
    ) -> Option<Refusal> {
        let is_unknown = |reference: &&TableReference| {
            let held = self.temporary.at_hand.get(&reference.table);
            held.is_some_and(|held| !matches!(held.contents, Contents::Known { .. }))
        };
        let unknown = references.find(is_unknown)?;
        Some(Refusal(format!("reads the temporary table {}, whose rows are not known", unknown.table.table)))
    }

    /// A record that may make a view another than it should be, of which no log tells when it was refreshed.
    pub(super) fn source_of_untold_view(&mut self, table: &TableName) -> Option<RecordName> {
        let view = self.temporary.views.get(table).filter(|view| !view.is_told)?;
        let compiled = self.statements.statement(&view.text.clone(), &[], None);
        match compiled.as_ref() {
            Compiled::Read(query) => self.touched(query.references().iter(), &[]).records.first().cloned(),
            _ => {
                let tables: Vec<TableName> = sql::parse(&self.temporary.views.get(table)?.text)
                    .ok()?
                    .iter()
                    .flat_map(sql::tables_named)
                    .collect();
                self.any_affected_record(&tables)
            }
        }
    }

    /// What the statement does to a temporary table or a materialized view, where it does.
    pub(super) fn temporary_write(&mut self, text: &str) -> Option<TemporaryWrite> {
        if let Some(sql::RefreshedView { view, with_data }) = sql::refreshed_view(text) {
            let query = self.temporary.views.get(&view)?.query.clone();
            let (is_declared, columns, at_commit) = (false, Vec::new(), AtCommit::Kept);
            let effect = match with_data {
                true => TemporaryEffect::Made { query, is_declared, columns, at_commit },
                false => TemporaryEffect::Emptied,
            };
            return Some(TemporaryWrite { table: view, effect });
        }
        const MAKING: &[u8] = b"temp";
        const DROPPING_ALL: &[u8] = b"discard";
        let mentions = |word: &[u8]| text.as_bytes().windows(word.len()).any(|part| part.eq_ignore_ascii_case(word));
        let is_of_concern = mentions(MAKING)
            || mentions(DROPPING_ALL)
            || self.temporary.at_hand.keys().any(|table| mentions(table.table.as_bytes()));
        if !is_of_concern {
            return None;
        }
        let TemporaryTables { templates, at_hand, .. } = &mut self.temporary;
        let statement = templates.of_concern(text, |table| at_hand.contains_key(table))?;
        let shapes = self.temporary_shapes();
        TemporaryWrite::of(&statement, &shapes, |table| self.temporary.at_hand.contains_key(table))
    }

    /// Does to a temporary table, in both worlds, what the statement does.
    pub(super) async fn write_temporary(&mut self, looking: Looking<'_>, write: TemporaryWrite, progress: &Progress) {
        let before = self.temporary.at_hand.get(&write.table).cloned();
        let after = match write.effect {
            TemporaryEffect::Made { query, is_declared, columns, at_commit } => {
                let filled = self.filled(looking, &query, &columns, is_declared, progress).await;
                let (schema, contents) = match filled {
                    filled if self.temporary.is_view(&write.table) => {
                        let schema = before.and_then(|before| before.schema);
                        (schema.clone(), self.refilled(looking, schema.as_ref(), filled, progress))
                    }
                    // A recorded table of its name would be taken for it.
                    _ if self.worlds.tables.table(&write.table).is_some() => {
                        (None, self.doubt(looking, progress).unwrap_or(Contents::Same))
                    }
                    Ok(Filling { schema, rows, touched }) => {
                        (Some(Arc::new(TableSchema { name: write.table.clone(), ..schema })), known(rows, touched))
                    }
                    Err(contents) => (None, contents),
                };
                Some(Temporary { schema, contents, at_commit })
            }
            TemporaryEffect::Unchanged => before,
            TemporaryEffect::Dropped(dropped) => {
                let mut held = self.held();
                held.retain(|name, _| self.temporary.is_view(name) || !dropped.contains(name));
                self.hold(held);
                return;
            }
            TemporaryEffect::Emptied => before.map(|before| Temporary { contents: nothing(), ..before }),
            TemporaryEffect::Added { columns, query } => match before {
                Some(before) => Some(self.added(looking, (&write.table, before), &columns, &query, progress).await),
                None => None,
            },
            TemporaryEffect::Changed { query } => match before {
                Some(before) => {
                    let filled = self.filled(looking, &query, &[], false, progress).await;
                    let contents = self.refilled(looking, before.schema.as_ref(), filled, progress);
                    Some(Temporary { contents, ..before })
                }
                None => None,
            },
            TemporaryEffect::NotTold => {
                // One that it makes is there from now on, with columns that are not known.
                let made = Temporary { schema: None, contents: Contents::Same, at_commit: AtCommit::Kept };
                let before = before.unwrap_or(made);
                let contents = self.in_doubt(looking, &before.contents, progress);
                Some(Temporary { contents, ..before })
            }
        };
        if let Some(after) = after {
            self.put(write.table, after);
        }
    }

    /// A table of this shape that holds the rows now and no others.
    fn refilled(
        &self,
        looking: Looking<'_>,
        schema: Option<&Arc<TableSchema>>,
        filled: Result<Filling, Contents>,
        progress: &Progress,
    ) -> Contents {
        match (filled, schema) {
            (Err(contents), _) => contents,
            (Ok(filling), Some(schema)) if let Ok(rows) = filling.rows_as(schema, &self.zone_of(looking)) => {
                known(rows, filling.touched)
            }
            (Ok(_), _) => self.doubt(looking, progress).unwrap_or(Contents::Same),
        }
    }

    async fn added(
        &mut self,
        looking: Looking<'_>,
        (name, before): (&TableName, Temporary),
        columns: &[ColumnName],
        query: &sqlparser::ast::Query,
        progress: &Progress,
    ) -> Temporary {
        let filled = self.filled(looking, query, &[], false, progress).await;
        let Temporary { schema, contents, at_commit } = before;
        let contents = match (contents, filled) {
            (Contents::Doubtful { source }, _) => Contents::Doubtful { source },
            (_, Err(Contents::Doubtful { source })) => Contents::Doubtful { source },
            (Contents::Known { mut rows, differs, mut sources, is_suspected }, Ok(filling)) => {
                let target = schema.as_ref().and_then(|schema| inserted(schema, columns));
                let zone = self.zone_of(looking);
                match target.and_then(|target| filling.rows_as(&target, &zone).ok()) {
                    Some(added) => {
                        // Nothing else holds the rows then: they are not copied.
                        self.temporary.at_hand.remove(name);
                        self.worlds.tables.set_temporary(name, None);
                        let differs = differs || added.actual != added.right;
                        let all = Arc::make_mut(&mut rows);
                        all.actual.extend(added.actual);
                        all.right.extend(added.right);
                        let room = MOST_SOURCES.saturating_sub(sources.len());
                        sources.extend(filling.touched.records.into_iter().take(room));
                        let is_suspected = is_suspected || filling.touched.suspected;
                        Contents::Known { rows, differs, sources, is_suspected }
                    }
                    None => {
                        let held = Contents::Known { rows, differs, sources, is_suspected };
                        self.in_doubt(looking, &held, progress)
                    }
                }
            }
            // Rows that are not known stay so; those added may differ.
            (Contents::Same, Ok(Filling { touched, .. })) => match touched.records.first() {
                Some(source) => Contents::Doubtful { source: source.clone() },
                None => Contents::Same,
            },
            // What was added is the same in both worlds, and not known.
            (contents, Err(_)) => match contents.source() {
                Some(source) => Contents::Doubtful { source },
                None => Contents::Same,
            },
        };
        Temporary { schema, contents, at_commit }
    }

    /// The query's rows in both worlds, over the state that the statement saw; else what that makes of the table.
    async fn filled(
        &mut self,
        looking: Looking<'_>,
        query: &sqlparser::ast::Query,
        columns: &[ColumnName],
        is_declared: bool,
        progress: &Progress,
    ) -> Result<Filling, Contents> {
        let text: Arc<str> = query.to_string().into();
        let zone = looking.statement.time_zone.as_ref();
        let compiled = self.statements.statement(&text, &looking.statement.parameters, zone);
        let Compiled::Read(query) = compiled.as_ref() else {
            return Err(self.doubt(looking, progress).unwrap_or(Contents::Same));
        };
        let references: Vec<&TableReference> = query.references().iter().collect();
        let seen = Looking { references: &references, ..looking };
        let unseen = self.states(seen).first().copied().unwrap_or(0);
        self.hide(unseen, seen);
        let mut touched = self.touched(query.references().iter(), &looking.statement.parameters);
        let unnamed = self.source_of_unnamed(query.references().iter());
        touched.records.extend(unnamed.iter().map(|(source, _)| source.clone()));
        let unnamed = unnamed.map(|(_, reason)| reason);
        let ran = match self.unknown_temporary(query.references().iter()).or(unnamed) {
            Some(refusal) => Err(refusal),
            None => self.run_in_both(looking, query, &touched).await,
        };
        self.worlds.roll_back();
        let untold = touched.records.first().map(|source| Contents::Doubtful { source: source.clone() });
        // The application chose the values: by what it had read.
        let is_given = references.is_empty() || !looking.statement.parameters.is_empty();
        let is_chosen = progress.diverged.is_some() && is_given;
        match (ran, query.column_names()) {
            (Ok((actual, right)), Some(names)) if !touched.unknown && !is_chosen => {
                let schema = shape(&actual, names, columns, is_declared);
                let filled = schema.and_then(|schema| {
                    let rows = TemporaryRows { actual: rows_of(&schema, &actual)?, right: rows_of(&schema, &right)? };
                    Ok(Filling { schema, rows, touched })
                });
                filled.map_err(|reason| {
                    self.notes.inexact(&looking.statement.sql, &reason.to_string());
                    untold.unwrap_or(Contents::Same)
                })
            }
            (Err(reason), _) if untold.is_some() => {
                self.notes.inexact(&looking.statement.sql, &reason.to_string());
                Err(untold.unwrap_or(Contents::Same))
            }
            _ if is_chosen => Err(self.doubt(looking, progress).unwrap_or(Contents::Same)),
            _ => Err(untold.unwrap_or(Contents::Same)),
        }
    }

    async fn run_in_both(
        &mut self,
        looking: Looking<'_>,
        query: &crate::trace::reenact::CompiledQuery,
        touched: &Touched,
    ) -> Result<(Vec<RecordBatch>, Vec<RecordBatch>), Refusal> {
        let Looking { transaction, statement, .. } = looking;
        let execution = Execution { parameters: &statement.parameters, time: transaction.started, overridden: None };
        let mut actual = query.run(&mut self.worlds.tables, World::Actual, execution).await?;
        if actual.is_empty() {
            actual.push(RecordBatch::new_empty(query.output().await?));
        }
        let right = match touched.differs {
            true => query.run(&mut self.worlds.tables, World::Right, execution).await?,
            false => actual.clone(),
        };
        Ok((actual, right))
    }

    fn zone_of(&self, looking: Looking<'_>) -> TimeZone {
        self.statements.zone(looking.statement.time_zone.as_ref())
    }

    /// What becomes of a table's rows by a statement that cannot be followed.
    fn in_doubt(&self, looking: Looking<'_>, contents: &Contents, progress: &Progress) -> Contents {
        let already = contents.source().map(|source| Contents::Doubtful { source });
        already.or_else(|| self.doubt(looking, progress)).unwrap_or(Contents::Same)
    }

    /// What a statement leaves that cannot be followed: doubt, where anything that it may have read is affected.
    fn doubt(&self, looking: Looking<'_>, progress: &Progress) -> Option<Contents> {
        if let Some(origin) = &progress.diverged {
            let source = (origin.cause.table.clone(), origin.cause.key.clone());
            return Some(Contents::Doubtful { source });
        }
        let statements = sql::parse(&looking.statement.sql).unwrap_or_default();
        let tables: Vec<TableName> = statements.iter().flat_map(sql::tables_named).collect();
        self.any_affected_record(&tables).map(|source| Contents::Doubtful { source })
    }
}

impl Filling {
    /// The same rows with their values, place by place, in the columns of another shape; the statement ran in this zone.
    fn rows_as(&self, schema: &TableSchema, zone: &TimeZone) -> Result<TemporaryRows, Refusal> {
        if schema.columns.len() < self.schema.columns.len() {
            return Err(Refusal("gives more values than there are columns".to_owned()));
        }
        let is_moment = |column: &Column| column.column_type == ColumnType::TimestampTz;
        let mut pairs = self.schema.columns.iter().zip(&schema.columns);
        if !zone.is_utc() && pairs.any(|(given, taken)| is_moment(given) != is_moment(taken)) {
            return Err(Refusal(format!("gives a column another type by the session's time zone, {zone}")));
        }
        let of_row = |row: &Arc<Row>| -> Result<Arc<Row>, Refusal> {
            let mut values = row.iter().map(|(_, value)| value.clone());
            let cells = schema.columns.iter().map(|column| {
                let value = values.next().unwrap_or(crate::model::Value::NULL);
                let stored = column.column_type.canonical(&value);
                Ok((column.name.clone(), stored.map_err(|error| Refusal(format!("failed to {error}")))?))
            });
            Ok(Arc::new(cells.collect::<Result<Row, Refusal>>()?))
        };
        let of_world = |rows: &[Arc<Row>]| rows.iter().map(of_row).collect::<Result<Vec<_>, _>>();
        Ok(TemporaryRows { actual: of_world(&self.rows.actual)?, right: of_world(&self.rows.right)? })
    }
}

fn nothing() -> Contents {
    Contents::Known { rows: Arc::default(), differs: false, sources: Vec::new(), is_suspected: false }
}

fn known(rows: TemporaryRows, mut touched: Touched) -> Contents {
    touched.records.truncate(MOST_SOURCES);
    let differs = rows.actual != rows.right;
    Contents::Known { rows: Arc::new(rows), differs, sources: touched.records, is_suspected: touched.suspected }
}

/// The columns that an INSERT gives values, in its order, then the others.
fn inserted(schema: &TableSchema, columns: &[ColumnName]) -> Option<TableSchema> {
    if columns.is_empty() {
        return Some(schema.clone());
    }
    let named: Option<Vec<Column>> = columns.iter().map(|column| schema.column(column).cloned()).collect();
    let others = schema.columns.iter().filter(|column| !columns.contains(&column.name)).cloned();
    Some(TableSchema { columns: named?.into_iter().chain(others).collect(), ..schema.clone() })
}

/// The columns of a table that is made from a query's rows.
fn shape(
    batches: &[RecordBatch],
    names: &[String],
    columns: &[ColumnName],
    is_declared: bool,
) -> Result<TableSchema, Refusal> {
    let Some(first) = batches.first() else { return Err(Refusal("gives no columns".to_owned())) };
    let fields = first.schema();
    if fields.fields().len() != names.len() {
        return Err(Refusal("gives columns whose names are not known".to_owned()));
    }
    let column = |(place, (field, name)): (usize, (&Arc<arrow::datatypes::Field>, &String))| {
        let column_type = match column_type_of(field.data_type()) {
            // Each value keeps its own digits.
            ColumnType::Numeric(_) if !is_declared => ColumnType::Numeric(None),
            known => known,
        };
        let name = columns.get(place).cloned().unwrap_or_else(|| ColumnName::from(name.as_str()));
        Column { name, column_type, not_null: false, generated: false }
    };
    let columns: Vec<Column> = fields.fields().iter().zip(names).enumerate().map(column).collect();
    let is_named_twice =
        (1..columns.len()).any(|place| columns[..place].iter().any(|earlier| earlier.name == columns[place].name));
    if is_named_twice {
        return Err(Refusal("gives two columns of one name".to_owned()));
    }
    let name = TableName::new("public", "temporary");
    Ok(TableSchema { name, columns, key: Vec::new(), foreign_keys: Vec::new(), unique_keys: Vec::new() })
}

fn rows_of(schema: &TableSchema, batches: &[RecordBatch]) -> Result<Vec<Arc<Row>>, Refusal> {
    let mut rows = Vec::new();
    for batch in batches {
        for position in 0..batch.num_rows() {
            let cells = schema.columns.iter().zip(batch.columns()).map(|(column, array)| {
                let value = value_from_array(array, position, &column.column_type);
                Ok((column.name.clone(), value.map_err(|error| Refusal(format!("failed to {error}")))?))
            });
            rows.push(Arc::new(cells.collect::<Result<Row, Refusal>>()?));
        }
    }
    // In what order a query gives its rows says nothing.
    rows.sort_by_cached_key(|row: &Arc<Row>| {
        row.iter().map(|(_, value)| value.as_str().map(str::to_owned)).collect::<Vec<_>>()
    });
    Ok(rows)
}
