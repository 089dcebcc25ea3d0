//! How to reach a database: a connection string as psql takes it, completed by a service, the environment and the files in
//! the user's home.

use std::path::Path;
use std::time::Duration;

use tokio_postgres::config::{ChannelBinding, TargetSessionAttrs};

use super::certificates::Certificates;
use super::connection_string::{Options, parse};
use super::encryption::{Encryption, encryption_of, is_socket, mode_of};
use super::password_file::{StoredPassword, stored_password};
use super::service_file::find_service;
use crate::engine::EngineError;

/// What a connection string, the environment and the user's files say together. Its `Debug` leaves the password out.
#[derive(Clone)]
pub struct ConnectionSettings {
    config: tokio_postgres::Config,
    target: String,
    encryption: Encryption,
    certificates: Certificates,
    password_problem: Option<String>,
}

impl std::fmt::Debug for ConnectionSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ConnectionSettings").field("target", &self.target).finish_non_exhaustive()
    }
}

/// Options of libpq that we follow.
const FOLLOWED: [&str; 21] = [
    "application_name",
    "channel_binding",
    "connect_timeout",
    "dbname",
    "gssencmode",
    "host",
    "hostaddr",
    "options",
    "passfile",
    "password",
    "port",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
    "user",
];

/// Options of libpq that ask for safety of a kind that we cannot give: they are refused, not passed over.
const NOT_HONOURED: [&str; 3] = ["require_auth", "requirepeer", "sslcrldir"];

/// Options of libpq that change nothing about what we read.
const WITHOUT_EFFECT: [&str; 10] = [
    "client_encoding",
    "fallback_application_name",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "sslcompression",
    "sslsni",
    "tcp_user_timeout",
];

/// Options that can also come from an environment variable.
const ENVIRONMENT: [(&str, &str); 22] = [
    ("channel_binding", "PGCHANNELBINDING"),
    ("connect_timeout", "PGCONNECT_TIMEOUT"),
    ("dbname", "PGDATABASE"),
    ("gssencmode", "PGGSSENCMODE"),
    ("host", "PGHOST"),
    ("hostaddr", "PGHOSTADDR"),
    ("options", "PGOPTIONS"),
    ("passfile", "PGPASSFILE"),
    ("password", "PGPASSWORD"),
    ("port", "PGPORT"),
    ("require_auth", "PGREQUIREAUTH"),
    ("requirepeer", "PGREQUIREPEER"),
    ("sslcert", "PGSSLCERT"),
    ("sslcrl", "PGSSLCRL"),
    ("sslcrldir", "PGSSLCRLDIR"),
    ("sslkey", "PGSSLKEY"),
    ("sslmode", "PGSSLMODE"),
    ("sslrootcert", "PGSSLROOTCERT"),
    ("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    ("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    ("target_session_attrs", "PGTARGETSESSIONATTRS"),
    ("user", "PGUSER"),
];

impl ConnectionSettings {
    /// Reads a URL (`postgres://user@host:port/database?sslmode=prefer`) or `key=value` pairs, with the environment of
    /// this process.
    ///
    /// # Errors
    /// [`EngineError::Settings`]: what is wrong, never with the string itself, which may hold a password.
    pub fn from_environment(text: &str) -> Result<Self, EngineError> {
        ConnectionSettings::read(text, |name| std::env::var(name).ok())
    }

    /// As [`ConnectionSettings::from_environment`]; `environment` looks up a variable.
    ///
    /// # Errors
    /// As there.
    pub fn read(text: &str, environment: impl Fn(&str) -> Option<String>) -> Result<Self, EngineError> {
        ConnectionSettings::understood(text, &environment).map_err(EngineError::Settings)
    }

    fn understood(text: &str, environment: &impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let environment = |name: &str| environment(name).filter(|value| !value.is_empty());
        let mut options = parse(text)?;
        if let Some(service) = options.get("service").map(str::to_owned).or_else(|| environment("PGSERVICE")) {
            for (option, value) in find_service(&service, &environment)? {
                options.set_default(&option, value);
            }
        }
        for (option, variable) in ENVIRONMENT {
            if let Some(value) = environment(variable) {
                options.set_default(option, value);
            }
        }
        check_names(&options)?;
        name_hosts(&mut options)?;
        let (encryption, certificates) = encryption_of(&options, &environment)?;
        let (password, password_problem) = match options.get("password") {
            Some(password) => (Some(password.to_owned()), None),
            None => match stored_password(&options, &environment) {
                StoredPassword::Found(password) => (Some(password), None),
                StoredPassword::NotRead(problem) => (None, Some(problem)),
                StoredPassword::None => (None, None),
            },
        };
        let mut config = config_of(&options)?;
        if let Some(password) = password {
            config.password(password);
        }
        let target = format!("{}:{}", options.get("host").unwrap_or_default(), options.get("port").unwrap_or("5432"));
        Ok(ConnectionSettings { config, target, encryption, certificates, password_problem })
    }

    /// What tokio-postgres connects with.
    pub fn config(&self) -> &tokio_postgres::Config {
        &self.config
    }

    /// Host and port, for messages.
    pub fn target(&self) -> &str {
        &self.target
    }

    pub(super) fn encryption(&self) -> Encryption {
        self.encryption
    }

    pub(super) fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Why the password file was not read, where it was not.
    pub(super) fn password_problem(&self) -> Option<&str> {
        self.password_problem.as_deref()
    }
}

fn check_names(options: &Options) -> Result<(), String> {
    for name in options.names() {
        if NOT_HONOURED.contains(&name) {
            return Err(format!("the connection option '{name}' cannot be followed here: leave it out"));
        }
        if !FOLLOWED.contains(&name) && !WITHOUT_EFFECT.contains(&name) {
            return Err(format!("unknown connection option '{name}'"));
        }
    }
    Ok(())
}

/// A host for each address, and one of this machine where neither is named. As in libpq, an address decides where to
/// connect to, whatever the host is called: a host that is none, or a socket, goes by its address.
fn name_hosts(options: &mut Options) -> Result<(), String> {
    let host = options.get("host").filter(|host| !host.is_empty());
    let Some(addresses) = options.get("hostaddr").filter(|addresses| !addresses.is_empty()) else {
        if host.is_none() {
            options.set("host", default_host());
        }
        return Ok(());
    };
    let addresses: Vec<&str> = addresses.split(',').collect();
    let hosts: Vec<&str> = host.map_or_else(|| vec![""; addresses.len()], |host| host.split(',').collect());
    if hosts.len() != addresses.len() {
        return Err(format!("{} hosts are named for {} addresses (hostaddr)", hosts.len(), addresses.len()));
    }
    let is_name = |host: &str| !host.is_empty() && !is_socket(host);
    if mode_of(options) == "verify-full" && !hosts.iter().all(|host| is_name(host)) {
        return Err("sslmode=verify-full needs the server's name, as host, beside its address (hostaddr)".to_owned());
    }
    let named = hosts.iter().zip(&addresses).map(|(host, address)| if is_name(host) { *host } else { *address });
    let named = named.collect::<Vec<_>>().join(",");
    options.set("host", named);
    Ok(())
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

fn config_of(options: &Options) -> Result<tokio_postgres::Config, String> {
    let mut config = tokio_postgres::Config::new();
    let host = options.get("host").unwrap_or_default();
    host.split(',').for_each(|host| _ = config.host(host));
    let addresses = options.get("hostaddr").filter(|addresses| !addresses.is_empty());
    for address in addresses.into_iter().flat_map(|addresses| addresses.split(',')) {
        config.hostaddr(address.parse().map_err(|_| format!("hostaddr '{address}' is no IP address"))?);
    }
    for port in options.get("port").into_iter().flat_map(|ports| ports.split(',')) {
        config.port(port.trim().parse().map_err(|_| format!("port '{port}' is no number from 1 to 65535"))?);
    }
    options.get("user").into_iter().for_each(|user| _ = config.user(user));
    options.get("dbname").into_iter().for_each(|database| _ = config.dbname(database));
    options.get("options").into_iter().for_each(|options| _ = config.options(options));
    let seconds = options.get("connect_timeout").unwrap_or("30");
    let seconds: u64 = seconds.parse().map_err(|_| format!("connect_timeout '{seconds}' is no number of seconds"))?;
    // libpq reads 0 as: wait without end.
    if seconds > 0 {
        config.connect_timeout(Duration::from_secs(seconds));
    }
    config.channel_binding(match options.get("channel_binding").unwrap_or("prefer") {
        "disable" => ChannelBinding::Disable,
        "prefer" => ChannelBinding::Prefer,
        "require" => ChannelBinding::Require,
        other => return Err(format!("unknown channel_binding '{other}': use disable, prefer or require")),
    });
    config.target_session_attrs(match options.get("target_session_attrs").unwrap_or("any") {
        "any" | "prefer-standby" => TargetSessionAttrs::Any,
        "read-write" | "primary" => TargetSessionAttrs::ReadWrite,
        "read-only" | "standby" => TargetSessionAttrs::ReadOnly,
        other => return Err(format!("unknown target_session_attrs '{other}'")),
    });
    config.application_name(options.get("application_name").unwrap_or("blast-radius"));
    Ok(config)
}

#[cfg(test)]
mod tests {
    use tokio_postgres::config::Host;

    use super::*;
    use crate::engine::postgres::certificates::Trusted;

    fn read(text: &str, variables: &[(&str, &str)]) -> Result<ConnectionSettings, EngineError> {
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
        let readable_by = |mode| {
            let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
            std::fs::set_permissions(&file, permissions).expect("our own file");
        };
        readable_by(0o600);
        let path = file.to_string_lossy();
        let settings = read("postgres://ann@db/shop", &[("PGPASSFILE", &path)]).expect("a URL");
        assert_eq!(settings.config().get_password(), Some(b"from file".as_slice()));
        assert_eq!(settings.password_problem(), None);
        readable_by(0o644);
        let settings = read("postgres://ann@db/shop", &[("PGPASSFILE", &path)]).expect("a URL");
        assert_eq!(settings.config().get_password(), None, "as with psql, a file that others may read is not");
        assert!(settings.password_problem().is_some_and(|problem| problem.contains("chmod 0600")));
    }

    #[test]
    fn a_service_stands_between_the_string_and_the_environment() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("services");
        std::fs::write(&file, "[shop]\nhost=db.example\nuser=bob\ndbname=shop\n").expect("a file");
        let path = file.to_string_lossy();
        let environment = [("PGSERVICEFILE", path.as_ref()), ("PGHOST", "elsewhere"), ("PGPORT", "6000")];
        let settings = read("service=shop user=ann", &environment).expect("a service");
        let config = settings.config();
        assert_eq!(settings.target(), "db.example:6000");
        assert_eq!((config.get_user(), config.get_dbname()), (Some("ann"), Some("shop")));
        let environment = [("PGSERVICEFILE", path.as_ref()), ("PGSERVICE", "shop")];
        assert_eq!(read("", &environment).expect("the environment names one").target(), "db.example:5432");
    }

    #[test]
    fn an_address_is_connected_to_over_the_network_whatever_the_host_is_called() {
        for (text, hosts) in [
            ("hostaddr=10.0.0.1 sslmode=require", vec!["10.0.0.1"]),
            ("host='' hostaddr=10.0.0.1 sslmode=require", vec!["10.0.0.1"]),
            ("host=/var/run/postgresql hostaddr=10.0.0.1 sslmode=require", vec!["10.0.0.1"]),
            ("host=,db hostaddr=10.0.0.1,::1 sslmode=require", vec!["10.0.0.1", "db"]),
            ("host=db hostaddr=10.0.0.1 sslmode=require", vec!["db"]),
        ] {
            let settings = read(text, &[]).expect(text);
            let hosts: Vec<Host> = hosts.into_iter().map(|host| Host::Tcp(host.to_owned())).collect();
            assert_eq!(settings.config().get_hosts(), hosts, "{text}");
            assert_eq!(settings.config().get_hostaddrs().len(), hosts.len(), "{text}");
            assert_eq!(settings.encryption(), Encryption::Required, "{text}");
        }
        let settings = read("sslmode=require", &[("PGHOSTADDR", "10.0.0.1")]).expect("an address");
        assert_eq!(settings.encryption(), Encryption::Required, "the environment's address is no socket either");
        assert_eq!(settings.target(), "10.0.0.1:5432");
        let settings = read("hostaddr=10.0.0.1", &[]).expect("an address");
        assert_eq!(settings.encryption(), Encryption::Preferred);
        let settings = read("host='' hostaddr='' sslmode=require", &[]).expect("neither");
        assert!(matches!(settings.config().get_hosts(), [Host::Unix(_)]), "both are empty: the machine's own");
    }

    #[test]
    fn sslmode_and_root_certificate_say_what_is_checked() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let home = folder.path().display().to_string();
        let root = folder.path().join("root.crt");
        std::fs::write(&root, "").expect("a file");
        let file = Trusted::File(root.clone());
        let with_root = format!("sslrootcert={}", root.display());
        for (text, encryption, trusted, checks_name) in [
            ("host=db", Encryption::Preferred, Trusted::Anyone, false),
            ("host=db sslmode=disable", Encryption::Disabled, Trusted::Anyone, false),
            ("host=/tmp sslmode=verify-full", Encryption::Disabled, Trusted::Anyone, false),
            ("host=db sslmode=allow", Encryption::Allowed, Trusted::Anyone, false),
            ("host=db sslmode=require", Encryption::Required, Trusted::Anyone, false),
            (&format!("host=db sslmode=require {with_root}"), Encryption::Required, file.clone(), false),
            (&format!("host=db sslmode=verify-ca {with_root}"), Encryption::Required, file.clone(), false),
            (&format!("host=db sslmode=verify-full {with_root}"), Encryption::Required, file, true),
            ("host=db sslrootcert=system", Encryption::Required, Trusted::System, true),
        ] {
            let settings = read(text, &[("HOME", &home)]).expect(text);
            let certificates = settings.certificates();
            assert_eq!(settings.encryption(), encryption, "{text}");
            assert_eq!((&certificates.trusted, certificates.checks_name), (&trusted, checks_name), "{text}");
        }
    }

    #[test]
    fn mistakes_are_told_without_the_string() {
        for (text, reason) in [
            ("postgres://ann:secret@db/shop?sslmode=verify-full", "no root certificate"),
            ("postgres://ann:secret@db/shop?sslmode=always", "unknown sslmode 'always'"),
            ("postgres://ann:secret@db/shop?sslmode=require&sslrootcert=system", "use verify-full"),
            ("postgres://ann:secret@db/shop?sslcert=/nowhere/a.crt", "/nowhere/a.crt"),
            ("postgres://ann:secret@db/shop?sslmod=require", "unknown connection option 'sslmod'"),
            ("postgres://ann:secret@db:port/shop", "port 'port'"),
            ("host=db password=secret gssencmode=require", "gssencmode=require"),
            ("host=db password=secret gssencmode=always", "unknown gssencmode 'always'"),
            ("host=/tmp password=secret gssencmode=require", "gssencmode=require"),
            ("host=db password=secret requirepeer=postgres", "'requirepeer' cannot be followed"),
            ("host=db password=secret sslcrldir=/crl", "'sslcrldir' cannot be followed"),
            ("host=db password=secret ssl_min_protocol_version=TLSv1.4", "unknown ssl_min_protocol_version"),
            ("host=db password=secret ssl_max_protocol_version=TLSv1.1", "no TLS version"),
            (
                "host=db password=secret ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
                "no TLS version",
            ),
            ("hostaddr=10.0.0.1 password=secret sslmode=verify-full", "needs the server's name"),
            ("host=/tmp hostaddr=10.0.0.1 password=secret sslrootcert=system", "needs the server's name"),
            ("host=a,b hostaddr=10.0.0.1 password=secret", "2 hosts are named for 1 addresses"),
            ("hostaddr=db password=secret", "hostaddr 'db' is no IP address"),
            ("mysql://ann:secret@db/shop", "begins with postgres://"),
            ("shop", "name=value"),
            ("service=shop password=secret", "no service 'shop'"),
            ("password='secret", "never closed"),
        ] {
            let message = read(text, &[]).expect_err(text).to_string();
            assert!(message.contains(reason) && !message.contains("secret"), "{text}: {message}");
        }
        for (variable, value, reason) in [
            ("PGGSSENCMODE", "require", "gssencmode=require"),
            ("PGREQUIREPEER", "postgres", "'requirepeer' cannot be followed"),
            ("PGREQUIREAUTH", "scram-sha-256", "'require_auth' cannot be followed"),
            ("PGSSLCRLDIR", "/crl", "'sslcrldir' cannot be followed"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv9", "unknown ssl_min_protocol_version 'TLSv9'"),
            ("PGSSLMAXPROTOCOLVERSION", "TLSv1", "no TLS version"),
        ] {
            let message = read("host=db", &[(variable, value)]).expect_err(variable).to_string();
            assert!(message.contains(reason), "{variable}: {message}");
        }
    }

    #[test]
    fn the_versions_of_tls_are_as_asked_for() {
        use rustls::ProtocolVersion::{TLSv1_2, TLSv1_3};
        for (text, variables, versions) in [
            ("host=db", &[][..], &[TLSv1_3, TLSv1_2][..]),
            ("host=db ssl_min_protocol_version=tlsv1", &[], &[TLSv1_3, TLSv1_2]),
            ("host=db ssl_min_protocol_version=TLSv1.3", &[], &[TLSv1_3]),
            ("host=db ssl_max_protocol_version=TLSv1.2", &[], &[TLSv1_2]),
            ("host=db", &[("PGSSLMINPROTOCOLVERSION", "TLSv1.3")], &[TLSv1_3]),
        ] {
            let settings = read(text, variables).expect(text);
            let known: Vec<_> = settings.certificates().versions.iter().map(|version| version.version).collect();
            assert_eq!(known, versions, "{text}");
        }
    }
}
