//! One PostgreSQL server in a temporary folder: found, started, and gone with the process that asked for it.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::OnceLock;

/// The oldest major version that writes `jsonlog`.
const OLDEST_VERSION: u32 = 15;

/// Another process may take the free port between our look and the server's start: then the next one is tried.
const START_ATTEMPTS: usize = 5;

/// What a recording needs (docs/rules.md and the contract name these settings), and what makes a server quick to start
/// and to throw away.
const SETTINGS: &str = "
wal_level = logical
logging_collector = on
log_destination = jsonlog
log_directory = log
log_filename = 'server.log'
log_rotation_age = 0
log_rotation_size = 0
log_min_duration_statement = 0
log_statement = none
log_parameter_max_length = -1
log_connections = on
log_disconnections = on
track_commit_timestamp = on
lc_messages = C
timezone = UTC
log_timezone = UTC
fsync = off
full_page_writes = off
jit = off
";

/// Stops the server and removes its folder as soon as its standard input ends, which is when the process that started
/// the server drops the [`Cluster`], exits, panics or is killed.
const STOP_WITH_OWNER: &str = r#"cat >/dev/null; "$1" -D "$2/data" -m immediate stop >/dev/null 2>&1; rm -rf "$2""#;

/// A running server. Dropping it stops it and removes everything it wrote.
pub struct Cluster {
    folder: PathBuf,
    port: u16,
    binaries: PathBuf,
    owner: Option<Owner>,
    /// Its standard input is held open as long as the server shall live.
    keeper: Child,
}

impl Cluster {
    /// The server that all tests of this process share, started by the first that asks.
    pub fn shared() -> &'static Cluster {
        static SHARED: OnceLock<Cluster> = OnceLock::new();
        SHARED.get_or_init(|| Cluster::start(""))
    }

    /// A server of its own, with `settings` (lines of `postgresql.conf`) over those every test server has.
    ///
    /// # Panics
    /// Without PostgreSQL 15 or newer on this machine, saying how to get it; and where the server does not start.
    pub fn start(settings: &str) -> Cluster {
        let binaries = find_binaries();
        let owner = Owner::of_server();
        let folder = tempfile::Builder::new()
            // Not TMPDIR: a socket's path has to be short, and the server's user must be able to reach it.
            .prefix("blast-radius-postgres-")
            .tempdir_in("/tmp")
            .expect("/tmp takes a folder")
            .keep();
        if let Some(owner) = &owner {
            chown(&folder, Some(owner.user), Some(owner.group)).expect("root may give a folder away");
        }
        let keeper = owner_command(owner.as_ref(), Path::new("sh"))
            .args(["-c", STOP_WITH_OWNER, "sh"])
            .arg(binaries.join("pg_ctl"))
            .arg(&folder)
            // Out of our process group: what interrupts the tests must not reach who cleans up after them.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("a shell starts");
        let mut cluster = Cluster { folder, port: 0, binaries, owner, keeper };
        cluster.initialise(settings);
        cluster.serve();
        cluster
    }

    /// The port on 127.0.0.1, and the number in the socket's name.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that holds the server's socket (and all else it writes).
    pub fn socket_folder(&self) -> &Path {
        &self.folder
    }

    /// The file to which the server writes its `jsonlog`.
    pub fn jsonlog_path(&self) -> PathBuf {
        self.folder.join("data/log/server.json")
    }

    /// One of PostgreSQL's own programs, such as `psql`.
    pub fn program(&self, name: &str) -> PathBuf {
        let beside_server = self.binaries.join(name);
        if beside_server.exists() { beside_server } else { PathBuf::from(name) }
    }

    fn initialise(&self, settings: &str) {
        let data = self.folder.join("data");
        let output = owner_command(self.owner.as_ref(), &self.binaries.join("initdb"))
            .args(["--no-sync", "--auth=trust", "--username=postgres", "--encoding=UTF8", "--locale=C", "--pgdata"])
            .arg(&data)
            .output()
            .expect("initdb starts");
        assert!(output.status.success(), "initdb failed:\n{}", String::from_utf8_lossy(&output.stderr));
        let configuration = data.join("postgresql.conf");
        let mut text = fs::read_to_string(&configuration).expect("initdb wrote a configuration");
        text.push_str(SETTINGS);
        text.push_str(settings);
        fs::write(&configuration, text).expect("the configuration can be written");
    }

    fn serve(&mut self) {
        let startup_log = self.folder.join("startup.log");
        for _ in 0..START_ATTEMPTS {
            self.port = free_port();
            let options = format!("-c listen_addresses=127.0.0.1 -p {} -k {}", self.port, self.folder.display());
            let status = owner_command(self.owner.as_ref(), &self.binaries.join("pg_ctl"))
                .args(["start", "--wait", "--silent", "--options", &options, "--pgdata"])
                .arg(self.folder.join("data"))
                .arg("--log")
                .arg(&startup_log)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .expect("pg_ctl starts");
            if status.success() {
                return;
            }
        }
        let said: Vec<String> = [startup_log, self.jsonlog_path()].iter().flat_map(fs::read_to_string).collect();
        panic!("PostgreSQL did not start; it said:\n{}", said.join("\n"));
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let input: Option<ChildStdin> = self.keeper.stdin.take();
        drop(input);
        // Nothing to report a failure to: the keeper ends by itself, and the folder is in /tmp.
        let _ = self.keeper.wait();
    }
}

/// The user that runs the server where we are root, which PostgreSQL refuses to be.
struct Owner {
    user: u32,
    group: u32,
}

impl Owner {
    fn of_server() -> Option<Owner> {
        if id("-u", None) != Some(0) {
            return None;
        }
        match (id("-u", Some("postgres")), id("-g", Some("postgres"))) {
            (Some(user), Some(group)) => Some(Owner { user, group }),
            _ => panic!("PostgreSQL refuses to run as root, and there is no user 'postgres': {HOW_TO_INSTALL}"),
        }
    }
}

fn id(option: &str, user: Option<&str>) -> Option<u32> {
    let output = Command::new("id").arg(option).args(user).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// A command that runs as the server's user, in a folder that this user can be in.
fn owner_command(owner: Option<&Owner>, program: &Path) -> Command {
    let mut command = Command::new(program);
    command.current_dir("/");
    if let Some(owner) = owner {
        command.uid(owner.user).gid(owner.group);
    }
    command
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("the loopback interface has a free port");
    listener.local_addr().expect("a bound listener has an address").port()
}

const HOW_TO_INSTALL: &str = "install PostgreSQL 15 or newer (Debian, Ubuntu: apt-get install postgresql; \
                              macOS: brew install postgresql@16), or put its initdb and pg_ctl on the PATH";

/// The folder with the server's programs: the one on the PATH, else what `pg_config` says, else the newest installed.
fn find_binaries() -> PathBuf {
    let mut candidates: Vec<PathBuf> =
        std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        candidates.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let mut installed = Vec::new();
    for pattern in [
        "/usr/lib/postgresql/*/bin",
        "/usr/pgsql-*/bin",
        "/opt/homebrew/opt/postgresql@*/bin",
        "/usr/local/opt/postgresql@*/bin",
    ] {
        installed.extend(glob::glob(pattern).expect("the pattern is one").flatten());
    }
    installed.sort_by_key(|folder| std::cmp::Reverse(server_version(folder)));
    candidates.extend(installed);
    let found: Vec<(PathBuf, u32)> =
        candidates.into_iter().filter_map(|folder| server_version(&folder).map(|version| (folder, version))).collect();
    match found.iter().find(|(_, version)| *version >= OLDEST_VERSION) {
        Some((folder, _)) => folder.clone(),
        None if found.is_empty() => panic!("no PostgreSQL server on this machine: {HOW_TO_INSTALL}"),
        None => panic!("PostgreSQL {} is too old: {HOW_TO_INSTALL}", found[0].1),
    }
}

/// The major version of the server whose programs are in `folder`; `None` where there are not both of them.
fn server_version(folder: &Path) -> Option<u32> {
    if !folder.join("pg_ctl").exists() {
        return None;
    }
    let output = Command::new(folder.join("initdb")).arg("--version").output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let (_, version) = text.split_once("PostgreSQL) ")?;
    version.split(|letter: char| !letter.is_ascii_digit()).next()?.parse().ok()
}
