//! What every job that looks into the past needs: the project, the tables as they stand, and the history.

use std::path::Path;
use std::sync::Arc;

use super::diagnostic::Failure;
use super::recorded;
use crate::catalog::{Catalog, RollingTables, rows_from_batch};
use crate::lineage::{Sources, assemble, name_by_partitioned_table};
use crate::model::{DatabaseSource, History};
use crate::project::Project;
use crate::sql::{Schemas, views};
use crate::store::Store;
use crate::trace::fill_generated_columns;

/// A project with its tables and its history.
pub struct Investigation {
    /// The project.
    pub project: Project,
    /// The data under audit.
    pub database: DatabaseSource,
    /// Its tables.
    pub catalog: Catalog,
    /// Every committed transaction that is known.
    pub history: History,
    /// What was recorded.
    pub store: Store,
    /// The store's place in its order of arrival before which every write was done when the tables were looked at.
    pub done_before: i64,
}

/// A project with its tables and its recordings.
pub struct Opened {
    /// The project.
    pub project: Project,
    /// The data under audit.
    pub database: DatabaseSource,
    /// Its tables.
    pub catalog: Catalog,
    /// What was recorded.
    pub store: Store,
    /// The store's place in its order of arrival before which every write was done when the tables were looked at.
    pub done_before: i64,
}

impl Opened {
    /// Opens the project that the current folder belongs to, and reads what is new of its inputs.
    ///
    /// # Errors
    /// A project, database, store or input that cannot be read.
    pub async fn open() -> Result<Opened, Failure> {
        let project = Project::find(Path::new("."))?;
        let database = project.database()?.ok_or_else(|| {
            Failure::new("find the data: the project names no database").with_help(
                "Name it in blast-radius.toml: [database] with url = \"env:DATABASE_URL\", or files = \"data\".",
            )
        })?;
        // The store first: what is in it before the tables are looked at was done by then.
        let mut store = Store::open(&project.store).await?;
        let done_before = store.next_position();
        let catalog = Catalog::open(&database, &project.tables).await?.in_time_zone(project.time_zone.as_ref());
        recorded::read_new(&project, &mut store).await?;
        Ok(Opened { project, database, catalog, store, done_before })
    }
}

impl Investigation {
    /// Opens the project that the current folder belongs to, reads what is new of its inputs, and puts the history
    /// together.
    ///
    /// # Errors
    /// A project, database, store or input that cannot be read.
    pub async fn open() -> Result<Investigation, Failure> {
        let Opened { project, database, catalog, store, done_before } = Opened::open().await?;
        let (mut writes, stamps, log) = (store.writes().await?, store.stamps().await?, store.log().await?);
        name_by_partitioned_table(writes.iter_mut(), &catalog.declarations().partitions);
        let views = views(&catalog.declarations().views);
        let mut history = assemble(Sources {
            writes: &writes,
            stamps: &stamps,
            log: &log,
            schemas: catalog.schemas(),
            views: &views,
            release: &project.release,
            deploys: &project.deploys,
            database: catalog.database_name(),
        });
        fill_generated_columns(&mut history, &catalog).await?;
        history.limits.extend(store.gaps().iter().map(|gap| format!("not recorded: {}", gap.text)));
        Ok(Investigation { project, database, catalog, history, store, done_before })
    }

    /// The shapes of the tables.
    pub fn schemas(&self) -> &Schemas {
        self.catalog.schemas()
    }

    /// Every table that has a key, as it stands now: what rolls back through time. Tables without one are left out, and
    /// their names handed back.
    ///
    /// # Errors
    /// A table that cannot be read.
    pub async fn tables(&self) -> Result<(RollingTables, Vec<String>), Failure> {
        let mut tables = RollingTables::new();
        let mut keyless = Vec::new();
        for (name, schema) in self.schemas() {
            if schema.key.is_empty() {
                keyless.push(format!("{name} has no key: its rows cannot be followed through time"));
                continue;
            }
            let mut rows = Vec::new();
            for batch in self.catalog.scan(name).await? {
                rows.extend(rows_from_batch(schema, &batch)?);
            }
            tables.load(Arc::clone(schema), rows)?;
        }
        Ok((tables, keyless))
    }
}
