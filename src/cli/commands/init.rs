//! `init`: a project file, and rules from what the schema declares, so that the first audit needs no edit.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::path::Path;

use crate::audit::{GuessedReferences, starter_rules};
use crate::catalog::{
    Catalog, TableConstraints, declared_constraints, guessed_keys, guessed_references, populated_schemas,
};
use crate::cli::ExitStatus;
use crate::cli::arguments::{GlobalArguments, InitArguments};
use crate::cli::diagnostic::Failure;
use crate::cli::output::write_result;
use crate::engine::postgres::without_password;
use crate::model::{ColumnName, DatabaseSource, TableName, TableSettings, TableSettingsByName};
use crate::project::{StarterDatabase, starter_project};

const PROJECT_FILE: &str = "blast-radius.toml";
const RULES_FILE: &str = "rules/schema.yaml";

/// Writes both files into the current folder.
///
/// # Errors
/// No database named or found; one that cannot be read; a file that is there already: nothing is written then.
pub async fn init(global: &GlobalArguments, arguments: &InitArguments) -> Result<ExitStatus, Failure> {
    for file in [PROJECT_FILE, RULES_FILE] {
        if Path::new(file).exists() {
            return Err(Failure::new(format!("write {file}: it is there already"))
                .with_help("Nothing was changed. Work in another folder (-C DIR), or take the file away."));
        }
    }
    let found = find_database(arguments).await?;
    let mut settings = TableSettingsByName::new();
    let mut keys: Vec<(TableName, Vec<ColumnName>)> = Vec::new();
    let mut references = GuessedReferences::new();
    let mut constraints: BTreeMap<TableName, TableConstraints> = BTreeMap::new();
    let mut catalog = Catalog::open(&found.source, &settings).await?;
    match &found.source {
        DatabaseSource::Postgres { url, schemas } => constraints = declared_constraints(url, schemas).await?,
        DatabaseSource::Folder(_) => {
            keys = guessed_keys(&catalog).await?;
            for (table, key) in &keys {
                settings.insert(table.clone(), TableSettings { key: key.clone(), ..TableSettings::default() });
            }
            catalog = Catalog::open(&found.source, &settings).await?;
            references = guessed_references(&catalog).await?;
        }
    }
    let guessed: Vec<TableName> = keys.iter().map(|(table, _)| table.clone()).collect();
    let rules = starter_rules(catalog.schemas(), &constraints, &guessed, &references).await?;
    let project = starter_project(&found.written, catalog.schemas(), &keys);
    create(PROJECT_FILE, &project)?;
    create(RULES_FILE, &rules)?;
    let rule_count = rules.lines().filter(|line| line.starts_with("  - id:")).count();
    let refused = rules.lines().filter(|line| line.starts_with("  # not checked:")).count();
    write_result(global, |out| {
        writeln!(out, "{PROJECT_FILE}: {} tables", catalog.schemas().len())?;
        writeln!(out, "{RULES_FILE}: {rule_count} rules from what the schema declares")?;
        if refused > 0 {
            writeln!(out, "  {refused} more are commented out there, each with the reason why they cannot be checked")?;
        }
        Ok(writeln!(out, "Next: blast-radius audit")?)
    })?;
    Ok(ExitStatus::NothingFound)
}

/// A database, and how the project file names it.
struct FoundDatabase {
    source: DatabaseSource,
    written: StarterDatabase,
}

async fn find_database(arguments: &InitArguments) -> Result<FoundDatabase, Failure> {
    if let Some(named) = &arguments.database {
        if Path::new(named).is_dir() {
            return Ok(folder(named));
        }
        if let Some(variable) = named.strip_prefix("env:") {
            let url = std::env::var(variable)
                .map_err(|_| Failure::new(format!("read the database URL: {variable} is not set")))?;
            return postgres(url, named.clone()).await;
        }
        if named.contains("://") || named.contains('=') {
            return postgres(named.clone(), as_written(named)?).await;
        }
        return Err(Failure::new(format!("find the data: there is no folder {named}"))
            .with_help("Name a folder of Parquet or CSV files, or a URL: postgres://user@host/database"));
    }
    if let Ok(url) = std::env::var("DATABASE_URL") {
        return postgres(url, "env:DATABASE_URL".to_owned()).await;
    }
    if Path::new("data").is_dir() {
        return Ok(folder("data"));
    }
    Err(Failure::new("find the data: no database is named, DATABASE_URL is not set, and there is no folder data")
        .with_help("Name one: blast-radius init postgres://user@host/database, or blast-radius init FOLDER"))
}

fn folder(named: &str) -> FoundDatabase {
    FoundDatabase { source: DatabaseSource::Folder(named.into()), written: StarterDatabase::Folder(named.to_owned()) }
}

async fn postgres(url: String, written: String) -> Result<FoundDatabase, Failure> {
    let schemas = populated_schemas(&url).await?;
    if schemas.is_empty() {
        return Err(Failure::new("find a table in the database: it has none that this user may see"));
    }
    let written = StarterDatabase::Postgres { url: written, schemas: schemas.clone() };
    Ok(FoundDatabase { source: DatabaseSource::Postgres { url, schemas }, written })
}

/// A connection string as it may be written into a file: a variable that holds it, else the string without its password.
fn as_written(url: &str) -> Result<String, Failure> {
    let mut variables = std::env::vars_os();
    if let Some(variable) = variables.find_map(|(name, value)| (value == url).then(|| name.into_string().ok())?) {
        return Ok(format!("env:{variable}"));
    }
    without_password(url).map_err(|reason| Failure::new(format!("understand the connection string: {reason}")))
}

/// Writes a new file, and its folder.
fn create(name: &str, text: &str) -> Result<(), Failure> {
    let refused = |error: std::io::Error| Failure::new(format!("write {name}: {error}"));
    if let Some(folder) = Path::new(name).parent() {
        std::fs::create_dir_all(folder).map_err(refused)?;
    }
    let mut file = File::create_new(name).map_err(refused)?;
    file.write_all(text.as_bytes()).map_err(refused)?;
    file.sync_all().map_err(refused)
}
