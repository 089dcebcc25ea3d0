//! Rows that hold the same values as another row, found in two scans and in little memory.
//!
//! In: batches of a table, twice. Out: the rows, of those batches, whose values come more than once. The first scan sets a
//! bit for the hash of each row's values; a row whose bit is set already is a suspect, rightly or by chance. The second
//! scan keeps the rows whose hash is a suspect's, and compares them value by value. Nothing but the suspects is held, so
//! that a table of any size needs no more than the bits.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{OwnedRow, RowConverter, SortField};
use datafusion::common::hash_utils::{QualityRandomState, create_hashes_with_hasher};
use datafusion::error::DataFusionError;

/// Bits for each row expected: one row in about thirty is a suspect by chance.
const BITS_PER_ROW: u64 = 24;
/// Where the number of rows is not known: 32 MB.
const USUAL_BITS: u64 = 1 << 28;
/// 128 MB: no scan is worth more.
const MOST_BITS: u64 = 1 << 30;
const FEWEST_BITS: u64 = 1 << 16;
/// More suspects than this, rightly or by chance, are not held: 144 MB.
const MOST_SUSPECTS: usize = 1 << 23;
/// More than this of rows under suspicion are not held.
const MOST_BYTES_KEPT: usize = 64 << 20;

type Suspects = HashSet<u64, BuildHasherDefault<AlreadyHashed>>;

/// The first scan.
#[derive(Debug)]
pub(super) struct RepeatedValues {
    seen: Vec<u64>,
    suspects: Suspects,
    hashes: Vec<u64>,
    too_many: bool,
}

/// The second scan.
#[derive(Debug)]
pub(super) struct SuspectRows {
    suspects: Suspects,
    kept: Vec<(RecordBatch, Vec<u64>)>,
    times: HashMap<u64, u32, BuildHasherDefault<AlreadyHashed>>,
    hashes: Vec<u64>,
    bytes_kept: usize,
}

/// Whether equal values of this type have equal hashes: not so floats, whose zeros and NaNs are several.
pub(super) fn is_comparable(data_type: &DataType) -> bool {
    data_type.is_integer()
        || matches!(
            data_type,
            DataType::Utf8
                | DataType::Boolean
                | DataType::Date32
                | DataType::Timestamp(_, _)
                | DataType::Decimal128(_, _)
                | DataType::Decimal256(_, _)
        )
}

impl RepeatedValues {
    /// For a table of about so many rows, where that is known, as one of `among` that share the memory.
    pub(super) fn new(rows: Option<u64>, among: usize) -> Self {
        let bits = rows.map_or(USUAL_BITS, |rows| rows.saturating_mul(BITS_PER_ROW));
        let most = (MOST_BITS / u64::try_from(among.max(1)).unwrap_or(MOST_BITS)).max(FEWEST_BITS);
        // A power of two: a part of the hash is the place.
        let bits = 1 << bits.clamp(FEWEST_BITS, most).ilog2();
        let words = usize::try_from(bits / 64_u64).unwrap_or(1);
        RepeatedValues { seen: vec![0; words], suspects: Suspects::default(), hashes: Vec::new(), too_many: false }
    }

    /// Looks at the values of each row that is a rival of the others; one with a NULL among them is none.
    pub(super) fn look(&mut self, values: &[ArrayRef], rivals: Option<&BooleanArray>) -> Result<(), DataFusionError> {
        if self.too_many {
            return Ok(());
        }
        hash_rows(values, &mut self.hashes)?;
        let words = self.seen.len().max(1);
        for (row, hash) in self.hashes.iter().enumerate() {
            if !is_rival(values, rivals, row) {
                continue;
            }
            let (word, bit) = (usize::try_from(hash >> 6).unwrap_or(0) & (words - 1), 1_u64 << (hash & 63));
            let Some(word) = self.seen.get_mut(word) else { continue };
            if *word & bit != 0 {
                self.suspects.insert(*hash);
            }
            *word |= bit;
        }
        if self.suspects.len() > MOST_SUSPECTS {
            self.too_many = true;
            self.suspects = Suspects::default();
        }
        Ok(())
    }

    /// What the second scan has to look for; `None` where it is too much.
    pub(super) fn suspects(self) -> Option<SuspectRows> {
        let RepeatedValues { suspects, hashes, too_many, .. } = self;
        let times = HashMap::default();
        (!too_many).then_some(SuspectRows { suspects, kept: Vec::new(), times, hashes, bytes_kept: 0 })
    }
}

impl SuspectRows {
    /// Whether there is anything to look for.
    pub(super) fn are_there(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// Whether the rows under suspicion were too many to be kept.
    pub(super) fn are_too_many(&self) -> bool {
        self.bytes_kept > MOST_BYTES_KEPT
    }

    /// Keeps the suspects among the rows of a batch; `values` are columns of it that make two rows alike.
    pub(super) fn look(
        &mut self,
        batch: &RecordBatch,
        values: &[ArrayRef],
        rivals: Option<&BooleanArray>,
    ) -> Result<(), DataFusionError> {
        if self.are_too_many() {
            return Ok(());
        }
        hash_rows(values, &mut self.hashes)?;
        let mut kept = Vec::new();
        let mut is_kept = vec![false; batch.num_rows()];
        for ((row, hash), is_kept) in self.hashes.iter().enumerate().zip(&mut is_kept) {
            if self.suspects.contains(hash) && is_rival(values, rivals, row) {
                *is_kept = true;
                kept.push(*hash);
                *self.times.entry(*hash).or_default() += 1;
            }
        }
        if !kept.is_empty() {
            let batch = filter_record_batch(batch, &BooleanArray::from(is_kept))?;
            self.bytes_kept += batch.get_array_memory_size() + kept.len() * 24;
            self.kept.push((batch, kept));
        }
        if self.are_too_many() {
            self.kept.clear();
            self.times.clear();
        }
        Ok(())
    }

    /// The rows whose values come more than once: the batches that [`SuspectRows::look`] was given, without the others.
    /// `values` says which columns of a batch make two rows alike.
    pub(super) fn repeated(self, values: &[usize]) -> Result<Vec<RecordBatch>, ArrowError> {
        let mut alike: Vec<RecordBatch> = Vec::new();
        for (batch, hashes) in self.kept {
            let several: BooleanArray =
                hashes.iter().map(|hash| Some(self.times.get(hash).is_some_and(|times| *times > 1))).collect();
            if several.true_count() > 0 {
                alike.push(filter_record_batch(&batch, &several)?);
            }
        }
        let Some(first) = alike.first() else { return Ok(Vec::new()) };
        let fields = first.project(values)?.schema();
        let fields = fields.fields().iter().map(|field| SortField::new(field.data_type().clone()));
        let converter = RowConverter::new(fields.collect())?;
        // Two rows of one hash are nearly always alike, but only the values tell.
        let mut times: HashMap<OwnedRow, u32> = HashMap::new();
        let mut rows = Vec::with_capacity(alike.len());
        for batch in &alike {
            let converted = converter.convert_columns(batch.project(values)?.columns())?;
            let owned: Vec<OwnedRow> = converted.iter().map(|row| row.owned()).collect();
            for row in &owned {
                *times.entry(row.clone()).or_default() += 1;
            }
            rows.push(owned);
        }
        let mut repeated = Vec::with_capacity(alike.len());
        for (batch, rows) in alike.iter().zip(rows) {
            let several: BooleanArray =
                rows.iter().map(|row| Some(times.get(row).is_some_and(|times| *times > 1))).collect();
            repeated.push(filter_record_batch(batch, &several)?);
        }
        Ok(repeated)
    }
}

fn is_rival(values: &[ArrayRef], rivals: Option<&BooleanArray>, row: usize) -> bool {
    values.iter().all(|values| values.is_valid(row))
        && rivals.is_none_or(|rivals| rivals.is_valid(row) && rivals.value(row))
}

fn hash_rows(values: &[ArrayRef], hashes: &mut Vec<u64>) -> Result<(), DataFusionError> {
    hashes.clear();
    hashes.resize(values.first().map_or(0, |values| values.len()), 0);
    create_hashes_with_hasher(values, &QualityRandomState::with_seed(0x5eed), hashes)?;
    Ok(())
}

/// For what is a hash itself.
#[derive(Debug, Default)]
struct AlreadyHashed(u64);

impl Hasher for AlreadyHashed {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn write_u64(&mut self, hash: u64) {
        self.0 = hash;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{AsArray, Int32Array, StringArray};
    use arrow::datatypes::Int32Type;

    use super::*;

    fn batch(ids: &[i32], names: &[Option<&str>]) -> RecordBatch {
        let columns: Vec<(&str, ArrayRef, bool)> = vec![
            ("id", Arc::new(Int32Array::from(ids.to_vec())), true),
            ("name", Arc::new(StringArray::from(names.to_vec())), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).expect("a batch")
    }

    /// The ids of the rows with a repeated name, by the two scans.
    fn repeated(batches: &[RecordBatch], rivals: Option<&BooleanArray>, mut first: RepeatedValues) -> Vec<i32> {
        let values = |batch: &RecordBatch| vec![Arc::clone(batch.column(1))];
        batches.iter().for_each(|batch| first.look(&values(batch), rivals).expect("hashes"));
        let mut second = first.suspects().expect("few suspects");
        batches.iter().for_each(|batch| second.look(batch, &values(batch), rivals).expect("hashes"));
        let found = second.repeated(&[1]).expect("rows");
        found.iter().flat_map(|batch| batch.column(0).as_primitive::<Int32Type>().values().to_vec()).collect()
    }

    #[test]
    fn equals_are_found_across_batches_and_nulls_are_no_equals() {
        let batches =
            [batch(&[1, 2, 3], &[Some("a"), None, Some("b")]), batch(&[4, 5, 6], &[None, Some("a"), Some("c")])];
        assert_eq!(repeated(&batches, None, RepeatedValues::new(Some(6), 1)), [1, 5]);
        let rivals = BooleanArray::from(vec![true, false, true]);
        let twice = [batch(&[1, 2, 3], &[Some("a"), Some("a"), Some("b")])];
        assert_eq!(repeated(&twice, Some(&rivals), RepeatedValues::new(None, 3)), [] as [i32; 0]);
    }

    #[test]
    fn suspects_by_chance_are_acquitted() {
        // One word of bits for a thousand names: nearly every row is a suspect.
        let narrow =
            RepeatedValues { seen: vec![0; 1], suspects: Suspects::default(), hashes: Vec::new(), too_many: false };
        let names: Vec<String> = (0..1_000).map(|number| format!("name {}", number % 999)).collect();
        let names: Vec<Option<&str>> = names.iter().map(|name| Some(name.as_str())).collect();
        let ids: Vec<i32> = (0..1_000).collect();
        assert_eq!(repeated(&[batch(&ids, &names)], None, narrow), [0, 999]);
    }
}
