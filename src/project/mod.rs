//! `blast-radius.toml`: load, check, point at the mistake.
