//! Who wrote: a release of a service, and what that rests on.

use std::fmt;
use std::sync::Arc;

/// A release's name, such as `v42`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReleaseName(Arc<str>);

/// The name of a service, such as `shop`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName(Arc<str>);

macro_rules! name_type {
    ($name:ident) => {
        impl $name {
            /// Wraps the name as it came.
            pub fn new(name: impl Into<Arc<str>>) -> Self {
                $name(name.into())
            }

            /// The name itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }
    };
}
name_type!(ReleaseName);
name_type!(ServiceName);

/// A release of a service; the service may be unnamed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Release {
    /// The service that was released, where it is known.
    pub service: Option<ServiceName>,
    /// The release's name within the service.
    pub name: ReleaseName,
}

/// The service that our own repairs write as.
const REPAIRING_SERVICE: &str = "blast-radius";
/// What the names of their releases begin with.
const REPAIR_PREFIX: &str = "repair-";

impl Release {
    /// What the repair of this name writes as; its undo too.
    pub fn of_own_repair(id: &str) -> Release {
        let name = ReleaseName::new(format!("{REPAIR_PREFIX}{id}"));
        Release { service: Some(ServiceName::new(REPAIRING_SERVICE)), name }
    }

    /// Whether a repair of ours, or its undo, goes by it.
    pub fn is_own_repair(&self) -> bool {
        self.service.as_ref().is_some_and(|service| service.as_str() == REPAIRING_SERVICE)
            && self.name.as_str().starts_with(REPAIR_PREFIX)
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.service {
            Some(service) => write!(formatter, "{service}@{}", self.name),
            None => write!(formatter, "{}", self.name),
        }
    }
}

/// What an attribution rests on, the surest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Evidence {
    /// The event's own `release`.
    Event,
    /// A sqlcommenter tag in the statement.
    Comment,
    /// The session's `application_name`.
    ApplicationName,
    /// A `[[deploy]]` window that holds the commit's time.
    DeployWindow,
    /// The row's `updated_at` within a `[[deploy]]` window.
    UpdatedAt,
}

/// A release, and what says so.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Attribution {
    /// Who wrote.
    pub release: Release,
    /// What that rests on.
    pub evidence: Evidence,
}
