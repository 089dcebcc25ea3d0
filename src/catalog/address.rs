//! Where the data is, as lineage tools name it.

use crate::engine::postgres::ConnectionSettings;
use crate::model::{DatabaseSource, TableName};

/// A database's place and name, without a password: <https://openlineage.io/docs/spec/naming>.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseAddress {
    /// `postgres://host:port`, or `file` for a folder.
    pub namespace: String,
    /// What stands before `schema.table` in a table's name: the database; empty for a folder.
    pub database: String,
    /// What tells this server from every other one: the host and port that are connected to, or the folder of its socket
    /// and the port; empty where it is not known.
    pub server: String,
}

impl DatabaseAddress {
    /// The address of the data under audit; a connection string that cannot be read is some PostgreSQL.
    pub fn of(source: &DatabaseSource) -> Self {
        let DatabaseSource::Postgres { url, .. } = source else {
            let (database, server) = (String::new(), String::new());
            return DatabaseAddress { namespace: "file".to_owned(), database, server };
        };
        match ConnectionSettings::from_environment(url) {
            Ok(settings) => {
                let server = settings.target();
                // A folder of sockets is on this machine.
                let target = server
                    .rsplit_once(':')
                    .filter(|(host, _)| host.starts_with('/'))
                    .map_or_else(|| server.to_owned(), |(_, port)| format!("localhost:{port}"));
                let config = settings.config();
                let database = config.get_dbname().or(config.get_user()).unwrap_or_default().to_owned();
                DatabaseAddress { namespace: format!("postgres://{target}"), database, server: server.to_owned() }
            }
            Err(_) => {
                let (database, server) = (String::new(), String::new());
                DatabaseAddress { namespace: "postgres://localhost:5432".to_owned(), database, server }
            }
        }
    }

    /// A table's namespace and name; one that is in no database of ours keeps its own namespace.
    pub fn dataset(&self, table: &TableName) -> (String, String) {
        if table.schema.contains("://") {
            return (table.schema.to_string(), table.table.to_string());
        }
        match self.database.as_str() {
            "" => (self.namespace.clone(), table.to_string()),
            database => (self.namespace.clone(), format!("{database}.{table}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_has_its_database_in_its_name_and_no_password() {
        let url = "postgres://me:s3cr3t@db.example:5433/shop".to_owned();
        let address = DatabaseAddress::of(&DatabaseSource::Postgres { url, schemas: vec![] });
        let orders = TableName::new("public", "orders");
        assert_eq!(address.dataset(&orders), ("postgres://db.example:5433".into(), "shop.public.orders".into()));
        let lake = TableName::new("s3://lake", "raw/orders");
        assert_eq!(address.dataset(&lake), ("s3://lake".into(), "raw/orders".into()));
        let folder = DatabaseAddress::of(&DatabaseSource::Folder("data".into()));
        assert_eq!(folder.dataset(&orders), ("file".into(), "public.orders".into()));
    }
}
