//! A set of whole numbers: what a foreign key may point to.
//!
//! Keys are mostly dense (a sequence gave them), so they are bits in pages of 65,536; where they turn out to be far apart,
//! they are kept one by one.

use std::collections::{HashMap, HashSet};

use datafusion::common::hash_utils::RandomState;

/// Words of 64 bits in a page.
const WORDS: usize = 1024;
/// Before so many pages it is not worth asking how full they are.
const FEW_PAGES: usize = 1024;
/// A page of 8 KB takes as much as so many numbers kept one by one.
const WORTH_A_PAGE: usize = 512;

/// A set of whole numbers.
#[derive(Debug)]
pub(super) enum IntegerSet {
    /// Pages of bits, by the numbers' upper part.
    Dense { pages: HashMap<i64, Box<[u64; WORDS]>, RandomState>, count: usize },
    /// Each number.
    Sparse(HashSet<i64, RandomState>),
}

impl IntegerSet {
    /// An empty set.
    pub(super) fn new() -> Self {
        IntegerSet::Dense { pages: HashMap::with_hasher(random_state()), count: 0 }
    }

    /// Adds a number.
    pub(super) fn insert(&mut self, number: i64) {
        match self {
            IntegerSet::Dense { pages, count } => {
                let (page, word, bit) = place(number);
                let page = pages.entry(page).or_insert_with(|| Box::new([0; WORDS]));
                if let Some(word) = page.get_mut(word)
                    && *word & bit == 0
                {
                    *word |= bit;
                    *count += 1;
                }
                if pages.len() > FEW_PAGES && pages.len() * WORTH_A_PAGE > *count {
                    *self = IntegerSet::Sparse(self.numbers());
                }
            }
            IntegerSet::Sparse(numbers) => _ = numbers.insert(number),
        }
    }

    /// Whether a number is in it.
    pub(super) fn contains(&self, number: i64) -> bool {
        match self {
            IntegerSet::Dense { pages, .. } => {
                let (page, word, bit) = place(number);
                pages.get(&page).and_then(|page| page.get(word)).is_some_and(|word| word & bit != 0)
            }
            IntegerSet::Sparse(numbers) => numbers.contains(&number),
        }
    }

    /// About how much memory it takes.
    pub(super) fn bytes(&self) -> usize {
        match self {
            IntegerSet::Dense { pages, .. } => pages.len() * (WORDS * size_of::<u64>() + 32),
            IntegerSet::Sparse(numbers) => numbers.capacity() * (size_of::<i64>() + 1) * 8 / 7,
        }
    }

    fn numbers(&self) -> HashSet<i64, RandomState> {
        let mut numbers = HashSet::with_hasher(random_state());
        match self {
            IntegerSet::Sparse(known) => numbers.extend(known),
            IntegerSet::Dense { pages, .. } => {
                for (page, words) in pages {
                    for (word, bits) in (0_i64..).zip(words.iter()) {
                        let mut bits = *bits;
                        while bits != 0 {
                            numbers.insert((page << 16) | (word << 6) | i64::from(bits.trailing_zeros()));
                            bits &= bits - 1;
                        }
                    }
                }
            }
        }
        numbers
    }
}

fn random_state() -> RandomState {
    RandomState::with_seed(0x5eed)
}

/// The number's page, its word there, and its bit in that.
fn place(number: i64) -> (i64, usize, u64) {
    let word = usize::try_from((number >> 6) & 1023).unwrap_or(0);
    (number >> 16, word, 1 << (number & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse_hold_the_same() {
        for step in [1_i64, 7, 65_537, 1 << 40] {
            let mut set = IntegerSet::new();
            let numbers: Vec<i64> = (-1_000..1_000).map(|number: i64| number.wrapping_mul(step)).collect();
            numbers.iter().for_each(|number| set.insert(*number));
            assert!(numbers.iter().all(|number| set.contains(*number)), "{step}");
            assert!(!set.contains(1_000_i64.wrapping_mul(step)) && !set.contains(i64::MAX), "{step}");
            assert_eq!(matches!(set, IntegerSet::Sparse(_)), step > 65_536, "{step}");
        }
        let mut ends = IntegerSet::new();
        [i64::MIN, i64::MAX, -1, 0].into_iter().for_each(|number| ends.insert(number));
        assert!([i64::MIN, i64::MAX, -1, 0].into_iter().all(|number| ends.contains(number)));
        assert!(ends.bytes() > 0 && ends.bytes() < 100_000, "{}", ends.bytes());
        assert!(!ends.contains(1) && !ends.contains(-2) && !ends.contains(i64::MIN + 1));
    }
}
