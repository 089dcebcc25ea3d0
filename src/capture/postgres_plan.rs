//! What `auto_explain` writes into PostgreSQL's log: the plan of a statement, headed by its text.

use serde::Deserialize;

use super::postgres_message::parameters_of_detail;
use crate::model::Value;

/// The statement that a plan is of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PlannedStatement {
    pub(super) sql: String,
    /// `$1` and on; from PostgreSQL 16 on.
    pub(super) parameters: Vec<Option<Value>>,
}

#[derive(Deserialize)]
struct JsonPlan {
    #[serde(rename = "Query Text")]
    text: String,
    #[serde(rename = "Query Parameters")]
    parameters: Option<String>,
}

impl PlannedStatement {
    /// Reads what follows `plan:` in a message, as JSON or as text; `None` for the other formats.
    ///
    /// # Errors
    /// A plan that is cut off, or parameters that cannot be read to their end.
    pub(super) fn parse(plan: &str) -> Result<Option<PlannedStatement>, String> {
        let plan = plan.trim_start();
        if plan.starts_with('{') {
            let plan: JsonPlan =
                serde_json::from_str(plan).map_err(|error| format!("auto_explain's plan is no JSON: {error}"))?;
            return PlannedStatement::of(plan.text, plan.parameters.as_deref()).map(Some);
        }
        let Some(text) = plan.strip_prefix("Query Text: ") else { return Ok(None) };
        // The first node of the plan ends the statement, which may have lines of its own.
        let mut head = String::new();
        let mut has_node = false;
        for line in text.split_inclusive('\n') {
            has_node = line.contains("  (cost=");
            if has_node {
                break;
            }
            head.push_str(line);
        }
        if !has_node {
            return Err("auto_explain's plan is cut off".to_owned());
        }
        let head = head.trim_end_matches('\n');
        match head.rsplit_once("\nQuery Parameters: ") {
            Some((sql, parameters)) => PlannedStatement::of(sql.to_owned(), Some(parameters)).map(Some),
            None => PlannedStatement::of(head.to_owned(), None).map(Some),
        }
    }

    fn of(sql: String, parameters: Option<&str>) -> Result<PlannedStatement, String> {
        let detail = parameters.map(|parameters| format!("parameters: {parameters}")).unwrap_or_default();
        Ok(PlannedStatement { sql, parameters: parameters_of_detail(&detail)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_tells_its_statement() {
        let with =
            |sql: &str, parameters: Vec<Option<Value>>| Ok(Some(PlannedStatement { sql: sql.into(), parameters }));
        for (plan, expected) in [
            (
                "\n{\n  \"Query Text\": \"UPDATE t\\n   SET a = 'x'\",\n  \"Plan\": {\"Node Type\": \"ModifyTable\"}\n}",
                with("UPDATE t\n   SET a = 'x'", vec![]),
            ),
            (
                "\n{\"Query Text\": \"UPDATE t SET a = $1\", \"Query Parameters\": \"$1 = 'it''s'\", \"Plan\": {}}",
                with("UPDATE t SET a = $1", vec![Some(Value::text("it's"))]),
            ),
            (
                "\nQuery Text: UPDATE t\n  SET a = 1;\nUpdate on t  (cost=0.15..8.17 rows=0 width=0)\n  ->  Seq Scan",
                with("UPDATE t\n  SET a = 1;", vec![]),
            ),
            (
                "\nQuery Text: DELETE FROM t WHERE a = $1\nQuery Parameters: $1 = '7'\nDelete on t  (cost=0.15..8 rows=1)",
                with("DELETE FROM t WHERE a = $1", vec![Some(Value::text("7"))]),
            ),
            ("\n<explain xmlns=\"http://www.postgresql.org/2009/explain\">", Ok(None)),
        ] {
            assert_eq!(PlannedStatement::parse(plan), expected, "{plan}");
        }
        for cut in ["\n{\"Query Text\": \"UPDATE t", "\nQuery Text: UPDATE t\n  SET a"] {
            assert!(PlannedStatement::parse(cut).is_err(), "{cut}");
        }
    }
}
