//! Connections to a PostgreSQL, as psql makes them, for every room that talks to one.
//!
//! In: a connection string; what the environment, a service file, a password file and certificates add to it. Out: a
//! session, encrypted as `sslmode` says. Beside that what is the same for all who talk to a server: its refusals in its own
//! words, and names and texts as SQL writes them.

mod certificates;
mod connection_string;
mod encryption;
mod password_file;
mod service_file;
mod session;
mod settings;
mod sql_text;

pub use connection_string::without_password;
pub use session::{Session, connect, described, open_session};
pub use settings::ConnectionSettings;
pub use sql_text::{quoted_identifier, quoted_table, quoted_text};
