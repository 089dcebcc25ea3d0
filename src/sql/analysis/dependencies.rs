//! What a value depends on.

use super::arena::ColumnId;
use super::outcome::{InfluenceKind, Via};

/// The columns that a value is computed from, and those that decide whether it is there and which of several it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Dependencies {
    pub(super) sources: Vec<(ColumnId, Via)>,
    pub(super) influences: Vec<(ColumnId, InfluenceKind)>,
}

/// What becomes of the columns found in an expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// They become part of the value.
    Value(Via),
    /// They only decide.
    Influence(InfluenceKind),
}

impl Role {
    /// The role of what is computed with on the way to the value.
    pub(super) fn at_least(self, least: Via) -> Role {
        match self {
            Role::Value(via) => Role::Value(via.max(least)),
            Role::Influence(_) => self,
        }
    }

    /// The role of what decides on the way to the value; what only decides anyway keeps its kind.
    pub(super) fn deciding(self, kind: InfluenceKind) -> Role {
        match self {
            Role::Value(_) => Role::Influence(kind),
            Role::Influence(_) => self,
        }
    }
}

impl Dependencies {
    pub(super) fn of_column(column: ColumnId, via: Via) -> Self {
        Dependencies { sources: vec![(column, via)], influences: Vec::new() }
    }

    pub(super) fn add(&mut self, column: ColumnId, role: Role) {
        match role {
            Role::Value(via) => self.sources.push((column, via)),
            Role::Influence(kind) => self.influences.push((column, kind)),
        }
    }

    /// Takes in what another value depends on, in this role.
    pub(super) fn absorb(&mut self, other: &Dependencies, role: Role) {
        match role {
            Role::Value(via) => {
                self.sources.extend(other.sources.iter().map(|(column, own)| (*column, via.max(*own))));
                self.influences.extend_from_slice(&other.influences);
            }
            Role::Influence(kind) => {
                self.influences.extend(other.sources.iter().map(|(column, _)| (*column, kind)));
                self.influences.extend(other.influences.iter().map(|(column, _)| (*column, kind)));
            }
        }
    }

    /// Each source once with its strongest way, each influence once.
    pub(super) fn settle(&mut self) {
        if self.sources.len() > 1 {
            self.sources.sort_unstable_by(|left, right| left.0.cmp(&right.0).then(right.1.cmp(&left.1)));
            self.sources.dedup_by_key(|(column, _)| *column);
        }
        settle_influences(&mut self.influences);
    }

    /// The strongest way of all sources; without any, the value was made here.
    pub(super) fn via(&self) -> Via {
        self.sources.iter().map(|(_, via)| *via).max().unwrap_or(Via::Transform)
    }
}

/// Each influence once.
pub(super) fn settle_influences(influences: &mut Vec<(ColumnId, InfluenceKind)>) {
    if influences.len() > 1 {
        influences.sort_unstable();
        influences.dedup();
    }
}
