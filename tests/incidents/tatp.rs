//! TATP: a home location register; release v42 writes some locations of subscribers into the wrong half of the country.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const TRANSACTIONS: usize = 260;
const SUBSCRIBERS: usize = 30;

struct Tatp {
    name: &'static str,
    /// One of so many of v42's location updates is wrong.
    wrong_of_updates: usize,
}

impl Scenario for Tatp {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE subscriber (s_id int PRIMARY KEY, sub_nbr varchar(15) NOT NULL UNIQUE, bit_1 smallint, msc_location int, vlr_location int);
             CREATE TABLE special_facility (s_id int REFERENCES subscriber, sf_type smallint, is_active smallint NOT NULL, data_a smallint,
                 PRIMARY KEY (s_id, sf_type));
             CREATE TABLE call_forwarding (s_id int, sf_type smallint, start_time smallint, end_time smallint, numberx varchar(15),
                 PRIMARY KEY (s_id, sf_type, start_time), FOREIGN KEY (s_id, sf_type) REFERENCES special_facility ON DELETE CASCADE);
             CREATE TABLE regions (region int PRIMARY KEY, subscribers bigint, forwardings bigint, furthest int);
             INSERT INTO subscriber SELECT n, lpad(n::text, 15, '0'), n % 2, n, n FROM generate_series(1, {SUBSCRIBERS}) n;
             INSERT INTO special_facility SELECT n, t, 1, 0 FROM generate_series(1, {SUBSCRIBERS}) n, generate_series(1, 3) t;"
        )
    }

    fn faults(&self) -> String {
        "release: v42
faults:
  - table: public.subscriber
    where: vlr_location > 1000000 and before.vlr_location is distinct from vlr_location
    set: { vlr_location: vlr_location - 1000000 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut updates = 0;
        for number in 0..TRANSACTIONS {
            let release = if (60..200).contains(&number) { "hlr@v42" } else { "hlr@v41" };
            let subscriber = 1 + stage.random.below(SUBSCRIBERS);
            let facility = 1 + stage.random.below(3);
            let start = 8 * stage.random.below(3);
            match stage.random.below(100) {
                0..35 => {
                    let read =
                        "SELECT s_id, sub_nbr, bit_1, msc_location, vlr_location FROM subscriber WHERE s_id = $1";
                    stage.query(release, read, &[subscriber.into()]).await;
                }
                35..45 => {
                    let read = "SELECT cf.numberx FROM special_facility sf, call_forwarding cf WHERE sf.s_id = $1 AND sf.sf_type = $2
                        AND sf.is_active = 1 AND cf.s_id = sf.s_id AND cf.sf_type = sf.sf_type AND cf.start_time <= $3";
                    stage.query(release, read, &[subscriber.into(), facility.into(), start.into()]).await;
                }
                45..75 => {
                    updates += usize::from(release == "hlr@v42");
                    let is_wrong = release == "hlr@v42" && updates % self.wrong_of_updates == 1 && stage.is_faulty();
                    let location = i64::try_from(1 + stage.random.below(99_999)).expect("few");
                    let written = if is_wrong { location + 1_000_000 } else { location };
                    let update = "UPDATE subscriber SET vlr_location = $1 WHERE sub_nbr = $2";
                    stage.execute(release, update, &[written.into(), format!("{subscriber:0>15}").into()]).await;
                }
                75..82 => {
                    stage.execute(release, "BEGIN", &[]).await;
                    let bit = "UPDATE subscriber SET bit_1 = $1 WHERE s_id = $2";
                    stage.execute(release, bit, &[(number % 2).into(), subscriber.into()]).await;
                    let data = "UPDATE special_facility SET data_a = $1 WHERE s_id = $2 AND sf_type = $3";
                    stage.execute(release, data, &[(number % 256).into(), subscriber.into(), facility.into()]).await;
                    stage.execute(release, "COMMIT", &[]).await;
                }
                82..94 => {
                    let insert = "INSERT INTO call_forwarding SELECT s.s_id, f.sf_type, $1::smallint, $1::smallint + 8, left(s.sub_nbr, 13) || (s.vlr_location % 100)::text
                        FROM subscriber s JOIN special_facility f USING (s_id) WHERE s.sub_nbr = $2 AND f.sf_type = $3 ON CONFLICT DO NOTHING";
                    let nbr = format!("{subscriber:0>15}");
                    stage.execute(release, insert, &[start.into(), nbr.into(), facility.into()]).await;
                }
                _ => {
                    let delete = "DELETE FROM call_forwarding WHERE s_id = (SELECT s_id FROM subscriber WHERE sub_nbr = $1) AND sf_type = $2 AND start_time = $3";
                    let nbr = format!("{subscriber:0>15}");
                    stage.execute(release, delete, &[nbr.into(), facility.into(), start.into()]).await;
                }
            }
        }
        for report in [
            "INSERT INTO regions SELECT s.region, count(*), sum(s.forwardings), max(s.far) FROM (
                 SELECT vlr_location / 10000 AS region, abs(vlr_location - msc_location) AS far,
                     (SELECT count(*) FROM call_forwarding c WHERE c.s_id = o.s_id) AS forwardings
                 FROM subscriber o) s
             GROUP BY s.region",
            "DELETE FROM special_facility f USING subscriber s WHERE s.s_id = f.s_id AND s.vlr_location > 90000 AND f.sf_type = 3",
        ] {
            stage.execute("reports@1", report, &[]).await;
        }
    }
}

#[tokio::test]
async fn one_in_a_hundred_transactions_of_tatp_is_wrong() {
    prove(&Tatp { name: "TATP 1 %", wrong_of_updates: 30 }, &[Telling::Log]).await;
}

#[tokio::test]
async fn one_in_ten_transactions_of_tatp_is_wrong() {
    prove(&Tatp { name: "TATP 10 %", wrong_of_updates: 3 }, &[Telling::Literals]).await;
}
