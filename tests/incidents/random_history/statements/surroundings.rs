//! Statements of a random history on the tables that every history has: those with quoted names, what refers to others,
//! partitions, a view, and a table that is unique in another column than its key.

use super::super::grammar::{Table, Type, expression, literal, predicate};
use super::super::plan::{GROUPS, Planner};

impl Planner {
    pub(super) fn mixed(&mut self, t: &Table) -> String {
        let scope: [(&str, &Table); 1] = [("t", t)];
        let sum = expression(&mut self.random, Type::Money, &scope, 1);
        let condition = predicate(&mut self.random, &scope, 1);
        match self.random.below(4) {
            0 => {
                let rows: Vec<String> = ["one", "two"]
                    .iter()
                    .map(|key| {
                        format!("('{key}', {}, {})", self.random.below(3), literal(&mut self.random, Type::Money))
                    })
                    .collect();
                format!(
                    "INSERT INTO \"Mixed\" AS m (\"Key\", \"No\", \"Sum Of\") VALUES {} ON CONFLICT (\"Key\", \"No\") \
                     DO UPDATE SET \"Sum Of\" = m.\"Sum Of\" + excluded.\"Sum Of\", n = m.n + 1",
                    rows.join(", ")
                )
            }
            1 => format!(
                "INSERT INTO \"Mixed\" (\"Key\", \"No\", \"Sum Of\") SELECT coalesce(t.flag, 'none'), t.grp, \
                 sum({sum}) FROM {} AS t \
                 WHERE {condition} GROUP BY 1, 2 ON CONFLICT (\"Key\", \"No\") DO UPDATE SET \"Sum Of\" = \
                 excluded.\"Sum Of\" \
                 WHERE \"Mixed\".\"Sum Of\" IS DISTINCT FROM excluded.\"Sum Of\"",
                t.name
            ),
            2 => format!(
                "DELETE FROM \"Mixed\" WHERE (\"Key\", \"No\") IN (SELECT t.flag, t.grp FROM {} AS t WHERE \
                 {condition})",
                t.name
            ),
            _ => format!(
                "UPDATE {} AS t SET amount = (m.\"Sum Of\" + 1) % 100000 FROM \"Mixed\" AS m WHERE m.\"Key\" = t.flag \
                 AND m.\"No\" = t.grp",
                t.name
            ),
        }
    }

    pub(super) fn children(&mut self) -> String {
        let t = self.tables[0].clone();
        let condition = predicate(&mut self.random, &[("t", &t)], 1);
        let sum = expression(&mut self.random, Type::Money, &[("t", &t)], 1);
        match self.random.below(4) {
            0 | 1 => {
                self.next_id += 1;
                format!(
                    "INSERT INTO child SELECT t.id, {}, ({sum}) % 100000, t.flag FROM t0 AS t WHERE {condition} ON \
                     CONFLICT DO NOTHING",
                    self.next_id
                )
            }
            2 => {
                format!("UPDATE child AS c SET amount = ({sum}) % 100000 FROM t0 AS t WHERE t.id = c.t AND {condition}")
            }
            _ => "UPDATE t0 AS t SET base = (SELECT count(*) FROM child AS c WHERE c.t = t.id)".to_owned(),
        }
    }

    pub(super) fn followers(&mut self) -> String {
        let t = self.tables[1].clone();
        let condition = predicate(&mut self.random, &[("t", &t)], 1);
        match self.random.below(3) {
            0 => {
                let offset = self.offset();
                format!(
                    "INSERT INTO follower SELECT t.id + {offset}, t.id, t.amount FROM t1 AS t WHERE t.id < 1000 AND \
                     {condition} \
                     ON CONFLICT DO NOTHING"
                )
            }
            1 => "UPDATE follower SET amount = 0 WHERE t IS NULL".to_owned(),
            _ => format!("UPDATE follower AS f SET amount = t.amount FROM t1 AS t WHERE t.id = f.t AND {condition}"),
        }
    }

    pub(super) fn partitioned(&mut self, t: &Table) -> String {
        let condition = predicate(&mut self.random, &[("t", t)], 1);
        match self.random.below(4) {
            0 => {
                let offset = self.offset();
                format!(
                    "INSERT INTO parts SELECT t.id + {offset}, t.grp, t.amount FROM {} AS t WHERE t.id < 1000 AND \
                     {condition} \
                     ON CONFLICT DO NOTHING",
                    t.name
                )
            }
            1 => format!(
                "UPDATE parts AS p SET amount = t.amount FROM {} AS t WHERE t.id = p.id AND {condition}",
                t.name
            ),
            2 => format!("DELETE FROM parts AS p USING {} AS t WHERE t.id = p.id AND p.id > 5 AND {condition}", t.name),
            _ => format!(
                "UPDATE {} AS t SET amount = p.amount FROM parts AS p WHERE p.id = t.id AND p.amount IS NOT NULL AND \
                 {condition}",
                t.name
            ),
        }
    }

    pub(super) fn through_view(&mut self) -> String {
        let among = format!("grp = {}", self.random.below(GROUPS));
        match self.random.below(4) {
            0 => format!("UPDATE bigger SET amount = amount - 3 WHERE {among}"),
            1 => format!("DELETE FROM bigger WHERE id > 9 AND {among} AND amount > 100"),
            2 => {
                self.next_id += 1;
                format!(
                    "INSERT INTO bigger VALUES ({}, 1, 2, {}, 3)",
                    self.next_id,
                    literal(&mut self.random, Type::Money)
                )
            }
            _ => "INSERT INTO totals (grp, total, n) SELECT grp, sum(amount), count(*) FROM bigger GROUP BY grp \
                  ON CONFLICT (grp) DO UPDATE SET total = excluded.total, n = excluded.n"
                .to_owned(),
        }
    }
}
