//! What a release should have written: given to the database before its own triggers see what was written, so that they
//! compute what they would have computed.

use super::server::{Scratch, ScratchTable};
use crate::engine::postgres::{quoted_identifier, quoted_text};
use crate::model::{Operation, RecordKey, Row, TableName};

/// What a statement should have written to one row, instead of what it wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Amendment {
    /// The table.
    pub table: TableName,
    /// The row's key: as it was before, for an update.
    pub key: RecordKey,
    /// What the statement does to the row.
    pub operation: Operation,
    /// The columns it should have written otherwise; `None` where it should not have written the row at all.
    pub set: Option<Row>,
}

/// The trigger that amends what a statement writes to one table itself.
pub(super) fn trigger(scratch: &Scratch, table: &TableName, amendments: &[&Amendment]) -> Option<String> {
    let table = scratch.tables.get(table)?;
    let branches: String = amendments.iter().map(|amendment| branch(table, amendment)).collect();
    let number = table.number;
    Some(format!(
        "CREATE FUNCTION blast_radius_scratch.amend_{number}() RETURNS trigger LANGUAGE plpgsql AS $amend$
         BEGIN
             IF pg_trigger_depth() = 1 THEN {branches} END IF;
             IF TG_OP = 'DELETE' THEN RETURN OLD; END IF;
             RETURN NEW;
         END $amend$;
         CREATE TRIGGER \"!blast_radius_amend\" BEFORE INSERT OR UPDATE OR DELETE ON {}
             FOR EACH ROW EXECUTE FUNCTION blast_radius_scratch.amend_{number}();",
        table.name()
    ))
}

fn branch(table: &ScratchTable, amendment: &Amendment) -> String {
    let (event, row) = match amendment.operation {
        Operation::Insert => ("INSERT", "NEW"),
        Operation::Delete | Operation::Truncate => ("DELETE", "OLD"),
        Operation::Update => ("UPDATE", "OLD"),
    };
    let literal = |column: &str, text: Option<&str>| {
        text.map_or_else(|| "NULL".to_owned(), |text| table.typed(column, &quoted_text(text)))
    };
    let is_row: Vec<String> = amendment
        .key
        .iter()
        .map(|(column, value)| format!("{row}.{} = {}", quoted_identifier(column), literal(column, value.as_str())))
        .collect();
    let does: String = match &amendment.set {
        None => "RETURN NULL;".to_owned(),
        Some(set) => {
            let written = set.iter().filter(|(column, _)| !table.generated.iter().any(|name| **name == ***column));
            let set = |(column, value): (&std::sync::Arc<str>, &crate::model::Value)| {
                format!("NEW.{} := {};", quoted_identifier(column), literal(column, value.as_str()))
            };
            written.map(set).collect()
        }
    };
    format!("IF TG_OP = '{event}' THEN IF {} THEN {does} END IF; END IF;", is_row.join(" AND "))
}
