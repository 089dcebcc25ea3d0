//! Two sequences in one order, aligned: the most pairs first, and among those the nearest in time.

/// What a pair is worth, beside which its distance in time is little.
const PAIR: i64 = 1_000_000_000;
/// The greatest distance that counts, in milliseconds.
const FARTHEST: u64 = 100_000_000;

/// A place of the left sequence that may belong to a place of the right one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The place on the left.
    pub left: usize,
    /// The place on the right.
    pub right: usize,
    /// How far apart they are in time, in milliseconds.
    pub distance: u64,
}

/// A candidate with what it is worth in the best alignments that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranked {
    /// The candidate.
    pub candidate: Candidate,
    /// Whether the best alignment holds it.
    pub chosen: bool,
    /// How many pairs fewer than the best the best alignment with this pair has.
    pub pairs_lost: u64,
    /// By how many milliseconds more than the best its pairs are apart, where it has as many pairs.
    pub distance_lost: i64,
}

/// Aligns the sequences: of the candidates, those are chosen that are in one order on both sides.
///
/// `candidates` are ordered by left, then right; places on the right are below `rights`.
pub fn align(candidates: &[Candidate], rights: usize) -> Vec<Ranked> {
    let worth = |candidate: &Candidate| PAIR - i64::try_from(candidate.distance.min(FARTHEST)).unwrap_or(PAIR);
    let forward = best_ends(candidates.iter().enumerate(), rights, |candidate| candidate.right, worth);
    let mirrored = |candidate: &Candidate| rights - 1 - candidate.right;
    let backward = best_ends(candidates.iter().enumerate().rev(), rights, mirrored, worth);
    let total = forward.iter().map(|end| end.worth).max().unwrap_or_default();
    let mut chosen = vec![false; candidates.len()];
    let mut last = (0..candidates.len()).rfind(|place| forward[*place].worth == total);
    while let Some(place) = last {
        chosen[place] = true;
        last = forward[place].before;
    }
    let ranked = |(place, candidate): (usize, &Candidate)| {
        let lost = total - (forward[place].worth + backward[place].worth - worth(candidate));
        let pairs_lost = (lost + PAIR / 2).div_euclid(PAIR);
        Ranked {
            candidate: *candidate,
            chosen: chosen[place],
            pairs_lost: u64::try_from(pairs_lost).unwrap_or_default(),
            distance_lost: lost - pairs_lost * PAIR,
        }
    };
    candidates.iter().enumerate().map(ranked).collect()
}

#[derive(Clone, Copy, Debug, Default)]
struct End {
    /// What the best alignment is worth that ends with this candidate.
    worth: i64,
    /// The candidate before it there.
    before: Option<usize>,
}

/// The best alignment that ends with each candidate; candidates of one left place do not follow each other.
fn best_ends<'a>(
    candidates: impl Iterator<Item = (usize, &'a Candidate)>,
    rights: usize,
    right_of: impl Fn(&Candidate) -> usize,
    worth: impl Fn(&Candidate) -> i64,
) -> Vec<End> {
    let mut ends: Vec<(usize, End)> = Vec::new();
    let mut best = PrefixMaximum::new(rights);
    let mut waiting: Vec<(usize, i64, usize)> = Vec::new();
    let mut left = None;
    for (place, candidate) in candidates {
        if left != Some(candidate.left) {
            left = Some(candidate.left);
            waiting.drain(..).for_each(|(right, worth, place)| best.raise(right, worth, place));
        }
        let right = right_of(candidate);
        let before = best.below(right);
        let end = End {
            worth: worth(candidate) + before.map_or(0, |(worth, _)| worth),
            before: before.map(|(_, place)| place),
        };
        waiting.push((right, end.worth, place));
        ends.push((place, end));
    }
    ends.sort_by_key(|(place, _)| *place);
    ends.into_iter().map(|(_, end)| end).collect()
}

/// The greatest value among all places below one: a Fenwick tree.
struct PrefixMaximum(Vec<Option<(i64, usize)>>);

impl PrefixMaximum {
    fn new(places: usize) -> Self {
        PrefixMaximum(vec![None; places + 1])
    }

    fn raise(&mut self, place: usize, worth: i64, candidate: usize) {
        let mut node = place + 1;
        while node < self.0.len() {
            if self.0[node].is_none_or(|(held, _)| held < worth) {
                self.0[node] = Some((worth, candidate));
            }
            node += node & node.wrapping_neg();
        }
    }

    fn below(&self, place: usize) -> Option<(i64, usize)> {
        let mut node = place;
        let mut best: Option<(i64, usize)> = None;
        while node > 0 {
            if let Some(held) = self.0[node].filter(|held| best.is_none_or(|best| best.0 < held.0)) {
                best = Some(held);
            }
            node -= node & node.wrapping_neg();
        }
        best
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn aligned(candidates: &[(usize, usize, u64)], rights: usize) -> Vec<Ranked> {
        let candidate = |(left, right, distance): &(usize, usize, u64)| Candidate {
            left: *left,
            right: *right,
            distance: *distance,
        };
        align(&candidates.iter().map(candidate).collect::<Vec<_>>(), rights)
    }

    fn chosen(ranked: &[Ranked]) -> Vec<(usize, usize)> {
        let chosen = ranked.iter().filter(|ranked| ranked.chosen);
        chosen.map(|ranked| (ranked.candidate.left, ranked.candidate.right)).collect()
    }

    #[test]
    fn more_pairs_go_before_nearer_ones() {
        // Taken by itself, the first is nearest to the last place, which would leave nothing to the second.
        let ranked = aligned(&[(0, 0, 50), (0, 1, 0), (1, 1, 3)], 2);
        assert_eq!(chosen(&ranked), [(0, 0), (1, 1)]);
        assert_eq!(ranked[1].pairs_lost, 1);
    }

    #[test]
    fn of_as_many_pairs_the_nearest_are_chosen_and_the_others_say_what_they_lose() {
        let ranked = aligned(&[(0, 0, 7), (0, 1, 2), (1, 2, 0)], 3);
        assert_eq!(chosen(&ranked), [(0, 1), (1, 2)]);
        assert_eq!((ranked[0].pairs_lost, ranked[0].distance_lost), (0, 5));
        assert_eq!((ranked[2].pairs_lost, ranked[2].distance_lost), (0, 0));
    }

    #[test]
    fn nothing_aligns_with_nothing() {
        assert_eq!(aligned(&[], 0), []);
        assert_eq!(chosen(&aligned(&[(0, 1, 0), (1, 0, 0)], 2)).len(), 1, "one order on both sides");
    }
}
