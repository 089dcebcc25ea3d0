//! Records `datasets/shop` anew: `cargo run --example record_shop`.
//!
//! In: a seed. Out: a project folder that works wherever it is copied: the write events and the SQL log of the shop's
//! faulty history, its tables at the end, and, for comparison only, the tables of the right history. The tables come out
//! the same for the same seed; the times and transaction ids of events and log are those of the recording.

#[path = "../tests/postgres/mod.rs"]
mod postgres;
#[path = "../tests/incidents/recording/mod.rs"]
mod recording;
#[path = "../tests/incidents/shop/mod.rs"]
mod shop;

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::datatypes::{Field, Schema};
use arrow::record_batch::RecordBatch;
use blast_radius::catalog::{Catalog, arrow_type};
use blast_radius::model::{DatabaseSource, TableSchema};
use clap::Parser;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use postgres::Database;
use recording::World;

/// So many events, or log lines, go into one file.
const LINES_PER_FILE: usize = 40_000;
const ZSTD_LEVEL: i32 = 19;

/// What is written by hand and belongs to the folder: its path there, and its text.
const WRITTEN_BY_HAND: [(&str, &str); 5] = [
    ("blast-radius.toml", include_str!("../datasets/shop/blast-radius.toml")),
    ("faults.yaml", include_str!("../datasets/shop/faults.yaml")),
    ("README.md", include_str!("../datasets/shop/README.md")),
    ("rules/integrity.yaml", include_str!("../datasets/shop/rules/integrity.yaml")),
    ("rules/prices.yaml", include_str!("../datasets/shop/rules/prices.yaml")),
];

/// Runs the shop's history on a throw-away PostgreSQL, faulty and right, and records it.
#[derive(Parser)]
struct Arguments {
    /// Decides every order; the same seed gives the same history.
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// The folder to write; what an earlier recording left there is replaced.
    #[arg(long, default_value = "datasets/shop")]
    out: PathBuf,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let Arguments { seed, out } = Arguments::parse();
    // The store too: it would hold what an earlier recording told.
    for folder in ["events", "logs", "data", "truth", ".blast-radius"] {
        match fs::remove_dir_all(out.join(folder)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    for (path, text) in WRITTEN_BY_HAND {
        write(&out.join(path), text.as_bytes())?;
    }

    let faulty = Database::create("faulty").await;
    let recording = shop::record(&faulty, World::Faulty, seed).await;
    write_lines(&recording.events, &out.join("events"), "ndjson.zst")?;
    write_lines(&recording.log, &out.join("logs"), "json.zst")?;
    write_tables(&faulty, &out.join("data")).await?;

    let right = Database::create("right").await;
    shop::record(&right, World::Right, seed).await;
    write_tables(&right, &out.join("truth")).await?;
    println!("{} events and {} log lines are in {}", recording.events.len(), recording.log.len(), out.display());
    Ok(())
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Box<dyn Error>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    Ok(fs::write(path, bytes)?)
}

fn write_lines(lines: &[String], folder: &Path, ending: &str) -> Result<(), Box<dyn Error>> {
    for (lines, number) in lines.chunks(LINES_PER_FILE).zip(1..) {
        let text = lines.join("\n") + "\n";
        let compressed = zstd::encode_all(text.as_bytes(), ZSTD_LEVEL)?;
        write(&folder.join(format!("{number:03}.{ending}")), &compressed)?;
    }
    Ok(())
}

async fn write_tables(database: &Database<'_>, folder: &Path) -> Result<(), Box<dyn Error>> {
    fs::create_dir_all(folder)?;
    let source = DatabaseSource::Postgres { url: database.url(), schemas: vec!["public".to_owned()] };
    let catalog = Catalog::open(&source, &BTreeMap::new()).await?;
    for (name, schema) in catalog.schemas() {
        let batches = catalog.scan(name).await?;
        let rows = sorted_by_key(schema, &batches)?;
        let compression = Compression::ZSTD(ZstdLevel::try_new(9)?);
        let properties = WriterProperties::builder().set_compression(compression).build();
        let file = File::create(folder.join(format!("{}.parquet", name.table)))?;
        let mut writer = ArrowWriter::try_new(file, rows.schema(), Some(properties))?;
        writer.write(&rows)?;
        writer.close()?;
    }
    Ok(())
}

/// The table's rows in the order of its key, which is the same in every recording, with its NOT NULLs in the schema.
fn sorted_by_key(schema: &TableSchema, batches: &[RecordBatch]) -> Result<RecordBatch, Box<dyn Error>> {
    let fields = schema
        .columns
        .iter()
        .map(|column| Field::new(column.name.as_ref(), arrow_type(&column.column_type), !column.not_null));
    let declared = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let batches: Vec<RecordBatch> = batches
        .iter()
        .map(|batch| RecordBatch::try_new(Arc::clone(&declared), batch.columns().to_vec()))
        .collect::<Result<_, _>>()?;
    let rows = concat_batches(&declared, &batches)?;
    let keys: Vec<SortColumn> = schema
        .key
        .iter()
        .filter_map(|column| rows.column_by_name(column))
        .map(|values| SortColumn { values: Arc::clone(values), options: None })
        .collect();
    let order = lexsort_to_indices(&keys, None)?;
    Ok(take_record_batch(&rows, &order)?)
}
