//! JSON documents in an input of lines: one a line, or one over many lines.

use super::lines::LONGEST_LINE;

/// Puts lines together until a document is whole.
#[derive(Debug, Default)]
pub(super) struct JsonDocuments {
    text: String,
    depth: usize,
    in_text: bool,
    escaped: bool,
    failed: bool,
}

impl JsonDocuments {
    /// Takes a line; the document, where this line ends one.
    ///
    /// # Errors
    /// A document of more than 512 MiB: it is dropped, and so is the rest of it.
    pub(super) fn push(&mut self, line: &str) -> Result<Option<String>, String> {
        for byte in line.bytes() {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' if self.in_text => self.escaped = true,
                b'"' => self.in_text = !self.in_text,
                b'{' | b'[' if !self.in_text => self.depth += 1,
                b'}' | b']' if !self.in_text => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
        }
        // No text of JSON goes on over the end of a line.
        (self.in_text, self.escaped) = (false, false);
        const LONGEST_DOCUMENT: usize = 8 * LONGEST_LINE;
        if self.text.len() + line.len() > LONGEST_DOCUMENT {
            self.text = String::new();
            let failed_before = std::mem::replace(&mut self.failed, self.depth > 0);
            return if failed_before { Ok(None) } else { Err("the JSON document is over 512 MiB".to_owned()) };
        }
        self.text.push_str(line);
        self.text.push('\n');
        if self.depth > 0 {
            return Ok(None);
        }
        let text = std::mem::take(&mut self.text);
        let failed = std::mem::take(&mut self.failed);
        Ok((!failed && !text.trim().is_empty()).then_some(text))
    }

    /// Whether the last document has begun and not ended.
    pub(super) fn is_open(&self) -> bool {
        self.depth > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_end_where_their_brackets_do() {
        let mut documents = JsonDocuments::default();
        let mut whole = |line: &str| documents.push(line).expect("short");
        assert_eq!(whole(r#"{"a": "}\"]"}"#).as_deref(), Some("{\"a\": \"}\\\"]\"}\n"));
        assert_eq!(whole("["), None);
        assert_eq!(whole(r#"  {"b": [1]},"#), None);
        assert_eq!(whole("  {}]").as_deref(), Some("[\n  {\"b\": [1]},\n  {}]\n"));
        assert_eq!(whole("nonsense").as_deref(), Some("nonsense\n"), "it is for the reader to refuse");
        assert_eq!(whole("{"), None);
        assert!(documents.is_open());
    }
}
