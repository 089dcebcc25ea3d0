//! Names and values as PostgreSQL reads them back, whatever they hold.

use crate::model::{ColumnName, TableName, Value};

/// A quoted identifier: `"Order"`, `"say ""hi"""`.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A quoted, qualified table name: `"public"."orders"`.
pub(super) fn relation(table: &TableName) -> String {
    format!("{}.{}", identifier(&table.schema), identifier(&table.table))
}

/// A string literal that reads the same whatever `standard_conforming_strings` says.
pub(super) fn text_literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A literal without a type: it takes the type of the column that it goes into.
pub(super) fn literal(value: &Value) -> String {
    value.as_str().map_or_else(|| "NULL".to_owned(), text_literal)
}

/// A `text[]` of column names.
pub(super) fn name_array(names: &[ColumnName]) -> String {
    let names: Vec<String> = names.iter().map(|name| text_literal(name)).collect();
    format!("ARRAY[{}]::text[]", names.join(", "))
}

/// Text that may stand in a `--` comment: on one line.
pub(super) fn comment(text: &str) -> String {
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_values_are_quoted_exactly() {
        assert_eq!(identifier(r#"say "hi""#), r#""say ""hi""""#);
        assert_eq!(relation(&TableName::new("public", "Order")), r#""public"."Order""#);
        assert_eq!(literal(&Value::text("it's")), "'it''s'");
        assert_eq!(literal(&Value::text(r"C:\new")), r"E'C:\\new'");
        assert_eq!(literal(&Value::NULL), "NULL");
        assert_eq!(literal(&Value::text("")), "''");
        assert_eq!(name_array(&[]), "ARRAY[]::text[]");
        assert_eq!(comment("a\nDROP TABLE b"), "a DROP TABLE b");
    }
}
