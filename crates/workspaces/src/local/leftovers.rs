//! What agents have left running on this machine, in whatever group or session: known by a mark in the environment that
//! children inherit (proc_pid_environ(5)), and, where this process adopts orphans (PR_SET_CHILD_SUBREAPER, prctl(2)), as
//! its descendants, which may have taken the mark off. After this process was killed, only the mark is left.

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

/// The variable that says in which workspace's home a process was started.
const MARK: &str = "PORTCULLIS_WORKSPACE";
/// The variable of processes that are the user's own, although they descend from this one.
pub(super) const OWN: &str = "PORTCULLIS_OWN";

/// How long processes may take to end after SIGTERM before SIGKILL, and after that.
const GRACE: Duration = Duration::from_secs(2);
const KILL_WAIT: Duration = Duration::from_secs(2);
/// How often to poll whether they have ended.
const POLL_INTERVAL: Duration = Duration::from_millis(50);
/// How often to look for children that have ended and that nobody waits for.
const REAP_EVERY: Duration = Duration::from_secs(2);

/// The processes of one workspace, or of all.
#[derive(Clone, Debug)]
pub(super) struct Leftovers {
    /// What their mark begins with.
    mark: Vec<u8>,
    /// Whether it is the whole mark.
    whole: bool,
    /// Whether descendants of this process are meant too.
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

/// What to give to the processes of the workspace with this home.
pub(super) fn mark(home: &Path) -> (OsString, OsString) {
    (MARK.into(), home.into())
}

/// Has this process become the parent of every orphan among its descendants.
pub(super) fn adopt_orphans() -> io::Result<()> {
    Ok(nix::sys::prctl::set_child_subreaper(true)?)
}

/// Waits for adopted children that have ended, for ever. The runtime waits for its own at once, so that those which are
/// still there at the second look are nobody's.
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
    /// Those of the workspace with this home.
    pub(super) fn of_home(home: &Path) -> Self {
        Self { mark: marked(home.as_os_str().as_bytes()), whole: true, adopted: false }
    }

    /// Those of all workspaces below a folder, and descendants of this process where it has `adopted` orphans.
    pub(super) fn below(folder: &Path, adopted: bool) -> Self {
        let folder = PathBuf::from(OsString::from_vec([folder.as_os_str().as_bytes(), b"/"].concat()));
        Self { mark: marked(folder.as_os_str().as_bytes()), whole: false, adopted }
    }

    /// Ends all processes, and those that they start meanwhile; returns the ones that existed.
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

    /// Ends them at once. Blocks, for a moment.
    pub(super) fn kill(&self) {
        // They may make new ones faster than they die, but not for ever.
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
            // No family is deeper, unless numbers were given anew while it was looked at.
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
        // It may have ended meanwhile.
        let _ = kill(process, *signal);
    }
}

/// Children of this process that have ended.
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
    /// Reads a line of `/proc/ID/stat`, where the name may have any characters.
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
