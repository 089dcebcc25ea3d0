//! What a database's schemas hold, as the statements that make it elsewhere.

use tokio_postgres::{Client, Error};

use crate::model::TableName;

/// Settings that decide what names, times and texts mean, as a new session has them.
const SETTINGS: [&str; 7] = [
    "search_path",
    "TimeZone",
    "DateStyle",
    "IntervalStyle",
    "bytea_output",
    "extra_float_digits",
    "default_text_search_config",
];

/// Everything that the schemas of a database hold, but for their rows.
#[derive(Clone, Debug)]
pub struct DatabaseDefinitions {
    /// The server's major version.
    pub version: i32,
    /// How the database orders and folds text.
    pub text_order: TextOrder,
    /// Settings as a new session has them, by name.
    pub settings: Vec<(String, String)>,
    /// In an order in which most of them can be made.
    pub objects: Vec<DatabaseObject>,
}

/// How a database orders and folds text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextOrder {
    /// `UTF8`.
    pub encoding: String,
    /// The provider's letter, then the names of the collation and of the classes of characters.
    pub collation: [String; 3],
}

impl TextOrder {
    /// Whether the other means the same: `en_US.utf8` is `en_US.UTF-8`.
    pub fn is_same(&self, other: &TextOrder) -> bool {
        let folded = |name: &String| name.to_ascii_lowercase().replace("utf-8", "utf8");
        let names = |order: &TextOrder| order.collation.iter().map(folded).collect::<Vec<_>>();
        self.encoding == other.encoding && names(self) == names(other)
    }
}

impl std::fmt::Display for TextOrder {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [provider, collate, classes] = &self.collation;
        let provider = if provider == "i" { " of ICU" } else { "" };
        write!(formatter, "encoding {}, collation {collate}{provider}, classes {classes}", self.encoding)
    }
}

/// One object of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatabaseObject {
    /// `schema`, `extension`, `function`, `table`, `trigger` …
    pub kind: String,
    /// Its schema.
    pub schema: String,
    /// The table, view, sequence or function that it is, or is of.
    pub relation: Option<String>,
    /// Its name, for messages.
    pub name: String,
    /// What makes it; absent where nothing can.
    pub sql: Option<String>,
    /// The table or view that is not what it was without this.
    pub part_of: Option<TableName>,
    /// Why it cannot be made elsewhere as it is here.
    pub obstacle: Option<String>,
}

/// Reads them all. The session's search path must be `pg_catalog`.
///
/// # Errors
/// What the database refuses.
pub(super) async fn read(client: &Client) -> Result<DatabaseDefinitions, Error> {
    let sql = "SELECT current_setting('server_version_num')::int4 / 10000, pg_encoding_to_char(encoding)::text,
                      coalesce(to_jsonb(d) ->> 'datlocprovider', 'c'), datcollate::text || coalesce(to_jsonb(d) ->> 'daticulocale', to_jsonb(d) ->> 'datlocale', ''), datctype::text
               FROM pg_database d WHERE datname = current_database()";
    let row = client.query_one(sql, &[]).await?;
    let text_order =
        TextOrder { encoding: row.try_get(1)?, collation: [row.try_get(2)?, row.try_get(3)?, row.try_get(4)?] };
    let sql = "SELECT name, reset_val FROM pg_settings WHERE name = ANY($1::text[]) AND reset_val IS NOT NULL";
    let settings = client.query(sql, &[&SETTINGS.map(str::to_owned).as_slice()]).await?;
    let settings = settings.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?))).collect::<Result<_, Error>>()?;
    let objects = client.query(include_str!("definitions.sql"), &[]).await?;
    let objects = objects.iter().map(object).collect::<Result<_, Error>>()?;
    Ok(DatabaseDefinitions { version: row.try_get(0)?, text_order, settings, objects })
}

fn object(row: &tokio_postgres::Row) -> Result<DatabaseObject, Error> {
    let (schema, relation): (String, Option<String>) = (row.try_get(1)?, row.try_get(2)?);
    let is_part: Option<String> = row.try_get(5)?;
    let part_of = is_part.and(relation.as_ref()).map(|relation| TableName::new(schema.as_str(), relation.as_str()));
    Ok(DatabaseObject {
        kind: row.try_get(0)?,
        schema,
        relation,
        name: row.try_get(3)?,
        sql: row.try_get(4)?,
        part_of,
        obstacle: row.try_get(6)?,
    })
}
