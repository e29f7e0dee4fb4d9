//! `portcullis dev`: serves the same manifests on one machine. It uses the operator's plan; the plan's Secrets and
//! mounted files are written to a state directory, and the server runs in this process, with local folders as
//! workspaces.

mod banner;
mod browser;
mod environment;
mod guard;
mod located;
mod manifests;
mod references;
mod served;
mod snippets;
mod store;
mod user;
mod watch;

pub use manifests::{ManifestProblem, Source, Validation, validate};

use environment::{DevEnvironment, DevEnvironmentError, PlannedEndpoint};
use guard::Guard;
use jiff::{SignedDuration, Timestamp};
use kube::ResourceExt as _;
use manifests::Manifests;
use portcullis_core::{clock::Clock, endpoint_paths::has_console, report::chain};
use portcullis_oauth::workload::NoCluster;
use portcullis_outbound::{Outbound, OutboundError};
use portcullis_reflector::Health;
use portcullis_server::{self, Listeners, ServerError};
use portcullis_workspaces::{
    self, Workspaces,
    local::{LocalOptions, LocalWorkspaces},
};
use rand::{SeedableRng as _, rngs::StdRng};
use std::{
    convert::Infallible,
    ffi::OsString,
    io::{self, Write as _},
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
};
use store::Store;
use tokio::{net::TcpListener, task::spawn_blocking};
use tokio_util::sync::CancellationToken;
use watch::{Watch, WatchError};

/// The delay before a retry after files could not be written.
const RETRY: SignedDuration = SignedDuration::from_secs(5);
/// The assumed memory limit of the server in bytes, without workspaces.
const MEMORY: u64 = 1 << 30;

/// The options of `portcullis dev`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The sources of the manifests.
    pub sources: Vec<Source>,
    /// The endpoint to serve, if the manifests have several: its name, or its namespace and name.
    pub endpoint: Option<String>,
    /// The address to listen on; port 0 for any free port.
    pub listen: SocketAddr,
    /// Whether an address that other machines can reach is allowed, although there is no TLS.
    pub beyond_loopback: bool,
    /// The state directory, with credentials, keys, grants and workspaces.
    pub state: PathBuf,
    /// The `PATH` of commands in workspaces.
    pub path: OsString,
    /// The `USER` of commands in workspaces, and the name of the local user.
    pub user: OsString,
    /// Whether this process does nothing else. If so, it ends all processes that it started, and ends itself if its
    /// output pipe is closed.
    pub alone: bool,
    /// Whether to show the endpoint's pages in a browser.
    pub open: bool,
}

/// Why the endpoint could not be served, or no longer.
#[derive(Debug, thiserror::Error)]
pub enum DevError {
    /// The address is not a loopback address: tokens would be sent over the network in plain text.
    #[error(
        "{0} can be reached from other machines, and there is no TLS here: anyone on the network can steal tokens and run commands as you; listen on 127.0.0.1, or add --insecure-listen-beyond-loopback if only you can reach it, as in a container"
    )]
    BeyondLoopback(SocketAddr),
    /// The address is in use, or is not an address of this machine.
    #[error("cannot listen on {address}; choose another with --listen, or port 0 for any free port")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// The error of the system.
        source: io::Error,
    },
    /// The state directory cannot be used.
    #[error(transparent)]
    Store(#[from] store::StoreError),
    /// The manifests cannot be served.
    #[error(transparent)]
    DevEnvironment(#[from] DevEnvironmentError),
    /// The manifests cannot be watched.
    #[error(transparent)]
    Watch(#[from] WatchError),
    /// The state directory was moved or deleted.
    #[error(
        "the state directory {} was moved or deleted, so nothing can be saved; move it back, or start again with --state-dir", .0.display()
    )]
    Moved(PathBuf),
    /// The process could not become a child subreaper.
    #[error("the processes of agents cannot be supervised")]
    Adopting(#[source] io::Error),
    /// The workspaces cannot be read.
    #[error("the workspaces in the state directory cannot be used")]
    Workspaces(#[from] portcullis_workspaces::Error),
    /// The grants cannot be read.
    #[error(transparent)]
    State(#[from] portcullis_state::local::LocalError),
    /// The client for outbound requests could not be created.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The server could not start.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// A thread that reads or writes files panicked.
    #[error("reading or writing files was interrupted")]
    Interrupted(#[from] tokio::task::JoinError),
}

/// Serves until `stop`.
pub async fn run(
    options: Options,
    clock: Arc<dyn Clock>,
    mut rng: StdRng,
    stop: CancellationToken,
) -> Result<(), DevError> {
    let (listener, origin) = listen(options.listen, options.beyond_loopback).await?;
    let folder = options.state;
    let store = spawn_blocking(move || Store::open(&folder)).await??;
    let user = user::name_of(&options.user);
    let local = LocalOptions { state_dir: store.root().to_owned(), path: options.path, user: options.user };
    let workspaces = LocalWorkspaces::open(local, Arc::clone(&clock), StdRng::from_rng(&mut rng)).await?;
    let workspaces = Arc::new(workspaces);
    if options.alone {
        let ended = workspaces.take_charge().await.map_err(DevError::Adopting)?;
        if !ended.is_empty() {
            say(&format!("ended processes of an earlier run: {}\n", ended.join(", ")));
        }
    }

    let guard = Guard::of(&store, options.alone)?;
    let environment = DevEnvironment { sources: options.sources, endpoint: options.endpoint, origin, store, user, rng };
    let now = clock.now();
    let dev_state = spawn_blocking({
        let workspaces = Arc::clone(&workspaces);
        move || DevState::open(environment, workspaces, now)
    })
    .await??;
    let name = dev_state.outcome.endpoint.name_any();
    let state =
        portcullis_state::Local::open(&dev_state.environment.store.grants_folder(&name), Arc::clone(&clock)).await;
    let state = Arc::new(state.map_err(|error| guard.explain(error))?);
    // Apply the user rules before the server starts.
    let dev_state = spawn_blocking({
        let state = Arc::clone(&state);
        move || dev_state.telling(state)
    })
    .await?;
    let server = portcullis_server::Options {
        config_dir: dev_state.environment.store.mounted_folder(&name),
        workspaces: Some(Arc::clone(&workspaces) as Arc<dyn Workspaces>),
        grants: Arc::clone(&state) as _,
        registrations: Arc::clone(&state) as _,
        accounts: Arc::clone(&state) as _,
        user_rules: Arc::clone(&state) as _,
        workloads: Arc::new(NoCluster),
        state: Arc::new(Health::local()),
        outbound: Arc::new(Outbound::new()?),
        clock: Arc::clone(&clock),
        lame_duck: std::time::Duration::ZERO,
        memory_limit: MEMORY,
    };
    if options.open {
        let config = &dev_state.outcome.plan.config;
        let page = if has_console(&config.url, &config.path_aliases) { "/console/" } else { "/agents" };
        browser::show(&config.url.issuer_url(page));
    }
    let serve = async {
        let ended = portcullis_server::run(server, Listeners { public: listener, private: None }, stop.clone()).await;
        stop.cancel();
        ended
    };
    let keep = async {
        let ended = keep_current(dev_state, clock, &stop).await;
        stop.cancel();
        ended
    };
    let watch = async {
        let ended = guard.watch(&stop).await;
        stop.cancel();
        ended
    };
    // End the workspaces' processes at once: calls wait for them, and the server waits for calls.
    let end = async {
        stop.cancelled().await;
        let programs = workspaces.programs().await;
        if !programs.is_empty() {
            say(&format!("ending processes of agents: {}\n", programs.join(", ")));
        }
        workspaces.shutdown().await;
    };
    let all = async { tokio::join!(serve, keep, watch, end) };
    let (serving, keeping, watching, ()) = tokio::select! {
        all = all => all,
        never = reap(&workspaces, options.alone) => match never {},
    };
    // End processes that calls have started since then.
    workspaces.shutdown().await;
    state.close().await;
    watching?;
    serving?;
    keeping
}

async fn reap(workspaces: &LocalWorkspaces, alone: bool) -> Infallible {
    if alone {
        workspaces.reap().await;
    }
    std::future::pending().await
}

/// The listener, and the origin of its URL for clients.
async fn listen(wanted: SocketAddr, beyond_loopback: bool) -> Result<(TcpListener, String), DevError> {
    let loopback = wanted.ip().is_loopback();
    if !loopback && !beyond_loopback {
        return Err(DevError::BeyondLoopback(wanted));
    }
    let failed = |source| DevError::Listen { address: wanted, source };
    let listener = TcpListener::bind(wanted).await.map_err(failed)?;
    let mut address = listener.local_addr().map_err(failed)?;
    if !loopback {
        // Plain HTTP is allowed for loopback addresses only. Clients on other machines connect through a forwarded
        // port.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    Ok((listener, format!("http://{address}")))
}

/// Applies every change until `stop`.
async fn keep_current(dev_state: DevState, clock: Arc<dyn Clock>, stop: &CancellationToken) -> Result<(), DevError> {
    let (watch, mut dev_state) = spawn_blocking(move || (dev_state.watch(), dev_state)).await?;
    let mut watch = watch?;
    loop {
        // Refresh once at the beginning: files can have changed before the watch started.
        let now = clock.now();
        dev_state = spawn_blocking(move || dev_state.refreshed(now)).await?;
        let due = async {
            match dev_state.due {
                Some(due) => clock.sleep_until(due).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return Ok(()),
            () = watch.changed() => {}
            () = due => {}
        }
    }
}

/// The current plan, and the consumers of its changes. The methods block.
struct DevState {
    environment: DevEnvironment,
    /// The workspaces, which get the templates.
    workspaces: Arc<LocalWorkspaces>,
    /// The local state, which gets the user rules.
    state: Option<Arc<portcullis_state::Local>>,
    /// The last valid manifests.
    manifests: Manifests,
    /// The plan of the last valid manifests.
    outcome: PlannedEndpoint,
    /// When to plan again without an edit.
    due: Option<Timestamp>,
    /// The last error about invalid manifests.
    complaint: String,
}

impl DevState {
    fn open(
        mut environment: DevEnvironment,
        workspaces: Arc<LocalWorkspaces>,
        now: Timestamp,
    ) -> Result<Self, DevEnvironmentError> {
        let manifests = environment.read()?;
        let outcome = environment.apply(&manifests, now)?;
        workspaces.set_templates(&outcome.templates, &outcome.secrets);
        say(&notes(&manifests));
        say(&banner::welcome(&outcome, &environment.store));
        Ok(Self {
            due: outcome.plan.next_change,
            environment,
            workspaces,
            state: None,
            manifests,
            outcome,
            complaint: String::new(),
        })
    }

    /// Sets the user rules of `state`, now and after each change.
    fn telling(self, state: Arc<portcullis_state::Local>) -> Self {
        state.set_users(&self.outcome.users);
        Self { state: Some(state), ..self }
    }

    fn watch(&self) -> Result<Watch, WatchError> {
        let store = &self.environment.store;
        Watch::start(&self.environment.sources, store.root(), &store.secrets_folder())
    }

    /// Reads the manifests, plans again, and prints what changed. Invalid manifests change nothing.
    fn refreshed(mut self, now: Timestamp) -> Self {
        let fresh = self.environment.read().and_then(|manifests| {
            let outcome = self.environment.apply(&manifests, now)?;
            Ok((manifests, outcome))
        });
        match fresh {
            Ok((manifests, outcome)) => {
                if notes(&manifests) != notes(&self.manifests) {
                    say(&notes(&manifests));
                }
                let edited = manifests != self.manifests;
                self.complaint.clear();
                self.manifests = manifests;
                self.take(outcome, edited);
            }
            Err(error) => {
                let complaint = chain(&error);
                if complaint != self.complaint {
                    say(&format!("{complaint}\nThe last valid manifests remain in force.\n"));
                    self.complaint = complaint;
                }
                // Rotate and repair the secrets of the last valid manifests.
                match self.environment.apply(&self.manifests, now) {
                    Ok(outcome) => self.take(outcome, false),
                    Err(_) => self.due = now.checked_add(RETRY).ok(),
                }
            }
        }
        self
    }

    fn take(&mut self, outcome: PlannedEndpoint, edited: bool) {
        self.workspaces.set_templates(&outcome.templates, &outcome.secrets);
        if let Some(state) = &self.state {
            state.set_users(&outcome.users);
        }
        let messages = banner::changes(&self.outcome, &outcome, &self.environment.store);
        let changed =
            outcome.changed || outcome.templates != self.outcome.templates || outcome.users != self.outcome.users;
        if edited && changed && messages.is_empty() {
            say("the manifests changed and are in effect\n");
        }
        say(&messages);
        self.due = outcome.plan.next_change;
        self.outcome = outcome;
    }
}

fn notes(manifests: &Manifests) -> String {
    manifests
        .notes
        .iter()
        .flat_map(|note| {
            [
                "note: ", note, "
",
            ]
        })
        .collect()
}

/// Prints to standard output. Ignores errors: a closed pipe must not end the server.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
