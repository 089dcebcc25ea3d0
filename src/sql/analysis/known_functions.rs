//! The functions that read and write no table by themselves: PostgreSQL's own, and those of well-known extensions.
//!
//! What any other function does is not known until its definition is.

use std::collections::HashSet;
use std::sync::LazyLock;

use sqlparser::ast::ObjectName;

use super::scope::spelled;

/// PostgreSQL's, up to version 18, without those that run a text or read a table that a text names.
static OF_POSTGRES: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("known_functions/postgres.txt").lines().collect());

/// Those of extensions, PostGIS's among them, that compute with their arguments alone.
static OF_EXTENSIONS: LazyLock<HashSet<&str>> =
    LazyLock::new(|| include_str!("known_functions/extensions.txt").lines().collect());

/// Whether a function of this name only computes with its arguments. In a schema that is named anybody may have defined
/// it, save in PostgreSQL's own.
pub fn only_computes(name: &ObjectName) -> bool {
    let parts: Option<Vec<_>> = name.0.iter().map(|part| part.as_ident().map(spelled)).collect();
    match parts.as_deref() {
        Some([function]) => OF_POSTGRES.contains(function.as_ref()) || OF_EXTENSIONS.contains(function.as_ref()),
        Some([schema, function]) if schema == "pg_catalog" => OF_POSTGRES.contains(function.as_ref()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use sqlparser::ast::Ident;

    use super::*;

    #[test]
    fn what_only_computes_is_known() {
        for (name, expected) in [
            ("lower", true),
            ("pg_catalog.lower", true),
            ("app.lower", false),
            ("digest", true),
            ("extensions.digest", false),
            ("st_distance", true),
            ("st_refresh_totals", false),
            ("app.st_distance", false),
            ("ts_rewrite", false),
            ("query_to_xml", false),
            ("refresh_totals", false),
        ] {
            let parts: Vec<Ident> = name.split('.').map(Ident::new).collect();
            assert_eq!(only_computes(&ObjectName::from(parts)), expected, "{name}");
        }
    }
}
