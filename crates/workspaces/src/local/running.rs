//! What runs in one workspace: its agent, in this process, with a clean environment.

use crate::local::{
    LocalOptions,
    journal::Journal,
    leftovers::{self, Leftovers},
    offer::Variables,
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
pub(super) struct Place {
    pub home: PathBuf,
    pub tmp: PathBuf,
    pub output: PathBuf,
}

impl Running {
    /// Starts the agent. Of this process's own environment, which may hold secrets, commands get only what the options
    /// name.
    pub(super) fn start(
        place: Place,
        variables: &Variables,
        options: &LocalOptions,
        journal: Journal,
        clock: Arc<dyn Clock>,
    ) -> Self {
        let own = [("PATH", options.path.clone()), ("TMPDIR", place.tmp.clone().into())];
        let mut given = variables.clone();
        for (name, value) in own {
            if !given.iter().any(|(other, _)| other == name) {
                given.push((name.into(), value));
            }
        }
        // Whatever else is given: by this it is found.
        let (name, value) = leftovers::mark(&place.home);
        given.retain(|(other, _)| *other != name);
        given.push((name, value));
        let leftovers = Leftovers::of_home(&place.home);
        let environment = environment(&place.home, options.user.clone(), given);
        let mut options = service::Options::new(place.home, place.output, environment, clock);
        options.confine = true;
        options.temporary = Some(place.tmp);
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
