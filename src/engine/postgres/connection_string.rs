//! Connection strings as libpq reads them: URLs and `name=value` pairs.

/// Where a server listens of which nothing else is said.
const USUAL_PORT: &str = "5432";

/// Options by name, in the order they came; of two with one name the later counts.
#[derive(Default)]
pub(super) struct Options(Vec<(String, String)>);

impl Options {
    pub(super) fn get(&self, option: &str) -> Option<&str> {
        self.0.iter().rev().find(|(name, _)| name == option).map(|(_, value)| value.as_str())
    }

    pub(super) fn set(&mut self, option: &str, value: String) {
        self.0.push((option.to_owned(), value));
    }

    pub(super) fn set_default(&mut self, option: &str, value: String) {
        if self.get(option).is_none() {
            self.set(option, value);
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_str())
    }
}

/// Reads a URL (`postgres://user@host:port/database?sslmode=prefer`) or `name=value` pairs.
///
/// # Errors
/// What is wrong and what to write instead; never with the string itself, which may hold a password.
pub(super) fn parse(text: &str) -> Result<Options, String> {
    let text = text.trim();
    match text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://")) {
        Some(rest) => parse_url(rest),
        None if text.contains("://") => Err("expected a URL that begins with postgres://".to_owned()),
        None => parse_pairs(text),
    }
}

/// The connection string in the same form, without its passwords: what may be written into a file.
///
/// # Errors
/// A connection string that is not understood.
pub fn without_password(text: &str) -> Result<String, String> {
    let text = text.trim();
    let options = parse(text)?;
    let Some((scheme, rest)) = text.split_once("://").filter(|_| text.starts_with("postgres")) else {
        let kept = options.0.iter().filter(|(name, _)| !is_password(name));
        return Ok(kept.map(|(name, value)| format!("{name}={}", quoted_value(value))).collect::<Vec<_>>().join(" "));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = place.split_at(place.find('/').unwrap_or(place.len()));
    let authority = match authority.rsplit_once('@') {
        Some((user, hosts)) => format!("{}@{hosts}", user.split(':').next().unwrap_or_default()),
        None => authority.to_owned(),
    };
    let mut kept = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        if !is_password(&decode(pair.split('=').next().unwrap_or_default())?) {
            kept.push(pair);
        }
    }
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(format!("{scheme}://{authority}{database}{query}"))
}

fn is_password(option: &str) -> bool {
    ["password", "sslpassword"].iter().any(|password| option.trim().eq_ignore_ascii_case(password))
}

/// A value as [`pair_value`] reads it back.
fn quoted_value(value: &str) -> String {
    let is_plain = |character: char| !character.is_whitespace() && !"'\\".contains(character);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "\\'"))
}

fn parse_url(rest: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (credentials, hosts) = match authority.rsplit_once('@') {
        Some((credentials, hosts)) => (credentials, hosts),
        None => ("", authority),
    };
    let (user, password) = match credentials.split_once(':') {
        Some((user, password)) => (user, Some(password)),
        None => (credentials, None),
    };
    if !user.is_empty() {
        options.set("user", decode(user)?);
    }
    if let Some(password) = password {
        options.set("password", decode(password)?);
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',').filter(|host| !host.is_empty()) {
        let (name, port) = split_port(host);
        names.push(decode(name)?);
        ports.push(port);
    }
    if names.iter().any(|name| !name.is_empty()) {
        options.set("host", names.join(","));
    }
    // The n-th port is the n-th host's: where one host names its own, each of the others has the usual one.
    if ports.iter().any(Option::is_some) {
        let ports: Vec<&str> = ports.into_iter().map(|port| port.unwrap_or(USUAL_PORT)).collect();
        options.set("port", ports.join(","));
    }
    if !database.is_empty() {
        options.set("dbname", decode(database)?);
    }
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').ok_or("the URL's options must be name=value pairs")?;
        options.set(&decode(name)?, decode(value)?);
    }
    Ok(options)
}

/// Host and port; an IPv6 address stands in brackets.
fn split_port(host: &str) -> (&str, Option<&str>) {
    if let Some((address, rest)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return (address, rest.strip_prefix(':').filter(|port| !port.is_empty()));
    }
    match host.split_once(':') {
        Some((name, port)) => (name, (!port.is_empty()).then_some(port)),
        None => (host, None),
    }
}

fn decode(text: &str) -> Result<String, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((plain, after)) = rest.split_once('%') {
        bytes.extend_from_slice(plain.as_bytes());
        let digits = after.get(..2).ok_or("a % in the URL must be followed by two hexadecimal digits")?;
        let byte = u8::from_str_radix(digits, 16);
        bytes.push(byte.map_err(|_| "a % in the URL must be followed by two hexadecimal digits")?);
        rest = after.get(2..).unwrap_or_default();
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).map_err(|_| "the URL's % escapes are no UTF-8".to_owned())
}

fn parse_pairs(text: &str) -> Result<Options, String> {
    let mut options = Options::default();
    let mut rest = text;
    while !rest.is_empty() {
        let (name, after) = rest.split_once('=').ok_or("expected a postgres:// URL or name=value pairs")?;
        let (value, after) = pair_value(after.trim_start())?;
        options.set(name.trim(), value);
        rest = after.trim_start();
    }
    Ok(options)
}

/// A value up to the next blank, or in single quotes; a backslash takes the next character as it is.
fn pair_value(text: &str) -> Result<(String, &str), String> {
    let quoted = text.starts_with('\'');
    let mut value = String::new();
    let mut characters = text.char_indices();
    if quoted {
        characters.next();
    }
    while let Some((position, character)) = characters.next() {
        match character {
            '\\' => value.extend(characters.next().map(|(_, escaped)| escaped)),
            '\'' if quoted => return Ok((value, text.get(position + 1..).unwrap_or_default())),
            blank if !quoted && blank.is_whitespace() => return Ok((value, text.get(position..).unwrap_or_default())),
            other => value.push(other),
        }
    }
    if quoted { Err("a quote in the connection string is never closed".to_owned()) } else { Ok((value, "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_written() {
        for (text, written) in [
            ("postgres://ann:secret@db:5432/shop?sslmode=require", "postgres://ann@db:5432/shop?sslmode=require"),
            ("postgres://db/shop?password=secret&user=ann", "postgres://db/shop?user=ann"),
            ("postgres://db/shop?pass%77ord=secret&sslpassword=secret", "postgres://db/shop"),
            ("postgresql://ann:a@b@db/shop", "postgresql://ann@db/shop"),
            ("host=db password=secret user=ann", "host=db user=ann"),
            ("host=db password='my secret' dbname=shop", "host=db dbname=shop"),
            ("password = secret host = db", "host=db"),
            (r"password=my\ secret dbname='our \'shop\' \\' user=''", r"dbname='our \'shop\' \\' user=''"),
            ("sslpassword=secret service=shop", "service=shop"),
        ] {
            assert_eq!(without_password(text).as_deref(), Ok(written));
            let (before, after) = (parse(text).expect("it is read"), parse(written).expect("it is read again"));
            for name in ["host", "port", "dbname", "user", "sslmode", "service"] {
                assert_eq!(before.get(name), after.get(name), "{name} of {text}");
            }
        }
    }

    #[test]
    fn each_host_of_a_url_keeps_its_own_port() {
        for (url, host, port) in [
            ("postgres://db1:6432,db2/shop", Some("db1,db2"), Some("6432,5432")),
            ("postgres://db1,db2:6432,[::1]:7/shop", Some("db1,db2,::1"), Some("5432,6432,7")),
            ("postgres://db1,db2/shop", Some("db1,db2"), None),
            ("postgres://db1:6432/shop", Some("db1"), Some("6432")),
            ("postgres://db1:/shop", Some("db1"), None),
            ("postgres:///shop", None, None),
        ] {
            let options = parse(url).expect(url);
            assert_eq!((options.get("host"), options.get("port")), (host, port), "{url}");
        }
    }
}
