//! Stored generated columns in the images that lack them: before PostgreSQL 18, `pgoutput` does not send them.
//!
//! Their expression is immutable and reads nothing but its row, so that an image tells what they held. It is believed
//! only after it gave what the database has in every row that is known.

use std::sync::Arc;

use super::reenact::{Language, Refusal, SessionZones, Statements};
use super::roots::values_of_rows;
use crate::catalog::{Catalog, CatalogError, rows_from_batch};
use crate::model::{Column, GeneratedColumn, History, Row, TableName, TableSchema, Value};

/// So many rows are computed at a time.
const CHUNK: usize = 8_192;

/// Computes the generated columns that images of the history lack; what cannot be is said in its limits.
///
/// # Errors
/// A table that cannot be read.
pub async fn fill_generated_columns(history: &mut History, catalog: &Catalog) -> Result<(), CatalogError> {
    // What is immutable is the same in every time zone.
    let mut statements = Statements::new(catalog.schemas().clone(), SessionZones::default());
    for generated in &catalog.declarations().generated {
        let Some(schema) = catalog.schemas().get(&generated.table) else { continue };
        let Some(column) = schema.column(&generated.column) else { continue };
        let lacks = |image: &Row| image.get(&column.name).is_none() && schema.is_whole(image);
        if !images(history, &schema.name).any(lacks) {
            continue;
        }
        let filled = Filled { schema, column, generated };
        let checked = filled.check(&mut statements, history, catalog).await?;
        let done = match checked {
            Ok(()) => filled.fill(&mut statements, history).await,
            Err(refusal) => Err(refusal),
        };
        if let Err(reason) = done {
            let (table, column) = (&schema.name, &column.name);
            let limit =
                format!("the generated column {column} of {table} is not recorded and was not computed: it {reason}");
            history.limits.push(limit);
        }
    }
    Ok(())
}

/// Every image of the table's rows.
fn images<'a>(history: &'a History, table: &'a TableName) -> impl Iterator<Item = &'a Row> {
    let writes = history.transactions.iter().flat_map(|transaction| transaction.writes());
    writes.filter(move |write| write.table == *table).flat_map(|write| [&write.before, &write.after]).flatten()
}

/// A column to be filled.
struct Filled<'a> {
    schema: &'a TableSchema,
    column: &'a Column,
    generated: &'a GeneratedColumn,
}

impl Filled<'_> {
    /// Whether it gives what the database has, wherever that is known.
    async fn check(
        &self,
        statements: &mut Statements,
        history: &History,
        catalog: &Catalog,
    ) -> Result<Result<(), Refusal>, CatalogError> {
        let mut known: Vec<Arc<Row>> = Vec::new();
        for batch in catalog.scan(&self.schema.name).await? {
            known.extend(rows_from_batch(self.schema, &batch)?.into_iter().map(Arc::new));
        }
        let tells = |image: &&Row| image.get(&self.column.name).is_some() && self.schema.is_whole(image);
        known.extend(images(history, &self.schema.name).filter(tells).map(|image| Arc::new(image.clone())));
        for rows in known.chunks(CHUNK) {
            let values = match self.values(statements, rows).await {
                Ok(values) => values,
                Err(refusal) => return Ok(Err(refusal)),
            };
            if values.iter().zip(rows).any(|(value, row)| row.get(&self.column.name) != Some(value)) {
                return Ok(Err(Refusal("gives another value than the database".to_owned())));
            }
        }
        Ok(Ok(()))
    }

    /// Fills it in wherever it lacks.
    async fn fill(&self, statements: &mut Statements, history: &mut History) -> Result<(), Refusal> {
        let steps = history.transactions.iter_mut().flat_map(|transaction| &mut transaction.steps);
        let writes = steps.flat_map(|step| &mut step.writes).filter(|write| write.table == self.schema.name);
        let images = writes.flat_map(|write| [&mut write.before, &mut write.after]).flatten();
        let lacks = |image: &&mut Row| image.get(&self.column.name).is_none() && self.schema.is_whole(image);
        let mut lacking: Vec<&mut Row> = images.filter(lacks).collect();
        for images in lacking.chunks_mut(CHUNK) {
            let rows: Vec<Arc<Row>> = images.iter().map(|image| Arc::new((**image).clone())).collect();
            let values = self.values(statements, &rows).await?;
            for (image, value) in images.iter_mut().zip(values) {
                image.push(self.column.name.clone(), value);
            }
        }
        Ok(())
    }

    async fn values(&self, statements: &mut Statements, rows: &[Arc<Row>]) -> Result<Vec<Value>, Refusal> {
        let expression = [(self.generated.expression.as_ref(), &self.column.column_type)];
        let values = values_of_rows(statements, Language::PostgreSql, self.schema, &expression, rows).await?;
        Ok(values.into_iter().flatten().collect())
    }
}
