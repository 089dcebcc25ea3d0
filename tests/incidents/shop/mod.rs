//! A shop, ten days of it: release v42 takes the percent of a coupon for euros, v43 mends that.
//!
//! In: a fresh database, the world, a seed. Out: the history of that seed in that world, run on the database. The two
//! worlds take the same steps with the same keys; they differ in the prices that v42 writes, and in what comes of them.
//! All times are parameters: none is the clock's.

mod catalogue;
mod money;
mod orders;
mod others;
pub mod random;
pub mod session;
mod workload;

use catalogue::stock;
use random::Random;
use workload::Workload;

use crate::postgres::Database;
use crate::recording::{self, Recording, Telling, World};

/// Runs and records the shop's ten days.
pub async fn record(database: &Database<'_>, world: World, seed: u64) -> Recording {
    let mut random = Random::from_seed(seed);
    let recorder = database.client(recording::RECORDER).await;
    let products = stock(&recorder, &mut random).await;
    drop(recorder);
    recording::begin(database).await;
    Workload::new(database, world, products, random).run().await;
    recording::end(database, Telling::Log).await
}
