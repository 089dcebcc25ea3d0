//! The plan as SQL: a list of transactions, which the files wrap in `BEGIN` and `COMMIT`, and a rehearsal does not.
//!
//! What is the same in every repair (ledger, guards, backups, order) is `engine.sql`; what a plan adds are its groups
//! and its rows, as literals without a type: each takes the very type of the column that it is meant for.

use std::fmt::Write;

use super::plan::{ChangeGroup, PlannedChange, RepairPlan};
use super::quoting::{comment, identifier, literal, name_array, relation, text_literal};

const ENGINE: &str = include_str!("engine.sql");

/// Rows in one `INSERT … VALUES`.
const ROWS_IN_A_STATEMENT: usize = 1_000;

/// One transaction of a script.
pub(super) struct Transaction {
    /// What it does, for comments and errors.
    pub(super) title: String,
    /// Its statements, without `BEGIN` and `COMMIT`.
    pub(super) body: String,
}

/// The transactions of `repair.sql`, made one at a time.
pub(super) fn repair_transactions(plan: &RepairPlan) -> impl Iterator<Item = Transaction> {
    let batches = batches(plan);
    let prepare = std::iter::once_with(|| Transaction { title: "prepare".to_owned(), body: prepare_repair(plan) });
    let changes = (1..=batches)
        .map(move |batch| Transaction { title: format!("batch {batch} of {batches}"), body: batch_body(plan, batch) });
    let finish = std::iter::once_with(|| Transaction { title: "finish".to_owned(), body: finish(plan, false) });
    prepare.chain(changes).chain(finish)
}

/// The transactions of `undo.sql`: the batches from the last to the first.
pub(super) fn undo_transactions(plan: &RepairPlan) -> impl Iterator<Item = Transaction> {
    let batches = batches(plan);
    let prepare = std::iter::once_with(|| Transaction { title: "prepare".to_owned(), body: prologue(plan) });
    let changes = (1..=batches).rev().map(move |batch| Transaction {
        title: format!("undo batch {batch} of {batches}"),
        body: format!(
            "{}SELECT blast_radius.repair_{}_apply(true, {batch}) AS \"rows restored in batch {batch}\";\n",
            session(plan),
            plan.id
        ),
    });
    let finish = std::iter::once_with(|| Transaction { title: "finish".to_owned(), body: finish(plan, true) });
    prepare.chain(changes).chain(finish)
}

fn batches(plan: &RepairPlan) -> usize {
    plan.changes().div_ceil(plan.batch_rows)
}

/// How this transaction reads and prints values, and who it says it is. Everything ends with the transaction.
fn session(plan: &RepairPlan) -> String {
    format!(
        "SET LOCAL application_name = {};
SET LOCAL client_encoding = 'UTF8';
SET LOCAL client_min_messages = 'warning';
SET LOCAL DateStyle = 'ISO, YMD';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC';
SET LOCAL bytea_output = 'hex';
SET LOCAL extra_float_digits = 1;
SET LOCAL lock_timeout = '30s';  -- rather fail than queue behind, and before, the application
SET LOCAL row_security = off;    -- rather fail than miss rows that a policy hides
DO $$ BEGIN PERFORM pg_advisory_xact_lock(hashtext('blast-radius repair')); END $$;
",
        text_literal(&plan.application_name())
    )
}

fn prologue(plan: &RepairPlan) -> String {
    format!("{}\n{}", session(plan), ENGINE.replace("{id}", &plan.id))
}

fn prepare_repair(plan: &RepairPlan) -> String {
    let mut groups = String::new();
    for (number, group) in numbered(plan) {
        groups.push_str(&format!(
            "  PERFORM blast_radius.repair_{}_group({number}, {}, '{}', {}, {}, {}, {});\n",
            plan.id,
            text_literal(&relation(&group.table)),
            group.kind.as_str(),
            name_array(&group.key_columns),
            name_array(&group.found_columns),
            name_array(&group.right_columns),
            name_array(&group.digest_columns),
        ));
    }
    // Dollar quotes whose tag no name holds.
    let mut tag = "$groups$".to_owned();
    while groups.contains(&tag) {
        tag.insert(1, 'x');
    }
    format!(
        "{}
INSERT INTO blast_radius.repair (id, release, planned) VALUES ({}, {}, {}) ON CONFLICT (id) DO NOTHING;

DO {tag}
BEGIN
{groups}END {tag};
",
        prologue(plan),
        text_literal(&plan.id),
        text_literal(plan.release.as_str()),
        plan.changes()
    )
}

fn numbered(plan: &RepairPlan) -> impl Iterator<Item = (usize, &ChangeGroup)> {
    plan.groups.iter().enumerate().map(|(position, group)| (position + 1, group))
}

/// The rows of one batch, loaded and applied. Changes are numbered through all groups, from 1.
fn batch_body(plan: &RepairPlan, batch: usize) -> String {
    let first = (batch - 1) * plan.batch_rows;
    let end = first + plan.batch_rows;
    let mut sql = session(plan);
    let mut offset = 0;
    for (number, group) in numbered(plan) {
        let from = first.clamp(offset, offset + group.changes.len()) - offset;
        let until = end.clamp(offset, offset + group.changes.len()) - offset;
        if from < until {
            load_rows(&mut sql, plan, (number, group), batch, (offset + from + 1, &group.changes[from..until]));
        }
        offset += group.changes.len();
    }
    sql.push_str(&format!(
        "\nSELECT blast_radius.repair_{}_apply(false, {batch}) AS \"rows changed in batch {batch}\";\n",
        plan.id
    ));
    sql
}

fn load_rows(
    sql: &mut String,
    plan: &RepairPlan,
    (number, group): (usize, &ChangeGroup),
    batch: usize,
    (mut change, rows): (usize, &[PlannedChange]),
) {
    sql.push_str(&format!("\n-- {}\n", comment(&describe(group, rows.len()))));
    let table = format!("blast_radius.{}", identifier(&format!("repair_{}_{number}", plan.id)));
    let columns = column_list(group);
    for chunk in rows.chunks(ROWS_IN_A_STATEMENT) {
        sql.push_str(&format!("INSERT INTO {table} (change, batch, {columns}) VALUES"));
        for (position, row) in chunk.iter().enumerate() {
            sql.push_str(if position == 0 { "\n  (" } else { ",\n  (" });
            sql.push_str(&format!("{change}, {batch}"));
            for value in row.key.iter().chain(&row.found).chain(&row.right).chain(&row.digests) {
                sql.push_str(", ");
                sql.push_str(&literal(value));
            }
            sql.push(')');
            change += 1;
        }
        sql.push_str("\nON CONFLICT (change) DO NOTHING;\n");
    }
}

/// `update 120 rows of public.orders: key id; found total; right total`.
fn describe(group: &ChangeGroup, rows: usize) -> String {
    let mut text = format!("{} {rows} rows of {}", group.kind.as_str(), group.table);
    let parts = [
        ("key", &group.key_columns),
        ("found", &group.found_columns),
        ("right", &group.right_columns),
        ("digest of", &group.digest_columns),
    ];
    for (position, (name, columns)) in parts.iter().filter(|(_, columns)| !columns.is_empty()).enumerate() {
        let separator = if position == 0 { ':' } else { ';' };
        // Writing to a String cannot fail.
        let _ = write!(text, "{separator} {name} {}", columns.join(", "));
    }
    text
}

fn column_list(group: &ChangeGroup) -> String {
    let parts = [
        ("key", group.key_columns.len()),
        ("found", group.found_columns.len()),
        ("right", group.right_columns.len()),
        ("digest", group.digest_columns.len()),
    ];
    let names = parts.iter().flat_map(|(part, count)| (1..=*count).map(move |place| format!("{part}_{place}")));
    names.collect::<Vec<_>>().join(", ")
}

fn finish(plan: &RepairPlan, undo: bool) -> String {
    let id = &plan.id;
    let (step, left_alone) = if undo { ("undo", "rows kept as they are") } else { ("repair", "rows left alone") };
    let counts = if undo { "planned, undone, kept" } else { "planned, changed, skipped" };
    format!(
        "{}SELECT blast_radius.repair_{id}_finish({undo}) AS \"{left_alone}\";

SELECT {counts} FROM blast_radius.repair WHERE id = '{id}';
SELECT relation, key, operation, reason FROM blast_radius.repair_skipped WHERE repair = '{id}' AND step = '{step}' ORDER BY change;

DROP FUNCTION
  blast_radius.repair_{id}_finish(boolean),
  blast_radius.repair_{id}_apply(boolean, integer),
  blast_radius.repair_{id}_exchange(regclass, boolean, integer),
  blast_radius.repair_{id}_add(blast_radius.repair_group, boolean, integer),
  blast_radius.repair_{id}_change(blast_radius.repair_group, boolean, integer),
  blast_radius.repair_{id}_lock(blast_radius.repair_group, boolean, integer, boolean, boolean),
  blast_radius.repair_{id}_writable(blast_radius.repair_group),
  blast_radius.repair_{id}_spare_referenced(text, regclass, text, text[], text),
  blast_radius.repair_{id}_run(text, text, text),
  blast_radius.repair_{id}_digest(regclass, text, text),
  blast_radius.repair_{id}_same(regclass, text, text, text),
  blast_radius.repair_{id}_type(regclass, text),
  blast_radius.repair_{id}_group(integer, text, text, text[], text[], text[], text[]);
",
        session(plan)
    )
}
