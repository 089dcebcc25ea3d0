//! The messages of `pgoutput`, PostgreSQL's own output plugin for logical decoding (protocol version 1).
//!
//! In: the bytes of one message. Out: a [`Message`] that borrows from them.
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

/// Microseconds from 1970-01-01 to 2000-01-01, where PostgreSQL's clock begins.
const POSTGRES_EPOCH_MICROS: i64 = 946_684_800_000_000;

/// One message of the stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Message<'a> {
    /// A transaction begins; they come in the order of their commits, each whole.
    Begin {
        /// Where its commit record stands in the write-ahead log.
        commit_position: u64,
        /// When it was committed: microseconds since 1970-01-01T00:00:00Z.
        committed_micros: i64,
        /// Its id: 32 bits.
        transaction: u32,
    },
    /// The transaction ends.
    Commit {
        /// Where the commit record ends: everything up to here is told.
        end_position: u64,
    },
    /// The shape of a table, before its first change and after its shape changed.
    Relation(Relation),
    /// A row is new.
    Insert { relation: u32, new: Tuple<'a> },
    /// A row changed.
    Update { relation: u32, old: Option<OldTuple<'a>>, new: Tuple<'a> },
    /// A row is gone.
    Delete { relation: u32, old: OldTuple<'a> },
    /// Every row of these tables is gone.
    Truncate { relations: Vec<u32> },
    /// What a session wrote into the log by `pg_logical_emit_message`.
    Logical {
        /// Whether it is part of the transaction, and gone with it.
        transactional: bool,
        prefix: &'a str,
        content: &'a [u8],
    },
    /// A type's name, or a replication origin: nothing that we need.
    Other,
}

/// A table as it was when its next changes were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Relation {
    pub(super) id: u32,
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) columns: Vec<String>,
}

/// The image of a row before a change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum OldTuple<'a> {
    /// Every column (`REPLICA IDENTITY FULL`).
    Whole(Tuple<'a>),
    /// The columns of the replica identity; every other is NULL here, whatever it was.
    Key(Tuple<'a>),
}

/// The cells of a row, in the order of its table's columns.
pub(super) type Tuple<'a> = Vec<Cell<'a>>;

/// One cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Null,
    /// A value out of line that the update left as it was: it is not in the log.
    Unchanged,
    /// As the type's output function prints it.
    Text(&'a str),
}

/// Reads one message.
///
/// # Errors
/// What is wrong with it, and at which byte.
pub(super) fn decode(bytes: &[u8]) -> Result<Message<'_>, String> {
    let mut reader = Reader { bytes, at: 0 };
    let message = match reader.byte()? {
        b'B' => Message::Begin {
            commit_position: reader.u64()?,
            committed_micros: reader.time()?,
            transaction: reader.u32()?,
        },
        b'C' => {
            reader.skip(1 + 8)?;
            let end_position = reader.u64()?;
            reader.skip(8)?;
            Message::Commit { end_position }
        }
        b'R' => Message::Relation(reader.relation()?),
        b'I' => {
            let relation = reader.u32()?;
            reader.expect(b'N')?;
            Message::Insert { relation, new: reader.tuple()? }
        }
        b'U' => reader.update()?,
        b'D' => {
            let relation = reader.u32()?;
            let kind = reader.byte()?;
            Message::Delete { relation, old: reader.old_tuple(kind)? }
        }
        b'T' => {
            let count = reader.u32()?;
            reader.skip(1)?;
            Message::Truncate { relations: (0..count).map(|_| reader.u32()).collect::<Result<_, _>>()? }
        }
        b'M' => reader.logical()?,
        b'Y' | b'O' => return Ok(Message::Other),
        kind => return Err(format!("a message of the unknown kind '{}'", char::from(kind))),
    };
    match reader.at == bytes.len() {
        true => Ok(message),
        false => Err(format!("{} bytes too many", bytes.len() - reader.at)),
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let end = self.at.checked_add(count);
        let taken = end.and_then(|end| self.bytes.get(self.at..end));
        let taken = taken.ok_or_else(|| format!("it ends at byte {}, within a field", self.bytes.len()))?;
        self.at += count;
        Ok(taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), String> {
        self.take(count).map(|_| ())
    }

    fn array<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], String> {
        let taken = self.take(COUNT)?;
        taken.try_into().map_err(|_| "a field has another length than was read".to_owned())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    fn u16(&mut self) -> Result<u16, String> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, String> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64, String> {
        Ok(u64::from_be_bytes(self.array()?))
    }

    /// A time since 2000, as one since 1970.
    fn time(&mut self) -> Result<i64, String> {
        let micros = i64::from_be_bytes(self.array()?);
        micros.checked_add(POSTGRES_EPOCH_MICROS).ok_or_else(|| "a time beyond the calendar".to_owned())
    }

    fn length(&mut self) -> Result<usize, String> {
        let length = self.u32()?;
        usize::try_from(length).map_err(|_| format!("a field of {length} bytes"))
    }

    fn expect(&mut self, wanted: u8) -> Result<(), String> {
        match self.byte()? {
            found if found == wanted => Ok(()),
            found => Err(format!("'{}' where '{}' was expected", char::from(found), char::from(wanted))),
        }
    }

    /// Up to the zero byte.
    fn text(&mut self) -> Result<&'a str, String> {
        let rest = self.bytes.get(self.at..).unwrap_or_default();
        let end = rest.iter().position(|byte| *byte == 0).ok_or("a name that does not end")?;
        let text = self.take(end)?;
        self.skip(1)?;
        std::str::from_utf8(text).map_err(|error| format!("a name that is no UTF-8: {error}"))
    }

    fn relation(&mut self) -> Result<Relation, String> {
        let id = self.u32()?;
        // The schema of the system's own tables is written as an empty name.
        let schema = Some(self.text()?).filter(|schema| !schema.is_empty()).unwrap_or("pg_catalog").to_owned();
        let table = self.text()?.to_owned();
        self.skip(1)?;
        let count = self.u16()?;
        let mut columns = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            self.skip(1)?;
            columns.push(self.text()?.to_owned());
            self.skip(4 + 4)?;
        }
        Ok(Relation { id, schema, table, columns })
    }

    fn update(&mut self) -> Result<Message<'a>, String> {
        let relation = self.u32()?;
        let old = match self.byte()? {
            b'N' => None,
            kind => {
                let old = self.old_tuple(kind)?;
                self.expect(b'N')?;
                Some(old)
            }
        };
        Ok(Message::Update { relation, old, new: self.tuple()? })
    }

    fn old_tuple(&mut self, kind: u8) -> Result<OldTuple<'a>, String> {
        match kind {
            b'O' => Ok(OldTuple::Whole(self.tuple()?)),
            b'K' => Ok(OldTuple::Key(self.tuple()?)),
            other => Err(format!("'{}' where an image before was expected", char::from(other))),
        }
    }

    fn tuple(&mut self) -> Result<Tuple<'a>, String> {
        let count = self.u16()?;
        let mut cells = Vec::with_capacity(usize::from(count));
        for _ in 0..count {
            cells.push(match self.byte()? {
                b'n' => Cell::Null,
                b'u' => Cell::Unchanged,
                b't' => {
                    let length = self.length()?;
                    let text = std::str::from_utf8(self.take(length)?);
                    Cell::Text(text.map_err(|error| format!("a value that is no UTF-8: {error}"))?)
                }
                kind => return Err(format!("a value of the unknown kind '{}'", char::from(kind))),
            });
        }
        Ok(cells)
    }

    fn logical(&mut self) -> Result<Message<'a>, String> {
        let transactional = self.byte()? & 1 == 1;
        self.skip(8)?;
        let prefix = self.text()?;
        let length = self.length()?;
        Ok(Message::Logical { transactional, prefix, content: self.take(length)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A message's bytes: numbers big-endian, texts with their zero byte where the format has one.
    fn bytes(parts: &[&[u8]]) -> Vec<u8> {
        parts.concat()
    }

    fn text_cell(text: &str) -> Vec<u8> {
        let length = u32::try_from(text.len()).expect("short");
        bytes(&[b"t", &length.to_be_bytes(), text.as_bytes()])
    }

    #[test]
    fn a_transaction_with_its_places_and_its_time() {
        let begin = bytes(&[b"B", &7_u64.to_be_bytes(), &1_000_000_i64.to_be_bytes(), &733_u32.to_be_bytes()]);
        let expected = Message::Begin { commit_position: 7, committed_micros: 946_684_801_000_000, transaction: 733 };
        assert_eq!(decode(&begin), Ok(expected));
        let commit = bytes(&[b"C", &[0], &7_u64.to_be_bytes(), &9_u64.to_be_bytes(), &1_000_000_i64.to_be_bytes()]);
        assert_eq!(decode(&commit), Ok(Message::Commit { end_position: 9 }));
    }

    #[test]
    fn a_table_with_quoted_names() {
        let columns = bytes(&[&[1], b"Id\0", &[0, 0, 0, 20], &[255; 4], &[0], "naïve name\0".as_bytes(), &[0; 8]]);
        let relation = bytes(&[b"R", &9_u32.to_be_bytes(), b"My Schema\0Odd.Table\0f", &2_u16.to_be_bytes(), &columns]);
        let expected = Relation {
            id: 9,
            schema: "My Schema".to_owned(),
            table: "Odd.Table".to_owned(),
            columns: vec!["Id".to_owned(), "naïve name".to_owned()],
        };
        assert_eq!(decode(&relation), Ok(Message::Relation(expected)));
    }

    #[test]
    fn changes_with_every_kind_of_image() {
        let new = bytes(&[b"N", &3_u16.to_be_bytes(), &text_cell("1"), b"n", b"u"]);
        let cells = vec![Cell::Text("1"), Cell::Null, Cell::Unchanged];
        let relation = 9_u32.to_be_bytes();
        let insert = bytes(&[b"I", &relation, &new]);
        assert_eq!(decode(&insert), Ok(Message::Insert { relation: 9, new: cells.clone() }));
        let update = bytes(&[b"U", &relation, &new]);
        assert_eq!(decode(&update), Ok(Message::Update { relation: 9, old: None, new: cells.clone() }));
        let key = bytes(&[b"K", &1_u16.to_be_bytes(), &text_cell("2")]);
        let old = OldTuple::Key(vec![Cell::Text("2")]);
        let update = bytes(&[b"U", &relation, &key, &new]);
        assert_eq!(decode(&update), Ok(Message::Update { relation: 9, old: Some(old), new: cells }));
        let delete = bytes(&[b"D", &relation, b"O", &1_u16.to_be_bytes(), b"n"]);
        assert_eq!(decode(&delete), Ok(Message::Delete { relation: 9, old: OldTuple::Whole(vec![Cell::Null]) }));
        let truncate = bytes(&[b"T", &2_u32.to_be_bytes(), &[1], &relation, &8_u32.to_be_bytes()]);
        assert_eq!(decode(&truncate), Ok(Message::Truncate { relations: vec![9, 8] }));
        let message = bytes(&[b"M", &[1], &[0; 8], b"blast_radius\0", &2_u32.to_be_bytes(), b"{}"]);
        let expected = Message::Logical { transactional: true, prefix: "blast_radius", content: b"{}" };
        assert_eq!(decode(&message), Ok(expected));
    }

    #[test]
    fn damage_is_told_and_never_read_past() {
        let insert = bytes(&[b"I", &[0, 0, 0, 9], b"N", &1_u16.to_be_bytes(), &text_cell("value")]);
        for length in 0..insert.len() {
            assert!(decode(&insert[..length]).is_err(), "cut at {length}");
        }
        let longer = bytes(&[&insert, b"x"]);
        for (message, reason) in [
            (longer.as_slice(), "1 bytes too many"),
            (b"Z", "unknown kind 'Z'"),
            (b"I\0\0\0\x09K", "'K' where 'N'"),
            (b"I\0\0\0\x09N\0\x01t\xff\xff\xff\xff", "within a field"),
            (b"I\0\0\0\x09N\0\x01t\0\0\0\x01\xff", "no UTF-8"),
            (b"T\xff\xff\xff\xff\0", "within a field"),
        ] {
            let error = decode(message).expect_err(reason);
            assert!(error.contains(reason), "{error}");
        }
    }
}
