//! Transfers between accounts: of some accounts, one transfer of release v42 took a wrong amount, and whatever these
//! accounts came to since is wrong.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

/// So many transfers there are to an account.
const TRANSFERS: u64 = 10;
/// What the release took, and what it should have taken, in cents.
const WRONG: (i64, i64) = (99_999, 999);

const TAKE: &str = "UPDATE accounts SET balance = balance - $1 WHERE id = $2";
const GIVE: &str = "UPDATE accounts SET balance = balance + $1 WHERE id = $2";
const ENTER: &str =
    "INSERT INTO entries (id, account, amount, balance) SELECT $1, id, $2, balance FROM accounts WHERE id = $3";

/// A history on disk, as a project folder.
pub struct History {
    /// How many rows it wrote.
    pub writes: u64,
    /// How many of them wrote something wrong.
    pub downstream_writes: u64,
    /// How many records are or were wrong.
    pub wrong_records: usize,
}

/// Files being written.
struct Files {
    events: BufWriter<File>,
    replay: BufWriter<File>,
    edges: BufWriter<File>,
    roots: BufWriter<File>,
    entries: BufWriter<File>,
}

/// Where the history has come to.
struct Progress {
    files: Files,
    balances: Vec<i64>,
    /// By how much each account is off.
    off: Vec<i64>,
    /// The last write of each account.
    last: Vec<Option<u64>>,
    wrong_accounts: BTreeSet<u64>,
    wrong_entries: u64,
    writes: u64,
    downstream: u64,
    transaction: u64,
    release: &'static str,
}

/// The same numbers in every run (<https://en.wikipedia.org/wiki/Xorshift>).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

fn money(cents: i64) -> String {
    let sign = if cents < 0 { "-" } else { "" };
    format!("{sign}{}.{:02}", cents.abs() / 100, cents.abs() % 100)
}

impl History {
    /// Writes a history of that many transfers of which every `one_in`th account comes out wrong.
    ///
    /// # Panics
    /// Where the folder cannot be written.
    pub fn write(folder: &Path, transactions: u64, one_in: u64) -> History {
        let accounts = (transactions / TRANSFERS).max(2);
        let data = folder.join("data");
        std::fs::create_dir(&data).expect("a folder");
        let create = |name: &str| BufWriter::new(File::create(folder.join(name)).expect("a file"));
        let mut files = Files {
            events: create("events.ndjson"),
            replay: create("replay.sql"),
            edges: create("edges.csv"),
            roots: create("roots.csv"),
            entries: create("data/entries.csv"),
        };
        writeln!(files.entries, "id,account,amount,balance").expect("written");
        writeln!(files.edges, "read,written").expect("written");
        writeln!(files.roots, "write").expect("written");
        writeln!(files.replay, "{}", replayed_schema(accounts)).expect("written");
        let room = usize::try_from(accounts).expect("as many as fit");
        let mut progress = Progress {
            files,
            balances: vec![1_000_000; room],
            off: vec![0; room],
            last: vec![None; room],
            wrong_accounts: BTreeSet::new(),
            wrong_entries: 0,
            writes: 0,
            downstream: 0,
            transaction: 0,
            release: "v41",
        };
        let mut random = Random(0x2545_f491_4f6c_dd1d);
        let mut spoilt = BTreeSet::new();
        for transaction in 1..=transactions {
            let is_deployed = transaction > transactions / 20;
            let from = random.below(accounts);
            let to = (from + 1 + random.below(accounts - 1)) % accounts;
            let is_faulty = from.is_multiple_of(one_in) && is_deployed && spoilt.insert(from);
            let cents = i64::try_from(1 + random.below(9_000)).expect("few");
            progress.transaction = transaction;
            progress.release = if is_deployed && (is_faulty || transaction.is_multiple_of(50)) { "v42" } else { "v41" };
            progress.transfer(from, to, cents, is_faulty);
        }
        progress.end(folder)
    }
}

fn replayed_schema(accounts: u64) -> String {
    format!(
        "CREATE TABLE accounts (id bigint PRIMARY KEY, balance numeric(14,2));
         CREATE TABLE entries (id bigint PRIMARY KEY, account bigint, amount numeric(14,2), balance numeric(14,2));
         INSERT INTO accounts SELECT number, 10000 FROM generate_series(0, {}) AS number;
         SET synchronous_commit = off;",
        accounts - 1
    )
}

impl Progress {
    fn transfer(&mut self, from: u64, to: u64, cents: i64, is_faulty: bool) {
        let taken = if is_faulty { WRONG.0 } else { cents };
        let should = if is_faulty { WRONG.1 } else { cents };
        writeln!(self.files.replay, "BEGIN;").expect("written");
        if is_faulty {
            writeln!(self.files.roots, "{}", self.writes).expect("written");
        }
        self.change(from, -taken, should - taken, TAKE);
        self.change(to, should, 0, GIVE);
        self.enter(from, 2 * self.transaction, -should);
        self.enter(to, 2 * self.transaction + 1, should);
        writeln!(self.files.replay, "COMMIT;").expect("written");
    }

    fn change(&mut self, account: u64, by: i64, off: i64, statement: &str) {
        let place = usize::try_from(account).expect("as many as fit");
        let before = self.balances[place];
        self.balances[place] += by;
        self.off[place] += off;
        if self.off[place] != 0 {
            self.wrong_accounts.insert(account);
        }
        let parameters = [money(by.abs()), account.to_string()];
        let images = format!(
            "\"key\":{{\"id\":{account}}},\"before\":{{\"id\":{account},\"balance\":\"{}\"}},\"after\":{{\"id\":{account},\"balance\":\"{}\"}}",
            money(before),
            money(self.balances[place])
        );
        let read = self.last[place];
        self.last[place] = Some(self.writes);
        self.event(("public.accounts", "update", &images), statement, &parameters, read, self.off[place] != 0);
    }

    fn enter(&mut self, account: u64, id: u64, amount: i64) {
        let place = usize::try_from(account).expect("as many as fit");
        let (amount, balance, off) = (money(amount), money(self.balances[place]), self.off[place]);
        writeln!(self.files.entries, "{id},{account},{amount},{balance}").expect("written");
        self.wrong_entries += u64::from(off != 0);
        let images = format!(
            "\"key\":{{\"id\":{id}}},\"after\":{{\"id\":{id},\"account\":{account},\"amount\":\"{amount}\",\"balance\":\"{balance}\"}}"
        );
        let parameters = [id.to_string(), amount, account.to_string()];
        self.event(("public.entries", "insert", &images), ENTER, &parameters, self.last[place], off != 0);
    }

    fn event(
        &mut self,
        (table, operation, images): (&str, &str, &str),
        statement: &str,
        parameters: &[String],
        read: Option<u64>,
        is_wrong: bool,
    ) {
        let (transaction, seq, release) = (self.transaction, self.writes, self.release);
        let (second, micros) = (transaction / 1_000, transaction % 1_000 * 1_000);
        let (day, hour, minute, second) = (1 + second / 86_400, second / 3_600 % 24, second / 60 % 60, second % 60);
        let quoted: Vec<String> = parameters.iter().map(|parameter| format!("\"{parameter}\"")).collect();
        writeln!(
            self.files.events,
            "{{\"ts\":\"2026-03-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z\",\"release\":\"{release}\",\
             \"service\":\"bank\",\"tx\":\"{transaction}\",\"seq\":{seq},\"table\":\"{table}\",\"op\":\"{operation}\",{images},\
             \"statement\":\"{statement}\",\"params\":[{}]}}",
            quoted.join(",")
        )
        .expect("written");
        let mut text = statement.to_owned();
        for (place, parameter) in parameters.iter().enumerate().rev() {
            text = text.replace(&format!("${}", place + 1), parameter);
        }
        writeln!(self.files.replay, "{text};").expect("written");
        if let Some(read) = read {
            writeln!(self.files.edges, "{read},{seq}").expect("written");
        }
        self.writes += 1;
        self.downstream += u64::from(is_wrong);
    }

    fn end(mut self, folder: &Path) -> History {
        let mut accounts = BufWriter::new(File::create(folder.join("data/accounts.csv")).expect("a file"));
        writeln!(accounts, "id,balance").expect("written");
        for (account, balance) in self.balances.iter().enumerate() {
            writeln!(accounts, "{account},{}", money(*balance)).expect("written");
        }
        let files = &mut self.files;
        let all = [
            &mut accounts,
            &mut files.events,
            &mut files.replay,
            &mut files.edges,
            &mut files.roots,
            &mut files.entries,
        ];
        all.into_iter().for_each(|file| file.flush().expect("written"));
        std::fs::write(folder.join("blast-radius.toml"), PROJECT).expect("written");
        let faults = format!(
            "release: v42\nfaults:\n  - table: public.accounts\n    op: update\n    where: before.balance - balance = {}\n    set: {{ balance: before.balance - {} }}\n",
            money(WRONG.0),
            money(WRONG.1)
        );
        std::fs::write(folder.join("faults.yaml"), faults).expect("written");
        let wrong_entries = usize::try_from(self.wrong_entries).expect("as many as fit");
        History {
            writes: self.writes,
            downstream_writes: self.downstream,
            wrong_records: self.wrong_accounts.len() + wrong_entries,
        }
    }
}

const PROJECT: &str = "[database]\nfiles = \"data\"\n\n[tables.\"public.accounts\"]\nkey = [\"id\"]\n\n[tables.\"public.entries\"]\nkey = [\"id\"]\n";
