//! How to reach a database: a connection string as psql takes it, completed by `PG*` variables and the password file.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio_postgres::config::SslMode;

use super::password_file::find_password;

/// What a connection string and the environment say together. Its `Debug` leaves the password out.
#[derive(Clone)]
pub(in crate::catalog) struct ConnectionSettings {
    config: tokio_postgres::Config,
    target: String,
}

impl std::fmt::Debug for ConnectionSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConnectionSettings").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Options of libpq that change nothing about what we read, or that only matter with TLS.
const WITHOUT_EFFECT: [&str; 16] = [
    "channel_binding",
    "client_encoding",
    "fallback_application_name",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcert",
    "sslcompression",
    "sslcrl",
    "sslkey",
    "sslrootcert",
    "target_session_attrs",
    "tcp_user_timeout",
];

/// Options that can also come from an environment variable.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("port", "PGPORT"),
    ("user", "PGUSER"),
    ("password", "PGPASSWORD"),
    ("dbname", "PGDATABASE"),
    ("sslmode", "PGSSLMODE"),
    ("options", "PGOPTIONS"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("passfile", "PGPASSFILE"),
];

impl ConnectionSettings {
    /// Reads a URL (`postgres://user@host:port/database?sslmode=prefer`) or `key=value` pairs; `environment` looks up
    /// a variable.
    ///
    /// # Errors
    /// What is wrong and what to write instead; never with the string itself, which may hold a password.
    pub(in crate::catalog) fn read(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut options = parse(text)?;
        for (option, variable) in ENVIRONMENT {
            if let Some(value) = environment(variable).filter(|value| !value.is_empty()) {
                options.set_default(option, value);
            }
        }
        if options.get("service").is_some() || environment("PGSERVICE").is_some_and(|service| !service.is_empty()) {
            return Err("connection service files are not read: name host, port, user and database instead".to_owned());
        }
        options.check()?;
        options.set_default("host", default_host());
        let config = options.config(&environment)?;
        let target = format!("{}:{}", options.get("host").unwrap_or_default(), options.get("port").unwrap_or("5432"));
        Ok(ConnectionSettings { config, target })
    }

    /// What tokio-postgres connects with.
    pub(in crate::catalog) fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// Host and port, for messages.
    pub(in crate::catalog) fn target(&self) -> &str {
        &self.target
    }
}

/// Where a server of this machine listens, as Debian and as PostgreSQL itself build it.
fn default_host() -> String {
    let debian = "/var/run/postgresql";
    match (cfg!(unix), Path::new(debian).is_dir()) {
        (true, true) => debian.to_owned(),
        (true, false) => "/tmp".to_owned(),
        (false, _) => "localhost".to_owned(),
    }
}

#[derive(Default)]
struct Options(Vec<(String, String)>);

impl Options {
    fn get(&self, option: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    fn set(&mut self, option: &str, value: String) {
        self.0.push((option.to_owned(), value));
    }

    fn set_default(&mut self, option: &str, value: String) {
        if self.get(option).is_none() {
            self.set(option, value);
        }
    }

    /// Every option is one that we follow, or one that changes nothing.
    fn check(&self) -> Result<(), String> {
        const FOLLOWED: [&str; 12] = [
            "application_name",
            "connect_timeout",
            "dbname",
            "host",
            "hostaddr",
            "options",
            "passfile",
            "password",
            "port",
            "sslmode",
            "user",
            "service",
        ];
        for (name, _) in &self.0 {
            if !FOLLOWED.contains(&name.as_str()) && !WITHOUT_EFFECT.contains(&name.as_str()) {
                return Err(format!("unknown connection option '{name}'"));
            }
        }
        match self.get("sslmode").unwrap_or("prefer") {
            "disable" | "allow" | "prefer" => Ok(()),
            mode @ ("require" | "verify-ca" | "verify-full") => Err(format!(
                "sslmode={mode} asks for TLS, which is not supported yet: \
                 use sslmode=prefer through a tunnel, or a local socket"
            )),
            other => Err(format!("unknown sslmode '{other}': use disable, allow or prefer")),
        }
    }

    fn config(&self, environment: &impl Fn(&str) -> Option<String>) -> Result<tokio_postgres::Config, String> {
        let mut config = tokio_postgres::Config::new();
        let host = self.get("host").unwrap_or_default().to_owned();
        host.split(',').for_each(|host| _ = config.host(host));
        for address in self.get("hostaddr").into_iter().flat_map(|addresses| addresses.split(',')) {
            config.hostaddr(address.parse().map_err(|_| format!("hostaddr '{address}' is no IP address"))?);
        }
        for port in self.get("port").into_iter().flat_map(|ports| ports.split(',')) {
            config.port(port.trim().parse().map_err(|_| format!("port '{port}' is no number from 1 to 65535"))?);
        }
        if let Some(user) = self.get("user") {
            config.user(user);
        }
        if let Some(database) = self.get("dbname") {
            config.dbname(database);
        }
        if let Some(options) = self.get("options") {
            config.options(options);
        }
        let seconds = self.get("connect_timeout").unwrap_or("30");
        let seconds: u64 =
            seconds.parse().map_err(|_| format!("connect_timeout '{seconds}' is no number of seconds"))?;
        // libpq reads 0 as: wait without end.
        if seconds > 0 {
            config.connect_timeout(Duration::from_secs(seconds));
        }
        config.application_name(self.get("application_name").unwrap_or("blast-radius"));
        config.ssl_mode(SslMode::Disable);
        if let Some(password) = self.password(environment) {
            config.password(password);
        }
        Ok(config)
    }

    fn password(&self, environment: &impl Fn(&str) -> Option<String>) -> Option<String> {
        if let Some(password) = self.get("password") {
            return Some(password.to_owned());
        }
        let named = self.get("passfile").map(PathBuf::from);
        let file = named.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".pgpass")))?;
        let user = self.get("user").map(str::to_owned).or_else(|| environment("USER"))?;
        let database = self.get("dbname").unwrap_or(&user);
        let entries = std::fs::read_to_string(file).ok()?;
        let host = self.get("host").unwrap_or_default();
        find_password(&entries, host, self.get("port").unwrap_or("5432"), database, &user)
    }
}

fn parse(text: &str) -> Result<Options, String> {
    let text = text.trim();
    match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        Some(rest) => parse_url(rest),
        None if text.contains("://") => Err("expected a URL that begins with postgres://".to_owned()),
        None => parse_pairs(text),
    }
}

fn parse_url(rest: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (credentials, hosts),
        None => ("", authority),
    };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if !user.is_empty() {
        options.set("user", decode(user)?);
    }
    if let Some(password) = password {
        options.set("password", decode(password)?);
    }
    let mut names = Vec::new();
    let mut ports = Vec::new();
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = split_port(host);
        names.push(decode(name)?);
        ports.extend(port.map(str::to_owned));
    }
    if names.iter().any(|name| !name.is_empty()) {
        options.set("host", names.join(","));
    }
    if !ports.is_empty() {
        options.set("port", ports.join(","));
    }
    if !database.is_empty() {
        options.set("dbname", decode(database)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("the URL's options must be name=value pairs")?;
        options.set(&decode(name)?, decode(value)?);
    }
    Ok(options)
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').filter(|port| !port.is_empty()));
    }
    match host.split_once(':') {
        Some((name, port)) => (name, (!port.is_empty()).then_some(port)),
        None => (host, None),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = after.get(..2).ok_or("a % in the URL must be followed by two hexadecimal digits")?;
        let byte = u8::from_str_radix(digits, 16);
        bytes.push(byte.map_err(|_| "a % in the URL must be followed by two hexadecimal digits")?);
        rest = after.get(2..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "the URL's % escapes are no UTF-8".to_owned())
}

fn parse_pairs(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("expected a postgres:// URL or name=value pairs")?;
        let (value, after) = pair_value(after.trim_start())?;
        options.set(name.trim(), value);
        rest = after.trim_start();
    }
    Ok(options)
}

/// A value up to the next blank, or in single quotes; a backslash takes the next character as it is.
fn pair_value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices();
    if quoted {
        characters.next();
    }
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, text.get(position + 1..).unwrap_or_default())),
            blank if !quoted && blank.is_whitespace() => return Ok((value, text.get(position..).unwrap_or_default())),
            other => value.push(other),
        }
    }
    if quoted { Err("a quote in the connection string is never closed".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<ConnectionSettings, String> {
        let lookup =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        ConnectionSettings::read(text, lookup)
    }

    #[test]
    fn urls_and_pairs_say_the_same() {
        for text in [
            "postgres://ann:p%40ss@db.example:5433/shop?sslmode=prefer&application_name=audit",
            "host=db.example port=5433 user=ann password='p@ss' dbname = shop application_name=audit",
        ] {
            let settings = read(text, &[]).expect(text);
            let config = settings.config();
            assert_eq!(config.get_hosts(), [Host::Tcp("db.example".to_owned())]);
            assert_eq!(config.get_ports(), [5433]);
            assert_eq!((config.get_user(), config.get_dbname()), (Some("ann"), Some("shop")));
            assert_eq!(config.get_password(), Some(b"p@ss".as_slice()));
            assert_eq!(config.get_application_name(), Some("audit"));
            assert_eq!(settings.target(), "db.example:5433");
            assert!(!format!("{settings:?}").contains("p@ss"));
        }
    }

    #[test]
    fn the_environment_completes_what_the_string_leaves_out() {
        let variables = [("PGHOST", "/sockets"), ("PGUSER", "bob"), ("PGDATABASE", "other"), ("PGPASSWORD", "secret")];
        let settings = read("postgres:///shop", &variables).expect("a URL");
        let config = settings.config();
        assert_eq!(config.get_hosts(), [Host::Unix("/sockets".into())]);
        assert_eq!((config.get_user(), config.get_dbname()), (Some("bob"), Some("shop")));
        assert_eq!(config.get_password(), Some(b"secret".as_slice()));
    }

    #[test]
    fn sockets_addresses_and_several_hosts() {
        let settings = read("postgresql://%2Ftmp%2Fpg/shop", &[]).expect("a socket");
        assert_eq!(settings.config().get_hosts(), [Host::Unix("/tmp/pg".into())]);
        let settings = read("postgres://ann@[::1]:6000,b:6001/shop", &[]).expect("two hosts");
        assert_eq!(settings.config().get_hosts(), [Host::Tcp("::1".to_owned()), Host::Tcp("b".to_owned())]);
        assert_eq!(settings.config().get_ports(), [6000, 6001]);
    }

    #[test]
    fn the_password_file_is_asked_last() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("passwords");
        std::fs::write(&file, "db:5432:shop:ann:from file\n").expect("a file");
        let file = file.to_string_lossy();
        let settings = read("postgres://ann@db/shop", &[("PGPASSFILE", &file)]).expect("a URL");
        assert_eq!(settings.config().get_password(), Some(b"from file".as_slice()));
    }

    #[test]
    fn mistakes_are_told_without_the_string() {
        for (text, reason) in [
            ("postgres://ann:secret@db/shop?sslmode=require", "not supported yet"),
            ("postgres://ann:secret@db/shop?sslmod=require", "unknown connection option 'sslmod'"),
            ("postgres://ann:secret@db:port/shop", "port 'port'"),
            ("mysql://ann:secret@db/shop", "begins with postgres://"),
            ("shop", "name=value"),
            ("service=secret", "service files"),
            ("password='secret", "never closed"),
        ] {
            let message = read(text, &[]).expect_err(text);
            assert!(message.contains(reason) && !message.contains("secret"), "{text}: {message}");
        }
    }
}
