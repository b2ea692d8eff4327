//! Changes that others make in the cache show up by themselves.

use std::time::Duration;

use crate::carry::Ctx;
use crate::event::Event;
use crate::telemetry::Lookers;

const EVERY: Duration = Duration::from_secs(2);

/// Looks at the times of the cache's folders: a few hundred `stat`s, and no watch on each of them, of which a system has
/// few to give.
pub(crate) async fn run(ctx: Ctx, lookers: Lookers) {
    let mut seen = None;
    loop {
        // Whoever asks for the list sees the disk in any case: this is for those who look on.
        if lookers.any() {
            let world = ctx.world.clone();
            let now =
                tokio::task::spawn_blocking(move || super::shelf::signature(&world.paths.hub)).await.ok();
            if seen.is_some() && now != seen {
                ctx.state.tell(Event::ModelsChanged).await;
            }
            seen = now;
        }
        tokio::time::sleep(EVERY).await;
    }
}
