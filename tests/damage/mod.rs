//! Small incidents made by hand or at random: two worlds of a few tables, and what a trace would say of them.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use blast_radius::model::{
    Column, ColumnType, ForeignKey, RecordKey, ReferentialAction, ReleaseName, Row, TableName, TableSchema, Timestamp,
    Value,
};
use blast_radius::trace::{AffectedColumn, AffectedRecord, BlastRadius, RecordState, RepairAction, Role, WrittenBy};

/// The rows of a table by their key: a value for each column.
pub type Rows = BTreeMap<String, Vec<Value>>;

/// Numbers that look random and are the same for the same seed (splitmix64).
pub struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides).expect("few sides")).expect("few sides")
    }

    fn pick<'a>(&mut self, values: &'a [&'a str]) -> &'a str {
        values[self.roll(values.len())]
    }
}

/// A column: its name, its type, and the values it may take (as PostgreSQL prints them).
struct Shape {
    name: &'static str,
    column_type: ColumnType,
    choices: &'static [&'static str],
    nullable: bool,
}

/// One record that is wrong.
#[derive(Clone)]
pub struct Change {
    key: RecordKey,
    state: RecordState,
    columns: Vec<AffectedColumn>,
    current_row: Option<Row>,
}

fn value(text: Option<&str>) -> Value {
    text.map_or(Value::NULL, Value::text)
}

fn record_key(cells: &[(&str, &str)]) -> RecordKey {
    RecordKey::new(cells.iter().map(|(name, text)| ((*name).into(), Value::text(*text))).collect())
}

impl Change {
    /// A row whose columns hold the first value and should hold the second.
    pub fn update(key: &[(&str, &str)], columns: &[(&str, Option<&str>, Option<&str>)]) -> Self {
        let column = |(name, current, expected): &(&str, Option<&str>, Option<&str>)| AffectedColumn {
            name: (*name).into(),
            current: value(*current),
            expected: Some(value(*expected)),
            exact: true,
        };
        let columns = columns.iter().map(column).collect();
        Change { key: record_key(key), state: RecordState::Live, columns, current_row: None }
    }

    /// A row that should exist.
    pub fn insert(key: &[(&str, &str)], row: &[(&str, Option<&str>)]) -> Self {
        let columns = row.iter().map(|(name, expected)| AffectedColumn {
            name: (*name).into(),
            current: Value::NULL,
            expected: Some(value(*expected)),
            exact: true,
        });
        Change { key: record_key(key), state: RecordState::Missing, columns: columns.collect(), current_row: None }
    }

    /// A row that should not exist.
    pub fn delete(key: &[(&str, &str)], row: &[(&str, Option<&str>)]) -> Self {
        let row: Row = row.iter().map(|(name, text)| ((*name).into(), value(*text))).collect();
        Change { key: record_key(key), state: RecordState::Extra, columns: vec![], current_row: Some(row) }
    }
}

/// Two worlds of a few tables.
pub struct Incident {
    dice: Dice,
    definitions: Vec<(TableName, String, Vec<Shape>)>,
    schemas: BTreeMap<TableName, Arc<TableSchema>>,
    /// What should be.
    pub right: BTreeMap<TableName, Rows>,
    /// What is.
    pub actual: BTreeMap<TableName, Rows>,
    by_hand: Vec<(TableName, Change)>,
    fresh: usize,
}

const ODD: &str = r#""odd ""Schema"""."Tab'le""#;

impl Incident {
    /// One table whose changes are given with [`Incident::with`].
    pub fn by_hand(table: &str, columns: &[(&str, &str)]) -> Self {
        let name: TableName = table.parse().expect("a table name");
        let columns = columns.iter().map(|(name, column_type)| column(name, other(column_type), false));
        let key = columns.clone().take(1).map(|column| column.name).collect();
        let schema = TableSchema {
            name: name.clone(),
            columns: columns.collect(),
            key,
            foreign_keys: vec![],
            unique_keys: vec![],
        };
        let mut incident = Incident::empty(1);
        incident.schemas.insert(name, Arc::new(schema));
        incident
    }

    /// With one more record that is wrong.
    pub fn with(mut self, change: Change) -> Self {
        let table = self.schemas.keys().next().expect("a table").clone();
        self.by_hand.push((table, change));
        self
    }

    fn empty(seed: u64) -> Self {
        Incident {
            dice: Dice(seed),
            definitions: vec![],
            schemas: BTreeMap::new(),
            right: BTreeMap::new(),
            actual: BTreeMap::new(),
            by_hand: vec![],
            fresh: 0,
        }
    }

    /// One table of every kind of column, with names and values that are hard to quote.
    pub fn odd_types(seed: u64) -> Self {
        let mut incident = Incident::empty(seed);
        let shape = |name, column_type: &str, choices, nullable| Shape {
            name,
            column_type: other(column_type),
            choices,
            nullable,
        };
        let shapes = vec![
            shape("Id \"x\"", "text", &[], false),
            shape("no", "bigint", &["-1", "0", "9223372036854775807"], false),
            shape("text\\col", "text", &["", "it's", "a\\b", "line\nbreak", "日本 🦀", "NULL", "$$", "--", "%s"], true),
            Shape { name: "mood", column_type: ColumnType::Text, choices: &["happy", "so so"], nullable: true },
            shape("plain", "numeric", &["1", "1.0", "1.00", "NaN", "123456789012345678901234567890.1"], true),
            shape("money", "numeric(12,2)", &["10.00", "-0.05"], true),
            shape("ratio", "double precision", &["0.1", "-0", "Infinity", "NaN", "1e+100"], true),
            shape("flag", "boolean", &["true", "false"], true),
            shape("day", "date", &["2026-03-02", "infinity"], true),
            shape("at", "timestamp with time zone", &["2026-03-02 10:15:30.000001+00", "-infinity"], true),
            shape("document", "json", &["{\"b\": 1,  \"a\": [2]}", "null", "\"\\u00e9\""], true),
            shape("binary", "jsonb", &["{\"a\": 1.50}", "null"], true),
            shape("raw", "bytea", &["\\x00ff", "\\x"], true),
            shape("list", "text[]", &["{}", "{a,NULL,\"b c\"}", "[0:1]={x,y}"], true),
            shape("span", "interval", &["1 day", "24:00:00", "1 mon -00:00:01"], true),
            shape("place", "point", &["(1,2)", "(0.1,-3)"], true),
            shape("valid", "int4range", &["[1,5)", "empty"], true),
            shape("code", "character(5)", &["ab   ", "abcde"], true),
        ];
        let name = TableName::new("odd \"Schema\"", "Tab'le");
        let columns: Vec<String> = shapes
            .iter()
            .map(|shape| {
                let column_type =
                    if shape.name == "mood" { "public.mood".to_owned() } else { shape.column_type.to_string() };
                format!("\"{}\" {column_type}", shape.name.replace('"', "\"\""))
            })
            .collect();
        let definition = format!(
            "CREATE SCHEMA \"odd \"\"Schema\"\"\"; CREATE TYPE public.mood AS ENUM ('happy', 'so so');
             CREATE TABLE {ODD} ({}, length_of_text int GENERATED ALWAYS AS (length(\"text\\col\")) STORED, untouched text DEFAULT 'x',
             PRIMARY KEY (\"Id \"\"x\"\"\", no));",
            columns.join(", ")
        );
        incident.add(name, definition, shapes, 2, vec![]);
        incident
    }

    /// Parents, children that refer to them, and to each other.
    pub fn family(seed: u64) -> Self {
        let mut incident = Incident::empty(seed);
        let shape = |name, column_type: &str, choices, nullable| Shape {
            name,
            column_type: other(column_type),
            choices,
            nullable,
        };
        let foreign_key = |column: &str, table: &str| ForeignKey {
            columns: vec![column.into()],
            table: TableName::new("public", table),
            referenced: vec!["id".into()],
            on_delete: ReferentialAction::Refuse,
            on_update: ReferentialAction::Refuse,
        };
        let parent = vec![shape("id", "text", &[], false), shape("name", "text", &["a", "b", "c"], true)];
        let child = vec![
            shape("id", "text", &[], false),
            shape("parent", "text", &["@parent"], true),
            shape("elder", "text", &["@child"], true),
            shape("size", "integer", &["1", "2", "3"], false),
        ];
        let definition = "CREATE TABLE public.parent (id text PRIMARY KEY, name text);".to_owned();
        incident.add(TableName::new("public", "parent"), definition, parent, 1, vec![]);
        let definition =
            "CREATE TABLE public.child (id text PRIMARY KEY, parent text REFERENCES public.parent ON DELETE CASCADE,
                            elder text REFERENCES public.child ON DELETE SET NULL, size int NOT NULL);";
        let keys = vec![foreign_key("parent", "parent"), foreign_key("elder", "child")];
        incident.add(TableName::new("public", "child"), definition.to_owned(), child, 1, keys);
        incident
    }

    fn add(
        &mut self,
        name: TableName,
        definition: String,
        shapes: Vec<Shape>,
        key: usize,
        foreign_keys: Vec<ForeignKey>,
    ) {
        let mut columns: Vec<Column> =
            shapes.iter().map(|shape| column(shape.name, shape.column_type.clone(), false)).collect();
        let key = columns.iter().take(key).map(|column| column.name.clone()).collect();
        if definition.contains("length_of_text") {
            columns.push(column("length_of_text", ColumnType::Integer, true));
        }
        let schema = TableSchema { name: name.clone(), columns, key, foreign_keys, unique_keys: vec![] };
        self.schemas.insert(name.clone(), Arc::new(schema));
        self.definitions.push((name.clone(), definition, shapes));
        self.right.insert(name.clone(), Rows::new());
        let table = self.definitions.len() - 1;
        for _ in 0..6 + self.dice.roll(8) {
            self.add_row(table, true);
        }
    }

    /// A new row of the right world (or of the actual one).
    fn add_row(&mut self, table: usize, right: bool) {
        self.fresh += 1;
        let key = format!("k{}'\\", self.fresh);
        let mut row = vec![Value::text(key.as_str())];
        for column in 1..self.definitions[table].2.len() {
            let cell = self.cell(table, column, &key, right);
            row.push(cell);
        }
        let name = self.definitions[table].0.clone();
        let world = if right { &mut self.right } else { &mut self.actual };
        world.get_mut(&name).expect("the table is there").insert(key, row);
    }

    /// A random value; a reference is to a row that is there and older, so that no circle comes up.
    fn cell(&mut self, table: usize, column: usize, key: &str, right: bool) -> Value {
        let shape = &self.definitions[table].2[column];
        if shape.nullable && self.dice.roll(4) == 0 {
            return Value::NULL;
        }
        let Some(referred) = shape.choices.first().and_then(|choice| choice.strip_prefix('@')) else {
            return Value::text(self.dice.pick(shape.choices));
        };
        let world = if right { &self.right } else { &self.actual };
        let age = |key: &str| key[1..key.len() - 2].parse::<usize>().expect("a number");
        let rows = &world[&TableName::new("public", referred)];
        let own = self.definitions[table].0.table.as_ref() == referred;
        let candidates: Vec<&String> = rows.keys().filter(|other| !own || age(other) < age(key)).collect();
        match candidates.len() {
            0 => Value::NULL,
            count => Value::text(candidates[self.dice.roll(count)].as_str()),
        }
    }

    /// The release runs: rows change, rows that should be there are not, rows are there that should not be.
    pub fn damage(&mut self) {
        self.actual = self.right.clone();
        for table in 0..self.definitions.len() {
            for _ in 0..1 + self.dice.roll(3) {
                self.add_row(table, false);
            }
            let name = self.definitions[table].0.clone();
            let keys: Vec<String> = self.actual[&name].keys().cloned().collect();
            for key in keys {
                if self.dice.roll(2) == 0 {
                    self.change_cells(table, &key);
                }
            }
        }
        for table in (0..self.definitions.len()).rev() {
            let name = self.definitions[table].0.clone();
            let keys: Vec<String> = self.actual[&name].keys().cloned().collect();
            for key in keys {
                if self.dice.roll(5) == 0 && !self.is_referred_to(&key) {
                    self.actual.get_mut(&name).expect("the table is there").remove(&key);
                }
            }
        }
    }

    fn change_cells(&mut self, table: usize, key: &str) {
        let name = self.definitions[table].0.clone();
        let keys = self.schemas[&name].key.len();
        for column in keys..self.definitions[table].2.len() {
            if self.dice.roll(3) == 0 {
                let cell = self.cell(table, column, key, false);
                self.actual.get_mut(&name).expect("the table is there").get_mut(key).expect("the row is there")
                    [column] = cell;
            }
        }
    }

    fn is_referred_to(&self, key: &str) -> bool {
        let is_key = |value: &Value| value.as_str() == Some(key);
        self.actual.values().flat_map(Rows::values).any(|row| row.iter().skip(1).any(is_key))
    }

    /// What people did after the trace, in the actual world; `expected` (the right world) becomes what a repair may
    /// leave: such rows are left alone where the repair would have touched what they touched.
    pub fn edited_since(&mut self, expected: &mut BTreeMap<TableName, Rows>) -> BTreeMap<TableName, Rows> {
        let mut now = self.actual.clone();
        for (name, _, shapes) in &self.definitions {
            let keys: Vec<String> = self.actual[name].keys().chain(self.right[name].keys()).cloned().collect();
            for key in keys {
                if self.dice.roll(3) > 0 || now[name].get(&key) != self.actual[name].get(&key) {
                    continue;
                }
                let column = shapes.len() - 1 - self.dice.roll(shapes.len() - 2);
                let rows = now.get_mut(name).expect("the table is there");
                match (self.actual[name].get(&key), self.right[name].get(&key)) {
                    (Some(actual), Some(right)) => {
                        let edited = &mut rows.get_mut(&key).expect("the row is there")[column];
                        let new = Value::text(self.dice.pick(shapes[column].choices));
                        if same(&shapes[column], edited, &new) {
                            continue;
                        }
                        *edited = new.clone();
                        let result = expected.get_mut(name).expect("the table is there");
                        if actual[column] == right[column] {
                            result.get_mut(&key).expect("the row is there")[column] = new;
                        } else {
                            result.insert(key.clone(), rows[&key].clone());
                        }
                    }
                    (Some(_), None) => {
                        let edited = &mut rows.get_mut(&key).expect("the row is there")[column];
                        let new = Value::text(self.dice.pick(shapes[column].choices));
                        if same(&shapes[column], edited, &new) {
                            continue;
                        }
                        *edited = new;
                        expected.get_mut(name).expect("the table is there").insert(key.clone(), rows[&key].clone());
                    }
                    (None, Some(right)) => {
                        let mut row = right.clone();
                        row[column] = Value::NULL;
                        rows.insert(key.clone(), row.clone());
                        expected.get_mut(name).expect("the table is there").insert(key.clone(), row);
                    }
                    (None, None) => unreachable!("the key comes from one of the two"),
                }
            }
        }
        now
    }

    /// SQL that makes the tables and fills them.
    pub fn create(&self, rows: &BTreeMap<TableName, Rows>) -> String {
        let definitions: String = self.definitions.iter().map(|(_, definition, _)| definition.as_str()).collect();
        definitions + &self.fill(rows)
    }

    /// SQL that fills the tables with these rows instead.
    pub fn fill_again(&self, rows: &BTreeMap<TableName, Rows>) -> String {
        format!("TRUNCATE {};{}", self.tables().join(", "), self.fill(rows))
    }

    fn fill(&self, rows: &BTreeMap<TableName, Rows>) -> String {
        let mut sql = String::from("SET CONSTRAINTS ALL DEFERRED;");
        for ((name, _, shapes), table) in self.definitions.iter().zip(self.tables()) {
            if rows[name].is_empty() {
                continue;
            }
            let columns: Vec<String> =
                shapes.iter().map(|shape| format!("\"{}\"", shape.name.replace('"', "\"\""))).collect();
            let literal = |value: &Value| match value.as_str() {
                Some(text) => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
                None => "NULL".to_owned(),
            };
            let tuples: Vec<String> = rows[name]
                .values()
                .map(|row| format!("({})", row.iter().map(literal).collect::<Vec<_>>().join(", ")))
                .collect();
            write!(sql, "INSERT INTO {table} ({}) VALUES {};", columns.join(", "), tuples.join(", "))
                .expect("a String takes everything");
        }
        sql
    }

    /// The tables' names, quoted.
    pub fn tables(&self) -> Vec<&'static str> {
        if self.definitions.len() == 1 { vec![ODD] } else { vec!["public.parent", "public.child"] }
    }

    /// The tables' schemas.
    pub fn schemas(&self) -> BTreeMap<TableName, Arc<TableSchema>> {
        self.schemas.clone()
    }

    /// What a trace would say.
    pub fn blast_radius(&self) -> BlastRadius {
        let mut changes = self.by_hand.clone();
        for (name, schema) in &self.schemas {
            let (Some(right), Some(actual)) = (self.right.get(name), self.actual.get(name)) else { continue };
            let keys: std::collections::BTreeSet<&String> = right.keys().chain(actual.keys()).collect();
            for key in keys {
                changes
                    .extend(difference(schema, actual.get(key), right.get(key)).map(|change| (name.clone(), change)));
            }
        }
        BlastRadius {
            release: ReleaseName::new("v42"),
            service: None,
            writes: BTreeMap::new(),
            window: None,
            onset: None,
            rules: vec![],
            statements: vec![],
            unattributed: 0,
            suspects: 0,
            limits: vec![],
            records: changes.into_iter().map(|(table, change)| record(table, change)).collect(),
        }
    }
}

/// Whether the database would take two values for the same: `1` and `1.00` are one number.
fn same(shape: &Shape, one: &Value, other: &Value) -> bool {
    let number = |value: &Value| value.as_str().and_then(|text| text.parse::<f64>().ok());
    let numeric = ["plain", "money", "ratio"].contains(&shape.name);
    one == other || (numeric && number(one).is_some() && number(one) == number(other))
}

fn other(name: &str) -> ColumnType {
    match name {
        "text" => ColumnType::Text,
        "integer" => ColumnType::Integer,
        "bigint" => ColumnType::BigInt,
        "boolean" => ColumnType::Boolean,
        "numeric" => ColumnType::Numeric(None),
        "numeric(12,2)" => ColumnType::Numeric(Some((12, 2))),
        "double precision" => ColumnType::Double,
        "date" => ColumnType::Date,
        "timestamp with time zone" => ColumnType::TimestampTz,
        _ => ColumnType::Other(name.to_owned()),
    }
}

fn column(name: &str, column_type: ColumnType, generated: bool) -> Column {
    Column { name: name.into(), column_type, not_null: false, generated }
}

fn difference(schema: &TableSchema, actual: Option<&Vec<Value>>, right: Option<&Vec<Value>>) -> Option<Change> {
    let names = schema.columns.iter().map(|column| column.name.clone());
    let row: Row = names.clone().zip(actual.or(right)?.iter().cloned()).collect();
    let key = row.key(&schema.key).expect("a row holds its key");
    let affected = |name: &Arc<str>, current: Value, expected: &Value| AffectedColumn {
        name: name.clone(),
        current,
        expected: Some(expected.clone()),
        exact: true,
    };
    match (actual, right) {
        (Some(actual), Some(right)) => {
            let cells = names.zip(actual.iter().zip(right)).filter(|(_, (current, expected))| current != expected);
            let columns: Vec<_> =
                cells.map(|(name, (current, expected))| affected(&name, current.clone(), expected)).collect();
            (!columns.is_empty()).then_some(Change { key, state: RecordState::Live, columns, current_row: Some(row) })
        }
        (Some(_), None) => Some(Change { key, state: RecordState::Extra, columns: vec![], current_row: Some(row) }),
        (None, Some(right)) => {
            let columns = names.zip(right).map(|(name, expected)| affected(&name, Value::NULL, expected)).collect();
            Some(Change { key, state: RecordState::Missing, columns, current_row: None })
        }
        (None, None) => None,
    }
}

fn record(table: TableName, change: Change) -> AffectedRecord {
    let repair = match change.state {
        RecordState::Missing => RepairAction::Insert,
        RecordState::Extra => RepairAction::Delete,
        _ => RepairAction::Update,
    };
    AffectedRecord {
        table,
        key: change.key,
        role: Role::Root,
        state: change.state,
        columns: change.columns,
        hops: 0,
        rules: vec![],
        written: WrittenBy { seq: None, ts: Timestamp::from_micros(0), tx: None, release: None },
        cause: None,
        repair,
        why: None,
        current_row: change.current_row,
        subject: None,
        external: false,
    }
}
