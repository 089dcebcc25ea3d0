//! How text is laid out: numbers, times, aligned tables, wrapped lines. Widths are characters.

use std::fmt::Display;

use crate::model::Timestamp;
use crate::report::difference::with_separators;

/// The width that everything but a single long name keeps to.
pub(in crate::report) const WIDTH: usize = 80;

/// `12,345`.
pub(in crate::report) fn number(count: u64) -> String {
    with_separators(&count.to_string())
}

/// `1 record`, `12,345 records`.
pub(in crate::report) fn counted(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", number(count))
}

/// To the second, for people: `2026-03-02 10:15:30Z`.
pub(in crate::report) fn time(time: Timestamp) -> String {
    let text = time.to_string();
    match text.split_once('.') {
        Some((seconds, _)) => format!("{}Z", seconds.replace('T', " ")),
        None => text.replace('T', " "),
    }
}

/// On one line, control characters and runs of blanks as one blank, cut at `width` with an ellipsis.
pub(in crate::report) fn one_line(text: &str, width: usize) -> String {
    let blank = |character: char| character.is_whitespace() || character.is_control();
    let line: Vec<&str> = text.split(blank).filter(|word| !word.is_empty()).collect();
    let line = line.join(" ");
    if characters(&line) <= width {
        return line;
    }
    let fitting: String = line.chars().take(width.saturating_sub(1)).collect();
    format!("{}…", fitting.trim_end())
}

fn characters(text: &str) -> usize {
    text.chars().count()
}

/// Lines of at most [`WIDTH`], the first after `first`, the others after as many blanks.
pub(in crate::report) fn wrapped(first: &str, text: &str) -> String {
    let indent = " ".repeat(characters(first));
    let mut lines = String::from(first);
    let mut used = characters(first);
    let mut is_first_word = true;
    for word in text.split_whitespace() {
        if !is_first_word && used + 1 + characters(word) > WIDTH {
            lines.push('\n');
            lines.push_str(&indent);
            used = indent.len();
        } else if !is_first_word {
            lines.push(' ');
            used += 1;
        }
        lines.push_str(word);
        used += characters(word);
        is_first_word = false;
    }
    lines
}

/// Which side of its column a cell keeps to.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(in crate::report) enum Side {
    Left,
    Right,
}

/// Rows of as many cells as `sides`, aligned, each line indented by two.
pub(in crate::report) fn table<C: Display>(sides: &[Side], rows: &[Vec<C>]) -> Vec<String> {
    let cells: Vec<Vec<String>> = rows.iter().map(|row| row.iter().map(ToString::to_string).collect()).collect();
    let width =
        |place: usize| cells.iter().filter_map(|row| row.get(place)).map(|cell| characters(cell)).max().unwrap_or(0);
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let mut line = String::from(" ");
        for ((cell, side), width) in row.iter().zip(sides).zip(&widths) {
            let padding = " ".repeat(width.saturating_sub(characters(cell)));
            match side {
                Side::Left => line.push_str(&format!(" {cell}{padding} ")),
                Side::Right => line.push_str(&format!(" {padding}{cell} ")),
            }
        }
        line.trim_end().to_owned()
    };
    cells.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_times_and_lines_read_well() {
        assert_eq!(number(1_234_567), "1,234,567");
        assert_eq!(counted(1, "record"), "1 record");
        assert_eq!(counted(0, "record"), "0 records");
        assert_eq!(time(Timestamp::from_micros(1_772_446_530_123_456)), "2026-03-02 10:15:30Z");
        assert_eq!(time(Timestamp::from_micros(1_772_446_530_000_000)), "2026-03-02 10:15:30Z");
        assert_eq!(one_line("UPDATE t\n   SET a = 1", 40), "UPDATE t SET a = 1");
        assert_eq!(one_line("UPDATE t SET a = 1", 10), "UPDATE t…");
        let wrapped = wrapped("  - ", &"word ".repeat(40));
        assert!(wrapped.lines().all(|line| characters(line) <= WIDTH), "{wrapped}");
        assert!(wrapped.lines().skip(1).all(|line| line.starts_with("    word")), "{wrapped}");
    }

    #[test]
    fn columns_line_up() {
        let rows = vec![vec!["table", "root"], vec!["public.orders", "1,200"], vec!["émile", "7"]];
        assert_eq!(
            table(&[Side::Left, Side::Right], &rows),
            ["  table           root", "  public.orders  1,200", "  émile              7"]
        );
    }
}
