//! The dialects that a text may be written in.

use std::str::FromStr;

use sqlparser::dialect::{
    AnsiDialect, BigQueryDialect, ClickHouseDialect, DatabricksDialect, Dialect as ParserDialect, DuckDbDialect,
    GenericDialect, HiveDialect, MsSqlDialect, MySqlDialect, OracleDialect, PostgreSqlDialect, RedshiftSqlDialect,
    SQLiteDialect, SnowflakeDialect,
};

/// A dialect of SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// PostgreSQL.
    #[default]
    Postgres,
    /// The standard's.
    Ansi,
    /// BigQuery.
    BigQuery,
    /// ClickHouse.
    ClickHouse,
    /// Databricks and Spark.
    Databricks,
    /// DuckDB.
    DuckDb,
    /// Whatever the parser knows.
    Generic,
    /// Hive.
    Hive,
    /// SQL Server.
    MsSql,
    /// MySQL and MariaDB.
    MySql,
    /// Oracle.
    Oracle,
    /// Redshift.
    Redshift,
    /// Snowflake.
    Snowflake,
    /// SQLite.
    Sqlite,
}

/// Every dialect by its name; the first is the default.
const DIALECTS: [(&str, Dialect, &dyn ParserDialect); 14] = [
    ("postgres", Dialect::Postgres, &PostgreSqlDialect {}),
    ("ansi", Dialect::Ansi, &AnsiDialect {}),
    ("bigquery", Dialect::BigQuery, &BigQueryDialect {}),
    ("clickhouse", Dialect::ClickHouse, &ClickHouseDialect {}),
    ("databricks", Dialect::Databricks, &DatabricksDialect {}),
    ("duckdb", Dialect::DuckDb, &DuckDbDialect {}),
    ("generic", Dialect::Generic, &GenericDialect {}),
    ("hive", Dialect::Hive, &HiveDialect {}),
    ("mssql", Dialect::MsSql, &MsSqlDialect {}),
    ("mysql", Dialect::MySql, &MySqlDialect {}),
    ("oracle", Dialect::Oracle, &OracleDialect {}),
    ("redshift", Dialect::Redshift, &RedshiftSqlDialect {}),
    ("snowflake", Dialect::Snowflake, &SnowflakeDialect {}),
    ("sqlite", Dialect::Sqlite, &SQLiteDialect {}),
];

impl Dialect {
    /// The names of all dialects, the default first.
    pub fn names() -> impl Iterator<Item = &'static str> {
        DIALECTS.iter().map(|(name, _, _)| *name)
    }

    /// The parser's own description of the dialect.
    pub(super) fn parser(self) -> &'static dyn ParserDialect {
        DIALECTS.iter().find(|(_, dialect, _)| *dialect == self).map_or(&PostgreSqlDialect {}, |(_, _, parser)| *parser)
    }

    /// Whether a query over itself must be called RECURSIVE.
    pub(super) fn says_recursive(self) -> bool {
        !matches!(self, Dialect::MsSql | Dialect::Oracle | Dialect::Snowflake | Dialect::Redshift)
    }

    /// Whether a name of a SELECT list may be used further on in the same list.
    pub(super) fn reuses_output_names(self) -> bool {
        matches!(
            self,
            Dialect::Databricks | Dialect::Redshift | Dialect::Snowflake | Dialect::ClickHouse | Dialect::DuckDb
        )
    }
}

impl FromStr for Dialect {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted = match text.to_ascii_lowercase().as_str() {
            "postgresql" => "postgres",
            "spark" | "sparksql" => "databricks",
            "mariadb" => "mysql",
            "tsql" | "sqlserver" => "mssql",
            _ => text,
        }
        .to_ascii_lowercase();
        let found = DIALECTS.iter().find(|(name, _, _)| *name == wanted);
        found
            .map(|(_, dialect, _)| *dialect)
            .ok_or_else(|| format!("no such dialect: {}", Dialect::names().collect::<Vec<_>>().join(", ")))
    }
}
