//! Software for many tenants: a release wrote rows under the wrong tenant, whose number is part of every key, and deleted
//! what it should not have.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

struct Tenants;

impl Scenario for Tenants {
    fn name(&self) -> &'static str {
        "tenants"
    }

    fn schema(&self) -> String {
        "CREATE TABLE tenant (id int PRIMARY KEY, usage bigint NOT NULL DEFAULT 0, plan text NOT NULL DEFAULT 'free');
         CREATE TABLE document (tenant int REFERENCES tenant, id int, title text, size int NOT NULL,
                                deleted boolean NOT NULL DEFAULT false, PRIMARY KEY (tenant, id));
         CREATE TABLE version (tenant int, document int, no int, body text, PRIMARY KEY (tenant, document, no),
                               FOREIGN KEY (tenant, document) REFERENCES document (tenant, id)
                               ON DELETE CASCADE ON UPDATE CASCADE);
         CREATE TABLE share (tenant int, document int, with_tenant int, PRIMARY KEY (tenant, document, with_tenant));
         CREATE VIEW live AS SELECT tenant, id, size, deleted FROM document WHERE NOT deleted;
         INSERT INTO tenant SELECT number FROM generate_series(1, 6) AS number;"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.document
    op: insert
    where: tenant <> cast(substr(title, 2, 1) AS int)
    set: { tenant: 'cast(substr(title, 2, 1) AS int)' }
  - table: public.version
    op: insert
    where: tenant <> cast(substr(body, 2, 1) AS int)
    set: { tenant: 'cast(substr(body, 2, 1) AS int)' }
  - table: public.share
    op: delete
    where: 'true'
    written: false
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        for number in 1..60_usize {
            let release = if (20..40).contains(&number) { "saas@v42" } else { "saas@v41" };
            let is_bad = release == "saas@v42";
            let tenant = 1 + stage.random.below(6);
            let is_misplaced = is_bad && stage.random.chance(1, 2) && stage.is_faulty();
            let under = if is_misplaced { 1 } else { tenant };
            let size = 1 + stage.random.below(90);
            let (title, body) = (format!("t{tenant} document"), format!("b{tenant} first"));
            let document = "INSERT INTO document (tenant, id, title, size) VALUES ($1, $2, $3, $4)";
            let document_values = [under.into(), number.into(), title.into(), size.into()];
            let version = "INSERT INTO version VALUES ($1, $2, 1, $3)";
            let version_values = [under.into(), number.into(), body.into()];
            stage.transaction(release, &[(document, &document_values), (version, &version_values)]).await;
            let (older, other) = (1 + stage.random.below(number), 1 + stage.random.below(6));
            let shared = "INSERT INTO share SELECT tenant, id, $2::int FROM document WHERE id = $1 AND tenant <> $2 ON CONFLICT DO NOTHING";
            stage.execute("saas@v41", shared, &[older.into(), other.into()]).await;
            if is_bad && number.is_multiple_of(4) && stage.is_faulty() {
                stage.execute(release, "DELETE FROM share WHERE document < 15 AND with_tenant = 2", &[]).await;
            }
            if number.is_multiple_of(12) {
                for statement in [
                    "UPDATE tenant t SET usage = coalesce((SELECT sum(size) FROM live l WHERE l.tenant = t.id), 0)",
                    "UPDATE tenant SET plan = 'paid' WHERE usage > 300 AND plan = 'free'",
                    "INSERT INTO version SELECT d.tenant, d.id, max(v.no) + 1, 'b' || d.tenant || ' snapshot' FROM document d JOIN version v ON v.tenant = d.tenant AND v.document = d.id WHERE d.size > 60 GROUP BY d.tenant, d.id",
                    "UPDATE live SET deleted = true WHERE (tenant, id) IN (SELECT tenant, id FROM live l WHERE l.tenant = 1 ORDER BY l.size DESC, l.id LIMIT 2)",
                ] {
                    stage.execute("jobs@1", statement, &[]).await;
                }
            }
        }
        let emptied = "DELETE FROM document d WHERE deleted AND NOT EXISTS (SELECT 1 FROM share s WHERE s.tenant = d.tenant AND s.document = d.id)";
        stage.execute("jobs@1", emptied, &[]).await;
    }
}

#[tokio::test]
async fn rows_under_the_wrong_key_are_traced_repaired_and_undone() {
    prove(&Tenants, &[Telling::Log]).await;
}
