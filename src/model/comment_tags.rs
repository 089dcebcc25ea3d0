//! sqlcommenter tags: `/*release='v42',service='shop'*/` at either end of a statement
//! (<https://google.github.io/sqlcommenter/spec/>).

use std::collections::BTreeMap;

/// The tags of the statement's first and last comment; keys and values are percent-decoded, the last comment wins.
pub fn comment_tags(sql: &str) -> BTreeMap<String, String> {
    let trimmed = sql.trim().trim_end_matches(';').trim_end();
    let mut tags = BTreeMap::new();
    if let Some(comment) = trimmed.strip_prefix("/*").and_then(|rest| rest.split_once("*/")) {
        read_tags(comment.0, &mut tags);
    }
    if let Some(rest) = trimmed.strip_suffix("*/")
        && let Some((_, comment)) = rest.rsplit_once("/*")
    {
        read_tags(comment, &mut tags);
    }
    tags
}

fn read_tags(comment: &str, tags: &mut BTreeMap<String, String>) {
    let mut rest = comment.trim();
    while let Some((key, after)) = rest.split_once("='") {
        let Some(end) = closing_quote(after) else { return };
        let key = percent_decoded(key.trim().trim_start_matches(',').trim());
        tags.insert(key, percent_decoded(&after[..end].replace("\\'", "'")));
        rest = after[end + 1..].trim_start();
    }
}

/// The place of the quote that is not escaped by a backslash.
fn closing_quote(text: &str) -> Option<usize> {
    let mut escaped = false;
    text.char_indices().find_map(|(place, character)| {
        let closes = character == '\'' && !escaped;
        escaped = character == '\\' && !escaped;
        closes.then_some(place)
    })
}

fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        let decoded = (*first == b'%')
            .then(|| after.get(..2))
            .flatten()
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok());
        match decoded {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_at_both_ends() {
        let tags = comment_tags("/*service='shop'*/ SELECT '/*' /*release='v42%2Bhot',note='it\\'s',a='b'*/;");
        let expected = [("a", "b"), ("note", "it's"), ("release", "v42+hot"), ("service", "shop")];
        assert_eq!(tags, expected.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect());
        assert!(comment_tags("SELECT 1 /* just words */").is_empty());
    }
}
