//! How far the slots of live databases are stored, and what of them nobody can tell any more. Every row of `commits` says
//! all of it, so that only the last has to be read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The place up to which a slot is stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotPlace {
    /// In the server's write-ahead log.
    pub position: u64,
    /// The last number that a write of it was given.
    pub last_seq: u64,
}

/// Writes that were not recorded, and never will be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gap {
    /// The place in the store's order of arrival at which that was noticed.
    pub noticed: i64,
    /// Which writes.
    pub text: String,
}

/// What is known of slots.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slots {
    /// By the slot's name.
    pub(super) places: BTreeMap<String, SlotPlace>,
    /// In the order they were noticed.
    pub(super) gaps: Vec<Gap>,
}
