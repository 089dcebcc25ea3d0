//! Statements that are cut, spliced, doubled and garbled, the same in every run: what reads SQL comes to an end with each.
//! `fuzz/run sql` asks the same of what libFuzzer makes up.

#[path = "../../fuzz/statements.rs"]
mod reading;

use super::statements::cases;

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % u64::try_from(sides.max(1)).expect("few")).expect("few")
    }
}

const GARBLING: [&str; 24] = [
    "(", ")", "'", "\"", "$$", "$a$", ";", "/*", "*/", "--", "\n", "\\", "E'", "U&'", "é", "\u{0}", "::", "[", "]",
    ",", ".", "*", " AS ", " SELECT ",
];

fn garbled(dice: &mut Dice, texts: &[String]) -> String {
    let mut text: Vec<char> = texts[dice.roll(texts.len())].chars().collect();
    for _ in 0..=dice.roll(4) {
        let (one, other) = (dice.roll(text.len() + 1), dice.roll(text.len() + 1));
        let (from, to) = (one.min(other), one.max(other));
        match dice.roll(6) {
            0 => text.truncate(to),
            1 => drop(text.drain(from..to.min(from + 12))),
            2 => text.splice(from..from, GARBLING[dice.roll(GARBLING.len())].chars()).for_each(drop),
            3 => {
                let part: Vec<char> = text[from..to].to_vec();
                text.splice(to..to, part).for_each(drop);
            }
            4 => {
                let donor: Vec<char> = texts[dice.roll(texts.len())].chars().collect();
                let at = dice.roll(donor.len() + 1);
                text.truncate(from);
                text.extend_from_slice(&donor[at..]);
            }
            _ => text[from..to].reverse(),
        }
    }
    text.truncate(4_000);
    text.into_iter().collect()
}

/// What `fuzz/run sql` found, and was mended since.
const FOUND: [&str; 1] = ["CREATE TRIGGER note AFTER INSERT ON gen FOR EACH ROW EXECUTE FUNCTION no)ed()"];

#[test]
fn what_was_found_is_read_to_its_end() {
    FOUND.iter().for_each(|sql| reading::read_everyhow(sql));
}

#[test]
fn garbled_statements_are_read_to_their_end() {
    let texts: Vec<String> = cases().1.into_iter().map(|case| case.sql).collect();
    let mut dice = Dice(7);
    for _ in 0..1_500 {
        reading::read_everyhow(&garbled(&mut dice, &texts));
    }
}

#[test]
fn what_repeats_itself_costs_no_more_than_its_length() {
    for seed in [
        include_str!("../../fuzz/seeds/sql_cost/list"),
        include_str!("../../fuzz/seeds/sql_cost/rows"),
        include_str!("../../fuzz/seeds/sql_cost/statements"),
        include_str!("../../fuzz/seeds/sql_cost/subqueries"),
        include_str!("../../fuzz/seeds/sql_cost/conditions"),
    ] {
        let parts: Vec<&str> = seed.splitn(3, '\n').collect();
        reading::grow(parts[1], parts[0], parts[2]);
    }
}
