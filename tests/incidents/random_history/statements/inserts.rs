//! Inserts of a random history, and what they do where they meet a row.

use super::super::grammar::{Table, Type, expression, predicate, value};
use super::super::plan::{FIRST_ROWS, Planner};
use super::super::schema::insert;
use super::one_of;

impl Planner {
    pub(super) fn insert_select(&mut self, t: &Table, u: &Table) -> String {
        let offset = self.offset();
        let names: Vec<&str> = t.columns.iter().map(|column| column.name.as_str()).collect();
        let values: Vec<String> =
            t.columns.iter().map(|column| value(&mut self.random, column.of, &[("u", u)])).collect();
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        format!(
            "INSERT INTO {} (id, grp, ref, {}) SELECT u.id + {offset}, u.grp, u.id, {} FROM {} AS u WHERE u.id < 1000 \
             AND {condition} ON CONFLICT DO NOTHING",
            t.name,
            names.join(", "),
            values.join(", "),
            u.name
        )
    }

    pub(super) fn totals(&mut self, t: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("t", t)], 1);
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let having = ["", " HAVING count(*) > 2", " HAVING sum(t.amount) > 100"][self.random.below(3)];
        let update = ["total = excluded.total", "total = totals.total + excluded.total, n = totals.n + excluded.n"];
        format!(
            "INSERT INTO totals (grp, total, n, best) SELECT t.grp, sum({inner}), count(*), max(t.flag) FROM {} AS t \
             WHERE {condition} GROUP BY t.grp{having} ON CONFLICT (grp) DO UPDATE SET {}",
            t.name,
            one_of(&mut self.random, &update)
        )
    }

    pub(super) fn upsert(&mut self, t: &Table) -> String {
        let id = 1 + self.random.below(FIRST_ROWS + 6);
        let insert = insert(&mut self.random, t, id, "'upserted'", None);
        match self.random.below(3) {
            0 => format!("{insert} ON CONFLICT DO NOTHING"),
            1 => format!("{insert} ON CONFLICT (id) DO UPDATE SET amount = excluded.amount, flag = {}.flag", t.name),
            _ => format!(
                "{insert} ON CONFLICT (id) DO UPDATE SET amount = ({0}.amount + excluded.amount) % 100000 \
                 WHERE {0}.base > 10",
                t.name
            ),
        }
    }

    pub(super) fn picks(&mut self, t: &Table) -> String {
        let order = expression(&mut self.random, Type::Money, &[("t", t)], 1);
        let direction = ["", " DESC", " DESC NULLS LAST"][self.random.below(3)];
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let place = ["", " WHERE picks.amount IS DISTINCT FROM excluded.amount", " WHERE excluded.amount > 30"];
        format!(
            "INSERT INTO picks SELECT DISTINCT ON (t.grp) t.grp, t.id, t.amount, t.flag FROM {} AS t WHERE {condition} \
             ORDER BY t.grp, t.amount + {order}{direction}, t.id \
             ON CONFLICT (grp) DO UPDATE SET id = excluded.id, amount = excluded.amount, label = excluded.label{}",
            t.name,
            one_of(&mut self.random, &place)
        )
    }

    pub(super) fn aggregates(&mut self, t: &Table) -> String {
        let scope: [(&str, &Table); 1] = [("t", t)];
        let inner = expression(&mut self.random, Type::Money, &scope, 1);
        let filter = predicate(&mut self.random, &scope, 1);
        let total = [
            format!("sum({inner}) FILTER (WHERE {filter})"),
            format!("avg({inner})"),
            format!("max({inner}) - min({inner})"),
            "round(avg(t.base), 2) + coalesce(sum(t.base), 0)".to_owned(),
        ];
        let best = ["min(t.flag)", "string_agg(t.flag, ',' ORDER BY t.id)", "max(left(t.flag, 2))"];
        let count = ["count(DISTINCT t.base)", "count(t.amount)", "count(*) FILTER (WHERE t.base > 9)"];
        let (best, count) = (one_of(&mut self.random, &best), one_of(&mut self.random, &count));
        format!(
            "INSERT INTO totals SELECT t.grp, {}, {count}, {best} FROM {} AS t GROUP BY t.grp \
             ON CONFLICT (grp) DO UPDATE SET total = excluded.total, n = excluded.n, best = excluded.best",
            self.random.pick(&total).clone(),
            t.name
        )
    }

    pub(super) fn grouping_sets(&mut self, t: &Table) -> String {
        let inner = expression(&mut self.random, Type::Money, &[("t", t)], 1);
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let sets = one_of(&mut self.random, &["ROLLUP (t.grp)", "GROUPING SETS ((t.grp), ())", "CUBE (t.grp)"]);
        format!(
            "INSERT INTO totals (grp, total, n) SELECT coalesce(t.grp, 99), sum({inner}), count(*) FROM {} AS t \
             WHERE {condition} GROUP BY {sets} ON CONFLICT (grp) DO UPDATE SET total = excluded.total, n = excluded.n",
            t.name
        )
    }

    /// Of a table that is unique in another column than its key.
    pub(super) fn codes(&mut self, t: &Table) -> String {
        self.next_id += 1;
        let id = self.next_id * 1000;
        let changes = [
            "SET n = codes.n + excluded.n",
            "SET n = excluded.n WHERE codes.n < excluded.n",
            "SET n = codes.n + 1, seen = excluded.seen",
        ];
        let conflict = match self.random.below(5) {
            0 => "ON CONFLICT (code) DO NOTHING".to_owned(),
            1 => "ON CONFLICT DO NOTHING".to_owned(),
            _ => format!("ON CONFLICT (code) DO UPDATE {}", one_of(&mut self.random, &changes)),
        };
        if self.random.chance(1, 3) {
            let code = one_of(&mut self.random, &["alp", "bet", "ba", "other"]);
            return format!("INSERT INTO codes VALUES ({id}, '{code}', {}, 'one') {conflict}", self.random.below(90));
        }
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        format!(
            "INSERT INTO codes (id, code, n, seen) SELECT {id} + row_number() OVER (ORDER BY g.code), g.code, g.n, \
             'many' \
             FROM (SELECT coalesce(left(t.flag, 3), 'none') AS code, coalesce(sum(t.base), 0) % 1000 AS n FROM {} AS t \
             WHERE {condition} GROUP BY 1) AS g {conflict}",
            t.name
        )
    }

    pub(super) fn copied_back(&mut self, t: &Table) -> String {
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        let amount = one_of(&mut self.random, &["c.n", "c.n + t.base", "greatest(c.n, t.amount)"]);
        format!(
            "UPDATE {} AS t SET amount = {amount} FROM codes AS c WHERE c.code = coalesce(left(t.flag, 3), 'none') \
             AND {condition}",
            t.name
        )
    }
}
