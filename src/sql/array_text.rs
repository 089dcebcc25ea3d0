//! Arrays as PostgreSQL prints them.

/// The elements of a one-dimensional array's text, such as `{1,"a b",NULL}`; `None` for a text that is none, or
/// has more dimensions.
pub fn array_elements(text: &str) -> Option<Vec<Option<String>>> {
    let inner = text.strip_prefix('{')?.strip_suffix('}')?;
    let mut elements = Vec::new();
    let mut characters = inner.chars().peekable();
    while characters.peek().is_some() {
        let mut element = String::new();
        let quoted = characters.next_if_eq(&'"').is_some();
        loop {
            match characters.next() {
                Some('\\') => element.extend(characters.next()),
                Some('"') if quoted => {
                    characters.next_if_eq(&',');
                    break;
                }
                Some(',') if !quoted => break,
                Some('{') if !quoted => return None,
                Some(character) => element.push(character),
                None if quoted => return None,
                None => break,
            }
        }
        let is_null = !quoted && element.eq_ignore_ascii_case("null");
        elements.push((!is_null).then_some(element));
    }
    Some(elements)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_are_read_as_postgresql_prints_them() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(array_elements("{1,2}"), Some(vec![text("1"), text("2")]));
        assert_eq!(array_elements(r#"{"a, \"b\"",NULL,c}"#), Some(vec![text("a, \"b\""), None, text("c")]));
        assert_eq!(array_elements("{}"), Some(vec![]));
        assert_eq!(array_elements("{{1},{2}}"), None);
    }
}
