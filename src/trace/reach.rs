//! What a statement can come to read or write: what its text names, and what that is made of, triggers and bodies of
//! functions included. By their words alone: too much rather than too little.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, LazyLock};

use regex::Regex;

use crate::catalog::DatabaseObject;
use crate::model::{Declarations, ReferentialAction, TableName};
use crate::sql::{Schemas, called, can_name, inserted_into, words};

/// What can be reached from a text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The tables and views.
    pub tables: BTreeSet<TableName>,
    /// Those of them that more is done with than inserting rows.
    pub read: BTreeSet<TableName>,
    /// Those of them that triggers and functions read.
    pub read_by_code: BTreeSet<TableName>,
    /// Those of them that the bodies of triggers and functions name.
    pub written_by_code: BTreeSet<TableName>,
    /// Whether triggers or functions of the database's own are among it.
    pub runs_code: bool,
    /// Whether the text itself calls such a function.
    pub calls_code: bool,
}

/// What leads where.
#[derive(Debug, Default)]
pub struct Reach {
    nodes: Vec<Node>,
    by_name: BTreeMap<String, Vec<usize>>,
    by_table: BTreeMap<TableName, usize>,
    tables: BTreeSet<TableName>,
    /// Tables with triggers that may change what is written to them.
    before: BTreeMap<TableName, ChangedBefore>,
    /// What was reached from the texts asked for last.
    known: HashMap<Arc<str>, Arc<Reached>>,
}

/// What triggers may change of a row before it is written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangedBefore {
    /// The columns to which they may assign; `None` for any.
    pub assigned: Columns,
    /// The columns of the row, as written and as it stood, that they read; `None` for any.
    pub read: Columns,
}

type Columns = Option<BTreeSet<String>>;

type Lazy = LazyLock<Result<Regex, regex::Error>>;

/// Of so many texts at most is remembered what they reach.
const MOST_KNOWN: usize = 10_000;

/// A table, view, type or function.
#[derive(Debug, Default)]
struct Node {
    table: Option<TableName>,
    /// Whether to come here is to run code.
    is_code: bool,
    is_function: bool,
    /// Whether it puts together what it runs while it runs: then it may come to anything.
    is_open: bool,
    leads_to: BTreeSet<Mention>,
}

/// Something that a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Mention {
    place: usize,
    /// Whether more is done with it than inserting rows.
    reads: bool,
}

impl Reach {
    /// Over these objects, and what foreign keys do by themselves.
    pub fn new(objects: &[DatabaseObject], schemas: &Schemas) -> Self {
        let mut reach = Reach::default();
        for object in objects.iter().filter(|object| is_node(object)) {
            reach.add(object);
        }
        for object in objects {
            reach.connect(object);
            reach.change_before(object, objects);
        }
        for schema in schemas.values() {
            let acts = |action: ReferentialAction| action != ReferentialAction::Refuse;
            for key in schema.foreign_keys.iter().filter(|key| acts(key.on_delete) || acts(key.on_update)) {
                reach.link(&key.table, &schema.name);
            }
        }
        reach
    }

    /// Over what the database declares beside the shapes of its tables.
    pub fn of_declarations(declarations: &Declarations, schemas: &Schemas) -> Self {
        let table = |name: &TableName| object("table", name, None);
        let tables = schemas.keys().map(table);
        let views = declarations.views.iter().map(|view| object("view", &view.name, Some(&view.sql)));
        let code = declarations.definitions.iter().filter_map(|definition| defined(definition));
        let objects: Vec<DatabaseObject> = tables.chain(views).chain(code).collect();
        Reach::new(&objects, schemas)
    }

    /// Whether a trigger may change what is written to the table.
    pub fn is_changed_before(&self, table: &TableName) -> bool {
        self.before.contains_key(table)
    }

    /// What triggers may change of what is written to the table; `None` where there are none.
    pub fn changed_before(&self, table: &TableName) -> Option<&ChangedBefore> {
        self.before.get(table)
    }

    /// Whether the database has any code of its own.
    pub fn has_code(&self) -> bool {
        self.nodes.iter().any(|node| node.is_code)
    }

    /// What can be reached from a statement.
    pub fn from(&mut self, sql: &Arc<str>) -> Arc<Reached> {
        if let Some(known) = self.known.get(sql) {
            return Arc::clone(known);
        }
        if self.known.len() == MOST_KNOWN {
            self.known.clear();
        }
        let reached = Arc::new(self.reached_from(sql));
        self.known.insert(Arc::clone(sql), Arc::clone(&reached));
        reached
    }

    fn reached_from(&self, sql: &str) -> Reached {
        let named = self.named(sql);
        let calls_code = named.iter().any(|one| self.nodes.get(one.place).is_some_and(|node| node.is_function));
        let mut reached = Reached { calls_code, ..Reached::default() };
        let mut seen = BTreeSet::new();
        let mut waiting: Vec<(Mention, bool)> = named.into_iter().map(|mention| (mention, false)).collect();
        let mut in_bodies = BTreeSet::new();
        let mut is_open = false;
        while let Some((mention, by_code)) = waiting.pop() {
            let Some(node) = self.nodes.get(mention.place).filter(|_| seen.insert((mention, by_code))) else {
                continue;
            };
            if let Some(table) = &node.table {
                reached.tables.insert(table.clone());
                if mention.reads {
                    reached.read.insert(table.clone());
                }
                if mention.reads && by_code {
                    reached.read_by_code.insert(table.clone());
                }
            }
            reached.runs_code |= node.is_code;
            is_open |= node.is_open;
            if node.is_function {
                in_bodies.extend(node.leads_to.iter().map(|next| next.place));
            }
            waiting.extend(node.leads_to.iter().map(|next| (*next, by_code || node.is_code)));
        }
        let bodies = in_bodies.into_iter().filter_map(|place| self.nodes.get(place)?.table.clone());
        reached.written_by_code.extend(bodies);
        if is_open {
            for all in [&mut reached.written_by_code, &mut reached.tables, &mut reached.read, &mut reached.read_by_code]
            {
                all.extend(self.tables.iter().cloned());
            }
        }
        reached
    }

    fn add(&mut self, object: &DatabaseObject) {
        let name = bare_name(object);
        let is_function = object.kind == "function";
        let is_relation = matches!(object.kind.as_str(), "table" | "view");
        let table = is_relation.then(|| TableName::new(object.schema.as_str(), name.as_str()));
        let is_open = is_function && object.sql.as_ref().is_none_or(|sql| words(sql).contains("execute"));
        let is_computed = object.sql.as_ref().is_some_and(|sql| sql.contains(" GENERATED ALWAYS AS ("));
        let is_code = is_function || is_relation && is_computed;
        let place = self.nodes.len();
        if let Some(table) = &table {
            self.tables.insert(table.clone());
            self.by_table.insert(table.clone(), place);
        }
        self.nodes.push(Node { table, is_code, is_function, is_open, leads_to: BTreeSet::new() });
        self.by_name.entry(name).or_default().push(place);
    }

    /// What an object's text names is reached from what it is, or is a part of.
    fn connect(&mut self, object: &DatabaseObject) {
        let named = object.sql.as_ref().map(|sql| self.named(sql)).unwrap_or_default();
        let of_table = object.relation.as_ref().map(|name| TableName::new(object.schema.as_str(), name.as_str()));
        let own = of_table.as_ref().and_then(|table| self.by_table.get(table).copied());
        let places: Vec<usize> = match is_node(object) {
            true => self.by_name.get(&bare_name(object)).cloned().unwrap_or_default(),
            false => own.into_iter().collect(),
        };
        let is_code = matches!(object.kind.as_str(), "trigger" | "rule");
        for place in places {
            if let Some(node) = self.nodes.get_mut(place) {
                node.is_code |= is_code;
                node.leads_to.extend(named.iter().filter(|mention| mention.place != place));
            }
        }
        // A row may go to any partition, and come from any.
        if let (Some(table), true) = (&of_table, is_partition(object)) {
            let parents = named.iter().filter_map(|mention| self.nodes.get(mention.place)?.table.clone());
            for parent in parents.collect::<Vec<_>>() {
                self.link(&parent, table);
            }
        }
    }

    /// Notes what a trigger that runs before a write may change of it, by the texts of its functions.
    fn change_before(&mut self, object: &DatabaseObject, objects: &[DatabaseObject]) {
        let (Some(relation), Some(sql)) = (&object.relation, &object.sql) else { return };
        // Only a row's own trigger can give it other values.
        if object.kind != "trigger" || sql.contains(" AFTER ") || !sql.contains(" FOR EACH ROW") {
            return;
        }
        let called = called(sql);
        let is_called = |one: &&DatabaseObject| one.kind == "function" && called.contains(&bare_name(one));
        let functions: Vec<&DatabaseObject> = objects.iter().filter(is_called).collect();
        let of_all = |columns: fn(&str) -> Columns| -> Columns {
            let columns = functions.iter().map(|function| columns(function.sql.as_deref()?));
            columns
                .collect::<Option<Vec<_>>>()
                .filter(|all| !all.is_empty())
                .map(|all| all.into_iter().flatten().collect())
        };
        let changed = ChangedBefore {
            assigned: of_all(columns_assigned),
            read: both(of_all(columns_read_by_function), columns_read(sql)),
        };
        let table = TableName::new(object.schema.as_str(), relation.as_str());
        let known = self
            .before
            .entry(table)
            .or_insert_with(|| ChangedBefore { assigned: Some(BTreeSet::new()), read: Some(BTreeSet::new()) });
        known.assigned = both(known.assigned.take(), changed.assigned);
        known.read = both(known.read.take(), changed.read);
    }

    fn link(&mut self, from: &TableName, to: &TableName) {
        let (Some(from), Some(to)) = (self.by_table.get(from), self.by_table.get(to)) else { return };
        if let Some(node) = self.nodes.get_mut(*from) {
            node.leads_to.insert(Mention { place: *to, reads: true });
        }
    }

    fn named(&self, text: &str) -> BTreeSet<Mention> {
        let (words, inserted, called) = (words(text), inserted_into(text), called(text));
        let is_odd = |name: &&String| !name.chars().all(|character| character.is_alphanumeric() || character == '_');
        let odd = self.by_name.keys().filter(|name| is_odd(name) && can_name(text, &words, name));
        let names = words.iter().chain(odd);
        let mentions = |name: &String| {
            let reads = !inserted.contains(&name.to_lowercase());
            let is_meant = |place: &&usize| {
                let is_function = self.nodes.get(**place).is_some_and(|node| node.is_function);
                !is_function || is_odd(&name) || called.contains(name)
            };
            let places: Vec<usize> = self.by_name.get(name).into_iter().flatten().filter(is_meant).copied().collect();
            places.into_iter().map(move |place| Mention { place, reads })
        };
        names.flat_map(mentions).collect()
    }
}

fn is_node(object: &DatabaseObject) -> bool {
    matches!(object.kind.as_str(), "table" | "view" | "function" | "type" | "sequence")
}

/// Whether it is a partition of another table.
pub fn is_partition(object: &DatabaseObject) -> bool {
    object.kind == "table" && object.sql.as_ref().is_some_and(|sql| sql.contains(" PARTITION OF "))
}

fn bare_name(object: &DatabaseObject) -> String {
    object.relation.clone().unwrap_or_else(|| {
        let name = object.name.rsplit('.').next().unwrap_or_default();
        name.trim_matches('"').to_owned()
    })
}

fn object(kind: &str, name: &TableName, sql: Option<&str>) -> DatabaseObject {
    DatabaseObject {
        kind: kind.to_owned(),
        schema: name.schema.to_string(),
        relation: Some(name.table.to_string()),
        name: name.to_string(),
        sql: sql.map(str::to_owned),
        part_of: None,
        obstacle: None,
    }
}

/// The columns of `NEW` to which a trigger's function, in PL/pgSQL, may assign; `None` where that is not told.
fn columns_assigned(text: &str) -> Columns {
    static WHOLE: Lazy = Lazy::new(|| {
        Regex::new(
            r"(?i)\bnew\s*:?=|\binto\s+(strict\s+)?([\w.\x22]+\s*,\s*)*new\b|\bexecute\s+(format|'|\w+\s*(;|\|\|))",
        )
    });
    static COLUMN: Lazy = Lazy::new(|| Regex::new(r#"(?i)\bnew\s*\.\s*(?:"([^"]+)"|(\w+))\s*:?="#));
    static RETURNED: Lazy = Lazy::new(|| Regex::new(r"(?i)\breturn\s+(\w+)"));
    let whole = WHOLE.as_ref().ok()?;
    let (column, returned) = (COLUMN.as_ref().ok()?, RETURNED.as_ref().ok()?);
    let is_row_at_hand = |name: &str| ["new", "old"].iter().any(|row| name.eq_ignore_ascii_case(row));
    let returns_another =
        returned.captures_iter(text).any(|found| !found.get(1).is_some_and(|name| is_row_at_hand(name.as_str())));
    if !is_plpgsql(text) || whole.is_match(text) || returns_another {
        return None;
    }
    let name = |found: regex::Captures<'_>| match (found.get(1), found.get(2)) {
        (Some(quoted), _) => Some(quoted.as_str().to_owned()),
        (None, plain) => plain.map(|plain| plain.as_str().to_lowercase()),
    };
    Some(column.captures_iter(text).filter_map(name).collect())
}

fn is_plpgsql(function: &str) -> bool {
    static PLPGSQL: Lazy = Lazy::new(|| Regex::new(r"(?i)\blanguage\s+plpgsql\b"));
    PLPGSQL.as_ref().is_ok_and(|plpgsql| plpgsql.is_match(function))
}

fn columns_read_by_function(text: &str) -> Columns {
    if is_plpgsql(text) { columns_read(text) } else { None }
}

/// The columns of `NEW` and `OLD` that a trigger, or its function in PL/pgSQL, names; `None` where it names all of one.
fn columns_read(text: &str) -> Columns {
    static NAMED: Lazy =
        Lazy::new(|| Regex::new(r#"(?i)(\breturn\s+)?\b(?:new|old)\b(?:\s*\.\s*(?:"([^"]+)"|(\w+)))?"#));
    let named = NAMED.as_ref().ok()?;
    let mut columns = BTreeSet::new();
    for found in named.captures_iter(text) {
        match (found.get(2), found.get(3)) {
            (Some(quoted), _) => _ = columns.insert(quoted.as_str().to_owned()),
            (None, Some(plain)) => _ = columns.insert(plain.as_str().to_lowercase()),
            // Handed back, it is not looked into.
            (None, None) if found.get(1).is_some() => {}
            (None, None) => return None,
        }
    }
    Some(columns)
}

fn both(one: Columns, other: Columns) -> Columns {
    Some(&one? | &other?)
}

/// A function, procedure or trigger, as PostgreSQL prints what makes it: every name with its schema.
fn defined(definition: &str) -> Option<DatabaseObject> {
    let head = definition.trim_start();
    for routine in ["CREATE OR REPLACE FUNCTION ", "CREATE OR REPLACE PROCEDURE "] {
        if let Some(rest) = head.strip_prefix(routine) {
            return Some(object("function", &qualified(rest.split('(').next()?)?, Some(definition)));
        }
    }
    let is_trigger = head.starts_with("CREATE TRIGGER ") || head.starts_with("CREATE CONSTRAINT TRIGGER ");
    let table = head.split_once(" ON ").filter(|_| is_trigger)?.1.split(' ').next()?;
    Some(object("trigger", &qualified(table)?, Some(definition)))
}

fn qualified(name: &str) -> Option<TableName> {
    let (schema, table) = name.trim().split_once('.')?;
    Some(TableName::new(schema.trim_matches('"'), table.trim_matches('"')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(kind: &str, relation: &str, sql: &str) -> DatabaseObject {
        super::object(kind, &TableName::new("public", relation), Some(sql))
    }

    fn names(tables: &BTreeSet<TableName>) -> String {
        tables.iter().map(|table| table.table.to_string()).collect::<Vec<_>>().join(" ")
    }

    const CODE: [(&str, &str, &str); 4] = [
        (
            "function",
            "book",
            "CREATE OR REPLACE FUNCTION public.book() … UPDATE accounts SET balance = fee(NEW.amount); INSERT INTO public.audit VALUES (1)",
        ),
        ("function", "fee", "CREATE OR REPLACE FUNCTION public.fee(a numeric) … SELECT rate FROM rates"),
        (
            "function",
            "sweep_up",
            "CREATE OR REPLACE FUNCTION public.sweep_up(t text) … EXECUTE format('DELETE FROM %I', t)",
        ),
        (
            "trigger",
            "entries",
            "CREATE TRIGGER b AFTER INSERT ON public.entries FOR EACH ROW EXECUTE FUNCTION public.book()",
        ),
    ];

    fn reach() -> Reach {
        let mut objects: Vec<DatabaseObject> = CODE.iter().map(|(kind, name, sql)| object(kind, name, sql)).collect();
        for table in ["entries", "accounts", "rates", "audit", "Odd Name"] {
            objects.push(object("table", table, &format!("CREATE TABLE public.\"{table}\" (amount numeric)")));
        }
        objects.push(object("view", "totals", "CREATE VIEW public.totals AS SELECT sum(balance) FROM public.accounts"));
        Reach::new(&objects, &Schemas::new())
    }

    #[test]
    fn what_a_trigger_reads_of_its_row_is_told_by_its_text() {
        for (text, expected) in [
            (
                "LANGUAGE plpgsql AS $$ BEGIN IF NEW.a > old . \"B c\" THEN NEW.d := 1; END IF; RETURN NEW; END $$",
                Some("B c a d"),
            ),
            ("LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$", Some("")),
            ("LANGUAGE plpgsql AS $$ BEGIN PERFORM f(NEW); RETURN NEW; END $$", None),
            ("LANGUAGE plpgsql AS $$ BEGIN PERFORM f(NEW.*); RETURN NEW; END $$", None),
            ("LANGUAGE plpython3u AS $$ TD $$", None),
        ] {
            let shown = columns_read_by_function(text).map(|columns| columns.into_iter().collect::<Vec<_>>().join(" "));
            assert_eq!(shown.as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn what_a_trigger_changes_before_is_told_by_what_it_assigns() {
        let plpgsql =
            |body: &str| format!("CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$");
        for (body, expected) in [
            ("NEW.a := 1; new . \"B c\" = 2; INSERT INTO log VALUES (NEW.d); RETURN NEW;", Some("B c a")),
            ("RETURN NEW;", Some("")),
            ("SELECT rate INTO NEW.rate FROM rates; RETURN NEW;", None),
            ("NEW := changed(NEW); RETURN NEW;", None),
            ("RETURN NULL;", None),
            ("RETURN other;", None),
        ] {
            let assigned = columns_assigned(&plpgsql(body));
            let shown = assigned.map(|columns| columns.into_iter().collect::<Vec<_>>().join(" "));
            assert_eq!(shown.as_deref(), expected, "{body}");
        }
        assert_eq!(columns_assigned("CREATE FUNCTION f() LANGUAGE plpython3u AS $$ TD $$"), None);
    }

    #[test]
    fn triggers_and_functions_lead_on() {
        let reach = reach();
        for (sql, tables, read_by_code, runs_code) in [
            ("SELECT * FROM accounts", "accounts", "", false),
            ("INSERT INTO ENTRIES VALUES (1)", "accounts audit entries rates", "accounts rates", true),
            ("SELECT * FROM totals", "accounts totals", "", false),
            ("SELECT fee(2)", "rates", "rates", true),
            ("SELECT 1 FROM \"Odd Name\"", "Odd Name", "", false),
            (
                "SELECT sweep_up('x')",
                "Odd Name accounts audit entries rates totals",
                "Odd Name accounts audit entries rates totals",
                true,
            ),
        ] {
            let reached = reach.reached_from(sql);
            assert_eq!(
                (names(&reached.tables).as_str(), names(&reached.read_by_code).as_str(), reached.runs_code),
                (tables, read_by_code, runs_code),
                "{sql}"
            );
        }
        assert_eq!(names(&reach.reached_from("INSERT INTO entries VALUES (1)").read), "accounts rates");
    }

    #[test]
    fn declarations_are_understood() {
        let before =
            "CREATE TRIGGER t BEFORE UPDATE OF a, b ON public.rates FOR EACH ROW EXECUTE FUNCTION public.fee()";
        let definitions = CODE.iter().map(|(_, _, sql)| *sql).chain([before]).map(Into::into).collect();
        let declarations = Declarations { definitions, ..Declarations::default() };
        let table = |name: &str| {
            let name = TableName::new("public", name);
            let schema = crate::model::TableSchema {
                name: name.clone(),
                columns: vec![],
                key: vec![],
                foreign_keys: vec![],
                unique_keys: vec![],
            };
            (name, std::sync::Arc::new(schema))
        };
        let schemas: Schemas = ["entries", "accounts", "rates", "audit"].map(table).into_iter().collect();
        let reach = Reach::of_declarations(&declarations, &schemas);
        let reached = reach.reached_from("INSERT INTO entries VALUES (1)");
        assert_eq!(names(&reached.read_by_code), "accounts rates");
        assert!(reach.is_changed_before(&TableName::new("public", "rates")));
        assert!(!reach.is_changed_before(&TableName::new("public", "entries")));
    }
}
