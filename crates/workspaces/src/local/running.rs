//! The agent of one workspace, in this process, with a clean environment.

use crate::local::{
    LocalOptions,
    journal::Journal,
    leftovers::{self, Leftovers},
    template_catalog::Variables,
};
use portcullis_agent::{Client, InProcess, environment, service};
use portcullis_core::clock::Clock;
use std::{path::PathBuf, sync::Arc};

/// An agent that runs.
pub(super) struct Running {
    agent: service::Agent,
    client: Client,
    journal: Journal,
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
    /// Starts the agent. Of this process's own environment, which may hold secrets, commands get only what the options
    /// name.
    pub(super) fn start(
        folders: WorkspaceFolders,
        variables: &Variables,
        options: &LocalOptions,
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
        // Whatever else is given: by this it is found.
        let (name, value) = leftovers::mark(&folders.home);
        given.retain(|(other, _)| *other != name);
        given.push((name, value));
        let leftovers = Leftovers::of_home(&folders.home);
        let environment = environment(&folders.home, options.user.clone(), given);
        let mut options = service::Options::new(folders.home, folders.output, environment, clock);
        options.confine = true;
        options.temporary = Some(folders.tmp);
        options.journal = {
            let journal = journal.clone();
            Arc::new(move |line: &str| journal.note(line))
        };
        let agent = service::Agent::new(options);
        let client = Client::new(Arc::new(InProcess::new(agent.router())));
        journal.note("started");
        Self { agent, client, journal, leftovers, ending: false }
    }

    /// A way to it.
    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }

    /// Whether its end was wanted, and may not be over.
    pub(super) fn is_ending(&self) -> bool {
        self.ending
    }

    /// Ends everything, and returns when it has ended.
    pub(super) async fn end(&mut self) {
        self.ending = true;
        self.agent.shutdown().await;
        self.leftovers.end().await;
        self.journal.note("stopped");
    }
}
