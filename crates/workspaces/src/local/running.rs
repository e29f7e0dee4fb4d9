//! The workspace agent of one workspace, in this process, with a clean environment.

use crate::local::{
    LocalOptions,
    leftovers::{self, Leftovers},
    log::Log,
    template_catalog::Variables,
};
use portcullis_agent::{Client, InProcess, Journal, environment, service};
use portcullis_core::clock::Clock;
use std::{path::PathBuf, sync::Arc};

/// A running workspace agent.
pub(super) struct Running {
    agent: service::Agent,
    client: Client,
    log: Log,
    leftovers: Leftovers,
    ending: bool,
}

/// The folders of a workspace.
pub(super) struct WorkspaceFolders {
    pub home: PathBuf,
    pub tmp: PathBuf,
    pub output: PathBuf,
}

impl Running {
    /// Starts the workspace agent. Commands inherit only the variables in `options` from this process's environment,
    /// which may contain secrets.
    pub(super) fn start(
        folders: WorkspaceFolders,
        variables: &Variables,
        options: &LocalOptions,
        log: Log,
        journal: Journal,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let own = [("PATH", options.path.clone()), ("TMPDIR", folders.tmp.clone().into())];
        let mut given = variables.clone();
        for (name, value) in own {
            if !given.iter().any(|(other, _)| other == name) {
                given.push((name.into(), value));
            }
        }
        // The mark overrides any other variable of its name: processes are found by it.
        let (name, value) = leftovers::mark(&folders.home);
        given.retain(|(other, _)| *other != name);
        given.push((name, value));
        let leftovers = Leftovers::of_home(&folders.home);
        let environment = environment(&folders.home, options.user.clone(), given);
        let mut options = service::Options::new(folders.home, folders.output, environment, clock);
        options.confine = true;
        options.temporary = Some(folders.tmp);
        options.journal = journal;
        options.log = {
            let log = log.clone();
            Arc::new(move |line: &str| log.note(line))
        };
        let agent = service::Agent::new(options);
        let client = Client::new(Arc::new(InProcess::new(agent.router())));
        log.note("started");
        Self { agent, client, log, leftovers, ending: false }
    }

    /// A client of the workspace agent.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether [`Self::end`] was called. It may still be in progress.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// Ends the workspace agent and all of its processes, and waits until they have ended.
    pub(super) async fn end(&mut self) {
        self.ending = true;
        self.agent.shutdown().await;
        self.leftovers.end().await;
        self.log.note("stopped");
    }
}
