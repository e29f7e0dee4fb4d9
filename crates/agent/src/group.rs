//! A process group: how a command and everything that it started is signalled at once (POSIX `killpg`).

use nix::{
    errno::Errno,
    sys::signal::{Signal, killpg},
    unistd::Pid,
};

/// A group whose leader this process has spawned.
///
/// A group's number is not given to a new process while any process is in it. Once it is empty the number may be used
/// again, so whoever holds this asks [`Group::is_alive`] often while it matters, and drops it as soon as it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Group(Pid);

impl Group {
    /// The group led by the process with this id; `None` for ids that no group can have.
    pub(crate) fn led_by(id: u32) -> Option<Self> {
        // 0 and 1 would mean this process's own group, and every process.
        i32::try_from(id).ok().filter(|id| *id > 1).map(|id| Self(Pid::from_raw(id)))
    }

    /// Whether any process is left in it.
    pub(crate) fn is_alive(self) -> bool {
        // EPERM: processes that changed their user. They are there all the same.
        !matches!(killpg(self.0, None), Err(Errno::ESRCH))
    }

    /// Asks all of it to end.
    pub(crate) fn terminate(self) {
        self.signal(Signal::SIGTERM);
        // A stopped process sees SIGTERM only once it goes on.
        self.signal(Signal::SIGCONT);
    }

    /// Ends all of it.
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
