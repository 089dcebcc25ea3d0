//! Expressions and predicates by chance, of the types that the columns of a random history have. None of them fails in
//! PostgreSQL: what grows is cut, what is divided by is a literal.

use crate::shop::random::Random;

/// A type that a column may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// `int`.
    Integer,
    /// `numeric(14,2)`.
    Money,
    /// `text`.
    Text,
    /// `boolean`.
    Boolean,
    /// `date`.
    Date,
    /// `timestamptz`.
    Moment,
}

impl Type {
    /// Its name in SQL.
    pub fn sql(self) -> &'static str {
        match self {
            Type::Integer => "int",
            Type::Money => "numeric(14,2)",
            Type::Text => "text",
            Type::Boolean => "boolean",
            Type::Date => "date",
            Type::Moment => "timestamptz",
        }
    }
}

/// A column.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type.
    pub of: Type,
}

/// A table: `id` is its key, `grp` and `ref` lead to groups and to other tables' ids.
#[derive(Clone, Debug)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Every column but `id`, `grp` and `ref`.
    pub columns: Vec<Column>,
    /// A column that the database computes.
    pub computed: Option<Column>,
}

impl Table {
    /// Its columns of this type.
    pub fn of(&self, of: Type) -> Vec<&Column> {
        self.columns.iter().chain(&self.computed).filter(|column| column.of == of).collect()
    }
}

/// What an expression can name: an alias and its table.
pub type Scope<'a> = [(&'a str, &'a Table)];

/// An expression of this type over the scope.
pub fn expression(random: &mut Random, of: Type, scope: &Scope<'_>, depth: usize) -> String {
    if depth == 0 || random.chance(1, 3) {
        return leaf(random, of, scope);
    }
    let any = |random: &mut Random, of| expression(random, of, scope, depth - 1);
    if random.chance(1, 6) {
        let condition = predicate(random, scope, depth - 1);
        let (one, other) = (any(random, of), any(random, of));
        return format!("CASE WHEN {condition} THEN {one} ELSE {other} END");
    }
    if random.chance(1, 8) {
        let (one, other) = (any(random, of), literal(random, of));
        return format!("coalesce({one}, {other})");
    }
    match of {
        Type::Integer => match random.below(11) {
            0 => format!("(({}) % 97)", any(random, of)),
            1 => format!("(({}) / {})", any(random, of), 2 + random.below(3)),
            2 => format!("length({})", any(random, Type::Text)),
            3 => format!("({} - {})", any(random, of), any(random, of)),
            4 => format!("abs({})", any(random, of)),
            5 => format!("strpos({}, 'a')", any(random, Type::Text)),
            6 => format!("({} - {})", any(random, Type::Date), any(random, Type::Date)),
            7 => {
                let part = ["day", "hour", "dow"][random.below(3)];
                format!("date_part('{part}', {})::int", any(random, Type::Moment))
            }
            8 => format!("nullif({}, {})", any(random, of), literal(random, of)),
            _ => format!("({} + {})", any(random, of), any(random, of)),
        },
        Type::Money => match random.below(9) {
            0 => format!("round({}, {})", any(random, of), random.below(3)),
            1 => format!("({} / {})", any(random, of), 2 + random.below(6)),
            2 => format!("({} * {})", any(random, of), ["2", "0.5", "1.19", "-1"][random.below(4)]),
            3 => format!("greatest({}, {})", leaf(random, of, scope), leaf(random, of, scope)),
            4 => format!("({} - {})", any(random, of), any(random, of)),
            5 => format!("({} + {})", any(random, of), any(random, Type::Integer)),
            6 => format!("abs({})", any(random, of)),
            7 => format!("trunc({}, {})", any(random, of), random.below(3)),
            _ => format!("({} + {})", any(random, of), any(random, of)),
        },
        Type::Text => match random.below(11) {
            0 => format!("upper({})", any(random, of)),
            1 => format!("left({}, {})", any(random, of), 1 + random.below(5)),
            2 => format!("({} || {})", any(random, of), any(random, of)),
            3 => format!("replace({}, 'a', 'o')", any(random, of)),
            4 => format!("lpad({}, {}, '*')", any(random, of), 2 + random.below(5)),
            5 => format!("concat({}, '-', {})", any(random, of), any(random, Type::Integer)),
            6 => format!("initcap(reverse({}))", any(random, of)),
            7 => format!("split_part({}, 'a', {})", any(random, of), 1 + random.below(2)),
            8 => {
                let printed = *random.pick(&[Type::Integer, Type::Money, Type::Date]);
                format!("({})::text", any(random, printed))
            }
            9 => format!("btrim({}, 'ab')", any(random, of)),
            _ => format!("substr({}, {})", any(random, of), 1 + random.below(3)),
        },
        Type::Boolean => format!("({})", predicate(random, scope, depth - 1)),
        Type::Date => match random.below(4) {
            0 => format!("({})::date", any(random, Type::Moment)),
            _ => format!("({} + {})", any(random, of), random.below(9)),
        },
        Type::Moment => match random.below(4) {
            0 => format!("date_trunc('{}', {})", ["hour", "day", "month"][random.below(3)], any(random, of)),
            1 => format!("({})::timestamptz", any(random, Type::Date)),
            _ => format!("({} + interval '{} hours')", any(random, of), random.below(30)),
        },
    }
}

/// As [`expression`], cut so that a column of the type always takes it.
pub fn value(random: &mut Random, of: Type, scope: &Scope<'_>) -> String {
    let inner = expression(random, of, scope, 2);
    match of {
        Type::Integer => format!("({inner}) % 10000"),
        Type::Money => format!("({inner}) % 100000"),
        Type::Text => format!("left({inner}, 12)"),
        Type::Boolean => inner,
        Type::Date => format!("least({inner}, '2030-01-01'::date)"),
        Type::Moment => format!("least({inner}, '2030-01-01 00:00:00+00'::timestamptz)"),
    }
}

fn leaf(random: &mut Random, of: Type, scope: &Scope<'_>) -> String {
    let mut candidates: Vec<String> = scope
        .iter()
        .flat_map(|(alias, table)| table.of(of).into_iter().map(move |column| format!("{alias}.{}", column.name)))
        .collect();
    if of == Type::Integer {
        candidates.extend(scope.iter().map(|(alias, _)| format!("{alias}.grp")));
    }
    if candidates.is_empty() || random.chance(1, 5) { literal(random, of) } else { random.pick(&candidates).clone() }
}

/// A literal of this type.
pub fn literal(random: &mut Random, of: Type) -> String {
    match of {
        Type::Integer => random.below(60).to_string(),
        Type::Money => format!("{}.{:02}", random.below(200), random.below(100)),
        Type::Text => format!("'{}'", ["alpha", "beta", "ba", "", "gamma"][random.below(5)]),
        Type::Boolean => ["true", "false"][random.below(2)].to_owned(),
        Type::Date => format!("'2026-03-{:02}'::date", 1 + random.below(28)),
        Type::Moment => {
            format!("'2026-03-{:02} {:02}:30:00+00'::timestamptz", 1 + random.below(28), random.below(24))
        }
    }
}

/// A predicate over the scope.
pub fn predicate(random: &mut Random, scope: &Scope<'_>, depth: usize) -> String {
    if depth > 0 && random.chance(1, 4) {
        let (one, other) = (predicate(random, scope, depth - 1), predicate(random, scope, depth - 1));
        return match random.below(3) {
            0 => format!("({one} AND {other})"),
            1 => format!("({one} OR {other})"),
            _ => format!("NOT ({one})"),
        };
    }
    let of = *random.pick(&[Type::Integer, Type::Integer, Type::Money, Type::Text, Type::Date, Type::Moment]);
    let depth = depth.min(1);
    let one = expression(random, of, scope, depth);
    match random.below(8) {
        0 => format!("{one} IS {}NULL", ["", "NOT "][random.below(2)]),
        6 => format!("{one} IS DISTINCT FROM {}", leaf(random, of, scope)),
        7 => format!("({one} > {}) IS NOT TRUE", leaf(random, of, scope)),
        1 => format!("{one} BETWEEN {} AND {}", literal(random, of), literal(random, of)),
        2 => format!("{one} IN ({}, {}, {})", literal(random, of), literal(random, of), literal(random, of)),
        3 if of == Type::Text => format!("{one} LIKE '{}'", ["a%", "%a", "b_t%"][random.below(3)]),
        _ => {
            let operator = ["<", ">", "=", "<>", "<=", ">="][random.below(6)];
            format!("{one} {operator} {}", expression(random, of, scope, depth))
        }
    }
}
