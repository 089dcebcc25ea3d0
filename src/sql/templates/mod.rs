//! Statements by template: analysed once for all executions that differ in literals and parameters only.
//!
//! In: the text of one execution after the other. Out: its [`Template`], with what it reads and writes, and how the keys it
//! touches are read off its literals and parameters.

mod fingerprint;
mod keys;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

pub use fingerprint::{Literal, Scanner};
pub use keys::{KeyColumn, KeysOfTable};

use super::{Analyzer, Dialect, Schema, Schemas, StatementAnalysis, StatementKind};
use crate::model::{RecordKey, TableName, Value};
use keys::Touched;

/// What all executions of a template have in common.
#[derive(Clone, Debug)]
pub struct Template {
    /// What its first execution's statements read and write.
    pub analyses: Vec<StatementAnalysis>,
    /// Where the template's conditions and values fix the keys of a table that it touches: one entry for each target and
    /// reference.
    pub keys: Vec<KeysOfTable>,
    /// The tables of which its executions may touch any row all the same.
    open: BTreeSet<TableName>,
    /// The tables to which they add rows under keys that are not told.
    pub added: BTreeSet<TableName>,
    /// Whether all that it touches is known: else it may touch any table.
    is_known: bool,
}

/// One execution of a template.
#[derive(Clone, Debug)]
pub struct Execution<'t> {
    /// Its template.
    pub template: Arc<Template>,
    sql: &'t str,
    literals: &'t [Literal],
}

impl Execution<'_> {
    /// The keys of the table that this execution can touch, with `$1` … having these values. `None` where they are not
    /// known: too many, or a value that is not there.
    pub fn keys(&self, of: &KeysOfTable, parameters: &[Value]) -> Option<Vec<RecordKey>> {
        keys::keys(of, self.sql, self.literals, parameters)
    }

    /// Whether the execution itself may read or write a row that counts: `counts` says it of the row of a key, and of a
    /// table whether any of its rows does. `false` is sure, save for rows added under keys that only the database gave, and
    /// for what triggers, cascades and rules do beside it: its text does not tell them.
    pub fn may_touch(&self, parameters: &[Value], counts: impl Fn(&TableName, Option<&RecordKey>) -> bool) -> bool {
        let template = &self.template;
        let of_keys = |of: &KeysOfTable| {
            counts(&of.table, None)
                && self.keys(of, parameters).is_none_or(|keys| keys.iter().any(|key| counts(&of.table, Some(key))))
        };
        !template.is_known || template.open.iter().any(|table| counts(table, None)) || template.keys.iter().any(of_keys)
    }
}

/// How many templates are kept: what is met after them is analysed anew each time.
const MOST_TEMPLATES: usize = 100_000;

/// The templates met so far, of PostgreSQL's SQL.
#[derive(Clone, Debug)]
pub struct Templates {
    analyzer: Analyzer,
    schemas: Arc<Schemas>,
    known: HashMap<Box<[u8]>, Arc<Template>>,
    scanner: Scanner,
}

impl Templates {
    /// Begins with what is defined before the first execution; `schemas` have the keys of the tables.
    pub fn new(schema: Schema, schemas: Arc<Schemas>) -> Self {
        let analyzer = Analyzer::new(schema, Dialect::Postgres);
        Templates { analyzer, schemas, known: HashMap::new(), scanner: Scanner::default() }
    }

    /// How many templates are known.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// Whether no template is known.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    /// What an execution reads and writes. A statement that defines something changes what names mean after it: what was
    /// known of templates is forgotten.
    pub fn execution<'t>(&'t mut self, sql: &'t str) -> Execution<'t> {
        self.scanner.scan(sql);
        let known = self.known.get(self.scanner.text.as_slice()).cloned();
        let template = known.unwrap_or_else(|| self.analyzed(sql));
        Execution { template, sql, literals: &self.scanner.literals }
    }

    fn analyzed(&mut self, sql: &str) -> Arc<Template> {
        let before = self.analyzer.schema().clone();
        let analyses = self.analyzer.analyze(sql);
        if !before.is(self.analyzer.schema()) {
            self.known.clear();
        }
        let shares = |one: &StatementAnalysis| {
            matches!(
                one.kind,
                StatementKind::Select
                    | StatementKind::Insert
                    | StatementKind::Update
                    | StatementKind::Delete
                    | StatementKind::Merge
            )
        };
        let shared = !self.scanner.several && matches!(analyses.as_slice(), [one] if shares(one));
        let touched = match shared {
            true => keys::of_template(sql, &self.scanner.literals, &self.schemas),
            false => None,
        };
        let mut template =
            Template { analyses, keys: Vec::new(), open: BTreeSet::new(), added: BTreeSet::new(), is_known: false };
        if let Some(Touched { fixed, open, added, reads_are_told }) = touched {
            (template.keys, template.open, template.added) = (fixed, open, added);
            // A view, or a table that is not known, stands for what it reads.
            let named: BTreeSet<TableName> =
                template.analyses.iter().flat_map(|one| one.sources.iter().chain(&one.targets)).cloned().collect();
            template.is_known = template.analyses.iter().all(|one| one.error.is_none())
                && named.iter().all(|table| self.schemas.contains_key(table));
            if !reads_are_told {
                template.open.extend(named);
            }
        }
        let template = Arc::new(template);
        if shared && self.known.len() < MOST_TEMPLATES {
            self.known.insert(self.scanner.text.as_slice().into(), Arc::clone(&template));
        }
        template
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Column, ColumnType, TableSchema};

    fn schemas() -> Arc<Schemas> {
        let column =
            |name: &str, column_type| Column { name: name.into(), column_type, not_null: true, generated: false };
        let table = |name: &str, columns, key: &[&str]| {
            let name = TableName::new("public", name);
            let key = key.iter().map(|name| (*name).into()).collect();
            let schema =
                TableSchema { name: name.clone(), columns, key, foreign_keys: Vec::new(), unique_keys: Vec::new() };
            (name, Arc::new(schema))
        };
        let one = table("t", vec![column("id", ColumnType::Integer), column("x", ColumnType::Integer)], &["id"]);
        let two = table(
            "p",
            vec![column("a", ColumnType::Integer), column("b", ColumnType::Text), column("x", ColumnType::Integer)],
            &["a", "b"],
        );
        Arc::new(Schemas::from([one, two]))
    }

    fn touched(sql: &str, parameters: &[Value]) -> String {
        let schemas = schemas();
        let mut templates = Templates::new(Schema::from(schemas.as_ref()), schemas);
        let execution = templates.execution(sql);
        let shown = execution.template.keys.iter().map(|of| {
            let keys = execution.keys(of, parameters).map(|keys| {
                let key =
                    |key: &RecordKey| key.iter().map(|(_, value)| value.to_string()).collect::<Vec<_>>().join("/");
                keys.iter().map(key).collect::<Vec<_>>().join(" ")
            });
            format!("{}: {}", of.table.table, keys.unwrap_or_else(|| "?".to_owned()))
        });
        shown.collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn keys_are_read_off_literals_and_parameters() {
        let text = |text: &str| Value::text(text);
        for (sql, parameters, expected) in [
            ("UPDATE t SET x = 1 WHERE id = 7", vec![], "t: 7"),
            ("UPDATE t SET x = $1 WHERE id = $2", vec![text("1"), text("8")], "t: 8"),
            ("DELETE FROM t WHERE id IN (1, -2, '3')", vec![], "t: 1 -2 3"),
            ("DELETE FROM t WHERE id = ANY($1)", vec![text("{4,5}")], "t: 4 5"),
            ("SELECT x FROM t WHERE id = 1 OR id = 2", vec![], "t: 1 2"),
            ("INSERT INTO t (x, id) VALUES (1, 2), (3, 4)", vec![], "t: 2 4"),
            ("INSERT INTO p VALUES (1, 'it''s', 3)", vec![], "p: 1/it's"),
            ("UPDATE p SET x = 0 WHERE (a, b) IN ((1, 'q'), (2, 'r'))", vec![], "p: 1/q 2/r"),
            ("UPDATE p SET x = 0 WHERE a IN (1, 2) AND b IN ('q', 'r')", vec![], "p: 1/q 1/r 2/q 2/r"),
            ("UPDATE t SET x = v.x FROM (VALUES (1, 10), (2, 20)) v(id, x) WHERE t.id = v.id", vec![], "t: 1 2"),
            ("UPDATE t SET x = 1 FROM unnest($1::int[]) AS v(id) WHERE v.id = t.id", vec![text("{6,7}")], "t: 6 7"),
            ("UPDATE t SET x = 1 WHERE x = 7", vec![], ""),
            ("UPDATE t SET id = 9 WHERE id = 7", vec![], "t: 7; t: 9"),
            ("UPDATE p SET b = 'z' WHERE (a, b) = (1, 'q')", vec![], "p: 1/q; p: 1/z"),
            ("INSERT INTO t VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET x = excluded.x + t.x", vec![], "t: 1"),
            ("SELECT 1 FROM t one, t two WHERE one.id = 1 AND two.id = 2", vec![], "t: 1; t: 2"),
            ("UPDATE p SET x = t.x FROM t WHERE t.id = 3 AND p.a = 1 AND p.b = 'q'", vec![], "p: 1/q; t: 3"),
            (
                "DELETE FROM p WHERE (a, b) IN (($1, $2), ($3, $4), ($5, $6))",
                vec![Value::NULL, text("q"), text("2"), text("r"), text("3"), Value::NULL],
                "p: 2/r",
            ),
            ("UPDATE t SET x = 1 WHERE id = $3", vec![], "t: ?"),
        ] {
            assert_eq!(touched(sql, &parameters), expected, "{sql}");
        }
    }

    #[test]
    fn what_is_not_fixed_may_touch_any_row() {
        let schemas = schemas();
        let mut templates = Templates::new(Schema::from(schemas.as_ref()), Arc::clone(&schemas));
        let seven = RecordKey::new(vec![("id".into(), Value::text("7"))]);
        for (sql, touches) in [
            ("UPDATE t SET x = 1 WHERE id = 7", true),
            ("UPDATE t SET x = 1 WHERE id = 8", false),
            ("UPDATE t SET id = 7 WHERE id = 8", true),
            ("UPDATE t SET id = x WHERE id = 8", true),
            ("UPDATE t SET x = 1 WHERE x = 8", true),
            ("SELECT x FROM p", false),
            ("SELECT 1 FROM t one, t two WHERE one.id = 8", true),
            ("SELECT 1 FROM p WHERE p.x IN (SELECT x FROM t WHERE id = 8)", false),
            ("SELECT 1 FROM p WHERE p.x IN (SELECT x FROM t)", true),
            ("UPDATE p SET x = 1 WHERE a = 1 AND b = 'q' AND x = (SELECT max(x) FROM t)", true),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT (x) DO UPDATE SET x = 2", true),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT (id) DO UPDATE SET x = 2", false),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT (id) DO UPDATE SET id = 7", true),
            ("INSERT INTO t VALUES (8, 1) RETURNING (SELECT max(x) FROM t)", true),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT (id) DO NOTHING", false),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT (x) DO NOTHING", true),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT DO NOTHING", true),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT ON CONSTRAINT t_pkey DO NOTHING", false),
            ("INSERT INTO t VALUES (8, 1) ON CONFLICT ON CONSTRAINT t_x_key DO NOTHING", true),
            ("INSERT INTO t (x) VALUES (1) ON CONFLICT (id) DO NOTHING", true),
            // Under which key the row is added nobody but the database tells.
            ("INSERT INTO t (x) VALUES (1)", false),
            ("INSERT INTO p SELECT id, 'q', x FROM t WHERE id = 8", false),
            ("WITH w AS (DELETE FROM t WHERE id = 8 RETURNING x) SELECT x FROM w", false),
            ("WITH w AS (DELETE FROM t WHERE id = 8 RETURNING x) UPDATE t SET x = w.x FROM w", true),
            ("WITH w AS (DELETE FROM t WHERE id = 8 RETURNING x) SELECT t.x FROM t, w", true),
            ("WITH w AS (DELETE FROM p WHERE a = 1 AND b = 'q' RETURNING x) SELECT x FROM t WHERE id = 8", false),
            ("WITH r AS (SELECT x FROM t), w AS (DELETE FROM p WHERE a = 1 AND b = 'q') SELECT x FROM r", true),
            ("SELECT * FROM v", true),
            ("SELECT do_anything(8) FROM p", true),
            ("MERGE INTO t USING p ON p.x = t.id WHEN MATCHED THEN DELETE", true),
            ("DELETE FROM t", true),
            ("TRUNCATE t", true),
            ("DELETE FROM t WHERE id = 8 OR x = 1", true),
            ("DELETE FROM t WHERE id = '8'", false),
            ("DELETE FROM t WHERE id = 7.0", true),
        ] {
            let is_seven = |table: &TableName, key: Option<&RecordKey>| {
                *table.table == *"t" && key.is_none_or(|key| *key == seven)
            };
            assert_eq!(templates.execution(sql).may_touch(&[], is_seven), touches, "{sql}");
        }
    }

    #[test]
    fn a_template_is_analysed_once_until_names_change() {
        let schemas = schemas();
        let mut templates = Templates::new(Schema::from(schemas.as_ref()), schemas);
        let first = templates.execution("SELECT x FROM t WHERE id IN (1)").template;
        let second = templates.execution("select X from T -- again\n where ID in (2, 3)").template;
        assert!(Arc::ptr_eq(&first, &second));
        assert!(!Arc::ptr_eq(&first, &templates.execution("SELECT id FROM t WHERE id IN (1)").template));
        templates.execution("ALTER TABLE t RENAME TO tt");
        assert!(templates.is_empty(), "t is another table from here on");
    }
}
