//! `capture`: a live database, recorded with no change to the application.

use std::path::Path;
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio_postgres::Client;

use crate::capture::postgres::{
    CaptureStatus, InstallOptions, RecordedIdentity, Stamping, install, script, status, uninstall,
};
use crate::catalog::connect_to;
use crate::cli::ExitStatus;
use crate::cli::arguments::{
    CaptureCommand, CaptureFollowArguments, CaptureInstallArguments, GlobalArguments, IdentityArgument, StampArgument,
};
use crate::cli::diagnostic::Failure;
use crate::cli::output::write_result;
use crate::cli::pulling::{PullError, Pulled, pull, stored_place};
use crate::model::DatabaseSource;
use crate::project::Project;
use crate::store::Store;

/// More log than this, kept by the server because of us, is warned of.
const MUCH_KEPT: u64 = 10 << 30;

/// A project whose data is a live database.
struct LiveProject {
    project: Project,
    url: String,
    schemas: Vec<String>,
}

impl LiveProject {
    fn find() -> Result<Self, Failure> {
        let project = Project::find(Path::new("."))?;
        match project.database()? {
            Some(DatabaseSource::Postgres { url, schemas }) => Ok(LiveProject { project, url, schemas }),
            _ => Err(Failure::new("find the database to record: the project names no database url")
                .with_help("Name it in blast-radius.toml: [database] with url = \"env:DATABASE_URL\".")),
        }
    }

    async fn connect(&self) -> Result<Client, PullError> {
        Ok(connect_to(&self.url).await?)
    }

    async fn store(&self) -> Result<Store, Failure> {
        Ok(Store::open(&self.project.store).await?)
    }
}

/// Does what the command says.
///
/// # Errors
/// A database that cannot be recorded, or a store that cannot be written.
pub async fn run(global: &GlobalArguments, command: &CaptureCommand) -> Result<ExitStatus, Failure> {
    if let Some(format) = global.format.as_deref().filter(|format| *format != "text") {
        return Err(Failure::new(format!("print as {format}: capture has only text")));
    }
    let live = LiveProject::find()?;
    match command {
        CaptureCommand::Install(arguments) => run_install(global, &live, arguments).await,
        CaptureCommand::Pull => run_pull(global, &live).await,
        CaptureCommand::Follow(arguments) => run_follow(global, &live, arguments).await,
        CaptureCommand::Status => run_status(global, &live).await,
        CaptureCommand::Uninstall => run_uninstall(global, &live).await,
    }
}

async fn run_install(
    global: &GlobalArguments,
    live: &LiveProject,
    arguments: &CaptureInstallArguments,
) -> Result<ExitStatus, Failure> {
    let options = InstallOptions {
        schemas: live.schemas.clone(),
        identity: match arguments.identity {
            IdentityArgument::Full => RecordedIdentity::Full,
            IdentityArgument::Default => RecordedIdentity::Default,
        },
        stamping: match arguments.stamp {
            StampArgument::Transaction => Stamping::Transaction,
            StampArgument::Statement => Stamping::Statement,
        },
    };
    let client = live.connect().await?;
    if arguments.dry_run {
        let sql = script(&client, &options).await?;
        write_result(global, |out| Ok(write!(out, "{sql}")?))?;
        return Ok(ExitStatus::NothingFound);
    }
    let installed = install(&client, &options).await?;
    write_result(global, |out| {
        let covered = installed.tables.iter().filter(|table| table.missing.is_none()).count();
        writeln!(out, "recording {covered} tables through the slot {}", installed.installation.slot)?;
        for table in installed.tables.iter().filter(|table| table.missing.is_some()) {
            writeln!(out, "not recorded: {}: {}", table.name, table.missing.as_deref().unwrap_or_default())?;
        }
        if !installed.covers_later {
            writeln!(out, "only a superuser may cover tables created later: install again after creating one")?;
        }
        Ok(writeln!(out, "from now on the server keeps its log until it is pulled: run blast-radius capture follow")?)
    })?;
    Ok(ExitStatus::NothingFound)
}

async fn run_pull(global: &GlobalArguments, live: &LiveProject) -> Result<ExitStatus, Failure> {
    let client = live.connect().await?;
    let mut store = live.store().await?;
    let pulled = pull(&client, &mut store).await?;
    write_result(global, |out| Ok(writeln!(out, "{pulled}")?))?;
    let is_whole = pulled.gap.is_none() && pulled.appended.rejected == 0;
    Ok(if is_whole { ExitStatus::NothingFound } else { ExitStatus::Found })
}

async fn run_follow(
    global: &GlobalArguments,
    live: &LiveProject,
    arguments: &CaptureFollowArguments,
) -> Result<ExitStatus, Failure> {
    let mut stop = StopSignal::listen()?;
    let backoff = || {
        let delays = ExponentialBuilder::default().with_min_delay(Duration::from_secs(1));
        delays.with_max_delay(Duration::from_secs(60)).with_factor(2.0).with_jitter().without_max_times().build()
    };
    let mut delays = backoff();
    let mut client: Option<Client> = None;
    loop {
        let began = Instant::now();
        // A pull that has begun is brought to its end; a second signal does not wait for it.
        let outcome = tokio::select! {
            outcome = pull_once(live, &mut client) => outcome,
            () = stop.twice() => return Ok(ExitStatus::NothingFound),
        };
        let pause = match outcome {
            Ok(pulled) => {
                delays = backoff();
                report(global, &pulled, began.elapsed());
                Duration::from_secs(arguments.interval)
            }
            Err(error) if error.may_pass() => {
                client = None;
                let pause = delays.next().unwrap_or(Duration::from_secs(60));
                notice(global, &format!("failed to {error}; trying again in {} s", pause.as_secs().max(1)));
                pause
            }
            Err(error) => return Err(error.into()),
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = stop.once() => return Ok(ExitStatus::NothingFound),
        }
    }
}

async fn pull_once(live: &LiveProject, client: &mut Option<Client>) -> Result<Pulled, PullError> {
    let client = match client {
        Some(client) if !client.is_closed() => client,
        _ => client.insert(live.connect().await?),
    };
    // Opened anew each time: somebody may have ingested in between.
    let mut store = Store::open(&live.project.store).await?;
    pull(client, &mut store).await
}

fn report(global: &GlobalArguments, pulled: &Pulled, took: Duration) {
    if pulled.appended.total() == 0 && pulled.gap.is_none() {
        return;
    }
    let writes = u32::try_from(pulled.appended.writes).unwrap_or(u32::MAX);
    let rate = f64::from(writes) / took.as_secs_f64().max(0.001);
    notice(global, &format!("{pulled}, {rate:.0} writes/s"));
}

/// Progress is for people, and no result: where nobody reads it any more, the work goes on.
fn notice(global: &GlobalArguments, text: &str) {
    if !global.quiet {
        use std::io::Write;
        let _ = writeln!(anstream::stderr(), "{text}");
    }
}

/// SIGTERM and SIGINT, counted.
struct StopSignal {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    received: u32,
}

impl StopSignal {
    fn listen() -> Result<Self, Failure> {
        #[cfg(unix)]
        {
            use tokio::signal::unix::{SignalKind, signal};
            let listen = |kind| signal(kind).map_err(|error| Failure::new(format!("listen to signals: {error}")));
            Ok(StopSignal {
                terminate: listen(SignalKind::terminate())?,
                interrupt: listen(SignalKind::interrupt())?,
                received: 0,
            })
        }
        #[cfg(not(unix))]
        Ok(StopSignal { received: 0 })
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
        #[cfg(not(unix))]
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.received += 1;
    }

    /// Until the first signal; at once where it came before.
    async fn once(&mut self) {
        while self.received < 1 {
            self.next().await;
        }
    }

    /// Until the second.
    async fn twice(&mut self) {
        while self.received < 2 {
            self.next().await;
        }
    }
}

async fn run_status(global: &GlobalArguments, live: &LiveProject) -> Result<ExitStatus, Failure> {
    let client = live.connect().await?;
    let Some(status) = status(&client).await? else {
        write_result(global, |out| Ok(writeln!(out, "not installed: run blast-radius capture install")?))?;
        return Ok(ExitStatus::Found);
    };
    let stored = stored_place(&live.store().await?, &status.installation).await?;
    let problems = problems(&status, stored);
    write_result(global, |out| {
        let installation = &status.installation;
        writeln!(
            out,
            "recorded since {} (identity {}, stamp {})",
            installation.installed, installation.identity, installation.stamp
        )?;
        match &status.slot {
            Some(slot) => writeln!(
                out,
                "slot {}: pulled up to {}, behind by {} bytes; the server keeps {} bytes of its log",
                installation.slot, slot.confirmed, slot.lag_bytes, slot.kept_bytes
            )?,
            None => writeln!(out, "slot {}: gone", installation.slot)?,
        }
        let covered = status.tables.iter().filter(|table| table.missing.is_none()).count();
        writeln!(out, "tables recorded: {covered} of {}", status.tables.len())?;
        let later = if status.covers_later { "by themselves" } else { "only once capture install is run again" };
        writeln!(out, "tables created later are recorded {later}")?;
        if !status.has_keep_limit {
            writeln!(out, "max_slot_wal_keep_size is not set: while nobody pulls, the server's disk may fill up")?;
        }
        problems.iter().try_for_each(|problem| writeln!(out, "! {problem}"))?;
        Ok(())
    })?;
    Ok(if problems.is_empty() { ExitStatus::NothingFound } else { ExitStatus::Found })
}

/// What is not recorded, or soon will not be.
fn problems(status: &CaptureStatus, stored: Option<crate::capture::postgres::Place>) -> Vec<String> {
    let mut problems = Vec::new();
    match &status.slot {
        None => problems.push("the slot is gone: nothing is recorded; run blast-radius capture install".to_owned()),
        Some(slot) if slot.is_lost => problems.push(
            "the server threw away log that was not pulled: run blast-radius capture install to begin anew".to_owned(),
        ),
        Some(slot) => {
            problems.extend(slot.gap(&status.installation, stored).map(|gap| format!("gap: {gap}")));
            if slot.kept_bytes > MUCH_KEPT {
                problems.push(format!(
                    "WARNING: the server keeps {} GB of its log because of us: pull, or uninstall, before its disk is full",
                    slot.kept_bytes >> 30
                ));
            }
        }
    }
    let uncovered = status.tables.iter().filter_map(|table| Some((table, table.missing.as_ref()?)));
    problems.extend(uncovered.map(|(table, reason)| format!("not recorded: {}: {reason}", table.name)));
    problems
}

async fn run_uninstall(global: &GlobalArguments, live: &LiveProject) -> Result<ExitStatus, Failure> {
    let client = live.connect().await?;
    let removed = uninstall(&client).await?;
    let said =
        if removed { "the recording is removed; the store keeps what was pulled" } else { "nothing is installed" };
    write_result(global, |out| Ok(writeln!(out, "{said}")?))?;
    Ok(ExitStatus::NothingFound)
}
