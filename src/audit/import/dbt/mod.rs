//! dbt's schema files as they are: the tests of models, seeds, snapshots and sources, and of their columns.

use super::{Import, ImportFormat, entries, entry, entry_text, items};
use crate::audit::document::{Content, Document, Node};
use crate::audit::names::Schemas;
use crate::catalog::nearest_table;
use crate::model::{TableName, TableSchema};

mod generic_tests;
mod jinja;
mod test_entry;

pub(super) const FORMAT: ImportFormat = ImportFormat { recognises, read };

/// Keys at the top of a schema file.
const TOP_KEYS: [&str; 14] = [
    "version",
    "models",
    "sources",
    "seeds",
    "snapshots",
    "analyses",
    "exposures",
    "groups",
    "macros",
    "metrics",
    "saved_queries",
    "semantic_models",
    "unit_tests",
    "data_tests",
];

/// A table as a schema file speaks of it.
struct TestedTable<'a> {
    schema: &'a TableSchema,
    /// As dbt's own names of tests spell it: `orders`, `source_shop_orders`.
    spelled: String,
}

fn recognises(document: &Document) -> bool {
    let keys: Vec<&str> = entries(&document.root).iter().filter_map(|(key, _)| key.text()).collect();
    !keys.is_empty() && keys.iter().all(|key| TOP_KEYS.contains(key)) || is_project_file(document)
}

/// dbt's own settings lie beside its models; they hold no test.
fn is_project_file(document: &Document) -> bool {
    let file = document.file().file_name().and_then(|name| name.to_str()).unwrap_or_default();
    ["dbt_project", "packages", "dependencies", "profiles", "selectors", "package-lock"]
        .iter()
        .any(|name| file == format!("{name}.yml") || file == format!("{name}.yaml"))
}

fn read(import: &mut Import<'_>) {
    let document = import.names.document;
    if is_project_file(document) {
        return;
    }
    for kind in ["models", "seeds", "snapshots"] {
        for model in items(entry(&document.root, kind)) {
            let config = entry(model, "config");
            let alias = entry_text(model, "alias").or(config.and_then(|config| entry_text(config, "alias")));
            let name = entry_text(model, "name").unwrap_or_default();
            read_table(import, model, None, alias.unwrap_or(name), name.to_owned());
        }
    }
    for source in items(entry(&document.root, "sources")) {
        let name = entry_text(source, "name").unwrap_or_default();
        let schema = entry_text(source, "schema").unwrap_or(name);
        for table in items(entry(source, "tables")) {
            let table_name = entry_text(table, "name").unwrap_or_default();
            let identifier = entry_text(table, "identifier").unwrap_or(table_name);
            if let Some(freshness) = entry(table, "freshness").or(entry(source, "freshness")) {
                let help = "write a rule of our own with a check of kind freshness".to_owned();
                import.note(
                    freshness,
                    format!("the freshness of source table {table_name} is not checked"),
                    Some(help),
                );
            }
            read_table(import, table, Some(schema), identifier, format!("source_{name}_{table_name}"));
        }
    }
    if !items(entry(&document.root, "data_tests")).is_empty() {
        // Here stand descriptions of tests written as SQL files, which hold no test themselves.
        import.note(&document.root, "tests written as SQL files are not read", None);
    }
}

fn read_table(import: &mut Import<'_>, node: &Node, schema: Option<&str>, name: &str, spelled: String) {
    let columns = items(entry(node, "columns"));
    let count = tests_of(node).count() + columns.iter().map(|column| tests_of(column).count()).sum::<usize>();
    if count == 0 {
        return;
    }
    let Some(found) = find_table(import.names.schemas, schema, name) else {
        let wanted = TableName::new(schema.unwrap_or("public"), name);
        let nearest = nearest_table(&wanted, import.names.schemas.keys());
        let help = nearest.map(|nearest| format!("did you mean {nearest}?"));
        import.note(node, format!("there is no table {name}: {count} of its tests are not checked"), help);
        return;
    };
    let table = TestedTable { schema: found, spelled };
    for test in tests_of(node) {
        read_test(import, &table, None, test);
    }
    for column in columns {
        let Some(column_name) = entry(column, "name") else { continue };
        for test in tests_of(column) {
            read_test(import, &table, Some(column_name), test);
        }
    }
}

/// `data_tests`, and `tests` as it was called before.
fn tests_of(node: &Node) -> impl Iterator<Item = &Node> {
    ["data_tests", "tests"].into_iter().flat_map(|key| items(entry(node, key)))
}

/// A table by its name; of several schemas the one named, else the only one, else `public`.
fn find_table<'a>(schemas: &'a Schemas, schema: Option<&str>, name: &str) -> Option<&'a TableSchema> {
    let named = schema.and_then(|schema| schemas.get(&TableName::new(schema, name)));
    let mut alike = schemas.values().filter(|table| table.name.table.as_ref() == name);
    let found = named.or_else(|| match (alike.next(), alike.next()) {
        (Some(only), None) => Some(only),
        _ => schemas.get(&TableName::new("public", name)),
    });
    found.map(AsRef::as_ref)
}

fn read_test(import: &mut Import<'_>, table: &TestedTable<'_>, column: Option<&Node>, node: &Node) {
    let test = match test_entry::read(node) {
        Ok(test) => test,
        Err(message) => return import.note(node, message, None),
    };
    if test.is_disabled() {
        return;
    }
    let column = test.column.or(column);
    let renderer = jinja::Renderer::new(import.names);
    match generic_tests::translate(&test, table.schema, column, &renderer) {
        Ok(entries) => import.add(&test.id(table, column), test.place, entries),
        Err(message) => {
            let message = format!("test {} is not checked: {message}", test.kind);
            import.note(test.place, message, Some("write it as a rule of our own where it matters".to_owned()));
        }
    }
}

/// Whether a node is a list or mapping.
fn is_nested(node: &Node) -> bool {
    matches!(node.content, Content::Sequence(_) | Content::Mapping(_))
}

#[cfg(test)]
mod tests {
    use super::super::tests_support;

    #[tokio::test]
    async fn both_argument_styles_mean_the_same() {
        let rules = tests_support::read(
            "
version: 2
models:
  - name: orders
    columns:
      - name: status
        tests:
          - accepted_values:
              values: [open, bad]
              severity: warn
        data_tests:
          - not_null
          - accepted_values:
              name: status_is_known
              arguments: { values: ['open', 'bad'] }
              config: { severity: warn, where: \"total > 5\" }
",
        )
        .await;
        assert_eq!(rules.notes, "");
        assert_eq!(rules.ids, ["not_null_orders_status", "status_is_known", "accepted_values_orders_status"]);
    }

    #[tokio::test]
    async fn what_is_not_understood_is_told_with_its_line() {
        let rules = tests_support::read(
            "
models:
  - name: orders
    data_tests:
      - our_own_test: { column: total }
      - dbt_utils.expression_is_true:
          expression: \"{{ our_macro('total') }} > 0\"
    columns:
      - name: totl
        data_tests: [unique]
  - name: nowhere
    data_tests: [x]
",
        )
        .await;
        for part in ["schema.yml:5:", "our_own_test", "schema.yml:6:", "our_macro", "schema.yml:9:", "totl", "nowhere"]
        {
            assert!(rules.notes.contains(part), "{part} is not in\n{}", rules.notes);
        }
        assert!(rules.ids.is_empty(), "{:?}", rules.ids);
    }
}
