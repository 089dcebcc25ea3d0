//! Statements of a random history that do several things at once: MERGE, and common table expressions that write.

use super::super::grammar::{Table, predicate};
use super::super::plan::Planner;

impl Planner {
    pub(super) fn merge(&mut self, t: &Table, u: &Table) -> String {
        let scope: [(&str, &Table); 1] = [("t", t)];
        let condition = predicate(&mut self.random, &[("u", u)], 1);
        let set = self.assignment(t, &scope);
        let matched = predicate(&mut self.random, &scope, 1);
        let count = if set.starts_with("base ") { "" } else { ", base = s.n" };
        let update = format!(" WHEN MATCHED AND {matched} THEN UPDATE SET {set}{count}");
        let delete = format!(" WHEN MATCHED AND s.n > {} AND t.id > 8 THEN DELETE", 1 + self.random.below(2));
        let insert =
            " WHEN NOT MATCHED THEN INSERT (id, grp, ref, amount, flag) VALUES (s.id, 1, s.id, s.amount, 'merged')";
        let insert_some =
            " WHEN NOT MATCHED AND s.amount > 50 THEN INSERT (id, grp, ref, amount) VALUES (s.id, 2, 3, s.amount)";
        let arms = match self.random.below(5) {
            0 => update,
            1 => format!("{update}{insert}"),
            2 => format!("{delete}{update}{insert}"),
            3 => format!("{update} WHEN MATCHED THEN DO NOTHING{insert_some}"),
            _ => format!("{delete}{insert_some}"),
        };
        format!(
            "MERGE INTO {} AS t USING (SELECT u.ref AS id, count(*)::int AS n, max(u.amount) AS amount FROM {} AS u \
             WHERE {condition} \
             GROUP BY u.ref) AS s ON s.id = t.id{arms}",
            t.name, u.name
        )
    }

    pub(super) fn with_writes(&mut self) -> String {
        let (t, u) = match self.random.below(3) {
            0 => (0, 1),
            1 => (1, 2),
            _ => (2, 0),
        };
        let (t, u) = (self.tables[t].clone(), self.tables[u].clone());
        let condition = predicate(&mut self.random, &[("t", &t)], 1);
        let set = self.assignment(&t, &[("t", &t)]);
        let offset = self.offset();
        let changed = format!(
            "WITH changed AS (UPDATE {} AS t SET {set} WHERE {condition} AND t.id < 1000 RETURNING t.id, t.grp, \
             t.amount)",
            t.name
        );
        match self.random.below(4) {
            0 => format!(
                "WITH moved AS (DELETE FROM {} AS t WHERE t.id > 6 AND {condition} RETURNING t.id, t.grp, t.amount, \
                 t.base) \
                 INSERT INTO {} (id, grp, ref, amount, base, flag) SELECT id + {offset}, grp, 1, amount, base, 'moved' \
                 FROM moved WHERE id < 1000 ON CONFLICT DO NOTHING",
                t.name, u.name
            ),
            1 => format!(
                "{changed} UPDATE {} AS u SET amount = c.amount FROM changed AS c WHERE c.id = u.ref AND c.amount IS \
                 NOT NULL",
                u.name
            ),
            2 => format!(
                "{changed} INSERT INTO totals (grp, total, n) SELECT grp, sum(amount), count(*) FROM changed GROUP BY \
                 grp \
                 ON CONFLICT (grp) DO UPDATE SET total = excluded.total, n = totals.n + excluded.n"
            ),
            _ => format!(
                "WITH picked AS (SELECT t.id, t.amount FROM {} AS t WHERE {condition} ORDER BY t.amount DESC NULLS \
                 LAST, t.id LIMIT 3) \
                 DELETE FROM {} AS u USING picked AS p WHERE p.id = u.ref AND u.id > 7",
                t.name, u.name
            ),
        }
    }
}
