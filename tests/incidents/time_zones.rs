//! A database in Berlin, over the change to summer time, with a session in New York and one that changes its zone: days,
//! hours, months and midnights. Release v42 notes some shifts a day too long.

use crate::recording::Telling;
use crate::shop::session::Parameter;
use crate::stage::{Scenario, Stage, prove};

struct TimeZones;

impl Scenario for TimeZones {
    fn name(&self) -> &'static str {
        "time zones"
    }

    fn schema(&self) -> String {
        "DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET timezone = %L', current_database(), 'Europe/Berlin'); END $$;
         CREATE TABLE shifts (id int PRIMARY KEY, worker int NOT NULL, began timestamptz NOT NULL, ended timestamptz NOT NULL);
         CREATE TABLE days (worker int, day date, shifts bigint NOT NULL, nights bigint NOT NULL, PRIMARY KEY (worker, day));
         CREATE TABLE weeks (week date PRIMARY KEY, shifts bigint NOT NULL, first text, last timestamp);
         CREATE TABLE rota (id int PRIMARY KEY, next timestamptz, due date, local timestamp, label text);"
            .to_owned()
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.shifts
    op: insert
    where: \"ended > began + INTERVAL '1 day'\"
    set: { ended: \"ended - INTERVAL '1 day'\" }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        // 20 March 2026, 16:17 UTC, in minutes: nine days before the clocks are put forward.
        let mut minute = 29_567_057;
        stage.execute("pay@1#2", "SET TIME ZONE 'America/New_York'", &[]).await;
        for number in 0..72_i64 {
            let release = if (20..45).contains(&number) { "web@v42" } else { "web@v41" };
            minute += 60 + i64::try_from(stage.random.below(240)).expect("few");
            let lasted = 60 + i64::try_from(stage.random.below(480)).expect("few");
            let is_wrong = release == "web@v42" && number % 4 == 0 && stage.is_faulty();
            // By the clocks of Berlin, which the fault takes it back by.
            let longer = if is_wrong { "1" } else { "0" };
            let worker = i64::try_from(stage.random.below(4)).expect("few");
            let insert = "INSERT INTO shifts VALUES ($1, $2, $3, $4::timestamptz + interval '1 day' * $5::int)";
            let (began, ended) = (moment(minute), moment(minute + lasted));
            stage.execute(release, insert, &[number.into(), worker.into(), began, ended, longer.into()]).await;
            let session = ["pay@1", "pay@1#2", release][usize::try_from(number % 3).expect("small")];
            if number % 4 == 0 {
                let days = "INSERT INTO days SELECT worker, ended::date, count(*), count(*) FILTER (WHERE extract(hour FROM ended) < 6)
                    FROM shifts WHERE worker = $1 AND ended >= '2026-03-21' GROUP BY worker, ended::date
                    ON CONFLICT (worker, day) DO UPDATE SET shifts = excluded.shifts, nights = excluded.nights";
                stage.execute(session, days, &[worker.into()]).await;
            }
            if number % 7 == 0 {
                let weeks =
                    "INSERT INTO weeks SELECT date_trunc('week', ended)::date, count(*), min(ended)::text, max(ended)
                    FROM shifts GROUP BY date_trunc('week', ended) ON CONFLICT (week) DO UPDATE
                    SET shifts = excluded.shifts, first = excluded.first, last = excluded.last";
                stage.execute(session, weeks, &[]).await;
            }
            if number % 2 == 0 {
                let rota =
                    "INSERT INTO rota SELECT id, ended + interval '1 day', (ended + interval '1 month')::date, ended,
                    'from ' || ended::text FROM shifts WHERE id = $1";
                stage.execute(session, rota, &[number.into()]).await;
            }
            if number % 18 == 17 {
                for sql in [
                    "BEGIN",
                    "SET LOCAL timezone TO 'Asia/Kolkata'",
                    "UPDATE rota SET due = (SELECT s.ended::date FROM shifts s WHERE s.id = rota.id) WHERE due < '2026-04-26'",
                    "COMMIT",
                    "UPDATE rota SET local = date_trunc('hour', next AT TIME ZONE 'Europe/London') WHERE mod(id, 4) = 0",
                ] {
                    stage.execute("pay@1", sql, &[]).await;
                }
            }
        }
    }
}

/// So many minutes after 1970 began, as an application writes a moment.
fn moment(minute: i64) -> Parameter {
    let time = jiff::Timestamp::from_second(minute * 60).expect("a time");
    time.to_string().into()
}

#[tokio::test]
async fn a_database_in_another_zone_is_traced_repaired_and_undone() {
    prove(&TimeZones, &[Telling::Log, Telling::Literals]).await;
}
