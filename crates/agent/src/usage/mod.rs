//! What a workspace uses, and what it may use: `GET /usage` of the [protocol](super::protocol).
//!
//! In a pod, CPU and memory are those of its control group (version 1 or 2): all that runs in it. On a machine that is
//! shared with others there is no such group, so there it is what the commands' process groups use, without a limit.
//! What cannot be measured is null, on other systems than Linux all but the disk.

mod cgroup;
mod processes;
#[cfg(test)]
mod tests;

use crate::{
    answer::Answer,
    protocol::{Amount, Failure, FailureKind, Usage},
};
use axum::{Json, Router, extract::State, routing::get};
use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How long CPU time is watched.
const WINDOW: Duration = Duration::from_millis(200);

/// Whose CPU and memory is measured.
#[derive(Clone)]
pub enum Scope {
    /// The control group's that this process is in.
    Container,
    /// Only those of some process groups, by the ids that this gives when asked.
    Groups(Arc<dyn Fn() -> BTreeSet<u32> + Send + Sync>),
}

/// Counts the processes that were killed because the container's memory was used up.
#[derive(Clone, Debug)]
pub(super) struct Kills(PathBuf);

impl Kills {
    /// Those of the control group that this process is in; `None` where the system does not count them.
    pub(crate) fn of_container() -> Option<Self> {
        cgroup::kills().map(Self)
    }

    /// How many there were so far.
    pub(crate) async fn count(&self) -> Option<f64> {
        cgroup::kills_in(&tokio::fs::read_to_string(&self.0).await.ok()?)
    }
}

/// The route `/usage`. The disk is the one that `home` is on.
pub fn router(home: PathBuf, scope: Scope) -> Router {
    Router::new().route("/usage", get(usage)).with_state(Meter { home, scope })
}

#[derive(Clone)]
struct Meter {
    home: PathBuf,
    scope: Scope,
}

/// What was measured at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    /// CPU time used so far, in seconds.
    cpu_seconds: Option<f64>,
    /// CPU, in cores.
    cpu_limit: Option<f64>,
    /// Memory, in bytes.
    memory: Amount,
}

async fn usage(State(meter): State<Meter>) -> Answer<Usage> {
    let before = meter.clone().sample().await?;
    let start = Instant::now();
    sleep(WINDOW).await;
    let after = meter.clone().sample().await?;
    let seconds = start.elapsed().as_secs_f64();
    let used = before.cpu_seconds.zip(after.cpu_seconds).map(|(before, after)| cores(after - before, seconds));
    let disk = meter.blocking(|meter| disk(&meter.home)).await?;
    Ok(Json(Usage { cpu: Amount { used, limit: after.cpu_limit }, memory: after.memory, disk }))
}

/// How many cores were busy. Processes that ended meanwhile may have taken their time with them.
fn cores(cpu_seconds: f64, seconds: f64) -> f64 {
    if seconds > 0.0 { (cpu_seconds / seconds).max(0.0) } else { 0.0 }
}

impl Meter {
    async fn sample(self) -> Result<Sample, Failure> {
        self.blocking(|meter| match &meter.scope {
            Scope::Container => cgroup::sample(),
            Scope::Groups(groups) => processes::sample(&groups()),
        })
        .await
    }

    async fn blocking<A: Send + 'static>(self, work: impl FnOnce(&Self) -> A + Send + 'static) -> Result<A, Failure> {
        tokio::task::spawn_blocking(move || work(&self))
            .await
            .map_err(|_| FailureKind::Internal.because("the agent ended while it measured: try again"))
    }
}

/// The volume that holds `home`, as `df` counts: the limit is what this user may fill.
#[expect(clippy::cast_precision_loss, reason = "no volume has so many bytes that it matters")]
fn disk(home: &std::path::Path) -> Amount {
    let Ok(volume) = nix::sys::statvfs::statvfs(home) else { return Amount::default() };
    let bytes = |blocks: nix::libc::fsblkcnt_t| blocks as f64 * volume.fragment_size() as f64;
    let used = bytes(volume.blocks().saturating_sub(volume.blocks_free()));
    Amount { used: Some(used), limit: Some(used + bytes(volume.blocks_available())) }
}
