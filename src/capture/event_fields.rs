//! The JSON of one write event, borrowed from its line: its fields, its images, and its identity.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;

use super::read::identity;
use crate::model::{RecordingId, Value};

/// A field that the format knows. Their order is that of their names, and of an event's identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    After,
    Before,
    Id,
    Key,
    Op,
    Params,
    Reads,
    Release,
    Seq,
    Service,
    Session,
    Statement,
    Table,
    Trace,
    Ts,
    Tx,
}

const KNOWN: [Known; 16] = [
    Known::After,
    Known::Before,
    Known::Id,
    Known::Key,
    Known::Op,
    Known::Params,
    Known::Reads,
    Known::Release,
    Known::Seq,
    Known::Service,
    Known::Session,
    Known::Statement,
    Known::Table,
    Known::Trace,
    Known::Ts,
    Known::Tx,
];

impl Known {
    fn named(name: &str) -> Option<Known> {
        Some(match name {
            "after" => Known::After,
            "before" => Known::Before,
            "id" => Known::Id,
            "key" => Known::Key,
            "op" => Known::Op,
            "params" => Known::Params,
            "reads" => Known::Reads,
            "release" => Known::Release,
            "seq" => Known::Seq,
            "service" => Known::Service,
            "session" => Known::Session,
            "statement" => Known::Statement,
            "table" => Known::Table,
            "trace" => Known::Trace,
            "ts" => Known::Ts,
            "tx" => Known::Tx,
            _ => return None,
        })
    }

    fn name(self) -> &'static str {
        match self {
            Known::After => "after",
            Known::Before => "before",
            Known::Id => "id",
            Known::Key => "key",
            Known::Op => "op",
            Known::Params => "params",
            Known::Reads => "reads",
            Known::Release => "release",
            Known::Seq => "seq",
            Known::Service => "service",
            Known::Session => "session",
            Known::Statement => "statement",
            Known::Table => "table",
            Known::Trace => "trace",
            Known::Ts => "ts",
            Known::Tx => "tx",
        }
    }
}

/// An event's fields, none twice.
pub(super) struct Fields<'line> {
    /// As [`KNOWN`] has them; `None` where it does not say.
    known: [Option<Field<'line>>; KNOWN.len()],
    /// Those that the format does not know, in the order they came.
    others: Vec<(Cow<'line, str>, Cell<'line>)>,
}

enum Field<'line> {
    /// `key`, `before` or `after`.
    Image(Option<Image<'line>>),
    /// Any other.
    Plain(Cell<'line>),
}

/// The columns of an image in the order they came, none twice.
pub(super) struct Image<'line>(Vec<(Cow<'line, str>, Cell<'line>)>);

/// A JSON value; one that is a text is a part of its line where it has no escapes.
pub(super) enum Cell<'line> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A text.
    Text(Cow<'line, str>),
    /// A whole number.
    Unsigned(u64),
    /// Any other number, a list or an object.
    Other(Json),
}

impl<'line> Image<'line> {
    /// The columns, in the order they came.
    pub(super) fn cells(&self) -> &[(Cow<'line, str>, Cell<'line>)] {
        &self.0
    }
}

impl Cell<'_> {
    /// As PostgreSQL would print it in a column that takes it.
    pub(super) fn value(&self) -> Value {
        match self {
            Cell::Null => Value::NULL,
            Cell::Bool(boolean) => Value::text(if *boolean { "t" } else { "f" }),
            Cell::Text(text) => Value::text(text.as_ref()),
            Cell::Unsigned(number) => Value::text(Decimal::of(*number).as_str()),
            Cell::Other(json) => value_of_json(json),
        }
    }
}

/// A JSON value as PostgreSQL would print it in a column that takes it.
pub(super) fn value_of_json(json: &Json) -> Value {
    match json {
        Json::Null => Value::NULL,
        Json::Bool(boolean) => Value::text(if *boolean { "t" } else { "f" }),
        Json::String(text) => Value::text(text.as_str()),
        Json::Number(number) => Value::text(number.as_str()),
        Json::Array(_) | Json::Object(_) => Value::text(json.to_string()),
    }
}

impl<'line> Fields<'line> {
    fn plain(&self, known: Known) -> Option<&Cell<'line>> {
        match &self.known[known as usize] {
            Some(Field::Plain(Cell::Null) | Field::Image(_)) | None => None,
            Some(Field::Plain(cell)) => Some(cell),
        }
    }

    /// `key`, `before` or `after`.
    pub(super) fn image(&self, known: Known) -> Option<&Image<'line>> {
        match &self.known[known as usize] {
            Some(Field::Image(image)) => image.as_ref(),
            _ => None,
        }
    }

    /// A text; a number will do, digit for digit.
    ///
    /// # Errors
    /// A field of another kind.
    pub(super) fn text(&self, known: Known) -> Result<Option<Cow<'_, str>>, String> {
        match self.plain(known) {
            None => Ok(None),
            Some(Cell::Text(text)) => Ok(Some(Cow::Borrowed(text))),
            Some(Cell::Unsigned(number)) => Ok(Some(Cow::Owned(number.to_string()))),
            Some(Cell::Other(Json::Number(number))) => Ok(Some(Cow::Borrowed(number.as_str()))),
            Some(_) => Err(format!("`{}` must be a text", known.name())),
        }
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// A field of another kind, or none.
    pub(super) fn required_text(&self, known: Known) -> Result<Cow<'_, str>, String> {
        self.text(known)?.filter(|text| !text.is_empty()).ok_or_else(|| format!("`{}` is missing", known.name()))
    }

    /// A list; an empty one where there is none.
    ///
    /// # Errors
    /// A field of another kind.
    pub(super) fn list(&self, known: Known) -> Result<&[Json], String> {
        match self.plain(known) {
            None => Ok(&[]),
            Some(Cell::Other(Json::Array(items))) => Ok(items),
            Some(_) => Err(format!("`{}` must be a list", known.name())),
        }
    }

    /// The place in the order of writes.
    ///
    /// # Errors
    /// What is no such number.
    pub(super) fn seq(&self) -> Result<Option<u64>, String> {
        if let Some(Cell::Unsigned(seq)) = self.plain(Known::Seq)
            && i64::try_from(*seq).is_ok()
        {
            return Ok(Some(*seq));
        }
        let Some(text) = self.text(Known::Seq)? else { return Ok(None) };
        // The store keeps it as a signed 64-bit integer, as Delta Lake knows no other.
        match text.parse::<u64>() {
            Ok(seq) if i64::try_from(seq).is_ok() => Ok(Some(seq)),
            _ => Err(format!("`seq` is {text}: expected an integer from 0 to {}", i64::MAX)),
        }
    }

    /// Of its `id`; else of everything it says, whatever the order of its keys and the spaces between them. `canonical`
    /// is room to write in.
    ///
    /// # Errors
    /// An `id` that is no text.
    pub(super) fn identity(&self, canonical: &mut String) -> Result<RecordingId, String> {
        let mut hasher = blake3::Hasher::new();
        if let Some(id) = self.text(Known::Id)? {
            hasher.update(b"event id\0");
            hasher.update(id.as_bytes());
            return Ok(identity(&hasher));
        }
        hasher.update(b"event\0");
        canonical.clear();
        let mut others: Vec<&(Cow<'line, str>, Cell<'line>)> = self.others.iter().collect();
        others.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut others = others.into_iter().peekable();
        for (known, field) in KNOWN.into_iter().zip(&self.known) {
            let (Some(field), name) = (field, known.name()) else { continue };
            while let Some((earlier, cell)) = others.next_if(|(other, _)| other.as_ref() < name) {
                write_text(canonical, earlier);
                write_cell(canonical, cell);
            }
            write_text(canonical, name);
            match field {
                Field::Plain(cell) => write_cell(canonical, cell),
                Field::Image(None) => canonical.push('n'),
                Field::Image(Some(Image(cells))) => {
                    let members = cells.iter().map(|(column, cell)| (column.as_ref(), cell)).collect();
                    write_object(canonical, members, write_cell);
                }
            }
        }
        for (name, cell) in others {
            write_text(canonical, name);
            write_cell(canonical, cell);
        }
        hasher.update(canonical.as_bytes());
        Ok(identity(&hasher))
    }
}

fn write_cell(canonical: &mut String, cell: &Cell<'_>) {
    match cell {
        Cell::Null => canonical.push('n'),
        Cell::Bool(boolean) => canonical.push(if *boolean { 't' } else { 'f' }),
        Cell::Text(text) => write_text(canonical, text),
        Cell::Unsigned(number) => {
            canonical.push('#');
            write_text(canonical, Decimal::of(*number).as_str());
        }
        Cell::Other(json) => write_json(canonical, json),
    }
}

/// Writes a value so that no two different ones are written alike: every part with its kind and its length.
fn write_json(canonical: &mut String, json: &Json) {
    match json {
        Json::Null => canonical.push('n'),
        Json::Bool(boolean) => canonical.push(if *boolean { 't' } else { 'f' }),
        Json::Number(number) => {
            canonical.push('#');
            write_text(canonical, number.as_str());
        }
        Json::String(text) => write_text(canonical, text),
        Json::Array(items) => {
            canonical.push('[');
            items.iter().for_each(|item| write_json(canonical, item));
            canonical.push(']');
        }
        Json::Object(members) => {
            write_object(canonical, members.iter().map(|(name, json)| (name.as_str(), json)).collect(), write_json);
        }
    }
}

fn write_object<T>(canonical: &mut String, mut members: Vec<(&str, &T)>, write_member: impl Fn(&mut String, &T)) {
    members.sort_unstable_by_key(|(name, _)| *name);
    canonical.push('{');
    for (name, member) in members {
        write_text(canonical, name);
        write_member(canonical, member);
    }
    canonical.push('}');
}

fn write_text(canonical: &mut String, text: &str) {
    canonical.push_str(Decimal::of(text.len() as u64).as_str());
    canonical.push(':');
    canonical.push_str(text);
}

/// A number's digits, without memory of their own: they are written several times for each event.
struct Decimal {
    digits: [u8; Decimal::LONGEST],
    from: usize,
}

impl Decimal {
    const LONGEST: usize = 20;

    fn of(number: u64) -> Decimal {
        let mut decimal = Decimal { digits: [b'0'; Decimal::LONGEST], from: Decimal::LONGEST };
        let mut rest = number;
        for (place, digit) in decimal.digits.iter_mut().enumerate().rev() {
            *digit += u8::try_from(rest % 10).unwrap_or_default();
            rest /= 10;
            decimal.from = place;
            if rest == 0 {
                break;
            }
        }
        decimal
    }

    fn as_str(&self) -> &str {
        self.digits.get(self.from..).and_then(|digits| std::str::from_utf8(digits).ok()).unwrap_or_default()
    }
}

/// A name as it stands in its line.
struct Name<'line>(Cow<'line, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a name")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }

            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

impl<'de> Deserialize<'de> for Cell<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellVisitor;
        impl<'de> Visitor<'de> for CellVisitor {
            type Value = Cell<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("any JSON value")
            }

            fn visit_unit<E>(self) -> Result<Cell<'de>, E> {
                Ok(Cell::Null)
            }

            fn visit_bool<E>(self, boolean: bool) -> Result<Cell<'de>, E> {
                Ok(Cell::Bool(boolean))
            }

            fn visit_u64<E>(self, number: u64) -> Result<Cell<'de>, E> {
                Ok(Cell::Unsigned(number))
            }

            fn visit_i64<E>(self, number: i64) -> Result<Cell<'de>, E> {
                Ok(Cell::Other(Json::from(number)))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Cell<'de>, E> {
                Ok(Cell::Other(Json::from(number)))
            }

            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Cell<'de>, E> {
                Ok(Cell::Text(Cow::Borrowed(text)))
            }

            fn visit_str<E>(self, text: &str) -> Result<Cell<'de>, E> {
                Ok(Cell::Text(Cow::Owned(text.to_owned())))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Cell<'de>, A::Error> {
                let mut list = Vec::new();
                while let Some(item) = items.next_element()? {
                    list.push(item);
                }
                Ok(Cell::Other(Json::Array(list)))
            }

            // Numbers that are longer, or have a fraction, come as maps, too.
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Cell<'de>, A::Error> {
                Json::deserialize(MapAccessDeserializer::new(map)).map(Cell::Other)
            }
        }
        deserializer.deserialize_any(CellVisitor)
    }
}

impl<'de> Deserialize<'de> for Fields<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct FieldsVisitor;
        impl<'de> Visitor<'de> for FieldsVisitor {
            type Value = Fields<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an event: an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Fields { known: Default::default(), others: Vec::new() };
                let twice = |name: &str| A::Error::custom(format_args!("`{name}` stands there twice"));
                while let Some(Name(name)) = map.next_key()? {
                    match Known::named(&name) {
                        Some(known) if fields.known[known as usize].is_some() => return Err(twice(&name)),
                        Some(known @ (Known::Key | Known::Before | Known::After)) => {
                            fields.known[known as usize] = Some(Field::Image(map.next_value()?));
                        }
                        Some(known) => fields.known[known as usize] = Some(Field::Plain(map.next_value()?)),
                        None if fields.others.iter().any(|(held, _)| *held == name) => return Err(twice(&name)),
                        None => fields.others.push((name, map.next_value()?)),
                    }
                }
                Ok(fields)
            }
        }
        deserializer.deserialize_map(FieldsVisitor)
    }
}

impl<'de> Deserialize<'de> for Image<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ImageVisitor;
        impl<'de> Visitor<'de> for ImageVisitor {
            type Value = Image<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object of columns, such as {\"id\": 17}")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Image<'de>, A::Error> {
                let mut cells: Vec<(Cow<'de, str>, Cell<'de>)> = Vec::with_capacity(8);
                while let Some(Name(column)) = map.next_key()? {
                    if cells.iter().any(|(held, _)| *held == column) {
                        return Err(A::Error::custom(format_args!("column `{column}` stands twice in one image")));
                    }
                    cells.push((column, map.next_value()?));
                }
                Ok(Image(cells))
            }
        }
        deserializer.deserialize_map(ImageVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_that_are_known_are_found() {
        assert!(KNOWN.is_sorted_by_key(|known| known.name()));
        for (place, known) in KNOWN.into_iter().enumerate() {
            assert_eq!((Known::named(known.name()), known as usize), (Some(known), place));
        }
        assert_eq!(Known::named("x"), None);
    }

    #[test]
    fn numbers_are_written_digit_by_digit() {
        for number in [0, 7, 10, 99, 100, 12_345, u64::MAX] {
            assert_eq!(Decimal::of(number).as_str(), number.to_string());
        }
    }

    #[test]
    fn what_identifies_an_event_is_written_part_by_part() {
        let line = r#"{"zeta":[1,{"b":null,"a":"x"}],"tx":"733","key":{"id":17,"a\u0062":true},"ts":"t","before":null,
                       "c":-0.10}"#;
        let fields: Fields<'_> = serde_json::from_str(line).expect("an object");
        let mut canonical = "of another event".to_owned();
        let id = fields.identity(&mut canonical).expect("an identity");
        let expected = "6:beforen1:c#5:-0.103:key{2:abt2:id#2:17}2:ts1:t2:tx3:7334:zeta[#1:1{1:a1:x1:bn}]";
        assert_eq!(canonical, expected);
        let mut hasher = blake3::Hasher::new();
        hasher.update(b"event\0").update(expected.as_bytes());
        assert_eq!(id, identity(&hasher));
        assert_eq!(
            fields.image(Known::Key).and_then(|key| key.cells().last()).map(|(name, _)| name.as_ref()),
            Some("ab")
        );
    }
}
