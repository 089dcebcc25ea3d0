//! Updates and deletes of a random history.

use super::super::grammar::{Table, Type, expression, predicate};
use super::super::plan::{FIRST_ROWS, GROUPS, Planner};
use super::one_of;

impl Planner {
    pub(super) fn update_by_key(&mut self, t: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        format!("UPDATE {} AS t SET {set} WHERE id = {}", t.name, 1 + self.random.below(FIRST_ROWS))
    }

    pub(super) fn update_set(&mut self, t: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        format!("UPDATE {} AS t SET {set} WHERE {}", t.name, predicate(&mut self.random, &[("t", t)], 2))
    }

    pub(super) fn update_from(&mut self, t: &Table, u: &Table) -> String {
        let scope: [(&str, &Table); 2] = [("t", t), ("u", u)];
        let set = self.assignment(t, &scope);
        let condition = predicate(&mut self.random, &scope, 1);
        format!("UPDATE {} AS t SET {set} FROM {} AS u WHERE u.id = t.ref AND {condition}", t.name, u.name)
    }

    pub(super) fn update_by_subquery(&mut self, t: &Table, u: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("u", u)], 1);
        let aggregate = ["sum", "max", "min", "avg", "count"][self.random.below(5)];
        let link = ["u.ref = t.id", "u.grp = t.grp"][self.random.below(2)];
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        format!(
            "UPDATE {} AS t SET amount = coalesce((SELECT {aggregate}({inner}) FROM {} AS u WHERE {link}), 0) % 100000 \
             WHERE {condition}",
            t.name, u.name
        )
    }

    pub(super) fn update_by_window(&mut self, t: &Table) -> String {
        let order = expression(&mut self.random, Type::Money, &[("w", t)], 1);
        let direction = ["ASC", "DESC", "DESC NULLS LAST"][self.random.below(3)];
        // By values that several rows share, where it does not matter which of them comes first.
        if self.random.chance(1, 3) {
            let function = one_of(
                &mut self.random,
                &[
                    "rank() OVER (PARTITION BY w.grp ORDER BY w.base)",
                    "dense_rank() OVER (ORDER BY w.grp, w.base)",
                    "sum(w.base) OVER (PARTITION BY w.grp ORDER BY w.base)",
                    "count(*) OVER (PARTITION BY w.grp ORDER BY w.base RANGE BETWEEN 5 PRECEDING AND CURRENT ROW)",
                    "sum(w.base) OVER (ORDER BY w.grp GROUPS BETWEEN 1 PRECEDING AND CURRENT ROW)",
                    "max(w.base) OVER (PARTITION BY w.grp ORDER BY w.base ROWS BETWEEN UNBOUNDED PRECEDING AND \
                     UNBOUNDED FOLLOWING)",
                    "sum(w.base) OVER (PARTITION BY w.ref) - w.base",
                ],
            );
            return format!(
                "UPDATE {0} AS t SET base = r.n % 10000 FROM (SELECT w.id, {function} AS n FROM {0} AS w) AS r \
                 WHERE r.id = t.id",
                t.name
            );
        }
        let functions = [
            "row_number()",
            "sum(w.base)",
            "lag(w.base)",
            "lead(w.base, 2, -1)",
            "count(*)",
            "first_value(w.base)",
            "last_value(w.base)",
            "max(w.base)",
            "ntile(3)",
        ];
        let function = one_of(&mut self.random, &functions);
        let frames =
            ["", " ROWS BETWEEN 2 PRECEDING AND CURRENT ROW", " ROWS BETWEEN 1 FOLLOWING AND UNBOUNDED FOLLOWING"];
        let has_frame = ["sum", "count", "first", "last", "max"].iter().any(|name| function.starts_with(name));
        let frame = if has_frame { one_of(&mut self.random, &frames) } else { "" };
        format!(
            "UPDATE {0} AS t SET base = r.n % 10000 FROM (SELECT w.id, {function} OVER (PARTITION BY w.grp \
             ORDER BY w.amount + {order} {direction}, w.id{frame}) AS n FROM {0} AS w) AS r WHERE r.id = t.id",
            t.name
        )
    }

    pub(super) fn update_by_existence(&mut self, t: &Table, u: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        let not = ["", "NOT "][self.random.below(2)];
        format!(
            "UPDATE {} AS t SET {set} WHERE {not}EXISTS (SELECT 1 FROM {} AS u WHERE u.ref = t.id AND {condition})",
            t.name, u.name
        )
    }

    pub(super) fn update_limited(&mut self, t: &Table) -> String {
        let order = expression(&mut self.random, Type::Money, &[("s", t)], 1);
        let direction = ["", " DESC"][self.random.below(2)];
        let set = self.assignment(t, &[("t", t)]);
        format!(
            "UPDATE {0} AS t SET {set} WHERE t.id IN (SELECT s.id FROM {0} AS s ORDER BY s.amount + \
             {order}{direction}, s.id LIMIT {1})",
            t.name,
            1 + self.random.below(5)
        )
    }

    pub(super) fn update_by_sets(&mut self, t: &Table, u: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        let (one, other) = (predicate(&mut self.random, &[("a", t)], 1), predicate(&mut self.random, &[("b", u)], 1));
        let operator = ["EXCEPT", "INTERSECT", "UNION", "UNION ALL", "EXCEPT ALL"][self.random.below(5)];
        let sets = format!(
            "SELECT a.id FROM {} AS a WHERE {one} {operator} SELECT b.ref FROM {} AS b WHERE {other}",
            t.name, u.name
        );
        match self.random.below(3) {
            0 => format!("UPDATE {} AS t SET {set} WHERE t.id IN ({sets})", t.name),
            1 => format!("UPDATE {} AS t SET {set} WHERE t.id > 4 AND t.id NOT IN ({sets})", t.name),
            _ => format!("DELETE FROM {} AS t WHERE t.id > 9 AND t.id NOT IN ({sets})", t.name),
        }
    }

    pub(super) fn recursive(&mut self, t: &Table) -> String {
        let start = 1 + self.random.below(FIRST_ROWS);
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        format!(
            "WITH RECURSIVE chain(id, depth) AS (SELECT t.ref, 1 FROM {0} AS t WHERE t.id = {start} UNION \
             SELECT t.ref, c.depth + 1 FROM chain AS c JOIN {0} AS t ON t.id = c.id WHERE c.depth < 4 AND {condition}) \
             UPDATE {0} AS t SET base = r.depth FROM (SELECT id, min(depth) AS depth FROM chain GROUP BY id) AS r \
             WHERE r.id = t.id",
            t.name
        )
    }

    pub(super) fn change_key(&mut self, t: &Table) -> String {
        let offset = self.offset();
        let condition = match self.random.below(2) {
            0 => format!("id = {}", 1 + self.random.below(FIRST_ROWS)),
            _ => format!("id > 8 AND {}", predicate(&mut self.random, &[("t", t)], 1)),
        };
        // Where every offset is used up, the rows of two statements would meet.
        if self.next_offset > 19 {
            return format!("UPDATE {} AS t SET ref = ref % 7 + 1 WHERE {condition}", t.name);
        }
        format!("UPDATE {} AS t SET id = id + {offset}, flag = 'renamed' WHERE id < 1000 AND {condition}", t.name)
    }

    pub(super) fn delete(&mut self, t: &Table, u: &Table) -> String {
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        match self.random.below(3) {
            0 => format!(
                "DELETE FROM {} AS t WHERE t.id > 1000 AND NOT EXISTS (SELECT 1 FROM {} AS u WHERE u.id = t.ref AND \
                 {})",
                t.name,
                u.name,
                predicate(&mut self.random, &[("u", u)], 1)
            ),
            1 => format!(
                "DELETE FROM {} AS t USING {} AS u WHERE u.id = t.ref AND u.amount > 150 AND {condition}",
                t.name, u.name
            ),
            _ => format!("DELETE FROM {} AS t WHERE t.grp = {} AND {condition}", t.name, self.random.below(GROUPS)),
        }
    }

    /// What may well not be run again: a lateral join, a function, a frame. Under which keys rows would be inserted then,
    /// nobody could know.
    pub(super) fn update_beyond(&mut self, t: &Table, u: &Table) -> String {
        let condition = predicate(&mut self.random, &[("s", t)], 1);
        let order = expression(&mut self.random, Type::Money, &[("u", u)], 1);
        let frame = "ORDER BY s.amount, s.id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING EXCLUDE CURRENT ROW";
        match self.random.below(4) {
            0 => {
                let join = one_of(&mut self.random, &["CROSS JOIN LATERAL", "LEFT JOIN LATERAL"]);
                let on = if join.starts_with("LEFT") { " ON true" } else { "" };
                format!(
                    "UPDATE {0} AS t SET amount = l.amount FROM {0} AS s {join} (SELECT u.amount FROM {1} AS u \
                     WHERE u.ref = s.id ORDER BY u.amount + {order}, u.id LIMIT 1) AS l{on} \
                     WHERE s.id = t.id AND {condition}",
                    t.name, u.name
                )
            }
            1 => format!(
                "UPDATE {0} AS t SET base = r.n % 10000 FROM (SELECT s.id, sum(s.base) OVER ({frame}) AS n FROM {0} \
                 AS s \
                 WHERE {condition}) AS r WHERE r.id = t.id",
                t.name
            ),
            2 => format!(
                "UPDATE {} AS s SET flag = to_char(s.amount, 'FM99990.0') WHERE s.amount < 9999 AND {condition}",
                t.name
            ),
            _ => format!(
                "DELETE FROM {} AS s WHERE s.id > 8 AND to_char(s.base, 'FM99990') LIKE '%1%' AND {condition}",
                t.name
            ),
        }
    }

    /// Several rows of the other table may match, and all of them give the same.
    pub(super) fn update_from_several(&mut self, t: &Table, u: &Table) -> String {
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        let value = one_of(&mut self.random, &["u.grp * 3", "t.base + u.grp", "coalesce(t.base, 0) % 50 + 1"]);
        format!("UPDATE {} AS t SET base = {value} FROM {} AS u WHERE u.grp = t.grp AND {condition}", t.name, u.name)
    }

    pub(super) fn update_from_groups(&mut self, t: &Table, u: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("u", u)], 1);
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        let aggregates = [
            "percentile_cont(0.5) WITHIN GROUP (ORDER BY u.base)::numeric",
            "array_length(array_agg(u.id), 1)",
            "count(*) FILTER (WHERE u.amount > 20)",
            "CASE WHEN bool_or(u.base > 30) THEN 1 ELSE 2 END",
            "max(u.base) - min(u.base)",
        ];
        let aggregate = match self.random.chance(1, 3) {
            true => format!("sum({inner})"),
            false => one_of(&mut self.random, &aggregates).to_owned(),
        };
        let having = one_of(&mut self.random, &["", " HAVING count(*) > 2", " HAVING max(u.amount) > 50"]);
        format!(
            "UPDATE {} AS t SET amount = g.n % 100000 FROM (SELECT u.grp, {aggregate} AS n FROM {} AS u WHERE \
             {condition} \
             GROUP BY u.grp{having}) AS g WHERE g.grp = t.grp",
            t.name, u.name
        )
    }

    pub(super) fn update_of_rows(&mut self, t: &Table, u: &Table) -> String {
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let link = one_of(&mut self.random, &["u.ref = t.id", "u.grp = t.grp AND u.id < t.id", "u.id = t.ref"]);
        format!(
            "UPDATE {} AS t SET (amount, base) = (SELECT coalesce(sum(u.amount), 1) % 100000, count(*) FROM {} AS u \
             WHERE {link}) WHERE {condition}",
            t.name, u.name
        )
    }

    /// A subquery within a subquery, each over the rows around it.
    pub(super) fn update_by_nested(&mut self, t: &Table, u: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        let inner = predicate(&mut self.random, &[("v", t)], 1);
        let compared = one_of(&mut self.random, &["avg(u.base)", "max(u.base)", "count(*)"]);
        let not = one_of(&mut self.random, &["", "NOT "]);
        format!(
            "UPDATE {0} AS t SET {set} WHERE t.base >= (SELECT {compared} FROM {1} AS u WHERE u.grp = t.grp AND \
             {not}EXISTS (SELECT 1 FROM {0} AS v WHERE v.ref = u.id AND {inner}))",
            t.name, u.name
        )
    }

    pub(super) fn update_by_case(&mut self, t: &Table, u: &Table) -> String {
        let (one, other) = (self.random.below(60), predicate(&mut self.random, &[("u", u)], 1));
        format!(
            "UPDATE {} AS t SET base = CASE WHEN EXISTS (SELECT 1 FROM {} AS u WHERE u.ref = t.id AND {other}) THEN \
             {one} \
             WHEN t.amount IS NULL THEN -1 ELSE t.base % 100 + 1 END WHERE t.grp = {}",
            t.name,
            u.name,
            self.random.below(GROUPS)
        )
    }

    pub(super) fn update_with_ties(&mut self, t: &Table) -> String {
        let set = self.assignment(t, &[("t", t)]);
        let order = one_of(&mut self.random, &["s.grp", "s.base", "s.base DESC", "s.amount NULLS FIRST"]);
        format!(
            "UPDATE {0} AS t SET {set} WHERE t.id IN (SELECT s.id FROM {0} AS s ORDER BY {order} \
             FETCH FIRST {1} ROWS WITH TIES)",
            t.name,
            1 + self.random.below(4)
        )
    }
}
