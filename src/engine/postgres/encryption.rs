//! Whether a connection is encrypted, and what of the server's certificate is checked, as libpq decides it.

use std::path::{Path, PathBuf};

use rustls::SupportedProtocolVersion;
use rustls::version::{TLS12, TLS13};

use super::certificates::{Certificates, Trusted};
use super::connection_string::Options;

/// When a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Encryption {
    /// Never.
    Disabled,
    /// Where the server takes no other.
    Allowed,
    /// Where the server can.
    Preferred,
    /// Always.
    Required,
}

/// What `sslmode` and the certificates' options ask for. As in libpq, a root certificate is checked against in every mode
/// that encrypts, and the files of `~/.postgresql` stand in for options.
///
/// # Errors
/// What cannot be given, or is not known: it is never passed over.
pub(super) fn encryption_of(
    options: &Options,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<(Encryption, Certificates), String> {
    check_gss(options)?;
    let versions = protocol_versions(options)?;
    let in_home = |name: &str| {
        let home = environment("HOME")?;
        Some(Path::new(&home).join(".postgresql").join(name)).filter(|file| file.is_file())
    };
    let named = |option: &str| match options.get(option).map(PathBuf::from) {
        Some(file) if !file.is_file() => Err(format!("{option} {} is not there", file.display())),
        file => Ok(file),
    };
    let mode = mode_of(options);
    let encryption = match mode {
        "disable" => Encryption::Disabled,
        "allow" => Encryption::Allowed,
        "prefer" => Encryption::Preferred,
        "require" | "verify-ca" | "verify-full" => Encryption::Required,
        other => {
            let modes = "disable, allow, prefer, require, verify-ca or verify-full";
            return Err(format!("unknown sslmode '{other}': use {modes}"));
        }
    };
    // Nobody listens in on a socket; one that has an address goes by that, and is none.
    let is_local = options.get("host").unwrap_or_default().split(',').all(is_socket);
    if encryption == Encryption::Disabled || is_local {
        let nothing = Certificates { trusted: Trusted::Anyone, checks_name: false, revoked: None, own: None, versions };
        return Ok((Encryption::Disabled, nothing));
    }
    if is_system(options) && mode != "verify-full" {
        return Err(format!("sslmode={mode} is too weak for sslrootcert=system: use verify-full"));
    }
    let root = if is_system(options) { None } else { named("sslrootcert")?.or_else(|| in_home("root.crt")) };
    let trusted = match root {
        Some(file) => Trusted::File(file),
        None if is_system(options) => Trusted::System,
        None if mode.starts_with("verify") => {
            return Err(format!(
                "there is no root certificate to check the server's against, as sslmode={mode} asks for: \
                 name one with sslrootcert, or use sslrootcert=system"
            ));
        }
        None => Trusted::Anyone,
    };
    let own = match named("sslcert")?.or_else(|| in_home("postgresql.crt")) {
        None => None,
        Some(certificate) => {
            let key = named("sslkey")?.or_else(|| in_home("postgresql.key"));
            Some((certificate, key.ok_or("there is a client certificate, but no sslkey, its private key")?))
        }
    };
    let revoked = named("sslcrl")?.or_else(|| in_home("root.crl"));
    Ok((encryption, Certificates { trusted, checks_name: mode == "verify-full", revoked, own, versions }))
}

/// The `sslmode` that is meant.
pub(super) fn mode_of(options: &Options) -> &str {
    options.get("sslmode").unwrap_or(if is_system(options) { "verify-full" } else { "prefer" })
}

fn is_system(options: &Options) -> bool {
    options.get("sslrootcert") == Some("system")
}

/// Whether a host is a socket's folder.
pub(super) fn is_socket(host: &str) -> bool {
    host.starts_with('/')
}

/// We do not speak GSSAPI: where nothing else will do, nothing is sent.
fn check_gss(options: &Options) -> Result<(), String> {
    match options.get("gssencmode").unwrap_or("prefer") {
        "disable" | "prefer" => Ok(()),
        "require" => Err("gssencmode=require cannot be followed: encrypt with TLS, by sslmode".to_owned()),
        other => Err(format!("unknown gssencmode '{other}': use disable or prefer")),
    }
}

/// The versions of TLS that may be spoken, newest first.
fn protocol_versions(options: &Options) -> Result<Vec<&'static SupportedProtocolVersion>, String> {
    const NAMES: [&str; 4] = ["TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3"];
    let place = |option: &str, default: &str| {
        let name = options.get(option).filter(|name| !name.is_empty()).unwrap_or(default);
        let known = NAMES.iter().position(|known| known.eq_ignore_ascii_case(name));
        known.ok_or_else(|| format!("unknown {option} '{name}': use one of {}", NAMES.join(", ")))
    };
    let (oldest, newest) =
        (place("ssl_min_protocol_version", "TLSv1.2")?, place("ssl_max_protocol_version", "TLSv1.3")?);
    let spoken = [(3, &TLS13), (2, &TLS12)].into_iter().filter(|(place, _)| (oldest..=newest).contains(place));
    let spoken: Vec<_> = spoken.map(|(_, version)| version).collect();
    match spoken.is_empty() {
        true => Err("ssl_min_protocol_version and ssl_max_protocol_version leave no TLS version that is spoken here: \
                     TLSv1.2 and TLSv1.3 are"
            .to_owned()),
        false => Ok(spoken),
    }
}
