//! What is counted part by part is what is counted at once: histories made up at random, of several sessions with pauses,
//! savepoints, rollbacks and triggers, come in parts and in any order.

use std::collections::BTreeMap;
use std::sync::Arc;

use blast_radius::lineage::graph::Executions;
use blast_radius::lineage::{Advanced, Settled, Sources, advance, assemble};
use blast_radius::model::{
    Column, ColumnType, LogEvent, LogEventKind, Operation, RecordedStamp, RecordedWrite, RecordingId, ReleaseSettings,
    Row, SessionId, TableName, TableSchema, Timestamp, TransactionId, Value,
};
use blast_radius::sql::{Schemas, Views};
use blast_radius::store::{PlacedRecords, complete_log};

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    fn once_in(&mut self, sides: u64) -> bool {
        self.roll(sides) == 0
    }
}

/// One record of any kind.
#[derive(Clone, Debug)]
enum Record {
    Write(RecordedWrite),
    Stamp(RecordedStamp),
    Log(LogEvent),
}

impl Record {
    fn ts(&self) -> Timestamp {
        match self {
            Record::Write(write) => write.ts,
            Record::Stamp(stamp) => stamp.ts,
            Record::Log(event) => event.ts,
        }
    }
}

/// How a history is recorded.
#[derive(Clone, Copy, Debug)]
struct Recorded {
    /// Whether there is a log.
    log: bool,
    /// Whether writes, or their stamps, name the session.
    sessions: bool,
    /// Whether stamps do it.
    stamps: bool,
    /// Whether the images hold all columns.
    whole: bool,
    /// Whether the writes have numbers.
    numbered: bool,
}

struct World {
    dice: Dice,
    recorded: Recorded,
    records: Vec<Record>,
    sessions: Vec<Session>,
    now: i64,
    next_id: u64,
    next_seq: u64,
    next_identity: u128,
}

struct Session {
    id: SessionId,
    line: u64,
    next_virtual: u64,
}

const TABLES: [&str; 2] = ["orders", "audit"];

impl World {
    fn new(seed: u64, recorded: Recorded) -> World {
        let mut world = World {
            dice: Dice(seed),
            recorded,
            records: Vec::new(),
            sessions: Vec::new(),
            now: 1_790_000_000_000_000,
            next_id: 700,
            next_seq: 1,
            next_identity: 1,
        };
        (0..3).for_each(|_| world.connect());
        world
    }

    fn connect(&mut self) {
        let number = self.next_identity();
        let id = SessionId(format!("{:x}.{:x}", self.now / 1_000_000, number[15]).into());
        self.sessions.push(Session { id, line: 0, next_virtual: 1 });
    }

    fn next_identity(&mut self) -> [u8; 16] {
        self.next_identity += 1;
        self.next_identity.to_be_bytes()
    }

    fn pass(&mut self) {
        let most =
            [2_000, 50_000, 3_000_000, 70_000_000, 400_000_000][usize::try_from(self.dice.roll(5)).expect("few")];
        self.now += i64::try_from(self.dice.roll(most)).expect("short") + 50;
    }

    fn log(&mut self, session: usize, sql: &str, transaction: Option<u64>, kind: LogEventKind) {
        self.now += i64::try_from(self.dice.roll(900)).expect("short") + 1;
        if !self.recorded.log {
            return;
        }
        let id = RecordingId(self.next_identity());
        let ts = Timestamp::from_micros(self.now - self.now % 1_000);
        let session = &mut self.sessions[session];
        session.line += 1;
        let ends = kind == LogEventKind::Disconnection;
        self.records.push(Record::Log(LogEvent {
            id,
            session: session.id.clone(),
            line: session.line,
            ts,
            started: ts,
            kind,
            transaction: transaction.map(|id| TransactionId(id.to_string().into())),
            virtual_transaction: (!ends).then(|| format!("3/{}", session.next_virtual).into()),
            application_name: Some(format!("shop@v{}", session.line % 3).into()),
            database: Some("shop".into()),
            sql: (!ends).then(|| sql.into()),
            prepared: None,
            parameters: Vec::new(),
            message: None,
        }));
    }

    /// The rows that a transaction wrote, told at its commit.
    fn write(&mut self, session: usize, id: u64, rows: &[(&str, u64, Option<String>)]) {
        let ts = Timestamp::from_micros(self.now + 40);
        let session = self.sessions[session].id.clone();
        let transaction = TransactionId(id.to_string().into());
        for (table, key, statement) in rows {
            let row = |value: u64| -> Row {
                let mut cells: Row = [("id".into(), Value::text(key.to_string()))].into_iter().collect();
                if self.recorded.whole {
                    cells.push("value".into(), Value::text(value.to_string()));
                }
                cells
            };
            let (before, after) = (row(self.next_seq), row(self.next_seq + 1));
            let seq = self.recorded.numbered.then_some(self.next_seq);
            self.next_seq += 1;
            if self.recorded.stamps {
                let stamp = RecordedStamp {
                    id: RecordingId(self.next_identity()),
                    seq,
                    ts,
                    transaction: transaction.clone(),
                    session: self.recorded.sessions.then(|| session.clone()),
                    process_id: None,
                    application_name: Some("shop@v9".into()),
                    user: None,
                    release: None,
                    service: None,
                    tags: BTreeMap::new(),
                    statement: None,
                };
                self.records.push(Record::Stamp(stamp));
                self.next_seq += 1;
            }
            let id = RecordingId(self.next_identity());
            let by_itself = self.recorded.sessions && !self.recorded.stamps;
            let is_audit = *table == "audit";
            self.records.push(Record::Write(RecordedWrite {
                id,
                seq,
                ts,
                table: TableName::new("public", *table),
                operation: if is_audit { Operation::Insert } else { Operation::Update },
                key: [("id".into(), Value::text(key.to_string()))].into_iter().collect(),
                before: (!is_audit).then_some(before),
                after: Some(after),
                reads: Vec::new(),
                transaction: Some(transaction.clone()),
                session: by_itself.then(|| session.clone()),
                trace: None,
                release: None,
                service: None,
                statement: statement.clone().filter(|_| !self.recorded.log).map(Into::into),
                parameters: Vec::new(),
            }));
        }
    }

    /// A session does something.
    fn act(&mut self) {
        self.pass();
        let session = usize::try_from(self.dice.roll(self.sessions.len() as u64)).expect("few sessions");
        match self.dice.roll(12) {
            0 if self.sessions.len() > 1 => {
                self.log(session, "", None, LogEventKind::Disconnection);
                self.sessions.remove(session);
                self.connect();
            }
            1 | 2 => {
                self.sessions[session].next_virtual += 1;
                self.log(session, "SELECT value FROM orders WHERE id = 3", None, LogEventKind::Statement);
            }
            3..=5 => {
                self.sessions[session].next_virtual += 1;
                let (key, id) = (self.dice.roll(3), self.id());
                let sql = update(key);
                let named = self.dice.once_in(3).then_some(id);
                self.log(session, &sql, named, LogEventKind::Statement);
                let mut rows = vec![("orders", key, Some(sql))];
                if self.dice.once_in(4) {
                    rows.push(("audit", self.next_seq, None));
                }
                self.write(session, id, &rows);
            }
            6 => {
                self.sessions[session].next_virtual += 1;
                self.log(session, &update(77), None, LogEventKind::Statement);
            }
            _ => self.transaction(session),
        }
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// BEGIN to COMMIT, or not; it may take its time, in which another session commits.
    fn transaction(&mut self, session: usize) {
        self.sessions[session].next_virtual += 1;
        let id = self.id();
        self.log(session, "BEGIN", None, LogEventKind::Statement);
        let mut rows = Vec::new();
        for number in 0..1 + self.dice.roll(3) {
            let key = self.dice.roll(4);
            let sql = update(key);
            self.log(session, &sql, (number > 0).then_some(id), LogEventKind::Statement);
            rows.push(("orders", key, Some(sql)));
            if self.dice.once_in(5) {
                self.pass();
            }
        }
        let other = (session + 1) % self.sessions.len();
        if other != session && self.dice.once_in(3) {
            self.sessions[other].next_virtual += 1;
            let (key, other_id) = (self.dice.roll(3), self.id());
            self.log(other, &update(key), None, LogEventKind::Statement);
            self.write(other, other_id, &[("orders", key, Some(update(key)))]);
        }
        if self.dice.once_in(4) {
            self.log(session, "ROLLBACK", Some(id), LogEventKind::Statement);
        } else {
            self.log(session, "COMMIT", Some(id), LogEventKind::Statement);
            self.write(session, id, &rows);
        }
    }
}

fn update(key: u64) -> String {
    match key % 2 {
        0 => format!("UPDATE orders SET value = value + 1 WHERE id = {key}"),
        _ => format!("UPDATE orders SET value = {key} WHERE id = {key} AND value > 0"),
    }
}

fn schemas() -> Schemas {
    let table = |name: &str| {
        let column = |name: &str| Column {
            name: name.into(),
            column_type: ColumnType::BigInt,
            not_null: false,
            generated: false,
        };
        let name = TableName::new("public", name);
        let columns = vec![column("id"), column("value")];
        (
            name.clone(),
            Arc::new(TableSchema {
                name,
                columns,
                key: vec!["id".into()],
                foreign_keys: Vec::new(),
                unique_keys: Vec::new(),
            }),
        )
    };
    TABLES.into_iter().map(table).collect()
}

fn release_settings() -> ReleaseSettings {
    let pattern = regex::Regex::new(r"^(?<service>[\w.-]+)@(?<release>[\w.+-]+)$").expect("a pattern");
    ReleaseSettings { pattern, release_tags: Vec::new(), service_tags: Vec::new() }
}

/// As the store gives them.
fn placed<'a>(records: impl Iterator<Item = &'a (i64, Record)>) -> PlacedRecords {
    let mut placed = PlacedRecords::default();
    for (place, record) in records {
        match record.clone() {
            Record::Write(write) => placed.writes.push((*place, write)),
            Record::Stamp(stamp) => placed.stamps.push((*place, stamp)),
            Record::Log(event) => placed.log.push((*place, event)),
        }
    }
    placed.writes.sort_by_key(|(place, write)| (write.seq, write.ts, *place));
    placed
}

/// How often it went on from what was settled, how often it had to begin anew, and the records read.
#[derive(Debug, Default)]
struct Effort {
    went_on: usize,
    began_anew: usize,
    read: usize,
    held: usize,
}

/// Counts after each part, and compares with all at once.
fn ingest(parts: &[Vec<Record>], effort: &mut Effort) {
    let schemas = schemas();
    let (release, views) = (release_settings(), Views::new());
    let context = Sources {
        writes: &[],
        stamps: &[],
        log: &[],
        schemas: &schemas,
        views: &views,
        release: &release,
        deploys: &[],
        database: Some("shop"),
    };
    let mut stored: Vec<(i64, Record)> = Vec::new();
    let (mut settled, mut executions) = (Settled::default(), Executions::default());
    for part in parts {
        for record in part {
            stored.push((i64::try_from(stored.len()).expect("few"), record.clone()));
        }
        let through = i64::try_from(stored.len()).expect("few");
        let is_open = |place: i64| {
            place >= settled.through || settled.open.iter().any(|(first, last)| (*first..=*last).contains(&place))
        };
        let wanted = placed(stored.iter().filter(|(place, _)| is_open(*place)));
        effort.held += stored.len();
        effort.read += wanted.len();
        let advanced = advance(&settled, wanted, through, &context);
        let Advanced { settled: now, gained, open } = match advanced {
            Some(advanced) => {
                effort.went_on += 1;
                advanced
            }
            None => {
                effort.began_anew += 1;
                effort.read += stored.len();
                executions = Executions::default();
                advance(&Settled::default(), placed(stored.iter()), through, &context).expect("nothing is settled")
            }
        };
        settled = now;
        executions.add(gained);
        let mut found = Executions::from_json(&executions.to_json().expect("JSON")).expect("what was written");
        assert_eq!(found, executions);
        found.add(open);
        let PlacedRecords { writes, stamps, log } = placed(stored.iter());
        let plain = |writes: Vec<(i64, RecordedWrite)>| writes.into_iter().map(|(_, write)| write).collect::<Vec<_>>();
        let stamps: Vec<RecordedStamp> = stamps.into_iter().map(|(_, stamp)| stamp).collect();
        let history = assemble(Sources { writes: &plain(writes), stamps: &stamps, log: &complete_log(log), ..context });
        assert_eq!(found, Executions::of(&history));
    }
}

const WAYS: [Recorded; 6] = [
    Recorded { log: true, sessions: true, stamps: false, whole: true, numbered: true },
    Recorded { log: true, sessions: true, stamps: true, whole: true, numbered: true },
    Recorded { log: true, sessions: true, stamps: false, whole: false, numbered: false },
    Recorded { log: true, sessions: false, stamps: false, whole: true, numbered: true },
    Recorded { log: false, sessions: true, stamps: true, whole: true, numbered: true },
    Recorded { log: false, sessions: false, stamps: false, whole: false, numbered: false },
];

fn history(seed: u64, recorded: Recorded) -> Vec<Record> {
    let mut world = World::new(seed, recorded);
    (0..60).for_each(|_| world.act());
    let mut records = world.records;
    records.sort_by_key(Record::ts);
    records
}

#[test]
fn parts_in_the_order_of_time_add_up_and_are_read_once() {
    for (way, recorded) in WAYS.into_iter().enumerate() {
        let mut effort = Effort::default();
        for seed in 0..16 {
            let records = history(seed, recorded);
            let parts: Vec<Vec<Record>> = records.chunks(9).map(<[Record]>::to_vec).collect();
            ingest(&parts, &mut effort);
        }
        // Beside a log, writes that name no session, or hold a part of their row, are joined anew each time.
        let is_read_anew = recorded.log && (!recorded.sessions || !recorded.whole);
        let is_read_once = effort.read * 2 < effort.held && effort.went_on > effort.began_anew * 9;
        assert!(is_read_once || is_read_anew, "{way}: {effort:?}");
    }
}

#[test]
fn parts_in_any_order_add_up() {
    for recorded in WAYS {
        for seed in 100..112 {
            let records = history(seed, recorded);
            let mut dice = Dice(seed);
            let mut parts: Vec<Vec<Record>> = records.chunks(11).map(<[Record]>::to_vec).collect();
            for place in (1..parts.len()).rev() {
                parts.swap(place, usize::try_from(dice.roll(place as u64 + 1)).expect("few parts"));
            }
            ingest(&parts, &mut Effort::default());
        }
    }
}

#[test]
fn a_log_that_comes_later_is_joined_to_the_writes_before_it() {
    for recorded in WAYS.into_iter().filter(|recorded| recorded.log) {
        for seed in 200..212 {
            let records = history(seed, recorded);
            let (log, others): (Vec<Record>, Vec<Record>) =
                records.into_iter().partition(|record| matches!(record, Record::Log(_)));
            // The writes of all the time, then the log in two parts; and the other way around.
            let (early, late) = log.split_at(log.len() / 2);
            ingest(&[others.clone(), early.to_vec(), late.to_vec()], &mut Effort::default());
            ingest(&[late.to_vec(), others, early.to_vec()], &mut Effort::default());
        }
    }
}
