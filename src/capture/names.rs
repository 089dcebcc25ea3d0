//! Texts that repeat from line to line, each held once.

use std::collections::HashSet;
use std::sync::Arc;

/// Names are few; texts that never repeat (inlined SQL) must not pile up.
const MOST_NAMES: usize = 100_000;

/// Column names, transaction ids, SQL: what was seen before is shared, not copied.
#[derive(Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    /// The text, shared with its earlier occurrences.
    pub(super) fn shared(&mut self, text: &str) -> Arc<str> {
        if let Some(held) = self.0.get(text) {
            return Arc::clone(held);
        }
        if self.0.len() >= MOST_NAMES {
            self.0.clear();
        }
        let text: Arc<str> = text.into();
        self.0.insert(Arc::clone(&text));
        text
    }
}
