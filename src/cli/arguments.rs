//! The command line as it may be given.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::model::Timestamp;
use crate::sql::Dialect;

/// After a bad deploy: which database records are wrong, what was computed from them, and the SQL that repairs exactly
/// that.
#[derive(Debug, Parser)]
#[command(
    name = "blast-radius",
    version,
    max_term_width = 100,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    override_usage = "blast-radius [OPTIONS] --release <RELEASE>\n       blast-radius [OPTIONS] <COMMAND>",
    after_help = "Examples:
  blast-radius --release v42                            what did v42 break, and what came of it?
  blast-radius --release v42 --faults faults.yaml       … where we know exactly what it got wrong
  blast-radius --release v42 --records records.csv      … every affected record
  blast-radius repair --release v42 --out repair-v42    repair.sql, undo.sql and manual.csv
  blast-radius ingest events.ndjson logs/*.json         load write events and SQL logs

Exit status: 0 nothing found, 1 found something, 2 could not do the job."
)]
pub struct Arguments {
    /// What every command takes.
    #[command(flatten)]
    pub global: GlobalArguments,
    /// The main job.
    #[command(flatten)]
    pub trace: Option<TraceArguments>,
    /// Another job.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Options of every command.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArguments {
    /// Work as if started in DIR: blast-radius.toml is there or in the nearest folder above.
    #[arg(short = 'C', long, value_name = "DIR", global = true)]
    pub project: Option<PathBuf>,
    /// How to print the result (or, for ingest, what the input is); each command lists its formats.
    #[arg(long, value_name = "FORMAT", global = true)]
    pub format: Option<String>,
    /// Write the result to FILE, whole or not at all, instead of standard output.
    #[arg(short, long, value_name = "FILE", global = true)]
    pub output: Option<PathBuf>,
    /// Say nothing but the result and errors.
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// List everything instead of the first few.
    #[arg(short, long, global = true, conflicts_with = "quiet")]
    pub verbose: bool,
    /// When to colour.
    #[arg(long, value_enum, default_value = "auto", value_name = "WHEN", global = true)]
    pub color: ColorArgument,
    /// Show no progress.
    #[arg(long, global = true)]
    pub no_progress: bool,
    /// Where queries run: only local in this version.
    #[arg(long, value_name = "ENGINE", default_value = "local", value_parser = local_engine, global = true)]
    pub engine: String,
}

/// When to colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ColorArgument {
    /// On a terminal, unless NO_COLOR is set.
    Auto,
    /// Even into a file or a pipe.
    Always,
    /// Not at all.
    Never,
}

fn local_engine(text: &str) -> Result<String, String> {
    match text {
        "local" => Ok(text.to_owned()),
        _ if text.starts_with("df://") => Err("clusters are not supported yet: only local".to_owned()),
        _ => Err("no such engine: only local".to_owned()),
    }
}

/// What to trace: options of the main job and of repair.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "What to trace")]
pub struct TraceArguments {
    /// The release that went wrong.
    #[arg(long, value_name = "RELEASE")]
    pub release: String,
    /// Its service, where releases of several services share the name.
    #[arg(long, value_name = "NAME")]
    pub service: Option<String>,
    /// What the release got wrong, where that is known exactly.
    #[arg(long, value_name = "FILE")]
    pub faults: Option<PathBuf>,
    /// Which of the release's writes count as wrong [default: faults where a faults file is given, else violating].
    #[arg(long, value_enum, value_name = "SCOPE", requires_if("faults", "faults"))]
    pub scope: Option<ScopeArgument>,
    /// Only writes of the release at or after TIME (2026-03-02T10:00:00Z).
    #[arg(long, value_name = "TIME")]
    pub from: Option<Timestamp>,
    /// Only writes of the release before TIME.
    #[arg(long, value_name = "TIME")]
    pub until: Option<Timestamp>,
    /// Run statements that the built-in evaluator cannot run (triggers, PL/pgSQL, extensions, collations) as they were in
    /// this scratch PostgreSQL; nothing is left there. A URL, or env:NAME of a variable that holds one.
    #[arg(long, value_name = "URL")]
    pub reenact_on: Option<String>,
    /// Write every affected record to FILE: .ndjson, .csv or .parquet.
    #[arg(long, value_name = "FILE")]
    pub records: Option<PathBuf>,
    /// Write the report to FILE as one page for a browser.
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
}

/// Which of the release's writes count as wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeArgument {
    /// Those that broke a rule when they were committed.
    Violating,
    /// Those that the faults file describes.
    Faults,
    /// Every one.
    All,
}

/// A command beside the main job.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write repair.sql, undo.sql and manual.csv for what a release broke.
    #[command(after_help = "Examples:
  blast-radius repair --release v42 --out repair-v42 --verify
  psql \"$DATABASE_URL\" -v ON_ERROR_STOP=1 -f repair-v42/repair.sql

Exit status: 0 nothing is left for a person to do, 1 manual.csv or the rehearsal lists something, 2 could not do the job.
Formats: text (default), json.")]
    Repair(RepairArguments),
    /// Tell one record's story: who wrote each version, from what, and what a release did to it.
    #[command(after_help = "Examples:
  blast-radius explain public.orders 17
  blast-radius explain public.order_lines order_id=17,line_no=1 --release v42

Exit status: 0 the release (where one is named) did not touch it, 1 it did, 2 could not do the job.
Formats: text (default), json.")]
    Explain(ExplainArguments),
    /// Load write events and SQL logs into the store; safe to repeat.
    #[command(after_help = "Examples:
  blast-radius ingest events/*.ndjson.zst logs/*.json
  blast-radius ingest --log-line-prefix '%m [%p] %a %c %l %v %x ' postgresql.log.gz
  tail -n +1 events.ndjson | blast-radius ingest -

Exit status: 0 every line was read, 1 damaged lines went to the store's rejected table, 2 could not do the job.
Formats: auto (default), events, wal2json, debezium, otlp, postgres-jsonlog, postgres-csvlog, postgres-stderr,
openlineage, dbt; .gz and .zst are read as they are.")]
    Ingest(IngestArguments),
    /// Write blast-radius.toml and starter rules from what a database's schema declares; overwrites nothing.
    #[command(after_help = "Examples:
  blast-radius init postgres://audit@db.example.org/shop
  blast-radius init data                                a folder of Parquet or CSV files
  blast-radius init                                     DATABASE_URL, else the folder data

Writes blast-radius.toml and rules/schema.yaml into the current folder (or that of -C). A password is never written.
Exit status: 0 both files are written, 2 could not do the job.")]
    Init(InitArguments),
    /// Check the invariants, and list every record in breach of one.
    #[command(after_help = "Examples:
  blast-radius audit
  blast-radius audit --format junit -o audit.xml
  blast-radius audit --format markdown >> \"$GITHUB_STEP_SUMMARY\"

Exit status: 0 every rule holds, 1 a rule is broken, 2 could not do the job, or could not run every rule.
Formats: text (default), json, junit, sarif, github, markdown, prometheus, openlineage.")]
    Audit(AuditArguments),
    /// Tell what is recorded, from when and how completely, what could not be traced or repaired if it broke today, and
    /// how the rules came out from audit to audit.
    #[command(
        after_help = "Exit status: 0 nothing is missing and every rule holds, 1 something is, 2 could not do the job.
Formats: text (default), json."
    )]
    Status,
    /// Show which statements feed which tables and columns, from everything that is recorded; with --sql, what SQL
    /// reads and writes, column by column.
    #[command(after_help = "Examples:
  blast-radius lineage
  blast-radius lineage --table daily_sales --upstream --format mermaid
  blast-radius lineage --path orders.total daily_sales.revenue
  blast-radius lineage --sql report.sql --schema schema.sql
  pg_dump -s shop > schema.sql; blast-radius lineage --sql - --schema schema.sql --format json < log.sql

Exit status: 0 printed, 1 some statements of --sql were not wholly understood, 2 could not do the job.
Formats: text (default), json, dot, mermaid, openlineage; with --sql text and json.")]
    Lineage(LineageArguments),
    /// Record every committed write of the project's PostgreSQL database, with its release.
    #[command(
        subcommand,
        after_help = "Examples:
  blast-radius capture install --dry-run     the SQL, for a database administrator to review
  blast-radius capture install && blast-radius capture pull
  blast-radius capture follow                keep pulling until stopped

The application needs no change. PostgreSQL 14 or newer with wal_level = logical."
    )]
    Capture(CaptureCommand),
}

/// Options of `ingest`.
#[derive(Clone, Debug, Args)]
pub struct IngestArguments {
    /// Files to read, - for standard input; none: those that the project file names under ingest, where new or grown.
    #[arg(value_name = "FILES", help_heading = "Ingest")]
    pub files: Vec<PathBuf>,
    /// What SHOW log_line_prefix prints on the server that wrote the plain logs; default: told from their lines.
    #[arg(long, value_name = "PREFIX", help_heading = "Ingest")]
    pub log_line_prefix: Option<String>,
    /// Store nothing where any line is damaged (exit status 2).
    #[arg(long, help_heading = "Ingest")]
    pub strict: bool,
}

/// Options of `init`.
#[derive(Clone, Debug, Args)]
pub struct InitArguments {
    /// A PostgreSQL URL, env:NAME of a variable that holds one, or a folder of .parquet and .csv files.
    #[arg(value_name = "URL or FOLDER", help_heading = "Init")]
    pub database: Option<String>,
}

/// What `capture` does.
#[derive(Clone, Debug, Subcommand)]
pub enum CaptureCommand {
    /// Put a publication, a slot and a statement trigger on each table into the database.
    #[command(
        after_help = "Exit status: 0 installed, 2 could not be done: what was done stays, and installing again goes on from there."
    )]
    Install(CaptureInstallArguments),
    /// Store what was committed since the last pull, and let the server throw its log away.
    #[command(
        after_help = "Exit status: 0 pulled, 1 something could not be read or is missing, 2 could not do the job.
Safe to repeat, and to kill at any point: nothing is lost, nothing is stored twice."
    )]
    Pull,
    /// Pull for ever, until SIGTERM or Ctrl-C.
    Follow(CaptureFollowArguments),
    /// What waits in the slot, what the server keeps because of it, which tables are covered.
    #[command(after_help = "Exit status: 0 all is recorded, 1 something is not, 2 could not do the job.")]
    Status,
    /// Remove everything that install put into the database; pull first to keep what waits in the slot.
    Uninstall,
}

/// Options of `capture install`.
#[derive(Clone, Debug, Args)]
pub struct CaptureInstallArguments {
    /// How much of a row before a change is recorded: all of it, or its primary key.
    #[arg(long, value_enum, default_value = "full", value_name = "WHAT", help_heading = "Capture")]
    pub identity: IdentityArgument,
    /// What says in the log who writes: each transaction once, or each statement with its text.
    #[arg(long, value_enum, default_value = "transaction", value_name = "WHAT", help_heading = "Capture")]
    pub stamp: StampArgument,
    /// Print the SQL and do nothing.
    #[arg(long, help_heading = "Capture")]
    pub dry_run: bool,
}

/// Options of `capture follow`.
#[derive(Clone, Debug, Args)]
pub struct CaptureFollowArguments {
    /// Wait SECONDS after a pull.
    #[arg(long, value_name = "SECONDS", default_value = "5", help_heading = "Capture",
          value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub interval: u64,
}

/// How much of a row before a change is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IdentityArgument {
    /// All of it.
    Full,
    /// Its primary key; all of it where a table has none.
    Default,
}

/// What says in the log who writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StampArgument {
    /// Each transaction, once.
    Transaction,
    /// Each statement, with its text.
    Statement,
}

/// Since when what changed is audited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SinceArgument {
    /// Since the last audit.
    Last,
}

/// Options of `audit`.
#[derive(Clone, Debug, Args)]
pub struct AuditArguments {
    /// Look only at rows whose writes were recorded since the last audit, where a rule allows it; each rule says so.
    #[arg(long, value_enum, value_name = "WHEN", help_heading = "Audit")]
    pub since: Option<SinceArgument>,
    /// Write every violation to FILE (.ndjson).
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    pub records: Option<PathBuf>,
    /// Write the audit to FILE as one page for a browser.
    #[arg(long, value_name = "FILE", help_heading = "Audit")]
    pub html: Option<PathBuf>,
    /// Write the violations of RULE that stand now to the file of accepted ones, so that only new ones count.
    #[arg(long, value_name = "RULE", requires = "until", requires = "reason", help_heading = "Audit")]
    pub accept: Option<String>,
    /// The last day on which they are accepted.
    #[arg(long, value_name = "DATE", requires = "accept", help_heading = "Audit")]
    pub until: Option<jiff::civil::Date>,
    /// Why they are accepted.
    #[arg(long, value_name = "TEXT", requires = "accept", help_heading = "Audit")]
    pub reason: Option<String>,
}

/// Options of `lineage`.
#[derive(Clone, Debug, Args)]
pub struct LineageArguments {
    /// Only what this table is fed by, and feeds; several times for several tables.
    #[arg(long, value_name = "TABLE", help_heading = "Lineage")]
    pub table: Vec<String>,
    /// Only what this column is fed by, and feeds: schema.table.column, or table.column.
    #[arg(long, value_name = "COLUMN", help_heading = "Lineage")]
    pub column: Vec<String>,
    /// Only where they come from.
    #[arg(long, help_heading = "Lineage")]
    pub upstream: bool,
    /// Only what they feed.
    #[arg(long, help_heading = "Lineage")]
    pub downstream: bool,
    /// The shortest way by which one column comes to bear on another.
    #[arg(long, num_args = 2, value_names = ["FROM", "TO"], help_heading = "Lineage")]
    pub path: Vec<String>,
    /// Files of SQL, - for standard input: analysed alone, without a project or a store.
    #[arg(long, value_name = "FILE", num_args = 1..,
          conflicts_with_all = ["table", "column", "upstream", "downstream", "path"], help_heading = "Lineage")]
    pub sql: Vec<PathBuf>,
    /// What is defined before the first statement, so that * and bare column names can be resolved: files of
    /// definitions (CREATE TABLE …), as pg_dump -s writes them.
    #[arg(long, value_name = "FILE", num_args = 1.., requires = "sql", help_heading = "Lineage")]
    pub schema: Vec<PathBuf>,
    /// The dialect of the SQL: postgres, ansi, bigquery, clickhouse, databricks, duckdb, generic, hive, mssql, mysql,
    /// oracle, redshift, snowflake or sqlite.
    #[arg(long, value_name = "DIALECT", default_value = "postgres", help_heading = "Lineage")]
    pub dialect: Dialect,
}

/// Options of `explain`.
#[derive(Clone, Debug, Args)]
#[command(mut_arg("release", |release| release.required(false)))]
pub struct ExplainArguments {
    /// The record's table: orders, or public.orders.
    #[arg(value_name = "TABLE", help_heading = "Explain")]
    pub table: String,
    /// The record's key: 17, or a=1,b=2.
    #[arg(value_name = "KEY", help_heading = "Explain", allow_hyphen_values = true)]
    pub key: String,
    /// The release to trace, where one is named.
    #[command(flatten)]
    pub trace: Option<TraceArguments>,
}

/// Options of `repair`.
#[derive(Clone, Debug, Args)]
pub struct RepairArguments {
    /// What to trace first.
    #[command(flatten)]
    pub trace: TraceArguments,
    /// The folder for the three files; made where it is not there.
    #[arg(long, value_name = "DIR", help_heading = "Repair")]
    pub out: PathBuf,
    /// Repair more: records that are only possibly wrong but have an expected value; values of personal columns, which
    /// are otherwise never written to a file.
    #[arg(long, value_enum, value_name = "WHAT", value_delimiter = ',', help_heading = "Repair")]
    pub include: Vec<IncludeArgument>,
    /// Run repair and undo on the project's database in one transaction, and roll it back.
    #[arg(long, help_heading = "Repair")]
    pub verify: bool,
    /// Change at most ROWS rows in one transaction.
    #[arg(long, value_name = "ROWS", default_value = "10000", help_heading = "Repair",
          value_parser = clap::value_parser!(u32).range(1..))]
    pub batch: u32,
}

/// What `repair` includes beside root and derived records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum IncludeArgument {
    /// Possible records that have an expected value.
    Possible,
    /// Values of personal columns.
    Personal,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        Arguments::try_parse_from(line.split(' '))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_main_job_needs_a_release_and_a_command_does_not() {
        let main = parse("blast-radius -C shop --release v42 --scope all").expect("the main job parses");
        let trace = main.trace.expect("the main job's options are there");
        assert_eq!((trace.release.as_str(), trace.scope), ("v42", Some(ScopeArgument::All)));
        let repair = parse("blast-radius repair -C shop --release v42 --out r --include possible,personal");
        assert!(
            matches!(repair.map(|parsed| parsed.command), Ok(Some(Command::Repair(found))) if found.include.len() == 2)
        );
        let explain = parse("blast-radius explain orders 17").expect("no release need be named");
        assert!(matches!(explain.command, Some(Command::Explain(found)) if found.trace.is_none()));
        let explain = parse("blast-radius explain orders 17 --release v42").expect("a release may be named");
        assert!(matches!(explain.command, Some(Command::Explain(found)) if found.trace.is_some()));
        for wrong in [
            "blast-radius explain orders",
            "blast-radius explain orders 17 --scope all",
            "blast-radius -C shop",
            "blast-radius --scope all",
            "blast-radius --release v42 --scope faults",
            "blast-radius --release v42 --engine df://host:1",
            "blast-radius --release v42 --from yesterday",
            "blast-radius repair --release v42",
            "blast-radius repair --release v42 --out r --batch 0",
        ] {
            let error = parse(wrong).err().map(|error| error.exit_code());
            assert_eq!(error, Some(2), "{wrong}");
        }
    }
}
