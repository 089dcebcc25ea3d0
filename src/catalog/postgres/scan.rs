//! One table read in the shared snapshot: ranges of its pages side by side, each on a connection of its own, handed on in
//! the order of the table.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::ArrayRef;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::{RecordBatch, RecordBatchOptions};
use datafusion::error::DataFusionError;
use futures::{StreamExt, pin_mut};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

use super::copy_binary::{CopyRows, Fields};
use super::reader::{BEGIN, prepared, refused};
use super::wire::{ColumnBuilder, cast, selected};
use crate::catalog::CatalogError;
use crate::catalog::lazy_table::wrap_error;
use crate::engine::postgres::{ConnectionSettings, Session, described, quoted_identifier, quoted_table, quoted_text};
use crate::model::{Column, ColumnType, ModelError, TableSchema};

const ROWS_PER_BATCH: usize = 8192;

/// Pages that one statement reads: 8 MB, which a statement timeout leaves alone.
const PAGES_PER_RANGE: u64 = 1024;

/// Connections that read one table at a time.
const MOST_CONNECTIONS: usize = 4;

/// Batches of one range that wait for those before it.
const BATCHES_AHEAD: usize = 48;

/// How long a further session waits for its locks.
const AT_ONCE: &str = "10ms";

/// Whether a range of the table's pages can be read by itself, without reading all of it (from PostgreSQL 14 on), how
/// many pages it has, and whether it and its parts are those that the snapshot knows: TRUNCATE, what rewrites a table, and DETACH
/// leave an older snapshot without the rows of before.
const PAGES: &str = "
    WITH RECURSIVE own AS (
        SELECT c.oid, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE n.nspname = $1 AND c.relname = $2
    ), parts(oid) AS (
        SELECT oid FROM own UNION SELECT i.inhrelid FROM pg_inherits i JOIN parts p ON i.inhparent = p.oid
    )
    SELECT own.relkind = 'r' AND current_setting('server_version_num')::int >= 140000,
           coalesce(pg_relation_size(own.oid), 0) / current_setting('block_size')::bigint,
           (SELECT bool_and(nullif(c.relfilenode, 0) IS NOT DISTINCT FROM pg_relation_filenode(c.oid))
            FROM parts JOIN pg_class c ON c.oid = parts.oid)
           AND (own.relkind <> 'p'
                OR NOT EXISTS (SELECT oid FROM parts EXCEPT SELECT relid::oid FROM pg_partition_tree(own.oid)))
    FROM own";

type Batch = Result<RecordBatch, DataFusionError>;

/// What to read, and where it goes.
pub(super) struct Scan {
    pub(super) settings: Arc<ConnectionSettings>,
    pub(super) snapshot: Arc<str>,
    pub(super) table: Arc<TableSchema>,
    /// Columns of the table, in the order wanted.
    pub(super) projection: SchemaRef,
    pub(super) source: ScanSource,
    pub(super) batches: Sender<Batch>,
}

/// Where the rows come from.
pub(super) enum ScanSource {
    /// The table itself.
    Table {
        /// Conditions in SQL, all of which a row has to meet.
        filters: Vec<String>,
    },
    /// A query that selects all columns of the table's schema, in order.
    Query(String),
}

/// Pages from the first to before the last; `None`: from the beginning, to the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct PageRange {
    from: Option<u64>,
    until: Option<u64>,
}

impl Scan {
    /// Reads to the end, or until nobody listens any more.
    pub(super) async fn run(self) -> Result<(), CatalogError> {
        let scan = Arc::new(self);
        let session = scan.session().await?;
        let ranges = scan.ranges(session.client()).await?;
        if let [range] = ranges.as_slice() {
            return scan.read_range(session.client(), *range, &scan.batches).await.map(|_| ());
        }
        let (senders, receivers): (Vec<_>, Vec<_>) = ranges.iter().map(|_| channel(BATCHES_AHEAD)).unzip();
        let senders: Vec<Sender<Batch>> = senders;
        let connections = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST_CONNECTIONS);
        let connections = connections.min(ranges.len());
        let work = Arc::new(Work {
            next: AtomicUsize::new(0),
            // What is read ahead stays in memory until its turn comes.
            ahead: Semaphore::new(connections + 1),
            ranges,
            senders: std::sync::Mutex::new(senders.into_iter().map(Some).collect()),
        });
        // Dropped with this future, which ends what its tasks do, and their sessions.
        let mut readers = JoinSet::new();
        let mut first = Some(session);
        for _ in 0..connections {
            let (scan, work, session) = (Arc::clone(&scan), Arc::clone(&work), first.take());
            readers.spawn(async move { scan.read_ranges(&work, session).await });
        }
        for receiver in receivers {
            if !hand_on(receiver, &scan.batches).await {
                return Ok(());
            }
            work.ahead.add_permits(1);
        }
        while let Some(reader) = readers.join_next().await {
            reader.map_err(|error| scan.damaged(format!("a reader broke down: {error}")))??;
        }
        Ok(())
    }

    async fn session(&self) -> Result<Session, CatalogError> {
        let session = prepared(&self.settings).await?;
        let snapshot = quoted_text(&self.snapshot);
        let sql = format!("{BEGIN}; SET TRANSACTION SNAPSHOT {snapshot}");
        session.client().batch_execute(&sql).await.map_err(refused)?;
        Ok(session)
    }

    /// The table's pages in ranges; one where it is small, or has no pages of its own. From here on the session holds the
    /// table.
    async fn ranges(&self, client: &Client) -> Result<Vec<PageRange>, CatalogError> {
        if matches!(self.source, ScanSource::Query(_)) {
            return Ok(page_ranges(0));
        }
        client.batch_execute(&self.hold_statement()).await.map_err(|error| self.refused_rows(&error))?;
        let name = &self.table.name;
        let row = client.query_opt(PAGES, &[&name.schema.as_ref(), &name.table.as_ref()]).await;
        let row = row.map_err(|error| self.refused_rows(&error))?;
        let Some(row) = row else { return Err(self.damaged("the table is not there any more".to_owned())) };
        let read = || Ok((row.try_get::<_, bool>(0)?, row.try_get::<_, i64>(1)?, row.try_get::<_, bool>(2)?));
        let (has_ranges, pages, is_as_it_was) = read().map_err(refused)?;
        if !is_as_it_was {
            return Err(self.damaged(
                "it was truncated or rewritten since the snapshot was taken, which then does not hold its rows any more; \
                 run again"
                    .to_owned(),
            ));
        }
        Ok(page_ranges(if has_ranges { u64::try_from(pages).unwrap_or(0) } else { 0 }))
    }

    /// Takes every lock that reading the table takes, as of its indexes, and no right beyond reading.
    fn hold_statement(&self) -> String {
        format!("SELECT FROM {} LIMIT 0", quoted_table(&self.table.name))
    }

    /// Another session, which holds the table; `None` where somebody waits to change it. Such a change waits for the
    /// first session, and nobody that waits behind it may hold that one up.
    async fn another_session(&self) -> Result<Option<Session>, CatalogError> {
        let session = self.session().await?;
        let hold = self.hold_statement();
        let sql = format!("SET LOCAL lock_timeout = '{AT_ONCE}'; {hold}; SET LOCAL lock_timeout = DEFAULT");
        match session.client().batch_execute(&sql).await {
            Ok(()) => Ok(Some(session)),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            Err(error) => Err(self.refused_rows(&error)),
        }
    }

    /// Takes one range after the other. What goes wrong with one goes where its rows would.
    async fn read_ranges(&self, work: &Work, first: Option<Session>) -> Result<(), CatalogError> {
        // Before it takes a range, which else would wait with it.
        let opened = match first {
            Some(first) => Ok(Some(first)),
            None => self.another_session().await,
        };
        let session = match opened {
            Ok(Some(session)) => session,
            Ok(None) => return Ok(()),
            Err(error) => {
                if let Some((_, sender)) = work.take().await {
                    // Where nobody listens any more, nobody waits for the rows either.
                    _ = sender.send(Err(wrap_error(error))).await;
                }
                return Ok(());
            }
        };
        while let Some((range, sender)) = work.take().await {
            match self.read_range(session.client(), range, &sender).await {
                Ok(true) => {}
                Ok(false) => return Ok(()),
                Err(error) => {
                    _ = sender.send(Err(wrap_error(error))).await;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Whether anybody still listens at its end.
    async fn read_range(&self, client: &Client, range: PageRange, to: &Sender<Batch>) -> Result<bool, CatalogError> {
        let pieces = client.copy_out(&self.copy_statement(range)).await.map_err(|error| self.refused_rows(&error))?;
        pin_mut!(pieces);
        let mut copy = CopyRows::default();
        let mut rows = self.rows()?;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.refused_rows(&error))?;
            copy.push(&piece, |fields| rows.push(fields)).map_err(|reason| self.refused_value(reason, &rows))?;
            if rows.count >= ROWS_PER_BATCH && to.send(Ok(self.batch_of(&mut rows)?)).await.is_err() {
                return Ok(false);
            }
        }
        if !copy.is_complete() {
            return Err(self.damaged("the rows are cut off".to_owned()));
        }
        Ok(rows.count == 0 || to.send(Ok(self.batch_of(&mut rows)?)).await.is_ok())
    }

    fn copy_statement(&self, range: PageRange) -> String {
        let (mut conditions, from) = match &self.source {
            ScanSource::Table { filters } => (filters.clone(), quoted_table(&self.table.name)),
            ScanSource::Query(sql) => {
                let names: Vec<String> =
                    self.table.columns.iter().map(|column| quoted_identifier(&column.name)).collect();
                (Vec::new(), format!("({sql}) AS answer ({})", names.join(", ")))
            }
        };
        let is_answer = matches!(self.source, ScanSource::Query(_));
        let mut columns: Vec<String> =
            self.columns().map(|column| if is_answer { cast(column) } else { selected(column) }).collect();
        // Where no column is asked for, a NULL stands for each row.
        if columns.is_empty() {
            columns.push("NULL".to_owned());
        }
        conditions.extend(range.from.map(|page| format!("ctid >= '({page},0)'::tid")));
        conditions.extend(range.until.map(|page| format!("ctid < '({page},0)'::tid")));
        let filter = if conditions.is_empty() { String::new() } else { format!(" WHERE {}", conditions.join(" AND ")) };
        format!("COPY (SELECT {} FROM {from}{filter}) TO STDOUT (FORMAT binary)", columns.join(", "))
    }

    fn columns(&self) -> impl Iterator<Item = &Column> {
        self.projection.fields().iter().filter_map(|field| self.table.column(field.name()))
    }

    fn rows(&self) -> Result<Rows, CatalogError> {
        let columns: Vec<ColumnBuilder> =
            self.columns().map(|column| ColumnBuilder::new(&column.column_type, ROWS_PER_BATCH)).collect();
        match columns.len() == self.projection.fields().len() {
            true => Ok(Rows { columns, count: 0, refused: None }),
            false => Err(self.damaged("a column is asked for that it does not have".to_owned())),
        }
    }

    fn batch_of(&self, rows: &mut Rows) -> Result<RecordBatch, CatalogError> {
        let arrays: Vec<ArrayRef> = rows.columns.iter_mut().map(ColumnBuilder::finish).collect();
        let options = RecordBatchOptions::new().with_row_count(Some(std::mem::take(&mut rows.count)));
        RecordBatch::try_new_with_options(Arc::clone(&self.projection), arrays, &options)
            .map_err(|error| self.damaged(error.to_string()))
    }

    fn refused_rows(&self, error: &tokio_postgres::Error) -> CatalogError {
        let is_timeout = error.code() == Some(&SqlState::QUERY_CANCELED);
        let hint = if is_timeout { "; where a statement_timeout did this, give the role a longer one" } else { "" };
        CatalogError::Database(format!("{}: {}{hint}", self.table.name, described(error)))
    }

    fn refused_value(&self, reason: String, rows: &Rows) -> CatalogError {
        let Some(column) = rows.refused.and_then(|place| self.columns().nth(place)) else {
            return self.damaged(reason);
        };
        let column_type = match &column.column_type {
            ColumnType::Numeric(None) => "numeric of at most 20 digits after the point and 56 before".to_owned(),
            other => other.to_string(),
        };
        CatalogError::Value {
            table: self.table.name.clone(),
            column: column.name.to_string(),
            source: ModelError::Value { text: reason, column_type },
        }
    }

    fn damaged(&self, reason: String) -> CatalogError {
        CatalogError::Rows { table: self.table.name.clone(), reason }
    }
}

/// Ranges to be read, each with where its rows go.
struct Work {
    ranges: Vec<PageRange>,
    next: AtomicUsize,
    ahead: Semaphore,
    senders: std::sync::Mutex<Vec<Option<Sender<Batch>>>>,
}

impl Work {
    /// The next range, once there is room for its rows.
    async fn take(&self) -> Option<(PageRange, Sender<Batch>)> {
        let permit = self.ahead.acquire().await.ok()?;
        let place = self.next.fetch_add(1, Ordering::Relaxed);
        let range = *self.ranges.get(place)?;
        let mut senders = self.senders.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let sender = senders.get_mut(place)?.take()?;
        // Its turn to be handed on gives it back.
        permit.forget();
        Some((range, sender))
    }
}

/// Whether anybody still listens at its end.
async fn hand_on(mut from: Receiver<Batch>, to: &Sender<Batch>) -> bool {
    while let Some(batch) = from.recv().await {
        let is_error = batch.is_err();
        if to.send(batch).await.is_err() || is_error {
            return false;
        }
    }
    true
}

fn page_ranges(pages: u64) -> Vec<PageRange> {
    let count = pages.div_ceil(PAGES_PER_RANGE).max(1);
    let bound = |range: u64| (range > 0 && range < count).then_some(range * PAGES_PER_RANGE);
    (0..count).map(|range| PageRange { from: bound(range), until: bound(range + 1) }).collect()
}

/// Rows gathered for the next batch, column by column.
struct Rows {
    columns: Vec<ColumnBuilder>,
    count: usize,
    /// The column whose value was refused.
    refused: Option<usize>,
}

impl Rows {
    fn push(&mut self, mut fields: Fields<'_>) -> Result<(), String> {
        for (place, column) in self.columns.iter_mut().enumerate() {
            let field = fields.next().ok_or("a row has too few fields")?;
            if let Err(reason) = column.push(field) {
                self.refused = Some(place);
                return Err(reason);
            }
        }
        self.count += 1;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_leave_no_page_out_and_the_last_has_no_end() {
        let everything = PageRange { from: None, until: None };
        assert_eq!(page_ranges(0), [everything]);
        assert_eq!(page_ranges(1024), [everything]);
        let range = |from, until| PageRange { from, until };
        assert_eq!(
            page_ranges(2049),
            [range(None, Some(1024)), range(Some(1024), Some(2048)), range(Some(2048), None)]
        );
    }
}
