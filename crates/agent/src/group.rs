//! A process group: signals a command and all processes that it started at once (POSIX `killpg`).

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// A process group whose leader this process has spawned.
///
/// The kernel does not reuse the id of a group while any process is in it, but may reuse it once the group is empty.
/// The owner of a `Group` must therefore call [`Group::is_alive`] often, and drop the group as soon as it is empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(Pid);

impl Group {
    /// The group of the leader with this process id; `None` for ids that a group cannot have.
    pub(crate) fn led_by(id: u32) -> Option<Self> {
        // 0 and 1 would mean the group of this process, and every process.
        i32::try_from(id).ok().filter(|id| *id > 1).map(|id| Self(Pid::from_raw(id)))
    }

    /// Whether any process is left in the group.
    pub(crate) fn is_alive(self) -> bool {
        // EPERM means that processes of another user are in the group.
        !matches!(killpg(self.0, None), Err(Errno::ESRCH))
    }

    /// Sends SIGTERM to all processes.
    pub(crate) fn terminate(self) {
        self.signal(Signal::SIGTERM);
        // A stopped process handles SIGTERM only after it continues.
        self.signal(Signal::SIGCONT);
    }

    /// Sends SIGKILL to all processes.
    pub(crate) fn kill(self) {
        self.signal(Signal::SIGKILL);
    }

    fn signal(self, signal: Signal) {
        if let Err(error) = killpg(self.0, signal)
            && error != Errno::ESRCH
        {
            tracing::warn!(group = self.0.as_raw(), %signal, %error, "could not signal a process group");
        }
    }
}
