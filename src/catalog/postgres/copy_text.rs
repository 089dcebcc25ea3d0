//! The text format of `COPY … TO STDOUT`, back to fields.

/// Cuts what COPY sends, in whatever pieces it comes, into rows.
#[derive(Default)]
pub(super) struct CopyRows {
    /// The start of a row whose end has not come yet.
    pending: Vec<u8>,
}

impl CopyRows {
    /// Hands every row that the piece completes, as its fields, to `row`.
    ///
    /// # Errors
    /// What `row` refuses; a row that is no UTF-8.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mut row: impl FnMut(&mut dyn Iterator<Item = Option<String>>) -> Result<(), String>,
    ) -> Result<(), String> {
        let mut rest = piece;
        // A line break within a value is escaped: this one ends the row.
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, after) = (&rest[..end], &rest[end + 1..]);
            if self.pending.is_empty() {
                row(&mut fields(line)?)?;
            } else {
                self.pending.extend_from_slice(line);
                let line = std::mem::take(&mut self.pending);
                row(&mut fields(&line)?)?;
            }
            rest = after;
        }
        self.pending.extend_from_slice(rest);
        Ok(())
    }

    /// Whether the last row that began has ended.
    pub(super) fn is_complete(&self) -> bool {
        self.pending.is_empty()
    }
}

fn fields(line: &[u8]) -> Result<impl Iterator<Item = Option<String>>, String> {
    let line = std::str::from_utf8(line).map_err(|error| format!("a row is no UTF-8: {error}"))?;
    Ok(line.split('\t').map(|field| (field != "\\N").then(|| unescape(field))))
}

fn unescape(field: &str) -> String {
    if !field.contains('\\') {
        return field.to_owned();
    }
    let mut text = String::with_capacity(field.len());
    let mut characters = field.chars();
    while let Some(character) = characters.next() {
        if character != '\\' {
            text.push(character);
            continue;
        }
        text.extend(characters.next().map(|escaped| match escaped {
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'v' => '\u{b}',
            other => other,
        }));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_whole_however_they_are_cut() {
        let sent = "1\ttab\\tand \\\\N\t\\N\n2\t\tzwölf\n".as_bytes();
        for size in 1..sent.len() {
            let mut rows: Vec<Vec<Option<String>>> = Vec::new();
            let mut copy = CopyRows::default();
            for piece in sent.chunks(size) {
                copy.push(piece, |fields| {
                    rows.push(fields.collect());
                    Ok(())
                })
                .expect("rows");
            }
            assert!(copy.is_complete());
            let text = |text: &str| Some(text.to_owned());
            assert_eq!(rows[0], [text("1"), text("tab\tand \\N"), None], "{size}");
            assert_eq!(rows[1], [text("2"), text(""), text("zwölf")], "{size}");
        }
    }
}
