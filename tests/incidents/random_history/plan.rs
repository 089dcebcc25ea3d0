//! A random history, written down before it runs: the tables, the transactions, and what release v42 gets wrong in them.

use super::grammar::{Column, Scope, Table, Type, expression, literal, predicate, value};
use crate::shop::random::Random;

/// Rows of each table before the history begins.
const FIRST_ROWS: usize = 12;
const GROUPS: usize = 4;
const TRANSACTIONS: usize = 36;

/// A statement: what it says when the release is wrong, and what it should say; `None` where it should not be.
#[derive(Clone, Debug)]
pub struct Planned {
    /// What happened.
    pub faulty: String,
    /// What should have.
    pub right: Option<String>,
}

/// A transaction.
#[derive(Clone, Debug)]
pub struct Transaction {
    /// The `application_name`.
    pub application: &'static str,
    /// In order.
    pub statements: Vec<Planned>,
    /// A query whose only value the application then writes down, by a statement with `$1`.
    pub read: Option<(String, String)>,
    /// Whether it stands in `BEGIN … COMMIT`.
    pub explicit: bool,
    /// Whether it is rolled back in the end.
    pub rolled_back: bool,
}

/// A whole history.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The tables and their first rows.
    pub schema: String,
    /// The faults file.
    pub faults: String,
    /// In order of their commits.
    pub transactions: Vec<Transaction>,
}

/// How a release is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    WrongInsert,
    WrongUpdate,
    Ghost,
    NeedlessUpdate,
    NeedlessDelete,
}

const MISTAKES: [Mistake; 5] =
    [Mistake::WrongInsert, Mistake::WrongUpdate, Mistake::Ghost, Mistake::NeedlessUpdate, Mistake::NeedlessDelete];

struct Planner {
    random: Random,
    tables: Vec<Table>,
    next_id: usize,
    next_offset: u32,
}

/// The history of this seed.
pub fn plan(seed: u64) -> Plan {
    let mut random = Random::from_seed(seed);
    let tables: Vec<Table> = (0..3).map(|number| table(&mut random, number)).collect();
    let schema = schema(&mut random, &tables);
    let mistakes = [*random.pick(&MISTAKES), *random.pick(&MISTAKES)];
    let mut planner = Planner { random, tables, next_id: 100, next_offset: 0 };
    let transactions = (0..TRANSACTIONS).map(|number| planner.transaction(number, &mistakes)).collect();
    let mut faults = "release: v42\nfaults:\n".to_owned();
    for (place, mistake) in mistakes.iter().enumerate() {
        if !mistakes[..place].contains(mistake) {
            faults.push_str(fault(*mistake));
        }
    }
    Plan { schema, faults, transactions }
}

fn table(random: &mut Random, number: usize) -> Table {
    let types = [Type::Integer, Type::Money, Type::Text, Type::Boolean, Type::Date];
    let mut columns = vec![
        Column { name: "amount".to_owned(), of: Type::Money },
        Column { name: "base".to_owned(), of: Type::Integer },
        Column { name: "flag".to_owned(), of: Type::Text },
    ];
    for place in 0..2 + random.below(3) {
        columns.push(Column { name: format!("c{place}"), of: *random.pick(&types) });
    }
    Table { name: format!("t{number}"), columns }
}

fn schema(random: &mut Random, tables: &[Table]) -> String {
    let mut sql = "CREATE TABLE totals (grp int PRIMARY KEY, total numeric(20,4), n bigint, best text);\n\
                   CREATE TABLE notes (id int PRIMARY KEY, noted text);\n"
        .to_owned();
    for table in tables {
        let columns: Vec<String> =
            table.columns.iter().map(|column| format!("{} {}", column.name, column.of.sql())).collect();
        sql.push_str(&format!(
            "CREATE TABLE {} (id int PRIMARY KEY, grp int, ref int, {});\n",
            table.name,
            columns.join(", ")
        ));
        for id in 1..=FIRST_ROWS {
            sql.push_str(&format!("{};\n", insert(random, table, id, "'first'", None)));
        }
    }
    sql
}

fn insert(random: &mut Random, table: &Table, id: usize, flag: &str, amount: Option<(&str, usize)>) -> String {
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.as_str()).collect();
    let mut values = Vec::new();
    for column in &table.columns {
        values.push(match (column.name.as_str(), amount) {
            ("flag", _) => flag.to_owned(),
            ("amount", Some((amount, _))) => amount.to_owned(),
            ("base", Some((_, base))) => base.to_string(),
            _ if random.chance(1, 9) => "NULL".to_owned(),
            _ => literal(random, column.of),
        });
    }
    let (group, reference) = (random.below(GROUPS), 1 + random.below(FIRST_ROWS + 2));
    format!(
        "INSERT INTO {} (id, grp, ref, {}) VALUES ({id}, {group}, {reference}, {})",
        table.name,
        names.join(", "),
        values.join(", ")
    )
}

fn fault(mistake: Mistake) -> &'static str {
    match mistake {
        Mistake::WrongInsert => {
            "  - { table: public.t0, op: insert, where: \"flag = 'new'\", set: { amount: base * 2 } }\n"
        }
        Mistake::WrongUpdate => {
            "  - { table: public.t0, op: update, where: \"flag = 'adjusted'\", set: { amount: before.amount + 5 } }\n"
        }
        Mistake::Ghost => "  - { table: public.t0, op: insert, where: \"flag = 'ghost'\", written: false }\n",
        Mistake::NeedlessUpdate => {
            "  - { table: public.t0, op: update, where: \"flag = 'touched'\", written: false }\n"
        }
        Mistake::NeedlessDelete => "  - { table: public.t1, op: delete, where: \"true\", written: false }\n",
    }
}

fn same(sql: String) -> Planned {
    Planned { right: Some(sql.clone()), faulty: sql }
}

impl Planner {
    fn transaction(&mut self, number: usize, mistakes: &[Mistake]) -> Transaction {
        let in_time = (6..28).contains(&number);
        if in_time && self.random.chance(1, 4) {
            let statements = (0..1 + self.random.below(2)).map(|_| {
                let mistake = *self.random.pick(mistakes);
                self.mistaken(mistake)
            });
            let statements: Vec<Planned> = statements.collect();
            let explicit = statements.len() > 1;
            return Transaction { application: "shop@v42", statements, read: None, explicit, rolled_back: false };
        }
        let application = *self.random.pick(&["shop@v41", "shop@v43", "reports@7"]);
        let statements: Vec<Planned> = (0..1 + self.random.below(3)).map(|_| same(self.statement())).collect();
        let read = self.random.chance(1, 10).then(|| {
            let table = self.any_table();
            self.next_id += 1;
            let query = format!("SELECT sum(amount) FROM {} WHERE grp = {}", table.name, self.random.below(GROUPS));
            (query, format!("INSERT INTO notes VALUES ({}, $1)", self.next_id))
        });
        let explicit = statements.len() > 1 || read.is_some();
        let rolled_back = explicit && self.random.chance(1, 12);
        Transaction { application, statements, read, explicit, rolled_back }
    }

    fn mistaken(&mut self, mistake: Mistake) -> Planned {
        let table = self.tables[0].clone();
        self.next_id += 1;
        let (id, known) = (self.next_id, 1 + self.random.below(FIRST_ROWS));
        let among = match self.random.chance(1, 3) {
            true => format!("grp = {}", self.random.below(GROUPS)),
            false => format!("id = {known}"),
        };
        match mistake {
            Mistake::WrongInsert => {
                let base = 1 + self.random.below(40);
                let (wrong, right) = ((base * 3 + 1).to_string(), (base * 2).to_string());
                let faulty = insert(&mut self.random, &table, id, "'new'", Some(("AMOUNT", base)));
                Planned { right: Some(faulty.replace("AMOUNT", &right)), faulty: faulty.replace("AMOUNT", &wrong) }
            }
            Mistake::WrongUpdate => {
                let update =
                    |sign: &str| format!("UPDATE t0 SET amount = amount {sign} 5, flag = 'adjusted' WHERE {among}");
                Planned { faulty: update("-"), right: Some(update("+")) }
            }
            Mistake::Ghost => Planned { faulty: insert(&mut self.random, &table, id, "'ghost'", None), right: None },
            Mistake::NeedlessUpdate => {
                let amount = value(&mut self.random, Type::Money, &[("t0", &table)]);
                let faulty = format!("UPDATE t0 SET amount = {amount}, flag = 'touched' WHERE {among}");
                Planned { faulty, right: None }
            }
            Mistake::NeedlessDelete => Planned { faulty: format!("DELETE FROM t1 WHERE {among}"), right: None },
        }
    }

    fn any_table(&mut self) -> Table {
        self.random.pick(&self.tables).clone()
    }

    fn statement(&mut self) -> String {
        let (t, u) = (self.any_table(), self.any_table());
        match self.random.below(14) {
            0 | 1 => self.update_by_key(&t),
            2 => self.update_set(&t),
            3 => self.update_from(&t, &u),
            4 => self.update_by_subquery(&t, &u),
            5 => self.update_by_window(&t),
            6 => self.update_by_existence(&t, &u),
            7 => {
                self.next_id += 1;
                insert(&mut self.random, &t, self.next_id, "'later'", None)
            }
            8 | 9 => self.insert_select(&t, &u),
            10 => self.totals(&t),
            11 => self.upsert(&t),
            12 => self.delete(&t, &u),
            _ => self.update_limited(&t),
        }
    }

    fn assignment(&mut self, table: &Table, scope: &Scope<'_>) -> String {
        let column = self.random.pick(&table.columns).clone();
        let value = value(&mut self.random, column.of, scope);
        format!("{} = {value}", column.name)
    }

    fn update_by_key(&mut self, t: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        format!("UPDATE {} AS t SET {set} WHERE id = {}", t.name, 1 + self.random.below(FIRST_ROWS))
    }

    fn update_set(&mut self, t: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        format!("UPDATE {} AS t SET {set} WHERE {}", t.name, predicate(&mut self.random, &[("t", t)], 2))
    }

    fn update_from(&mut self, t: &Table, u: &Table) -> String {
        let scope: [(&str, &Table); 2] = [("t", t), ("u", u)];
        let set = self.assignment(t, &scope);
        let condition = predicate(&mut self.random, &scope, 1);
        format!("UPDATE {} AS t SET {set} FROM {} AS u WHERE u.id = t.ref AND {condition}", t.name, u.name)
    }

    fn update_by_subquery(&mut self, t: &Table, u: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("u", u)], 1);
        let aggregate = ["sum", "max", "min", "avg", "count"][self.random.below(5)];
        let link = ["u.ref = t.id", "u.grp = t.grp"][self.random.below(2)];
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        format!(
            "UPDATE {} AS t SET amount = coalesce((SELECT {aggregate}({inner}) FROM {} AS u WHERE {link}), 0) % 100000 \
             WHERE {condition}",
            t.name, u.name
        )
    }

    fn update_by_window(&mut self, t: &Table) -> String {
        let order = expression(&mut self.random, Type::Money, &[("w", t)], 1);
        let direction = ["ASC", "DESC", "DESC NULLS LAST"][self.random.below(3)];
        let function = ["row_number()", "sum(w.base)", "lag(w.base)"][self.random.below(3)];
        format!(
            "UPDATE {0} AS t SET base = r.n % 10000 FROM (SELECT w.id, {function} OVER (PARTITION BY w.grp \
             ORDER BY w.amount + {order} {direction}, w.id) AS n FROM {0} AS w) AS r WHERE r.id = t.id",
            t.name
        )
    }

    fn update_by_existence(&mut self, t: &Table, u: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        let not = ["", "NOT "][self.random.below(2)];
        format!(
            "UPDATE {} AS t SET {set} WHERE {not}EXISTS (SELECT 1 FROM {} AS u WHERE u.ref = t.id AND {condition})",
            t.name, u.name
        )
    }

    fn insert_select(&mut self, t: &Table, u: &Table) -> String {
        let offset = 1_000 << self.next_offset.min(19);
        self.next_offset += 1;
        let names: Vec<&str> = t.columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<String> =
            t.columns.iter().map(|column| value(&mut self.random, column.of, &[("u", u)])).collect();
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        format!(
            "INSERT INTO {} (id, grp, ref, {}) SELECT u.id + {offset}, u.grp, u.id, {} FROM {} AS u WHERE u.id < 1000 \
             AND {condition} ON CONFLICT DO NOTHING",
            t.name,
            names.join(", "),
            values.join(", "),
            u.name
        )
    }

    fn totals(&mut self, t: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("t", t)], 1);
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let having = ["", " HAVING count(*) > 2", " HAVING sum(t.amount) > 100"][self.random.below(3)];
        let update = ["total = excluded.total", "total = totals.total + excluded.total, n = totals.n + excluded.n"];
        format!(
            "INSERT INTO totals (grp, total, n, best) SELECT t.grp, sum({inner}), count(*), max(t.flag) FROM {} AS t \
             WHERE {condition} GROUP BY t.grp{having} ON CONFLICT (grp) DO UPDATE SET {}",
            t.name,
            random_of(&mut self.random, &update)
        )
    }

    fn upsert(&mut self, t: &Table) -> String {
        let id = 1 + self.random.below(FIRST_ROWS + 6);
        let insert = insert(&mut self.random, t, id, "'upserted'", None);
        match self.random.below(3) {
            0 => format!("{insert} ON CONFLICT DO NOTHING"),
            1 => format!("{insert} ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, flag = {}.flag", t.name),
            _ => format!(
                "{insert} ON CONFLICT (id) DO UPDATE SET amount = ({0}.amount + excluded.amount) % 100000 \
                 WHERE {0}.base > 10",
                t.name
            ),
        }
    }

    fn delete(&mut self, t: &Table, u: &Table) -> String {
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        match self.random.below(3) {
            0 => format!(
                "DELETE FROM {} AS t WHERE t.id > 1000 AND NOT EXISTS (SELECT 1 FROM {} AS u WHERE u.id = t.ref AND {})",
                t.name,
                u.name,
                predicate(&mut self.random, &[("u", u)], 1)
            ),
            1 => format!(
                "DELETE FROM {} AS t USING {} AS u WHERE u.id = t.ref AND u.amount > 150 AND {condition}",
                t.name, u.name
            ),
            _ => format!("DELETE FROM {} AS t WHERE t.grp = {} AND {condition}", t.name, self.random.below(GROUPS)),
        }
    }

    fn update_limited(&mut self, t: &Table) -> String {
        let order = expression(&mut self.random, Type::Money, &[("s", t)], 1);
        let direction = ["", " DESC"][self.random.below(2)];
        let set = self.assignment(t, &[("t", t)]);
        format!(
            "UPDATE {0} AS t SET {set} WHERE t.id IN (SELECT s.id FROM {0} AS s ORDER BY s.amount + {order}{direction}, s.id LIMIT {1})",
            t.name,
            1 + self.random.below(5)
        )
    }
}

fn random_of<'a>(random: &mut Random, texts: &[&'a str]) -> &'a str {
    texts[random.below(texts.len())]
}
