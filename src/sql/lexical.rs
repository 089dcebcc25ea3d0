//! The tokens of any text that may be SQL: where each ends. What is cut off ends with the text.

/// Whether a byte is part of a word; each byte of a character beyond ASCII is.
pub(super) fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'$' || byte >= 0x80
}

/// Whether a byte is part of an operator.
pub(super) fn is_operator(byte: u8) -> bool {
    matches!(
        byte,
        b'+' | b'-'
            | b'*'
            | b'/'
            | b'<'
            | b'>'
            | b'='
            | b'~'
            | b'!'
            | b'@'
            | b'#'
            | b'%'
            | b'^'
            | b'&'
            | b'|'
            | b'`'
            | b'?'
            | b':'
    )
}

/// Behind the line that a place stands in.
pub(super) fn end_of_line(bytes: &[u8], place: usize) -> usize {
    bytes.iter().skip(place).position(|byte| *byte == b'\n').map_or(bytes.len(), |length| place + length + 1)
}

/// Behind a comment that begins at a place. Comments nest.
pub(super) fn end_of_comment(bytes: &[u8], place: usize) -> usize {
    let mut depth = 0_usize;
    let mut at = place;
    while at < bytes.len() {
        match (bytes.get(at), bytes.get(at + 1)) {
            (Some(b'/'), Some(b'*')) => {
                depth += 1;
                at += 2;
            }
            (Some(b'*'), Some(b'/')) => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind a string whose quote is at a place; `escapes`: a backslash takes the next byte with it.
pub(super) fn end_of_string(bytes: &[u8], quote: usize, escapes: bool) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Behind a quoted name that begins at a place.
pub(super) fn end_of_quoted(bytes: &[u8], quote: usize) -> usize {
    let mut at = quote + 1;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' if bytes.get(at + 1) == Some(&b'"') => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// Where the tag of a dollar-quoted string ends that begins at a place.
fn end_of_tag(bytes: &[u8], place: usize) -> Option<usize> {
    let tag = bytes.iter().skip(place + 1).take_while(|byte| is_word(**byte) && **byte != b'$').count();
    let end = place + 1 + tag;
    (bytes.get(end) == Some(&b'$')).then_some(end)
}

/// Whether a dollar-quoted string begins at a place.
pub(super) fn opens_dollar_quote(bytes: &[u8], place: usize) -> bool {
    end_of_tag(bytes, place).is_some()
}

/// Behind a dollar-quoted string that begins at a place; `None` where none begins there, or none ends.
pub(super) fn end_of_dollar_quoted(bytes: &[u8], place: usize) -> Option<usize> {
    let opens = end_of_tag(bytes, place)?;
    let quote = bytes.get(place..=opens)?;
    let rest = bytes.get(opens + 1..)?;
    let length = rest.windows(quote.len()).position(|window| window == quote)?;
    Some(opens + 1 + length + quote.len())
}

/// Behind a number whose first digit is at a place.
pub(super) fn end_of_number(bytes: &[u8], place: usize) -> usize {
    let mut at = place;
    while let Some(byte) = bytes.get(at) {
        let exponent_sign = matches!(byte, b'+' | b'-')
            && at > place
            && matches!(bytes.get(at - 1), Some(b'e' | b'E'))
            && !matches!(bytes.get(place + 1), Some(b'x' | b'X'))
            && bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        // Two periods are the bounds of a slice.
        let period = *byte == b'.' && bytes.get(at + 1) != Some(&b'.');
        if !(byte.is_ascii_alphanumeric() || *byte == b'_' || period || exponent_sign) {
            break;
        }
        at += 1;
    }
    at.max(place + 1)
}
