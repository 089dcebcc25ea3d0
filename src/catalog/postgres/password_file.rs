//! `~/.pgpass`: lines of `host:port:database:user:password`, where `*` is any and `\` takes `:` and `\` as they are.

/// The password of the first line that fits.
pub(super) fn find_password(entries: &str, host: &str, port: &str, database: &str, user: &str) -> Option<String> {
    // A socket is looked up under the name of the machine it is on.
    let host = if host.is_empty() || host.starts_with('/') { "localhost" } else { host };
    let wanted = [host, port, database, user];
    for line in entries.lines().filter(|line| !line.starts_with('#')) {
        let mut fields = fields_of(line);
        if fields.len() != wanted.len() + 1 {
            continue;
        }
        let password = fields.pop()?;
        if fields.iter().zip(wanted).all(|(field, wanted)| field == "*" || field == wanted) {
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
