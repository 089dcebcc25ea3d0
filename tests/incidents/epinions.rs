//! Epinions: reviews, trust between users, and averages that the application keeps; release v42 stores some ratings on the
//! wrong scale.

use crate::recording::Telling;
use crate::stage::{Scenario, Stage, prove};

const TRANSACTIONS: usize = 240;
const USERS: usize = 20;
const ITEMS: usize = 15;

struct Epinions {
    name: &'static str,
    /// One of so many of v42's ratings is wrong; they are 40 of 100 transactions.
    wrong_of_ratings: usize,
}

impl Scenario for Epinions {
    fn name(&self) -> &'static str {
        self.name
    }

    fn schema(&self) -> String {
        format!(
            "CREATE TABLE useracct (u_id int PRIMARY KEY, name varchar(128) NOT NULL);
             CREATE TABLE item (i_id int PRIMARY KEY, title varchar(128) NOT NULL, description text,
                 average numeric(6,3), reviews int NOT NULL DEFAULT 0);
             CREATE TABLE review (a_id int PRIMARY KEY, u_id int NOT NULL REFERENCES useracct, i_id int NOT NULL REFERENCES item,
                 rating int, rank int);
             CREATE TABLE trust (source_u_id int REFERENCES useracct, target_u_id int REFERENCES useracct, trust int NOT NULL,
                 PRIMARY KEY (source_u_id, target_u_id));
             CREATE TABLE best (i_id int PRIMARY KEY, average numeric(6,3), by_trusted bigint);
             INSERT INTO useracct SELECT n, 'user ' || n FROM generate_series(1, {USERS}) n;
             INSERT INTO item (i_id, title) SELECT n, 'item ' || n FROM generate_series(1, {ITEMS}) n;"
        )
    }

    fn rules(&self) -> String {
        "rules:
  - id: five-stars
    table: public.review
    check: { range: { column: rating, min: 0, max: 5 } }
    expect: { rating: rating / 20 }
"
        .to_owned()
    }

    async fn run(&self, stage: &mut Stage<'_>) {
        let mut ratings = 0;
        for number in 0..TRANSACTIONS {
            let release = if (60..190).contains(&number) { "epinions@v42" } else { "epinions@v41" };
            let (user, item) = (1 + stage.random.below(USERS), 1 + stage.random.below(ITEMS));
            match stage.random.below(100) {
                0..40 => {
                    let rating = i64::try_from(stage.random.below(5)).expect("few") + 1;
                    ratings += usize::from(release == "epinions@v42");
                    let is_wrong = release == "epinions@v42" && ratings % self.wrong_of_ratings == 1;
                    let written = if is_wrong && stage.is_faulty() { rating * 20 } else { rating };
                    stage.execute(release, "BEGIN", &[]).await;
                    let insert = "INSERT INTO review (a_id, u_id, i_id, rating, rank) VALUES ($1, $2, $3, $4, NULL)";
                    stage.execute(release, insert, &[number.into(), user.into(), item.into(), written.into()]).await;
                    let update =
                        "UPDATE item SET average = (SELECT avg(r.rating) FROM review r WHERE r.i_id = item.i_id),
                        reviews = reviews + 1 WHERE i_id = $1";
                    stage.execute(release, update, &[item.into()]).await;
                    stage.execute(release, "COMMIT", &[]).await;
                }
                40..55 => {
                    let trust = "INSERT INTO trust VALUES ($1, $2, $3) ON CONFLICT (source_u_id, target_u_id)
                        DO UPDATE SET trust = excluded.trust";
                    let other = 1 + stage.random.below(USERS);
                    let trusts = stage.random.below(2);
                    stage.execute(release, trust, &[user.into(), other.into(), trusts.into()]).await;
                }
                55..65 => {
                    let update = "UPDATE item SET title = $1 WHERE i_id = $2";
                    stage.execute(release, update, &[format!("item {item}, {number}").into(), item.into()]).await;
                }
                65..75 => {
                    let update = "UPDATE useracct SET name = $1 WHERE u_id = $2";
                    stage.execute(release, update, &[format!("user {user}, {number}").into(), user.into()]).await;
                }
                75..85 => {
                    let update = "UPDATE review SET rank = rank_now.place FROM (SELECT a_id,
                            rank() OVER (PARTITION BY i_id ORDER BY rating DESC, a_id) AS place FROM review WHERE i_id = $1) AS rank_now
                        WHERE rank_now.a_id = review.a_id";
                    stage.execute(release, update, &[item.into()]).await;
                }
                _ => {
                    let average =
                        "SELECT avg(rating) FROM review r, trust t WHERE r.u_id = t.target_u_id AND r.i_id = $1
                        AND t.source_u_id = $2";
                    stage.query(release, average, &[item.into(), user.into()]).await;
                }
            }
        }
        let best = "INSERT INTO best SELECT i.i_id, i.average, (SELECT count(*) FROM review r JOIN trust t ON t.target_u_id = r.u_id
                AND t.trust = 1 WHERE r.i_id = i.i_id AND r.rating >= 4)
            FROM item i WHERE i.average >= 3 ORDER BY i.average DESC, i.i_id LIMIT 8";
        stage.execute("reports@1", best, &[]).await;
    }
}

#[tokio::test]
async fn one_in_a_hundred_transactions_of_epinions_is_wrong() {
    prove(&Epinions { name: "Epinions 1 %", wrong_of_ratings: 40 }, &[Telling::Log]).await;
}

#[tokio::test]
async fn one_in_ten_transactions_of_epinions_is_wrong() {
    prove(&Epinions { name: "Epinions 10 %", wrong_of_ratings: 4 }, &[Telling::Events]).await;
}
