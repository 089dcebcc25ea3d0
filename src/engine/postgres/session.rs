//! A session with a server, encrypted as `sslmode` asks.

use std::error::Error as _;

use tokio::task::AbortHandle;
use tokio_postgres::config::SslMode;
use tokio_postgres::{Client, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::encryption::Encryption;
use super::settings::ConnectionSettings;
use crate::engine::EngineError;

/// One way to try.
#[derive(Clone, Copy)]
enum Attempt {
    Plain,
    EncryptedIfOffered,
    Encrypted,
}

/// A session that ends at once when it is dropped, whatever it is about: the connection is broken off, and what the
/// server was about to send is not waited for.
#[derive(Debug)]
pub struct Session {
    client: Client,
    connection: AbortHandle,
}

impl Session {
    /// What statements are sent with.
    pub fn client(&self) -> &Client {
        &self.client
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Connects. The session ends when the client is dropped and all that was sent is answered; what goes wrong on it, the
/// client's next call tells.
///
/// # Errors
/// Certificates that cannot be read, a server that does not answer or refuses.
pub async fn connect(settings: &ConnectionSettings) -> Result<Client, EngineError> {
    connected(settings).await.map(|(client, _)| client)
}

/// As [`connect`], for a session that is not to outlive its use.
///
/// # Errors
/// As there.
pub async fn open_session(settings: &ConnectionSettings) -> Result<Session, EngineError> {
    connected(settings).await.map(|(client, connection)| Session { client, connection })
}

async fn connected(settings: &ConnectionSettings) -> Result<(Client, AbortHandle), EngineError> {
    let attempts: &[Attempt] = match settings.encryption() {
        Encryption::Disabled => &[Attempt::Plain],
        Encryption::Allowed => &[Attempt::Plain, Attempt::Encrypted],
        Encryption::Preferred => &[Attempt::EncryptedIfOffered, Attempt::Plain],
        Encryption::Required => &[Attempt::Encrypted],
    };
    let mut reasons: Vec<String> = Vec::new();
    for attempt in attempts {
        let refusal = match try_to_connect(settings, *attempt).await? {
            Ok(connected) => return Ok(connected),
            Err(refusal) => refusal,
        };
        let reason = described(&refusal);
        if !reasons.contains(&reason) {
            reasons.push(reason);
        }
        // Where nobody answers, nobody answers the next attempt.
        if refusal.as_db_error().is_none() && !is_handshake(&refusal) {
            break;
        }
    }
    reasons.extend(settings.password_problem().map(str::to_owned));
    Err(EngineError::Connect { target: settings.target().to_owned(), reason: reasons.join("; ") })
}

async fn try_to_connect(
    settings: &ConnectionSettings,
    attempt: Attempt,
) -> Result<Result<(Client, AbortHandle), tokio_postgres::Error>, EngineError> {
    let mut config = settings.config().clone();
    config.ssl_mode(match attempt {
        Attempt::Plain => SslMode::Disable,
        Attempt::EncryptedIfOffered => SslMode::Prefer,
        Attempt::Encrypted => SslMode::Require,
    });
    if matches!(attempt, Attempt::Plain) {
        return Ok(config.connect(NoTls).await.map(|(client, connection)| {
            let connection = tokio::spawn(async move { _ = connection.await });
            (client, connection.abort_handle())
        }));
    }
    let tls = settings.certificates().client_config().map_err(EngineError::Settings)?;
    Ok(config.connect(MakeRustlsConnect::new(tls)).await.map(|(client, connection)| {
        let connection = tokio::spawn(async move { _ = connection.await });
        (client, connection.abort_handle())
    }))
}

/// Whether the server answered, and no encryption was agreed on.
fn is_handshake(error: &tokio_postgres::Error) -> bool {
    error.to_string().contains("TLS handshake")
}

/// The server's own words, with its hint; tokio-postgres alone says just "db error".
pub fn described(error: &tokio_postgres::Error) -> String {
    if let Some(refusal) = error.as_db_error() {
        let detail = refusal.detail().map(|detail| format!(" ({detail})")).unwrap_or_default();
        let hint = refusal.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
        return format!("{}{detail}{hint}", refusal.message());
    }
    let Some(cause) = error.source().map(ToString::to_string) else { return error.to_string() };
    let hint = match cause.as_str() {
        cause if cause.contains("UnsupportedCertVersion") => {
            ": the server's certificate is of X.509 version 1; sign it anew with an extension, such as subjectAltName"
        }
        cause if cause.contains("not valid for name") => {
            ": the server's certificate must name the host in its subjectAltName"
        }
        _ => "",
    };
    format!("{error}: {cause}{hint}")
}
