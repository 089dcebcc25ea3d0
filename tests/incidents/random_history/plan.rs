//! A random history, written down before it runs: the tables, the transactions, and what release v42 gets wrong in
//! them.

use super::grammar::{Table, Type, value};
use super::schema::{insert, schema, table};
use crate::recording::Telling;
use crate::shop::random::Random;

/// Rows of each table before the history begins.
pub const FIRST_ROWS: usize = 12;
/// Values of `grp`, from 0.
pub const GROUPS: usize = 4;
const TRANSACTIONS: usize = 36;
/// From this seed on, transactions overlap: what they saw of each other, the clocks of a log leave open.
const FIRST_OVERLAPPING: u64 = 1_000;

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
    /// What begins it, where it stands in `BEGIN … COMMIT`.
    pub begin: Option<&'static str>,
    /// What it looks at before all else, and a transaction of another session that begins and ends then.
    pub beside: Option<(String, Box<Transaction>)>,
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
    /// How its SQL is recorded.
    pub telling: Telling,
    /// Whether it has statements that cannot be run again.
    pub goes_beyond: bool,
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
    NeedlessDeleteOfParent,
    WrongKey,
    WrongGroup,
    WrongUpsert,
    WrongCopy,
}

const MISTAKES: [Mistake; 10] = [
    Mistake::WrongInsert,
    Mistake::WrongUpdate,
    Mistake::Ghost,
    Mistake::NeedlessUpdate,
    Mistake::NeedlessDelete,
    Mistake::NeedlessDeleteOfParent,
    Mistake::WrongKey,
    Mistake::WrongGroup,
    Mistake::WrongUpsert,
    Mistake::WrongCopy,
];

/// What a history is made of, as far as it is planned.
pub struct Planner {
    /// The chance of its seed.
    pub random: Random,
    /// Its tables by chance.
    pub tables: Vec<Table>,
    /// Whether it has statements that cannot be run again.
    pub goes_beyond: bool,
    /// The key of the latest row.
    pub next_id: usize,
    /// How many statements have made rows out of others, each at an offset of its own.
    pub next_offset: u32,
}

/// The history of this seed.
pub fn plan(seed: u64) -> Plan {
    let mut random = Random::from_seed(seed);
    let tables: Vec<Table> = (0..3).map(|number| table(&mut random, number)).collect();
    let schema = schema(&mut random, &tables);
    let mistakes = [*random.pick(&MISTAKES), *random.pick(&MISTAKES)];
    let goes_beyond = seed % 4 == 3;
    let mut planner = Planner { random, tables, goes_beyond, next_id: 100, next_offset: 0 };
    let overlaps = seed >= FIRST_OVERLAPPING;
    let transactions = (0..TRANSACTIONS).map(|number| match overlaps && planner.random.chance(1, 12) {
        true => planner.overlapping(number, &mistakes),
        false => planner.transaction(number, &mistakes),
    });
    let transactions = transactions.collect();
    let mut faults = "release: v42\nfaults:\n".to_owned();
    for (place, mistake) in mistakes.iter().enumerate() {
        if !mistakes[..place].contains(mistake) {
            faults.push_str(fault(*mistake));
        }
    }
    let telling = if seed.is_multiple_of(3) { Telling::Literals } else { Telling::Log };
    Plan { schema, faults, telling, goes_beyond, transactions }
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
        Mistake::NeedlessDeleteOfParent => "  - { table: public.t0, op: delete, where: \"true\", written: false }\n",
        Mistake::WrongKey => {
            "  - { table: public.t0, op: insert, where: \"flag = 'misplaced'\", set: { id: id + 50000000 } }\n"
        }
        Mistake::WrongGroup => {
            "  - { table: public.t0, op: insert, where: \"flag = 'grouped'\", set: { grp: base % 4 } }\n"
        }
        Mistake::WrongUpsert => {
            "  - { table: public.t0, where: \"flag = 'bumped'\", set: { amount: \"coalesce(before.amount, 0) + 7\" } \
             }\n"
        }
        Mistake::WrongCopy => {
            "  - { table: public.t0, op: insert, where: \"flag = 'copied'\", \
             set: { amount: \"(SELECT u.base * 2 FROM public.t1 u WHERE u.id = t0.ref)\" } }\n"
        }
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
            let begin = (statements.len() > 1).then(|| self.begin());
            return Transaction {
                application: "shop@v42",
                statements,
                read: None,
                begin,
                beside: None,
                rolled_back: false,
            };
        }
        let application = *self.random.pick(&["shop@v41", "shop@v43", "reports@7"]);
        let mut statements: Vec<Planned> = (0..1 + self.random.below(3)).map(|_| same(self.statement())).collect();
        if self.random.chance(1, 10) {
            self.add_savepoints(&mut statements);
        }
        let read = self.random.chance(1, 10).then(|| {
            let table = self.any_table();
            self.next_id += 1;
            let query = format!("SELECT sum(amount) FROM {} WHERE grp = {}", table.name, self.random.below(GROUPS));
            (query, format!("INSERT INTO notes VALUES ({}, $1)", self.next_id))
        });
        let begin = (statements.len() > 1 || read.is_some()).then(|| self.begin());
        let rolled_back = begin.is_some() && self.random.chance(1, 12);
        Transaction { application, statements, read, begin, beside: None, rolled_back }
    }

    /// A transaction that stands open while another commits. Under REPEATABLE READ it touches no row that the other may
    /// have written: PostgreSQL would refuse that.
    fn overlapping(&mut self, number: usize, mistakes: &[Mistake]) -> Transaction {
        let table = self.any_table();
        let look = format!("SELECT count(*) FROM {}", table.name);
        let beside = Box::new(self.transaction(number, mistakes));
        let begin = self.begin();
        let statements = match begin {
            "BEGIN" => (0..1 + self.random.below(2)).map(|_| same(self.statement())).collect(),
            _ => {
                self.next_id += 1;
                let sum = format!("SELECT {}, concat(count(*), '/', max(base)) FROM {}", self.next_id, table.name);
                vec![same(format!("INSERT INTO notes {sum} WHERE grp = {}", self.random.below(GROUPS)))]
            }
        };
        let (begin, beside) = (Some(begin), Some((look, beside)));
        Transaction { application: "reports@7#open", statements, read: None, begin, beside, rolled_back: false }
    }

    fn begin(&mut self) -> &'static str {
        if self.random.chance(1, 6) { "BEGIN ISOLATION LEVEL REPEATABLE READ" } else { "BEGIN" }
    }

    /// A part that is taken back, before, within or after another that stands.
    fn add_savepoints(&mut self, statements: &mut Vec<Planned>) {
        let place = self.random.below(statements.len() + 1);
        let mut part = vec![same("SAVEPOINT before".to_owned()), same(self.statement())];
        if self.random.chance(1, 2) {
            part.push(same("SAVEPOINT within".to_owned()));
            part.push(same(self.statement()));
            part.push(same(["RELEASE within", "ROLLBACK TO within"][self.random.below(2)].to_owned()));
        }
        let is_released = self.random.chance(1, 3);
        part.push(same(if is_released { "RELEASE before" } else { "ROLLBACK TO before" }.to_owned()));
        statements.splice(place..place, part);
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
            Mistake::NeedlessDeleteOfParent => {
                Planned { faulty: format!("DELETE FROM t0 WHERE id = {known}"), right: None }
            }
            Mistake::WrongKey => {
                let faulty = insert(&mut self.random, &table, id, "'misplaced'", None);
                let right = faulty.replacen(&format!("VALUES ({id},"), &format!("VALUES ({},", id + 50_000_000), 1);
                Planned { faulty, right: Some(right) }
            }
            Mistake::WrongGroup => {
                let base = 1 + self.random.below(40);
                let right = insert(&mut self.random, &table, id, "'grouped'", Some(("10", base)));
                let (start, rest) = right.split_once(&format!("VALUES ({id}, ")).expect("it is an insert");
                let rest = rest.split_once(',').map_or("", |(_, rest)| rest);
                let with = |group: usize| format!("{start}VALUES ({id}, {group},{rest}");
                Planned { faulty: with((base + 1) % 4), right: Some(with(base % 4)) }
            }
            Mistake::WrongUpsert => {
                let insert = insert(&mut self.random, &table, known, "'bumped'", Some(("AMOUNT", 3)));
                let bump = |amount: &str| {
                    format!(
                        "{} ON CONFLICT (id) DO UPDATE SET amount = coalesce(t0.amount, 0) + excluded.amount, \
                         flag = excluded.flag",
                        insert.replace("AMOUNT", amount)
                    )
                };
                Planned { faulty: bump("70"), right: Some(bump("7")) }
            }
            Mistake::WrongCopy => {
                let offset = self.offset();
                let copy = |factor: &str| {
                    format!(
                        "INSERT INTO t0 (id, grp, ref, amount, base, flag) SELECT u.id + {offset}, u.grp, u.id, \
                         u.base * {factor}, u.base, 'copied' FROM t1 AS u WHERE u.id < 1000 AND u.{among} \
                         ON CONFLICT DO NOTHING"
                    )
                };
                Planned { faulty: copy("3"), right: Some(copy("2")) }
            }
        }
    }
}
