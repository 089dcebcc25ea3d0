//! What the project file tells the rooms: plain values, already checked.

use std::collections::BTreeMap;
use std::path::PathBuf;

use regex::Regex;

use super::{ColumnName, ReleaseName, ServiceName, TableName, Timestamp};

/// The data under audit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DatabaseSource {
    /// A PostgreSQL connection string (URL or `key=value`), and the schemas to look at.
    Postgres {
        /// The connection string; never printed: it may hold a password.
        url: String,
        /// Such as `public`.
        schemas: Vec<String>,
    },
    /// A folder of `<table>.parquet|csv` and `<schema>.<table>.parquet|csv`.
    Folder(PathBuf),
}

/// How a write names its release.
#[derive(Clone, Debug)]
pub struct ReleaseSettings {
    /// Matched against `application_name`; has the groups `service` (optional) and `release`.
    pub pattern: Regex,
    /// sqlcommenter tags that name the release, in order of preference.
    pub release_tags: Vec<String>,
    /// sqlcommenter tags that name the service.
    pub service_tags: Vec<String>,
}

/// What was live when: the fallback where a write carries no release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deploy {
    /// The service deployed.
    pub service: Option<ServiceName>,
    /// The release that went live.
    pub release: ReleaseName,
    /// From this moment on.
    pub from: Timestamp,
    /// Until just before this moment; `None`: still live.
    pub until: Option<Timestamp>,
}

/// What the project file says of one table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableSettings {
    /// The key, where the database declares none.
    pub key: Vec<ColumnName>,
    /// The column that dates a row's last write.
    pub updated_at: Option<ColumnName>,
    /// Who is hurt when a row is wrong.
    pub subject: Option<ColumnName>,
    /// Columns that are never printed.
    pub personal: Vec<ColumnName>,
    /// Whether the table leaves the company: never repaired, always listed.
    pub external: bool,
}

/// The settings of every table that the project file names.
pub type TableSettingsByName = BTreeMap<TableName, TableSettings>;

/// A table computed by something that logs no SQL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Derive {
    /// The table computed.
    pub table: TableName,
    /// Its key.
    pub key: Vec<ColumnName>,
    /// The query that computes it.
    pub sql: String,
}
