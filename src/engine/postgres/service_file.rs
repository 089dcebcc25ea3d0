//! `pg_service.conf`: named sets of connection options, a `[name]` and lines of `option=value` below it.

use std::path::{Path, PathBuf};

/// Options with their values, in the order they came.
pub(super) type NamedValues = Vec<(String, String)>;

/// The options of a service, from the user's file, else from the system's.
///
/// # Errors
/// A file that is named and cannot be read, a line that is no option, a service that no file has.
pub(super) fn find_service(
    service: &str,
    environment: &impl Fn(&str) -> Option<String>,
) -> Result<NamedValues, String> {
    let named = environment("PGSERVICEFILE").filter(|file| !file.is_empty()).map(PathBuf::from);
    if let Some(file) = named.as_ref().filter(|file| !file.is_file()) {
        return Err(format!("the service file {} (PGSERVICEFILE) is not there", file.display()));
    }
    let own = named.or_else(|| environment("HOME").map(|home| Path::new(&home).join(".pg_service.conf")));
    let folder = environment("PGSYSCONFDIR").unwrap_or_else(|| "/etc/postgresql-common".to_owned());
    let files: Vec<PathBuf> = own.into_iter().chain([Path::new(&folder).join("pg_service.conf")]).collect();
    for file in files.iter().filter(|file| file.is_file()) {
        let text = std::fs::read_to_string(file).map_err(|error| format!("read {}: {error}", file.display()))?;
        if let Some(options) =
            options_of(&text, service).map_err(|(line, reason)| format!("{}:{line}: {reason}", file.display()))?
        {
            return Ok(options);
        }
    }
    let looked: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
    Err(format!("there is no service '{service}' in {}", looked.join(" or ")))
}

/// The options below `[service]`; an error is the line, from 1, and what is wrong with it.
fn options_of(text: &str, service: &str) -> Result<Option<NamedValues>, (usize, String)> {
    let mut found: Option<NamedValues> = None;
    for (number, line) in (1..).zip(text.lines()) {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            if found.is_some() {
                break;
            }
            found = (name == service).then(Vec::new);
            continue;
        }
        let Some(options) = &mut found else { continue };
        let (name, value) = line.split_once('=').ok_or((number, "expected option=value".to_owned()))?;
        match name.trim() {
            "service" => return Err((number, "a service cannot name another service".to_owned())),
            name if name.starts_with("ldap") => {
                return Err((number, "options are not looked up with LDAP".to_owned()));
            }
            name => options.push((name.to_owned(), value.trim().to_owned())),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_what_stands_below_its_name() {
        let text =
            "# ours\n[other]\nhost=a\n\n[shop]\nhost=db.example\n port = 5433 \nsslmode=verify-full\n[last]\nhost=c\n";
        let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let shop = vec![option("host", "db.example"), option("port", "5433"), option("sslmode", "verify-full")];
        assert_eq!(options_of(text, "shop"), Ok(Some(shop)));
        assert_eq!(options_of(text, "crm"), Ok(None));
        assert_eq!(options_of("[shop]\nhost\n", "shop").map_err(|(line, _)| line), Err(2));
        assert_eq!(options_of("[shop]\nservice=other\n", "shop").map_err(|(line, _)| line), Err(2));
    }

    #[test]
    fn a_service_that_no_file_has_is_told() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let file = folder.path().join("services");
        std::fs::write(&file, "[shop]\nhost=db\n").expect("written");
        let environment = |name: &str| match name {
            "PGSERVICEFILE" => Some(file.display().to_string()),
            "PGSYSCONFDIR" => Some(folder.path().display().to_string()),
            _ => None,
        };
        assert_eq!(find_service("shop", &environment), Ok(vec![("host".to_owned(), "db".to_owned())]));
        let error = find_service("crm", &environment).expect_err("there is no such service");
        assert!(error.contains("no service 'crm' in") && error.contains("services"), "{error}");
        let missing = |name: &str| (name == "PGSERVICEFILE").then(|| "/nowhere/services".to_owned());
        assert!(find_service("shop", &missing).is_err_and(|error| error.contains("/nowhere/services")));
    }
}
