//! The configuration of a workspace agent.

use crate::Journal;
use portcullis_core::clock::Clock;
use std::{ffi::OsString, path::PathBuf, sync::Arc, time::Duration};

/// The configuration of a workspace agent.
#[derive(Clone)]
pub struct Options {
    /// The absolute path of the home folder: the default working directory, and the start of relative paths.
    pub home: PathBuf,
    /// The folder for output that is too long to show; created when it is needed.
    pub output: PathBuf,
    /// The complete environment of commands, except the variables of each request.
    pub env: Vec<(OsString, OsString)>,
    /// The folder for temporary files, which paths may also lead to if they are confined.
    pub temporary: Option<PathBuf>,
    /// The workspace agent's own folders, which the file tools do not access.
    pub own: Vec<PathBuf>,
    /// Whether the workspace shares this machine with others. If so, paths of files must stay in the home folder, and
    /// usage is measured for the process groups of the commands.
    pub confine: bool,
    /// The shell that runs command lines. If it is missing, only lines without shell syntax can run.
    pub shell: PathBuf,
    /// How long a command continues after its stream was lost, until a client attaches to it again.
    pub patience: Duration,
    /// The limit on concurrent commands, including background processes.
    pub most_commands: usize,
    /// The clock for the start times of processes.
    pub clock: Arc<dyn Clock>,
    /// The journal of commands and changes.
    pub journal: Journal,
    /// Receives a line for the workspace's own log at the end of each command: the name of its program, without
    /// arguments and output.
    pub log: Log,
}

/// The type of [`Options::log`].
pub type Log = Arc<dyn Fn(&str) + Send + Sync>;

impl Options {
    /// The defaults. The journal is only in memory.
    #[must_use]
    pub fn new(home: PathBuf, output: PathBuf, env: Vec<(OsString, OsString)>, clock: Arc<dyn Clock>) -> Self {
        let (patience, most_commands) = (Duration::from_secs(15), 256);
        let journal = Journal::in_memory(Arc::clone(&clock));
        let own = Vec::new();
        Self {
            home,
            output,
            env,
            temporary: None,
            own,
            confine: false,
            shell: "/bin/sh".into(),
            patience,
            most_commands,
            clock,
            journal,
            log: Arc::new(|_: &str| {}),
        }
    }
}
