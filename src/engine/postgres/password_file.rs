//! `~/.pgpass`: lines of `host:port:database:user:password`, where `*` is any and `\` takes `:` and `\` as they are.

use std::path::{Path, PathBuf};

use super::connection_string::Options;

/// What the password file says.
pub(super) enum StoredPassword {
    /// The password.
    Found(String),
    /// There is a file that must not be read, and why.
    NotRead(String),
    /// Nothing.
    None,
}

/// The password of the connection's first host that the file knows, as libpq finds it.
pub(super) fn stored_password(options: &Options, environment: &impl Fn(&str) -> Option<String>) -> StoredPassword {
    let named = options.get("passfile").map(PathBuf::from);
    let file = named.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".pgpass")));
    let Some(file) = file.filter(|file| file.is_file()) else { return StoredPassword::None };
    if is_open_to_others(&file) {
        let file = file.display();
        return StoredPassword::NotRead(format!(
            "others may read the password file {file}, so it was not: chmod 0600 it"
        ));
    }
    let Some(user) = options.get("user").map(str::to_owned).or_else(|| environment("USER")) else {
        return StoredPassword::None;
    };
    let database = options.get("dbname").unwrap_or(&user);
    let entries = match std::fs::read_to_string(&file) {
        Ok(entries) => entries,
        Err(error) => return StoredPassword::NotRead(format!("read the password file {}: {error}", file.display())),
    };
    let ports: Vec<&str> = options.get("port").unwrap_or("5432").split(',').collect();
    let hosts = options.get("host").unwrap_or_default().split(',').enumerate();
    let mut found = hosts.filter_map(|(place, host)| {
        let port = ports.get(place).or(ports.first()).copied().unwrap_or("5432");
        find_password(&entries, host, port, database, &user)
    });
    found.next().map_or(StoredPassword::None, StoredPassword::Found)
}

#[cfg(unix)]
fn is_open_to_others(file: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    std::fs::metadata(file).is_ok_and(|metadata| metadata.mode() & 0o077 != 0)
}

#[cfg(not(unix))]
fn is_open_to_others(_file: &Path) -> bool {
    false
}

/// The password of the first line that fits.
fn find_password(entries: &str, host: &str, port: &str, database: &str, user: &str) -> Option<String> {
    // A socket is also looked up under the name of the machine it is on.
    let is_socket = host.is_empty() || host.starts_with('/');
    let wanted = [host, port, database, user];
    for line in entries.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = fields_of(line);
        if fields.len() != wanted.len() + 1 {
            continue;
        }
        let password = fields.pop()?;
        let fits = |(place, (field, wanted)): (usize, (&String, &str))| {
            field == "*" || field == wanted || (place == 0 && is_socket && field == "localhost")
        };
        if fields.iter().zip(wanted).enumerate().all(fits) {
            return Some(password);
        }
    }
    None
}

fn fields_of(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        let next = match character {
            ':' => {
                fields.push(String::new());
                continue;
            }
            '\\' => characters.next(),
            other => Some(other),
        };
        if let Some(field) = fields.last_mut() {
            field.extend(next);
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_fits_counts() {
        let entries = "# ours\ndb:5432:shop:ann:a\\:b\\\\c\n*:*:*:ann:any\nlocalhost:*:shop:bob:socket\n";
        assert_eq!(find_password(entries, "db", "5432", "shop", "ann").as_deref(), Some("a:b\\c"));
        assert_eq!(find_password(entries, "db", "5433", "shop", "ann").as_deref(), Some("any"));
        assert_eq!(find_password(entries, "/tmp", "5432", "shop", "bob").as_deref(), Some("socket"));
        assert_eq!(find_password(entries, "db", "5432", "shop", "bob"), None);
    }
}
