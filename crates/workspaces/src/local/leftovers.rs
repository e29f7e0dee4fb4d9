//! Processes that agents left running on this machine, in any process group or session. They are found by a variable in
//! the environment, which children inherit (proc_pid_environ(5)), and, if this process adopts orphans
//! (PR_SET_CHILD_SUBREAPER, prctl(2)), as its descendants, which may have removed the variable. After this process was
//! killed, only the variable identifies them.

use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{WaitPidFlag, waitpid},
    },
    unistd::{Pid, getpid},
};
use std::{
    collections::{BTreeMap, HashSet},
    ffi::OsString,
    fs, io,
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    time::Duration,
};
use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep},
};

/// The environment variable with the home of the workspace in which a process was started.
const MARK: &str = "PORTCULLIS_WORKSPACE";
/// The environment variable of processes that belong to the user, although they descend from this process.
pub(super) const OWN: &str = "PORTCULLIS_OWN";

/// The grace period between SIGTERM and SIGKILL, and the wait after SIGKILL.
const GRACE: Duration = Duration::from_secs(2);
const KILL_WAIT: Duration = Duration::from_secs(2);
/// How often to poll whether processes have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often to look for ended children that no other code waits for.
const REAP_EVERY: Duration = Duration::from_secs(2);

/// The processes of one workspace, or of all.
#[derive(Clone, Debug)]
pub(super) struct Leftovers {
    /// The environment variable, or its prefix.
    mark: Vec<u8>,
    /// Whether `mark` is the whole variable.
    whole: bool,
    /// Whether descendants of this process are included.
    adopted: bool,
}

/// A process that agents started.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LeftoverProcess {
    id: Pid,
    /// The name of its program.
    pub name: String,
}

/// The relevant properties of a process.
struct ProcessInfo {
    name: String,
    state: char,
    parent: i32,
}

/// The environment variable for the processes of the workspace with this home.
pub(super) fn mark(home: &Path) -> (OsString, OsString) {
    (MARK.into(), home.into())
}

/// Makes this process the parent of all orphans among its descendants.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Reaps adopted children that have ended; never returns. The runtime reaps its own children at once, so a child that
/// is still a zombie in the next scan was adopted.
pub(super) async fn reap() {
    let mut before = HashSet::new();
    loop {
        sleep(REAP_EVERY).await;
        let ended: HashSet<i32> = spawn_blocking(zombies).await.unwrap_or_default();
        for id in ended.intersection(&before) {
            let _ = waitpid(Pid::from_raw(*id), Some(WaitPidFlag::WNOHANG));
        }
        before = ended;
    }
}

impl Leftovers {
    /// The processes of the workspace with this home.
    pub(super) fn of_home(home: &Path) -> Self {
        Self { mark: marked(home.as_os_str().as_bytes()), whole: true, adopted: false }
    }

    /// The processes of all workspaces below a folder and, if this process has `adopted` orphans, its descendants.
    pub(super) fn below(folder: &Path, adopted: bool) -> Self {
        let folder = PathBuf::from(OsString::from_vec([folder.as_os_str().as_bytes(), b"/"].concat()));
        Self { mark: marked(folder.as_os_str().as_bytes()), whole: false, adopted }
    }

    /// Ends all processes, and those that they start meanwhile. Returns the processes that existed at the beginning.
    pub(super) async fn end(&self) -> Vec<LeftoverProcess> {
        let found = self.found().await;
        for (signals, grace) in [(&[Signal::SIGTERM, Signal::SIGCONT][..], GRACE), (&[Signal::SIGKILL][..], KILL_WAIT)]
        {
            let until = Instant::now() + grace;
            let mut signalled = HashSet::new();
            loop {
                let left = self.found().await;
                if left.is_empty() {
                    return found;
                }
                for process in left.iter().filter(|process| signalled.insert(process.id)) {
                    signal(process.id, signals);
                }
                if Instant::now() >= until {
                    break;
                }
                sleep(POLL_INTERVAL).await;
            }
        }
        found
    }

    /// Kills all processes. Blocks briefly.
    pub(super) fn kill(&self) {
        // Processes may fork faster than they die, so the number of attempts is limited.
        for _ in 0..10 {
            let found = self.find();
            if found.is_empty() {
                return;
            }
            for process in found {
                signal(process.id, &[Signal::SIGKILL]);
            }
        }
    }

    /// The existing processes.
    pub(super) async fn found(&self) -> Vec<LeftoverProcess> {
        let own = self.clone();
        spawn_blocking(move || own.find()).await.unwrap_or_default()
    }

    fn find(&self) -> Vec<LeftoverProcess> {
        let all = processes();
        let own = getpid().as_raw();
        let descends = |id: i32| {
            let mut parents = std::iter::successors(Some(id), |id| all.get(id).map(|seen| seen.parent));
            // The process tree is not deeper, unless process ids were reused during the scan.
            self.adopted && parents.by_ref().skip(1).take(1000).any(|parent| parent == own)
        };
        let is_left = |id: i32| {
            let environment = fs::read(format!("/proc/{id}/environ")).unwrap_or_default();
            let mut variables = environment.split(|byte| *byte == 0);
            let is_mark =
                |variable: &[u8]| if self.whole { variable == self.mark } else { variable.starts_with(&self.mark) };
            variables.clone().any(is_mark)
                || (descends(id) && !variables.any(|variable| variable.starts_with(OWN.as_bytes())))
        };
        all.iter()
            .filter(|(id, seen)| **id != own && seen.state != 'Z' && is_left(**id))
            .map(|(id, seen)| LeftoverProcess { id: Pid::from_raw(*id), name: seen.name.clone() })
            .collect()
    }
}

fn marked(value: &[u8]) -> Vec<u8> {
    [MARK.as_bytes(), b"=", value].concat()
}

fn signal(process: Pid, signals: &[Signal]) {
    for signal in signals {
        // The process may have ended meanwhile.
        let _ = kill(process, *signal);
    }
}

/// The zombie children of this process.
fn zombies() -> HashSet<i32> {
    let own = getpid().as_raw();
    let ended = processes().into_iter().filter(|(_, seen)| seen.state == 'Z' && seen.parent == own);
    ended.map(|(id, _)| id).collect()
}

fn processes() -> BTreeMap<i32, ProcessInfo> {
    let Ok(entries) = fs::read_dir("/proc") else { return BTreeMap::new() };
    entries
        .filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            Some((id, ProcessInfo::read(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?)?))
        })
        .collect()
}

impl ProcessInfo {
    /// Parses `/proc/ID/stat`, in which the name may contain any character.
    fn read(stat: &str) -> Option<Self> {
        let (head, rest) = stat.rsplit_once(')')?;
        let (_, name) = head.split_once('(')?;
        let mut words = rest.split_whitespace();
        Some(Self { name: name.to_owned(), state: words.next()?.chars().next()?, parent: words.next()?.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Child, Command, Stdio};

    fn start(home: &Path, line: &str) -> Child {
        let (name, value) = mark(home);
        let mut command = Command::new("sh");
        command.args(["-c", line]).env(name, value).stdout(Stdio::null()).spawn().unwrap()
    }

    async fn until_there(leftovers: &Leftovers, count: usize) {
        while leftovers.found().await.len() != count {
            sleep(POLL_INTERVAL).await;
        }
    }

    #[tokio::test]
    async fn what_left_its_group_and_its_parent_is_ended_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("ws-1"), folder.path().join("ws-11"));
        let mut shell =
            start(&one, "setsid sh -c 'trap \"\" TERM; while :; do sleep 0.1; done' & setsid sleep 300 & exit 0");
        let mut stays = start(&other, "exec sleep 300");
        shell.wait().unwrap();
        let (of_one, of_all) = (Leftovers::of_home(&one), Leftovers::below(folder.path(), false));
        while !of_one.found().await.iter().any(|left| left.name == "sleep") {
            sleep(POLL_INTERVAL).await;
        }
        let ended = of_one.end().await;
        assert!(ended.iter().any(|left| left.name == "sh"), "{ended:?}");
        assert_eq!(of_one.found().await, []);
        until_there(&of_all, 1).await;
        assert_eq!(of_all.found().await[0].id.as_raw(), i32::try_from(stays.id()).unwrap());
        of_all.kill();
        stays.wait().unwrap();
        until_there(&of_all, 0).await;
    }
}
