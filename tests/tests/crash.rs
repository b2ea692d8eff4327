//! `kill -9` of the controller, with agents as processes. The same on a real engine is in `docker.rs`.

use journeys::household::Household;
use journeys::steps::kill_at_random;

#[tokio::test]
async fn killed_at_random_instants() {
    let mut household = Household::new();
    household.set("ASGARD_REHEARSAL_LOAD_MS", "250");
    kill_at_random(&mut household, 12, 0x0a56_a8d0, Some(5)).await;
}
