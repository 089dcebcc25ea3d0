//! Names and texts as SQL writes them.

use crate::model::TableName;

/// A name in double quotes.
pub fn quoted_identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A table's schema and name, each in double quotes.
pub fn quoted_table(table: &TableName) -> String {
    format!("{}.{}", quoted_identifier(&table.schema), quoted_identifier(&table.table))
}

/// A text as a literal, whatever `standard_conforming_strings` says.
pub fn quoted_text(text: &str) -> String {
    let quoted = format!("'{}'", text.replace('\'', "''"));
    if text.contains('\\') { format!("E{}", quoted.replace('\\', "\\\\")) } else { quoted }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_and_backslashes_stay_what_they_are() {
        assert_eq!(quoted_identifier("a\"b"), "\"a\"\"b\"");
        assert_eq!(quoted_table(&TableName::new("public", "Odd Name")), "\"public\".\"Odd Name\"");
        assert_eq!(quoted_text("it's"), "'it''s'");
        assert_eq!(quoted_text("a\\'b"), "E'a\\\\''b'");
    }
}
