//! `blast-radius.toml`: find it, load it, check it, point at the mistake.
//!
//! In: the project file. Out: a [`Project`], its settings as the plain values of [`crate::model`], every relative path
//! made absolute. The first mistake is a [`ProjectError`] with its [`SourceLocation`].

mod document;
mod error;
mod load;
mod settings;
mod starter;

pub use error::{ProjectError, SourceLocation};
pub use settings::{AuditSettings, FailOn, FilePattern, Project};
pub use starter::{StarterDatabase, starter_project};
