//! The time zone that a session sets, for its transaction or from now on.

use std::sync::Arc;

use sqlparser::ast::{
    ContextModifier, DiscardObject, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArguments, Reset, Set,
    Statement, UnaryOperator, Value as SqlValue, visit_expressions,
};
use std::ops::ControlFlow;

use crate::model::Value;

/// A time zone's name; `None` for the one that the session began with.
pub type Zone = Option<Arc<str>>;

/// What a statement makes of its session's time zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneChange {
    /// Until the transaction ends.
    OfTransaction(Zone),
    /// From now on, where the transaction commits.
    OfSession(Zone),
    /// What a parameter names: its number, and whether only until the transaction ends.
    ByParameter(usize, bool),
}

impl ZoneChange {
    /// With its parameters' values; what is not told is a zone that nobody knows.
    pub fn with(self, parameters: &[Option<Value>]) -> ZoneChange {
        let ZoneChange::ByParameter(number, is_local) = self else { return self };
        let given = number.checked_sub(1).and_then(|place| parameters.get(place)).and_then(Option::as_ref);
        let name: Arc<str> = given.and_then(Value::as_str).unwrap_or("that of a parameter").into();
        of_scope(Some(name), is_local)
    }
}

fn of_scope(zone: Zone, is_local: bool) -> ZoneChange {
    if is_local { ZoneChange::OfTransaction(zone) } else { ZoneChange::OfSession(zone) }
}

/// What the statement makes of the time zone, where it makes anything of it.
pub fn zone_change(statement: &Statement) -> Option<ZoneChange> {
    match statement {
        Statement::Set(Set::SetTimeZone { local, value }) => Some(of_scope(zone_of(value), *local)),
        Statement::Set(Set::SingleAssignment { scope, variable, values, .. })
            if is_time_zone(&variable.to_string()) =>
        {
            let zone = match values.as_slice() {
                [value] => zone_of(value),
                _ => Some("several".into()),
            };
            Some(of_scope(zone, *scope == Some(ContextModifier::Local)))
        }
        Statement::Reset(reset) => match &reset.reset {
            Reset::ALL => Some(ZoneChange::OfSession(None)),
            Reset::ConfigurationParameter(name) if is_time_zone(&name.to_string()) => Some(ZoneChange::OfSession(None)),
            Reset::ConfigurationParameter(_) => None,
        },
        Statement::Discard { object_type: DiscardObject::ALL } => Some(ZoneChange::OfSession(None)),
        Statement::Query(query) => {
            let found = visit_expressions(query.as_ref(), |expression| match expression {
                Expr::Function(function) => match by_function(function) {
                    Some(change) => ControlFlow::Break(change),
                    None => ControlFlow::Continue(()),
                },
                _ => ControlFlow::Continue(()),
            });
            match found {
                ControlFlow::Break(change) => Some(change),
                ControlFlow::Continue(()) => None,
            }
        }
        _ => None,
    }
}

/// Whether a text may set the time zone at all: what cannot be parsed, or says it by a function, is looked at for that.
pub fn may_set_zone(sql: &str) -> bool {
    let folded = sql.to_ascii_lowercase();
    (folded.contains("timezone") || folded.contains("time zone")) && (folded.contains("set"))
}

fn is_time_zone(name: &str) -> bool {
    name.trim_matches('"').eq_ignore_ascii_case("timezone")
}

fn zone_of(value: &Expr) -> Zone {
    let text = match value {
        Expr::Value(value) => match value.value.clone().into_string() {
            Some(text) => text,
            None => value.to_string(),
        },
        Expr::Identifier(name) => name.value.clone(),
        Expr::UnaryOp { op: UnaryOperator::Minus, expr } => format!("-{expr}"),
        other => other.to_string(),
    };
    let begins_with = ["default", "local"].iter().any(|word| text.eq_ignore_ascii_case(word));
    (!begins_with).then(|| text.into())
}

/// `set_config('timezone', zone, is_local)`.
fn by_function(function: &Function) -> Option<ZoneChange> {
    let name = function.name.0.last()?.as_ident()?;
    let FunctionArguments::List(list) = &function.args else { return None };
    let arguments: Vec<&Expr> = list
        .args
        .iter()
        .filter_map(|argument| match argument {
            FunctionArg::Unnamed(FunctionArgExpr::Expr(expression)) => Some(expression),
            _ => None,
        })
        .collect();
    let text = |expression: &Expr| match expression {
        Expr::Value(value) => value.value.clone().into_string(),
        _ => None,
    };
    let [setting, zone, is_local] = arguments.as_slice() else { return None };
    if !name.value.eq_ignore_ascii_case("set_config") || !text(setting).is_none_or(|name| is_time_zone(&name)) {
        return None;
    }
    let is_local = matches!(is_local, Expr::Value(value) if value.value == SqlValue::Boolean(true));
    if let Expr::Value(value) = zone
        && let SqlValue::Placeholder(name) = &value.value
        && let Some(number) = name.strip_prefix('$').and_then(|digits| digits.parse().ok())
    {
        return Some(ZoneChange::ByParameter(number, is_local));
    }
    let name = text(zone).unwrap_or_else(|| zone.to_string());
    Some(of_scope(Some(name.into()), is_local))
}

/// The time zone of a session as it goes on.
#[derive(Clone, Debug, Default)]
pub struct SessionZone {
    session: Zone,
    transaction: Option<Zone>,
}

impl SessionZone {
    /// What it is now.
    pub fn now(&self) -> &Zone {
        self.transaction.as_ref().unwrap_or(&self.session)
    }

    /// Takes in what a statement makes of it.
    pub fn change(&mut self, change: ZoneChange) {
        match change {
            ZoneChange::OfTransaction(zone) => self.transaction = Some(zone),
            ZoneChange::OfSession(zone) => *self = SessionZone { session: zone, transaction: None },
            ZoneChange::ByParameter(_, is_local) => {
                self.change(of_scope(Some("that of a parameter".into()), is_local));
            }
        }
    }

    /// Its transaction has committed.
    pub fn committed(&mut self) {
        self.transaction = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_read_wherever_a_session_may_set_it() {
        let berlin = || Some(Arc::from("Europe/Berlin"));
        let cases = [
            ("SET TIME ZONE 'Europe/Berlin'", Some(ZoneChange::OfSession(berlin()))),
            ("set timezone = 'Europe/Berlin'", Some(ZoneChange::OfSession(berlin()))),
            ("SET TimeZone TO \"Europe/Berlin\"", Some(ZoneChange::OfSession(berlin()))),
            ("SET SESSION TIME ZONE 'Europe/Berlin'", Some(ZoneChange::OfSession(berlin()))),
            ("SET LOCAL TIME ZONE 'Europe/Berlin'", Some(ZoneChange::OfTransaction(berlin()))),
            ("SET LOCAL timezone TO 'Europe/Berlin'", Some(ZoneChange::OfTransaction(berlin()))),
            ("SET TIME ZONE UTC", Some(ZoneChange::OfSession(Some("UTC".into())))),
            ("SET TIME ZONE -3.5", Some(ZoneChange::OfSession(Some("-3.5".into())))),
            ("SET TIME ZONE LOCAL", Some(ZoneChange::OfSession(None))),
            ("SET TIME ZONE DEFAULT", Some(ZoneChange::OfSession(None))),
            ("SET timezone TO DEFAULT", Some(ZoneChange::OfSession(None))),
            ("RESET timezone", Some(ZoneChange::OfSession(None))),
            ("RESET ALL", Some(ZoneChange::OfSession(None))),
            ("DISCARD ALL", Some(ZoneChange::OfSession(None))),
            ("DISCARD TEMP", None),
            ("SELECT set_config('TimeZone', 'Europe/Berlin', false)", Some(ZoneChange::OfSession(berlin()))),
            (
                "SELECT pg_catalog.set_config('search_path', 'a', true), set_config('timezone', $2, true)",
                Some(ZoneChange::ByParameter(2, true)),
            ),
            ("SELECT set_config('search_path', 'a', true)", None),
            ("SET search_path = 'a'", None),
        ];
        for (sql, expected) in cases {
            let parsed = crate::sql::parse(sql).expect("PostgreSQL's SQL");
            assert_eq!(parsed.first().and_then(zone_change), expected, "{sql}");
            assert!(expected.is_none() || may_set_zone(sql) || sql.contains("ALL"), "{sql}");
        }
        let parameters = [None, Some(Value::text("Europe/Berlin"))];
        assert_eq!(ZoneChange::ByParameter(2, true).with(&parameters), ZoneChange::OfTransaction(berlin()));
        assert_ne!(ZoneChange::ByParameter(1, true).with(&parameters), ZoneChange::OfTransaction(None));
    }
}
