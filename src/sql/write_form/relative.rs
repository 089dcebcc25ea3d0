//! Columns that an UPDATE moves by an amount, and looks at for nothing else: `SET stock = stock - quantity`.

use std::ops::ControlFlow;

use sqlparser::ast::{BinaryOperator, Expr, Update, visit_expressions};
use sqlparser::dialect::PostgreSqlDialect;
use sqlparser::keywords::Keyword;
use sqlparser::tokenizer::{Token, Tokenizer};

use super::Assigned;
use crate::model::{ColumnType, TableSchema};
use crate::sql::folded;

/// How often a relative column is named: assigned, and in its own value.
const MENTIONS: usize = 2;

/// Marks the columns assigned whose own value is one operand of the sum or difference that they are given, and which the
/// rest of the statement does not read: by any name, in a whole row, or by a `*`.
pub(super) fn mark(update: &Update, (alias, schema): (&str, &TableSchema), assigned: &mut [Assigned], values: &[Expr]) {
    let candidates = assigned.iter_mut().zip(values).filter(|(assigned, value)| {
        let column_type = schema.column(&assigned.column).map(|column| &column.column_type);
        let is_exact = column_type.is_some_and(|known| known.is_integer() || matches!(known, ColumnType::Numeric(_)));
        is_exact && !assigned.given && is_operand(&assigned.column, value, alias)
    });
    let candidates: Vec<&mut Assigned> = candidates.map(|(assigned, _)| assigned).collect();
    if candidates.is_empty() || reads_whole_rows(update, alias, schema) {
        return;
    }
    let Some(tokens) = tokens(update) else { return };
    if reads_unnamed_columns(&tokens) {
        return;
    }
    for assigned in candidates {
        let is_name =
            |token: &&Token| matches!(token, Token::Word(word) if word.value.eq_ignore_ascii_case(&assigned.column));
        assigned.relative = tokens.iter().filter(is_name).count() == MENTIONS;
    }
}

/// What the statement says, but for what it hands back.
fn tokens(update: &Update) -> Option<Vec<Token>> {
    let sql = Update { returning: None, ..update.clone() }.to_string();
    let tokens = Tokenizer::new(&PostgreSqlDialect {}, &sql).with_unescape(false).tokenize().ok()?;
    Some(tokens.into_iter().filter(|token| !matches!(token, Token::Whitespace(_))).collect())
}

/// Whether the column is one operand of these sums and differences.
fn is_operand(column: &str, value: &Expr, alias: &str) -> bool {
    match value {
        Expr::Nested(inner) => is_operand(column, inner, alias),
        Expr::BinaryOp { left, op: BinaryOperator::Plus | BinaryOperator::Minus, right } => {
            [left, right].into_iter().any(|side| is_column(column, side, alias) || is_operand(column, side, alias))
        }
        _ => false,
    }
}

fn is_column(column: &str, value: &Expr, alias: &str) -> bool {
    match value {
        Expr::Nested(inner) => is_column(column, inner, alias),
        Expr::Identifier(name) => folded(name) == column,
        Expr::CompoundIdentifier(parts) => {
            matches!(parts.as_slice(), [.., qualifier, name] if folded(qualifier) == alias && folded(name) == column)
        }
        _ => false,
    }
}

/// Whether the table's rows are a value somewhere: `row_to_json(products)`.
fn reads_whole_rows(update: &Update, alias: &str, schema: &TableSchema) -> bool {
    let names_table = |expression: &Expr| match expression {
        Expr::Identifier(name) => [alias, schema.name.table.as_ref()].contains(&folded(name).as_str()),
        _ => false,
    };
    let look = |expression: &Expr| match names_table(expression) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    visit_expressions(update, look).is_break()
}

/// Whether columns are read that are not named: by a `*` that multiplies nothing, or by NATURAL JOIN.
fn reads_unnamed_columns(tokens: &[Token]) -> bool {
    let multiplies = |before: Option<&Token>| match before {
        Some(Token::Word(word)) => word.keyword == Keyword::NoKeyword || word.quote_style.is_some(),
        Some(Token::Number(..) | Token::RParen | Token::Placeholder(_) | Token::SingleQuotedString(_)) => true,
        _ => false,
    };
    tokens.iter().enumerate().any(|(place, token)| match token {
        Token::Mul => !multiplies(place.checked_sub(1).and_then(|before| tokens.get(before))),
        Token::Word(word) => word.keyword == Keyword::NATURAL && word.quote_style.is_none(),
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use crate::model::{Column, ColumnType, TableName, TableSchema};
    use crate::sql::{Schemas, WriteForms, parse};

    fn schemas() -> Schemas {
        let table = |name: &str, columns: &[(&str, ColumnType)]| {
            let name: TableName = name.parse().expect("a table name");
            let column = |(name, column_type): &(&str, ColumnType)| Column {
                name: (*name).into(),
                column_type: column_type.clone(),
                not_null: false,
                generated: false,
            };
            let schema = TableSchema {
                name: name.clone(),
                columns: columns.iter().map(column).collect(),
                key: vec!["id".into()],
                foreign_keys: vec![],
                unique_keys: vec![],
            };
            (name, Arc::new(schema))
        };
        let integer = ColumnType::Integer;
        Schemas::from([
            table(
                "products",
                &[
                    ("id", integer.clone()),
                    ("stock", integer.clone()),
                    ("sold", integer.clone()),
                    ("weight", ColumnType::Double),
                    ("since", ColumnType::Date),
                ],
            ),
            table("lines", &[("id", integer.clone()), ("product", integer.clone()), ("quantity", integer)]),
        ])
    }

    /// The relative columns of everything that the statement writes.
    fn relative(sql: &str) -> Vec<String> {
        let statements = parse(sql).expect("the SQL is understood");
        let forms = WriteForms::of(&statements[0], &schemas()).expect("it can be run again").forms;
        let arms = forms.into_iter().flat_map(|form| form.arms);
        let assigned = arms.flat_map(|arm| arm.assigned).filter(|assigned| assigned.relative);
        assigned.map(|assigned| assigned.column.to_string()).collect()
    }

    #[test]
    fn a_column_moved_by_an_amount_is_relative() {
        for sql in [
            "UPDATE products SET stock = stock - 1",
            "UPDATE products SET stock = $1 + products.stock WHERE id = $2 RETURNING stock",
            "UPDATE public.products AS p SET \"stock\" = (p.stock) - (l.quantity * 2) FROM lines l WHERE l.product = p.id",
            "UPDATE products SET stock = 100 - stock",
            "UPDATE products SET (since, stock) = ('2026-01-01', stock + 1 + id)",
            "UPDATE products SET stock = stock - (SELECT sum(quantity) FROM lines WHERE product = products.id)",
        ] {
            assert_eq!(relative(sql), ["stock"], "{sql}");
        }
        assert_eq!(relative("UPDATE products SET stock = stock - 1, sold = sold + 1"), ["stock", "sold"]);
    }

    #[test]
    fn a_column_that_is_read_in_another_way_too_is_not_relative() {
        for sql in [
            "UPDATE products SET stock = 1",
            "UPDATE products SET stock = sold + 1",
            "UPDATE products SET stock = stock * 2",
            "UPDATE products SET stock = stock * 2 - stock",
            "UPDATE products SET stock = stock - 1 WHERE stock > 0",
            "UPDATE products SET stock = stock - 1, sold = stock",
            "UPDATE products SET stock = greatest(stock - 1, 0)",
            "UPDATE products SET stock = -stock + 1",
            "UPDATE products p SET stock = l.stock - 1 FROM products l WHERE l.id = p.id",
            "UPDATE products p SET stock = p.stock - 1 FROM (SELECT * FROM products) o WHERE o.id = p.id",
            "UPDATE products p SET stock = p.stock - 1 FROM lines l WHERE l.id = p.id AND row_to_json(p)::text > ''",
            "UPDATE products SET stock = stock - 1 WHERE exists (SELECT products.*)",
            "UPDATE products SET stock = stock - 1 FROM lines l NATURAL JOIN lines m WHERE l.id = products.id",
            "UPDATE products SET stock = stock - 1 FROM lines l JOIN products p USING (stock) WHERE l.id = products.id",
            "UPDATE products SET stock = stock + nextval('numbers')",
            "UPDATE products SET weight = weight + 1",
            "UPDATE products SET since = since + 1",
            "INSERT INTO products (id, stock) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET stock = products.stock + 1",
            "WITH moved AS (UPDATE products SET stock = stock - 1 RETURNING id) SELECT * FROM moved",
        ] {
            assert_eq!(relative(sql), Vec::<String>::new(), "{sql}");
        }
        let merge =
            "MERGE INTO products p USING lines l ON l.product = p.id WHEN MATCHED THEN UPDATE SET stock = p.stock - 1";
        assert_eq!(relative(merge), Vec::<String>::new());
    }
}
