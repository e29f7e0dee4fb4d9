//! The resource usage and limits of a workspace: `GET /usage` of the [protocol](super::protocol).
//!
//! In a pod, CPU and memory are those of its control group (version 1 or 2). A shared machine has no such group; there,
//! the usage is that of the commands' process groups, without a limit. Values that cannot be measured are null: on
//! other systems than Linux, all except the disk.

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

/// The time over which CPU usage is measured.
const WINDOW: Duration = Duration::from_millis(200);

/// The processes whose CPU and memory are measured.
#[derive(Clone)]
pub enum Scope {
    /// All processes in the control group of this process.
    Container,
    /// The process groups with the ids that the function returns.
    Groups(Arc<dyn Fn() -> BTreeSet<u32> + Send + Sync>),
}

/// The counter of OOM kills in the container.
#[derive(Clone, Debug)]
pub(super) struct Kills(PathBuf);

impl Kills {
    /// The counter of this process's control group; `None` if the system does not count OOM kills.
    pub(crate) fn of_container() -> Option<Self> {
        cgroup::kills().map(Self)
    }

    /// The number of OOM kills so far; `None` if it cannot be read.
    pub(crate) async fn count(&self) -> Option<f64> {
        cgroup::kills_in(&tokio::fs::read_to_string(&self.0).await.ok()?)
    }
}

/// The route `/usage`. Its disk is the volume of `home`.
pub fn router(home: PathBuf, scope: Scope) -> Router {
    Router::new().route("/usage", get(usage)).with_state(Meter { home, scope })
}

#[derive(Clone)]
struct Meter {
    home: PathBuf,
    scope: Scope,
}

/// The values measured at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Sample {
    /// CPU time used so far, in seconds.
    cpu_seconds: Option<f64>,
    /// The CPU limit, in cores.
    cpu_limit: Option<f64>,
    /// Memory usage and limit, in bytes.
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

/// The average number of busy cores. Never negative: the CPU time of processes that ended may be lost.
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
            .map_err(|_| FailureKind::Internal.because("the agent ended during the measurement: try again"))
    }
}

/// The volume of `home`, with the counts of `df`: the limit is the space that this user can fill.
#[expect(clippy::cast_precision_loss, reason = "no volume has so many bytes that it matters")]
fn disk(home: &std::path::Path) -> Amount {
    let Ok(volume) = nix::sys::statvfs::statvfs(home) else { return Amount::default() };
    let bytes = |blocks: nix::libc::fsblkcnt_t| blocks as f64 * volume.fragment_size() as f64;
    let used = bytes(volume.blocks().saturating_sub(volume.blocks_free()));
    Amount { used: Some(used), limit: Some(used + bytes(volume.blocks_available())) }
}
