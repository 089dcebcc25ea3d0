//! Lines of bounded length, numbered.

use std::collections::VecDeque;
use std::io::{self, BufRead};

/// No line of any format is longer; what is goes to the rejected lines, cut.
pub(super) const LONGEST_LINE: usize = 64 * 1024 * 1024;
/// How much of a line that is too long is kept.
pub(super) const KEPT_OF_TOO_LONG: usize = 64 * 1024;
const BYTE_ORDER_MARK: &[u8] = &[0xef, 0xbb, 0xbf];

/// One line as its bytes stand in the input, without its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// Its number, from 1.
    pub(super) number: u64,
    /// Its bytes; only the first of them where it is too long.
    pub(super) bytes: Vec<u8>,
    /// How long it really is, where that is more than [`LONGEST_LINE`].
    pub(super) too_long: Option<u64>,
    /// Whether the input ended before the line did.
    pub(super) unfinished: bool,
    /// Whether it ended in a carriage return before its line feed: within a record of many lines, that is content.
    pub(super) carriage_return: bool,
}

impl Line {
    /// A line with all its bytes.
    pub(super) fn whole(number: u64, bytes: Vec<u8>) -> Self {
        Line { number, bytes, too_long: None, unfinished: false, carriage_return: false }
    }
}

/// Reads lines, some of them ahead.
pub(super) struct Lines {
    content: Box<dyn BufRead>,
    ahead: VecDeque<Line>,
    last_number: u64,
    longest: usize,
}

impl Lines {
    pub(super) fn new(content: Box<dyn BufRead>) -> Self {
        Lines { content, ahead: VecDeque::new(), last_number: 0, longest: LONGEST_LINE }
    }

    /// The number of the last line read from the input, ahead or not.
    pub(super) fn last_number(&self) -> u64 {
        self.last_number
    }

    /// The next line, or `None` at the end.
    pub(super) fn next(&mut self) -> io::Result<Option<Line>> {
        match self.ahead.pop_front() {
            Some(line) => Ok(Some(line)),
            None => self.read(),
        }
    }

    /// Reads up to `count` lines and `bytes` bytes ahead; an error waits for [`Lines::next`] to meet it again.
    pub(super) fn look_ahead(&mut self, count: usize, bytes: usize) -> &VecDeque<Line> {
        let mut held = 0;
        while self.ahead.len() < count && held < bytes {
            let Ok(Some(line)) = self.read() else { break };
            held += line.bytes.len();
            self.ahead.push_back(line);
        }
        &self.ahead
    }

    fn read(&mut self) -> io::Result<Option<Line>> {
        let mut line = Line::whole(self.last_number + 1, Vec::new());
        let mut length: u64 = 0;
        loop {
            let available = match self.content.fill_buf() {
                Ok(available) => available,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // What came of the line before the error is a line; the error comes again with the next one.
                Err(_) if length > 0 => {
                    line.unfinished = true;
                    break;
                }
                Err(error) => return Err(error),
            };
            if available.is_empty() {
                if length == 0 {
                    return Ok(None);
                }
                line.unfinished = true;
                break;
            }
            let end = available.iter().position(|byte| *byte == b'\n');
            let part = &available[..end.unwrap_or(available.len())];
            length += part.len() as u64;
            if line.bytes.len() + part.len() > self.longest {
                line.too_long = Some(length);
            }
            if line.too_long.is_none() {
                line.bytes.extend_from_slice(part);
            }
            let consumed = part.len() + usize::from(end.is_some());
            self.content.consume(consumed);
            if end.is_some() {
                break;
            }
        }
        if line.too_long.is_some() {
            line.too_long = Some(length);
            line.bytes.truncate(KEPT_OF_TOO_LONG);
            line.bytes.shrink_to_fit();
        }
        self.last_number = line.number;
        Ok(Some(trimmed(line)))
    }
}

fn trimmed(mut line: Line) -> Line {
    if line.number == 1 && line.bytes.starts_with(BYTE_ORDER_MARK) {
        line.bytes.drain(..BYTE_ORDER_MARK.len());
    }
    line.carriage_return = line.bytes.last() == Some(&b'\r');
    if line.carriage_return {
        line.bytes.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Cursor};

    use super::*;

    fn lines(text: &'static [u8], buffer: usize) -> Lines {
        Lines::new(Box::new(BufReader::with_capacity(buffer, Cursor::new(text))))
    }

    #[test]
    fn lines_come_whole_whatever_the_buffer() {
        for buffer in [1, 2, 3, 64] {
            let mut lines = lines(b"\xef\xbb\xbfa\r\n\nbc\nd", buffer);
            lines.look_ahead(2, 100);
            let mut read = Vec::new();
            while let Some(line) = lines.next().expect("no error") {
                read.push((line.number, String::from_utf8(line.bytes).expect("UTF-8"), line.unfinished));
            }
            let text = |text: &str| text.to_owned();
            let expected = [(1, text("a"), false), (2, text(""), false), (3, text("bc"), false), (4, text("d"), true)];
            assert_eq!(read, expected);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_is_whole() {
        let mut lines = lines(b"0123456789\nok\n", 4);
        lines.longest = 8;
        let first = lines.next().expect("no error").expect("a line");
        assert_eq!((first.number, first.too_long), (1, Some(10)));
        let second = lines.next().expect("no error").expect("a line");
        assert_eq!((second.bytes.as_slice(), second.too_long), (b"ok".as_slice(), None));
        assert_eq!(lines.next().expect("no error"), None);
    }
}
