//! JSON documents in an input of lines: one a line, or one over many lines.

use super::lines::LONGEST_LINE;

/// A document is no longer than this many bytes.
pub(super) const LONGEST_DOCUMENT: usize = 8 * LONGEST_LINE;

/// Tells by their brackets which lines are of one document.
#[derive(Debug, Default)]
pub(super) struct JsonDocuments {
    /// The brackets that are open.
    open: Vec<u8>,
    /// The last byte that says anything; of a text its quote.
    last: u8,
}

impl JsonDocuments {
    /// Whether the next line goes on with the document that the lines before it began. An object that begins where none
    /// can stand shows that the document before it is damaged: it is the next one's beginning.
    pub(super) fn continues(&mut self, line: &[u8]) -> bool {
        let begins_object = line.trim_ascii_start().first() == Some(&b'{');
        if begins_object && !self.takes_a_value() {
            self.open.clear();
        }
        let continues = self.is_open();
        self.take(line);
        continues
    }

    /// Whether the last document has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        !self.open.is_empty()
    }

    fn takes_a_value(&self) -> bool {
        match self.last {
            b'[' | b':' => true,
            b',' => self.open.last() == Some(&b'['),
            _ => false,
        }
    }

    fn take(&mut self, line: &[u8]) {
        // No text of JSON goes on over the end of a line.
        let (mut in_text, mut escaped) = (false, false);
        for byte in line {
            match byte {
                _ if escaped => escaped = false,
                b'\\' if in_text => escaped = true,
                b'"' => (in_text, self.last) = (!in_text, b'"'),
                _ if in_text || byte.is_ascii_whitespace() => {}
                _ => {
                    match byte {
                        b'{' | b'[' => self.open.push(*byte),
                        b'}' | b']' => _ = self.open.pop(),
                        _ => {}
                    }
                    self.last = *byte;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The documents of a text.
    fn documents(text: &str) -> Vec<String> {
        let mut documents = JsonDocuments::default();
        let mut found: Vec<String> = Vec::new();
        for line in text.lines() {
            match (documents.continues(line.as_bytes()), found.last_mut()) {
                (true, Some(document)) => *document = format!("{document}\n{line}"),
                _ => found.push(line.to_owned()),
            }
        }
        found
    }

    #[test]
    fn documents_end_where_their_brackets_do() {
        let text = [r#"{"a": "}\"]"}"#, "[\n  {\"b\": [1]},\n  {}]", "nonsense", "{\n\"c\":\n{}\n}", "{"];
        assert_eq!(documents(&text.join("\n")), text, "what is nonsense is for the reader to refuse");
    }

    #[test]
    fn a_document_that_is_cut_does_not_take_the_next_one_with_it() {
        let whole = r#"{"a": [{"b": "c"}, 1], "d": {"e": 2}}"#;
        let listed = "[\n{\"a\": 1}\n, {\"a\": 2},\n{\"a\": 3}\n]";
        for cut in 1..whole.len() {
            let found = documents(&format!("{}\n{whole}\n{whole}\n{listed}", &whole[..cut]));
            let (sound, damaged) = (&found[found.len() - 2..], &found[..found.len() - 2]);
            assert_eq!(sound, [whole, listed], "cut at {cut}");
            assert!(damaged.len() <= 2, "cut at {cut}: {damaged:?}");
        }
    }
}
