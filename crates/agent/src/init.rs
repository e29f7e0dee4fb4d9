//! The first process of a workspace: reaps orphans, keeps the service running, and ends all processes in order
//! (signals: POSIX.1-2024; subreapers: prctl(2)).
//!
//! The service is a separate child process, so that a crash of it ends only the processes that it started.

use nix::{
    errno::Errno,
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::{Pid, getpid},
};
use std::{fs, io, process::Command, time::Duration};
use tokio::{
    signal::unix::{Signal as Signals, SignalKind, signal},
    time::{Instant, sleep, sleep_until},
};

/// The time that the service has to end its commands.
const SERVICE_TIME: Duration = Duration::from_secs(8);
/// The grace period of orphans between SIGTERM and SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
/// The time that SIGKILL may take. Longer only if the kernel is stuck, or if the processes fork faster than they die.
const KILL_TIME: Duration = Duration::from_secs(5);
/// The polling interval where no signal reports a change.
const POLL: Duration = Duration::from_millis(50);
/// The pause before a restart, if the service ended early or could not be started.
const PAUSE: Duration = Duration::from_secs(1);
/// A service that ends within this time has ended early.
const YOUNG: Duration = Duration::from_secs(10);

/// Runs the service, and restarts it whenever it ends. Returns after SIGTERM or SIGINT, or when the service has ended
/// and `give_up` returns a reason, which is then the result. Ends all processes before it returns.
pub async fn run(
    service: impl FnMut() -> io::Result<Command>,
    give_up: impl Fn() -> Option<String>,
) -> io::Result<Option<String>> {
    // Orphans are reparented to this process even if it is not PID 1.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_child_subreaper(true)?;
    let init = Init {
        children: signal(SignalKind::child())?,
        terminate: signal(SignalKind::terminate())?,
        interrupt: signal(SignalKind::interrupt())?,
    };
    Ok(init.run(service, give_up).await)
}

struct Init {
    children: Signals,
    terminate: Signals,
    interrupt: Signals,
}

impl Init {
    async fn run(
        mut self,
        mut service: impl FnMut() -> io::Result<Command>,
        give_up: impl Fn() -> Option<String>,
    ) -> Option<String> {
        loop {
            let started = Instant::now();
            let pause = match service().and_then(|mut service| service.spawn()) {
                Ok(child) => {
                    // It is reaped below, with all other children.
                    let id = Pid::from_raw(child.id().cast_signed());
                    let Some(how) = self.until_ended(id).await else {
                        self.end(id).await;
                        return None;
                    };
                    if let Some(why) = give_up() {
                        self.end_orphans().await;
                        return Some(why);
                    }
                    tracing::error!(how, "the agent's service ended; its processes are ended, and it is restarted");
                    self.end_orphans().await;
                    if started.elapsed() < YOUNG { PAUSE } else { Duration::ZERO }
                }
                Err(error) => {
                    tracing::error!(%error, "the agent's service could not be started; retrying");
                    PAUSE
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.asked_to_end() => {
                    self.end_orphans().await;
                    return None;
                }
            }
        }
    }

    /// Waits until the child has ended, and returns its exit code or signal; `None` after SIGTERM or SIGINT.
    async fn until_ended(&mut self, id: Pid) -> Option<String> {
        loop {
            if let Some(how) = reap(id) {
                return Some(how);
            }
            tokio::select! {
                _ = self.children.recv() => {}
                _ = self.terminate.recv() => return None,
                _ = self.interrupt.recv() => return None,
            }
        }
    }

    async fn asked_to_end(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    /// Ends the service, then all remaining children.
    async fn end(&mut self, service: Pid) {
        tracing::info!("the workspace stops");
        let _ = kill(service, Signal::SIGTERM);
        let until = Instant::now() + SERVICE_TIME;
        while reap(service).is_none() {
            tokio::select! {
                _ = self.children.recv() => {}
                () = sleep_until(until) => break,
            }
        }
        self.end_orphans().await;
    }

    /// Ends all remaining children: daemons, and processes of services that ended.
    async fn end_orphans(&mut self) {
        let started = Instant::now();
        let mut asked = Vec::new();
        loop {
            let _ = reap(getpid());
            let children = children();
            if children.is_empty() || started.elapsed() >= GRACE + KILL_TIME {
                return;
            }
            for child in children {
                if started.elapsed() >= GRACE {
                    let _ = kill(child, Signal::SIGKILL);
                } else if !asked.contains(&child) {
                    let _ = kill(child, Signal::SIGTERM);
                    let _ = kill(child, Signal::SIGCONT);
                    asked.push(child);
                }
            }
            tokio::select! {
                _ = self.children.recv() => {}
                () = sleep(POLL) => {}
            }
        }
    }
}

/// Reaps all exited children. Returns how `wanted` ended, if it is among them.
fn reap(wanted: Pid) -> Option<String> {
    let mut found = None;
    loop {
        match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::Exited(id, code)) if id == wanted => found = Some(format!("exit code {code}")),
            Ok(WaitStatus::Signaled(id, signal, _)) if id == wanted => found = Some(signal.to_string()),
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => return found,
            Ok(_) | Err(Errno::EINTR) => {}
            Err(error) => {
                tracing::error!(%error, "children cannot be waited for");
                return found;
            }
        }
    }
}

/// The children of this process that have not been reaped.
fn children() -> Vec<Pid> {
    let own = getpid();
    // If `/proc` belongs to another PID namespace, its numbers name other processes.
    let numbers_fit = fs::read_link("/proc/self").is_ok_and(|link| link.to_str() == Some(&own.to_string()));
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    if !numbers_fit {
        return Vec::new();
    }
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok())
        .filter(|id| {
            let Ok(stat) = fs::read_to_string(format!("/proc/{id}/stat")) else { return false };
            parent(&stat) == Some(own.as_raw())
        })
        .map(Pid::from_raw)
        .collect()
}

/// The parent's process id in a line of `/proc/ID/stat`: the second field after the name, which may contain any
/// characters.
fn parent(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parent_is_found_behind_any_name() {
        for (stat, expected) in [
            ("7 (sh) S 1 7 7 0", Some(1)),
            ("7 (a) b) S 12 7", Some(12)),
            ("7 (a\nb c) Z 3 7", Some(3)),
            ("7 sh", None),
            ("", None),
        ] {
            assert_eq!(parent(stat), expected, "{stat}");
        }
    }
}
