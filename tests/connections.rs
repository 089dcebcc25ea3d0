//! Connections as psql makes them: TLS in every `sslmode`, certificates on both sides, the password file, services.

mod postgres;

use std::path::{Path, PathBuf};
use std::process::Command;

use blast_radius::engine::EngineError;
use blast_radius::engine::postgres::{ConnectionSettings, connect};
use postgres::{Cluster, Database};

/// Who may come how. `postgres` is let in either way, for the harness.
const HBA: &str = "\
local     all postgres              trust
host      all postgres 127.0.0.1/32 trust
hostssl   all ann      127.0.0.1/32 scram-sha-256
hostssl   all carl     127.0.0.1/32 cert
hostnossl all nora     127.0.0.1/32 trust
";

/// Keys and certificates in a folder of their own, which a server of another user may read.
struct Authority {
    folder: tempfile::TempDir,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::Builder::new().prefix("blast-radius-tls-").tempdir_in("/tmp").expect("a folder in /tmp");
        set_mode(folder.path(), 0o755);
        Authority { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate that signed itself, as PostgreSQL's manual makes one.
    fn self_signed(&self, name: &str, subject: &str, extension: &str) {
        let (key, certificate) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.crt")));
        let subject = format!("/CN={subject}");
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-x509", "-days", "2", "-nodes", "-newkey", "rsa:2048", "-subj", &subject]);
        command.args(["-addext", extension]).arg("-keyout").arg(&key).arg("-out").arg(&certificate);
        run(command);
        set_mode(&key, 0o600);
    }

    /// A certificate that `root` signs.
    fn signed(&self, name: &str, subject: &str, extension: &str) {
        let (key, request) = (self.path(&format!("{name}.key")), self.path(&format!("{name}.csr")));
        let extensions = self.path(&format!("{name}.ext"));
        std::fs::write(&extensions, extension).expect("written");
        let mut command = Command::new("openssl");
        command.args(["req", "-new", "-nodes", "-newkey", "rsa:2048", "-subj", &format!("/CN={subject}")]);
        command.arg("-keyout").arg(&key).arg("-out").arg(&request);
        run(command);
        let mut command = Command::new("openssl");
        command.args(["x509", "-req", "-days", "2", "-CAcreateserial", "-in"]).arg(&request);
        command.arg("-CA").arg(self.path("root.crt")).arg("-CAkey").arg(self.path("root.key"));
        command.arg("-extfile").arg(&extensions).arg("-out").arg(self.path(&format!("{name}.crt")));
        run(command);
        set_mode(&key, 0o600);
    }

    /// What `root` has revoked, as a list that is good from the first to the second time.
    fn revocation_list(&self, name: &str, revoked: Option<&str>, from: &str, until: &str) -> PathBuf {
        let (config, list) = (self.path(&format!("{name}.conf")), self.path(&format!("{name}.crl")));
        let (index, number) = (self.path(&format!("{name}.index")), self.path(&format!("{name}.number")));
        std::fs::write(&index, "").expect("written");
        std::fs::write(&number, "01\n").expect("written");
        let settings = format!(
            "[ca]\ndefault_ca = own\n[own]\ndatabase = {}\ncrlnumber = {}\ndefault_md = sha256\n",
            index.display(),
            number.display(),
        );
        std::fs::write(&config, settings).expect("written");
        let ca = || {
            let mut command = Command::new("openssl");
            command.args(["ca", "-config"]).arg(&config);
            command.arg("-keyfile").arg(self.path("root.key")).arg("-cert").arg(self.path("root.crt"));
            command
        };
        if let Some(revoked) = revoked {
            let mut command = ca();
            command.arg("-revoke").arg(self.path(&format!("{revoked}.crt")));
            run(command);
        }
        let mut command = ca();
        command.args(["-gencrl", "-crl_lastupdate", from, "-crl_nextupdate", until, "-out"]).arg(&list);
        run(command);
        list
    }

    /// Settings of a server with this certificate; its key is made the server's to read.
    fn settings(&self, name: &str) -> String {
        let hba = self.path("hba.conf");
        std::fs::write(&hba, HBA).expect("written");
        set_mode(&hba, 0o644);
        let key = self.path(&format!("{name}.key"));
        let id = Command::new("id").arg("-u").output().expect("id runs");
        if String::from_utf8_lossy(&id.stdout).trim() == "0" {
            let mut command = Command::new("chgrp");
            command.arg("postgres").arg(&key);
            run(command);
            set_mode(&key, 0o640);
        }
        let file = |name: String| self.path(&name).display().to_string();
        format!(
            "ssl = on\nssl_cert_file = '{}'\nssl_key_file = '{}'\nssl_ca_file = '{}'\nhba_file = '{}'\n\
             password_encryption = scram-sha-256\n",
            file(format!("{name}.crt")),
            file(format!("{name}.key")),
            file("root.crt".to_owned()),
            hba.display(),
        )
    }
}

fn run(mut command: Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?} does not start: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

fn set_mode(path: &Path, mode: u32) {
    let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
    std::fs::set_permissions(path, permissions).expect("our own file");
}

/// Whether the connection is encrypted, and as whom it is made.
async fn connected(text: &str) -> Result<(bool, String), EngineError> {
    // Nothing of this machine's user, and no variable.
    let settings = ConnectionSettings::read(text, |name| (name == "HOME").then(|| "/nowhere".to_owned()))?;
    let client = connect(&settings).await?;
    let sql = "SELECT ssl, current_user::text FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let row = client.query_one(sql, &[]).await.expect("the server tells");
    Ok((row.get(0), row.get(1)))
}

async fn refused(text: &str) -> String {
    connected(text).await.expect_err(text).to_string()
}

#[tokio::test]
async fn connections_are_encrypted_as_sslmode_says() {
    let authority = Authority::new();
    authority.self_signed("root", "Our root", "keyUsage=critical,keyCertSign,cRLSign");
    authority.signed("server", "db.example", "subjectAltName=DNS:localhost");
    authority.signed("carl", "carl", "extendedKeyUsage=clientAuth");
    authority.self_signed("other", "Another root", "keyUsage=critical,keyCertSign,cRLSign");
    let cluster = Cluster::start(&authority.settings("server"));
    let database = Database::create_on(&cluster, "tls").await;
    let roles = "CREATE ROLE ann LOGIN PASSWORD 'it''s'; CREATE ROLE carl LOGIN; CREATE ROLE nora LOGIN";
    database.client("tests").await.batch_execute(roles).await.expect("roles");
    let to = |host: &str, rest: &str| format!("host={host} port={} dbname={} {rest}", cluster.port(), database.name());
    let root = format!("sslrootcert={}", authority.path("root.crt").display());
    let other = format!("sslrootcert={}", authority.path("other.crt").display());
    let answer = |encrypted: bool, user: &str| Ok((encrypted, user.to_owned()));

    for (rest, expected) in [
        ("user=postgres", answer(true, "postgres")),
        ("user=postgres sslmode=disable", answer(false, "postgres")),
        ("user=postgres sslmode=allow", answer(false, "postgres")),
        ("user=postgres sslmode=require", answer(true, "postgres")),
        ("user=ann password='it\\'s' sslmode=allow", answer(true, "ann")),
        ("user=ann password='it\\'s' channel_binding=require sslmode=require", answer(true, "ann")),
        ("user=nora", answer(false, "nora")),
        (&format!("user=postgres sslmode=require {root}"), answer(true, "postgres")),
        (&format!("user=postgres sslmode=verify-ca {root}"), answer(true, "postgres")),
        // As psql: what is only preferred is given up where the certificate is not trusted.
        (&format!("user=postgres {other}"), answer(false, "postgres")),
    ] {
        assert_eq!(connected(&to("127.0.0.1", rest)).await, expected, "{rest}");
    }
    let named = to("localhost", &format!("user=postgres sslmode=verify-full {root}"));
    assert_eq!(connected(&named).await, answer(true, "postgres"));

    // An address is no socket, whatever the host is called: what is to be encrypted is.
    let by_address = format!("port={} dbname={} user=postgres hostaddr=127.0.0.1", cluster.port(), database.name());
    for rest in [
        "sslmode=require".to_owned(),
        format!("host=/tmp sslmode=verify-ca {root}"),
        format!("host=localhost sslmode=verify-full {root}"),
    ] {
        assert_eq!(connected(&format!("{by_address} {rest}")).await, answer(true, "postgres"), "{rest}");
    }
    for (rest, version) in
        [("ssl_min_protocol_version=TLSv1.3", "TLSv1.3"), ("ssl_max_protocol_version=TLSv1.2", "TLSv1.2")]
    {
        let settings = ConnectionSettings::read(&format!("{by_address} sslmode=require {rest}"), |_| None);
        let client = connect(&settings.expect(rest)).await.expect(rest);
        let sql = "SELECT version FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
        assert_eq!(client.query_one(sql, &[]).await.expect("the server tells").get::<_, String>(0), version);
    }

    for (rest, reason) in [
        ("user=nora sslmode=require".to_owned(), "no pg_hba.conf entry"),
        ("user=ann sslmode=disable".to_owned(), "no encryption"),
        ("user=ann password=wrong sslmode=require".to_owned(), "password authentication failed"),
        (format!("user=postgres sslmode=verify-ca {other}"), "UnknownIssuer"),
        (format!("user=postgres sslmode=require {other}"), "UnknownIssuer"),
        (format!("user=postgres sslmode=verify-full {root}"), "subjectAltName"),
    ] {
        let said = refused(&to("127.0.0.1", &rest)).await;
        assert!(said.contains(reason), "{rest}: {said}");
    }

    let (certificate, key) = (authority.path("carl.crt"), authority.path("carl.key"));
    let carl = to("127.0.0.1", &format!("user=carl sslcert={} sslkey={}", certificate.display(), key.display()));
    assert_eq!(connected(&carl).await, answer(true, "carl"));
    let said = refused(&to("127.0.0.1", "user=carl sslmode=require")).await;
    assert!(said.contains("certificate"), "{said}");
    set_mode(&key, 0o644);
    let said = refused(&carl).await;
    assert!(said.contains("others may read sslkey"), "{said}");

    let passwords = authority.path("passwords");
    std::fs::write(&passwords, format!("127.0.0.1:{}:*:ann:it's\n", cluster.port())).expect("written");
    set_mode(&passwords, 0o600);
    let with_file = to("127.0.0.1", &format!("user=ann sslmode=require passfile={}", passwords.display()));
    assert_eq!(connected(&with_file).await, answer(true, "ann"));
    set_mode(&passwords, 0o644);
    let said = refused(&with_file).await;
    assert!(said.contains("others may read the password file"), "{said}");
}

#[tokio::test]
async fn a_certificate_that_signed_itself_is_trusted_where_it_is_the_root() {
    let authority = Authority::new();
    authority.self_signed("root", "localhost", "subjectAltName=DNS:localhost");
    let cluster = Cluster::start(&authority.settings("root"));
    let root = format!("sslrootcert={}", authority.path("root.crt").display());
    let to = |host: &str, rest: &str| {
        format!("host={host} port={} dbname=postgres user=postgres {rest} {root}", cluster.port())
    };
    for (host, mode) in [("localhost", "sslmode=verify-full"), ("127.0.0.1", "sslmode=verify-ca")] {
        assert_eq!(connected(&to(host, mode)).await, Ok((true, "postgres".to_owned())), "{mode}");
    }
    let said = refused(&to("127.0.0.1", "sslmode=verify-full")).await;
    assert!(said.contains("subjectAltName"), "{said}");
}

#[tokio::test]
async fn what_the_root_has_revoked_is_not_trusted() {
    let (long_ago, past, future) = ("20200101000000Z", "20200201000000Z", "20491231000000Z");
    let authority = Authority::new();
    authority.self_signed("root", "Our root", "keyUsage=critical,keyCertSign,cRLSign");
    authority.signed("server", "db.example", "subjectAltName=DNS:localhost");
    authority.signed("another", "other.example", "subjectAltName=DNS:other.example");
    let cluster = Cluster::start(&authority.settings("server"));
    let to = |list: &Path| {
        let (root, list) = (authority.path("root.crt"), list.display().to_string());
        let root = root.display();
        format!(
            "host=localhost port={} dbname=postgres user=postgres sslmode=verify-full sslrootcert={root} sslcrl={list}",
            cluster.port()
        )
    };
    let sound = authority.revocation_list("sound", Some("another"), long_ago, future);
    assert_eq!(connected(&to(&sound)).await, Ok((true, "postgres".to_owned())));
    let revoked = authority.revocation_list("revoked", Some("server"), long_ago, future);
    let outdated = authority.revocation_list("outdated", None, long_ago, past);
    let empty = authority.path("empty.crl");
    std::fs::write(&empty, "").expect("written");
    for (list, reason) in [(&revoked, "Revoked"), (&outdated, "revocation list expired"), (&empty, "holds no list")] {
        let said = refused(&to(list)).await;
        assert!(said.contains(reason), "{}: {said}", list.display());
    }
    // A list of another signer says nothing of this server's certificate.
    let elsewhere = Authority::new();
    elsewhere.self_signed("root", "Another root", "keyUsage=critical,keyCertSign,cRLSign");
    let said = refused(&to(&elsewhere.revocation_list("other", None, long_ago, future))).await;
    assert!(said.contains("UnknownRevocationStatus"), "{said}");
}
