//! What a project file says, checked.

use std::path::{Path, PathBuf};

use super::ProjectError;
use super::error::SourceLocation;
use crate::model::{DatabaseSource, Deploy, Derive, ReleaseSettings, TableSettingsByName, TimeZone};

/// The name of the project file.
const FILE_NAME: &str = "blast-radius.toml";

/// One project: where its data and its history are, and how they are to be read.
#[derive(Clone, Debug)]
pub struct Project {
    /// The project file.
    pub file: PathBuf,
    /// The folder of the project file: relative paths begin here.
    pub folder: PathBuf,
    /// The store: an absolute folder, or an `s3://`, `gs://` or `az://` URL.
    pub store: String,
    /// The inputs to read before every job, in the order they are written.
    pub ingest: Vec<FilePattern>,
    /// How a write names its release.
    pub release: ReleaseSettings,
    /// What was live when, in the order it is written.
    pub deploys: Vec<Deploy>,
    /// What `audit` checks, and how strictly.
    pub audit: AuditSettings,
    /// What is said of single tables.
    pub tables: TableSettingsByName,
    /// Tables computed by something that logs no SQL.
    pub derives: Vec<Derive>,
    /// The time zone of a session of the database that sets none, where the database does not say it.
    pub time_zone: Option<TimeZone>,
    pub(super) database: Option<DatabaseSettings>,
}

/// A glob of the project file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilePattern {
    /// As it is written.
    pub written: String,
    /// Absolute: relative ones begin at the project's folder.
    pub pattern: String,
    /// Where it is written.
    pub location: SourceLocation,
}

/// The `[audit]` section.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AuditSettings {
    /// Files and folders of rules, absolute.
    pub rules: Vec<PathBuf>,
    /// From which severity on a violation fails the audit.
    pub fail_on: FailOn,
    /// The file of accepted violations, absolute.
    pub accepted: Option<PathBuf>,
}

/// From which severity on a violation fails the audit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailOn {
    /// Only errors do.
    #[default]
    Error,
    /// Warnings do, too.
    Warn,
}

/// The `[database]` section; a variable of the environment is read when the database is asked for.
#[derive(Clone, Debug)]
pub(super) enum DatabaseSettings {
    Url { url: String, schemas: Vec<String> },
    Environment { name: String, schemas: Vec<String>, location: SourceLocation },
    Folder(PathBuf),
}

impl Project {
    /// The project that `start` belongs to: of `blast-radius.toml` in it, or in the nearest folder above.
    ///
    /// # Errors
    /// No project file, or one that [`Project::load`] refuses.
    pub fn find(start: &Path) -> Result<Project, ProjectError> {
        let start = std::path::absolute(start)
            .map_err(|error| ProjectError::Unreadable { file: start.to_owned(), reason: error.to_string() })?;
        match start.ancestors().map(|folder| folder.join(FILE_NAME)).find(|file| file.is_file()) {
            Some(file) => Project::load(&file),
            None => Err(ProjectError::NotFound { start }),
        }
    }

    /// The data under audit, where the project file names any. `url = "env:NAME"` is looked up now.
    ///
    /// # Errors
    /// A variable that is not set, empty, or no Unicode.
    pub fn database(&self) -> Result<Option<DatabaseSource>, ProjectError> {
        self.database_with(|name| std::env::var(name))
    }

    pub(super) fn database_with(
        &self,
        variable: impl Fn(&str) -> Result<String, std::env::VarError>,
    ) -> Result<Option<DatabaseSource>, ProjectError> {
        let Some(settings) = &self.database else { return Ok(None) };
        Ok(Some(match settings.clone() {
            DatabaseSettings::Folder(folder) => DatabaseSource::Folder(folder),
            DatabaseSettings::Url { url, schemas } => DatabaseSource::Postgres { url, schemas },
            DatabaseSettings::Environment { name, schemas, location } => {
                let problem = match variable(&name) {
                    Ok(url) if !url.trim().is_empty() => return Ok(Some(DatabaseSource::Postgres { url, schemas })),
                    Ok(_) => "is empty",
                    Err(std::env::VarError::NotPresent) => "is not set",
                    Err(std::env::VarError::NotUnicode(_)) => "is no valid UTF-8",
                };
                return Err(ProjectError::Environment { location, name, problem });
            }
        }))
    }
}
