//! The binary format of `COPY … TO STDOUT`, back to fields.

/// What every stream begins with; flags and the length of an extension follow.
const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";

/// Cuts what COPY sends, in whatever pieces it comes, into rows.
#[derive(Default)]
pub(super) struct CopyRows {
    /// The start of a row, or of the header, whose end has not come yet.
    pending: Vec<u8>,
    has_begun: bool,
    has_ended: bool,
}

/// What a piece of the stream is, once it is whole.
enum Unit<'bytes> {
    Row(Fields<'bytes>, usize),
    End(usize),
}

/// The fields of one row, in order.
pub(super) struct Fields<'bytes> {
    rest: &'bytes [u8],
}

impl<'bytes> Iterator for Fields<'bytes> {
    type Item = Option<&'bytes [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let (length, rest) = self.rest.split_first_chunk::<4>()?;
        let Ok(length) = usize::try_from(i32::from_be_bytes(*length)) else {
            self.rest = rest;
            return Some(None);
        };
        let (field, rest) = rest.split_at_checked(length)?;
        self.rest = rest;
        Some(Some(field))
    }
}

impl CopyRows {
    /// Hands every row that the piece completes to `row`.
    ///
    /// # Errors
    /// What `row` refuses; a stream that is not in the format.
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        mut row: impl FnMut(Fields<'_>) -> Result<(), String>,
    ) -> Result<(), String> {
        if self.pending.is_empty() {
            let used = self.take(piece, &mut row)?;
            self.pending.extend_from_slice(piece.get(used..).unwrap_or_default());
            return Ok(());
        }
        self.pending.extend_from_slice(piece);
        let pending = std::mem::take(&mut self.pending);
        let used = self.take(&pending, &mut row)?;
        self.pending.extend_from_slice(pending.get(used..).unwrap_or_default());
        Ok(())
    }

    /// How many of the bytes were whole rows.
    fn take(&mut self, bytes: &[u8], row: &mut impl FnMut(Fields<'_>) -> Result<(), String>) -> Result<usize, String> {
        let mut used = 0;
        if !self.has_begun {
            let Some(length) = header_length(bytes)? else { return Ok(0) };
            self.has_begun = true;
            used = length;
        }
        while let Some(unit) = next_unit(bytes.get(used..).unwrap_or_default())? {
            match unit {
                Unit::Row(fields, length) => {
                    row(fields)?;
                    used += length;
                }
                Unit::End(length) => {
                    self.has_ended = true;
                    return Ok(used + length);
                }
            }
        }
        Ok(used)
    }

    /// Whether the mark of its end has come.
    pub(super) fn is_complete(&self) -> bool {
        self.has_ended && self.pending.is_empty()
    }
}

fn header_length(bytes: &[u8]) -> Result<Option<usize>, String> {
    let Some((signature, rest)) = bytes.split_at_checked(SIGNATURE.len()) else { return Ok(None) };
    if signature != SIGNATURE {
        return Err("the server's COPY is not in its binary format".to_owned());
    }
    let Some((_flags, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let Some((length, rest)) = rest.split_first_chunk::<4>() else { return Ok(None) };
    let length = usize::try_from(i32::from_be_bytes(*length)).map_err(|_| "the header is damaged".to_owned())?;
    Ok((rest.len() >= length).then_some(SIGNATURE.len() + 8 + length))
}

fn next_unit(bytes: &[u8]) -> Result<Option<Unit<'_>>, String> {
    let Some((count, rest)) = bytes.split_first_chunk::<2>() else { return Ok(None) };
    let count = match i16::from_be_bytes(*count) {
        -1 => return Ok(Some(Unit::End(2))),
        count => usize::try_from(count).map_err(|_| "a row has a negative number of fields".to_owned())?,
    };
    let mut after = rest;
    for _ in 0..count {
        let Some((length, fields)) = after.split_first_chunk::<4>() else { return Ok(None) };
        let length = usize::try_from(i32::from_be_bytes(*length)).unwrap_or(0);
        let Some((_, fields)) = fields.split_at_checked(length) else { return Ok(None) };
        after = fields;
    }
    let length = rest.len() - after.len();
    let fields = rest.get(..length).unwrap_or_default();
    Ok(Some(Unit::Row(Fields { rest: fields }, length + 2)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_whole_however_the_stream_is_cut() {
        let mut stream = SIGNATURE.to_vec();
        stream.extend([0, 0, 0, 0, 0, 0, 0, 0]);
        stream.extend([0, 2, 0, 0, 0, 1, b'a', 0xff, 0xff, 0xff, 0xff]);
        stream.extend([0, 0]);
        stream.extend([0, 1, 0, 0, 0, 0]);
        stream.extend([0xff, 0xff]);
        let expected = [vec![Some(b"a".to_vec()), None], vec![], vec![Some(Vec::new())]];
        for size in 1..=stream.len() {
            let (mut copy, mut rows) = (CopyRows::default(), Vec::new());
            for piece in stream.chunks(size) {
                assert!(!copy.is_complete(), "{size}");
                let row = |fields: Fields<'_>| {
                    rows.push(fields.map(|field| field.map(<[u8]>::to_vec)).collect::<Vec<_>>());
                    Ok(())
                };
                copy.push(piece, row).expect("the format");
            }
            assert_eq!(rows, expected, "{size}");
            assert!(copy.is_complete(), "{size}");
        }
        let text = CopyRows::default().push(b"1\ttext\tand more of it\n", |_| Ok(()));
        assert!(text.is_err_and(|reason| reason.contains("binary")));
    }
}
