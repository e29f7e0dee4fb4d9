//! Reloads the mounted files. Changes are validated and applied as a whole. Invalid files are refused: the last valid
//! ones stay in use, and the log, the metrics and `/revision` report the reason.

use crate::{
    Options,
    app_state::{AppState, Machine},
    connections::{ConnectionTimeouts, Terms, Tls},
    mounted::{MountedError, RawFiles},
    public::Public,
};
use arc_swap::{ArcSwap, ArcSwapOption};
use notify::{RecursiveMode, Watcher as _};
use portcullis_config::{LoadedRevision, ServerConfig};
use portcullis_core::report::chain;
use portcullis_identity::Logins;
use portcullis_oauth::{Stores, clients::PublishedMetadata, external::ExternalTokens};
use portcullis_outbound::Outbound;
use portcullis_pages::ServedWorkspaces;
use portcullis_telemetry::metrics::Metrics;
use portcullis_tools::Registry;
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{sync::Notify, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The interval of reads without a notification, since not every file system sends notifications.
const POLL: Duration = Duration::from_secs(5);
/// The time to wait for further changes after one.
const SETTLE: Duration = Duration::from_millis(20);

/// The maximum time that the shutdown waits for rechecks of users whose clients have disconnected.
const CHECKS: Duration = Duration::from_secs(10);

/// The current configuration.
pub(crate) struct Current {
    serving: ArcSwap<Public>,
    /// The TLS configuration; empty until there is a valid certificate.
    tls: ArcSwapOption<rustls::ServerConfig>,
    rejected: ArcSwapOption<String>,
    metrics: Arc<Metrics>,
    options: Options,
    /// Aborts the requests that still run behind the MCP edge.
    abort: CancellationToken,
}

impl Current {
    /// Loads the files for the first time.
    pub(crate) async fn load(
        options: Options,
        metrics: Arc<Metrics>,
        abort: CancellationToken,
    ) -> Result<(Self, RawFiles), MountedError> {
        let files = RawFiles::read(&options.config_dir).await?;
        let serving = prepare(&files, None, &options, &metrics, &abort)?;
        metrics.files_loaded(options.clock.now());
        tracing::info!(revision = %serving.app().mounted().revision, "configuration loaded");
        let serving = ArcSwap::from_pointee(serving);
        let (tls, rejected) = (ArcSwapOption::empty(), ArcSwapOption::empty());
        let current = Self { serving, tls, rejected, metrics, options, abort };
        // An invalid certificate is not fatal: it may be created soon, and a server that exits could not report the
        // reason.
        if let Err(error) = current.renew(&files) {
            current.reject(&error);
        }
        Ok((current, files))
    }

    /// The current state of the public listener.
    pub(crate) fn serving(&self) -> arc_swap::Guard<Arc<Public>> {
        self.serving.load()
    }

    /// The terms for new connections of clients.
    pub(crate) fn terms(&self) -> Terms {
        let serving = self.serving();
        let config = &serving.app().mounted().config;
        let access = &config.access;
        Terms {
            connections: Some(Arc::clone(serving.app().limiters().connections())),
            trusted: access.trusted_proxies.clone(),
            proxies: if access.proxy_protocol { access.trusted_proxies.clone() } else { Vec::new() },
            tls: match self.tls.load_full() {
                _ if !config.tls => Tls::Off,
                Some(tls) => Tls::On(tls),
                None => Tls::Missing,
            },
            timeouts: ConnectionTimeouts::default().for_requests_of(config.limits.request_timeout.as_duration()),
        }
    }

    /// Ends the subscriptions of clients; the shutdown would otherwise wait for them.
    pub(crate) fn retire(&self) {
        self.serving().retire(None);
    }

    /// Waits for the running rechecks of users, at most for [`CHECKS`].
    pub(crate) async fn finish_checks(&self) {
        let checks = self.serving().app().authorization().checks().clone();
        checks.close();
        if timeout(CHECKS, checks.wait()).await.is_err() {
            tracing::warn!("the server ends before all checks of users at identity providers are done");
        }
    }

    /// Whether TLS is required and there was no valid certificate yet.
    pub(crate) fn lacks_certificate(&self) -> bool {
        matches!(self.terms().tls, Tls::Missing)
    }

    /// The response of `/revision`.
    pub(crate) fn revision(&self) -> LoadedRevision {
        LoadedRevision {
            revision: self.serving().app().mounted().revision.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            rejected: self.rejected.load().as_deref().cloned(),
            untrusted_forwarders: self.serving().app().untrusted_forwarders(),
        }
    }

    /// Reloads the files when they change, until `stop`. `seen` is the last version read.
    pub(crate) async fn follow(&self, seen: RawFiles, stop: &CancellationToken) {
        let changed = Arc::new(Notify::new());
        // The watcher stops when it is dropped.
        let _watcher = watch(&self.options.config_dir, Arc::clone(&changed));
        let next = async || {
            if timeout(POLL, changed.notified()).await.is_ok() {
                tokio::time::sleep(SETTLE).await;
            }
        };
        let mut seen = Some(seen);
        while stop.run_until_cancelled(next()).await.is_some() {
            self.serving().app().tidy();
            match RawFiles::read(&self.options.config_dir).await {
                Ok(files) if seen.as_ref() == Some(&files) => {}
                Ok(files) => {
                    self.replace(&files);
                    seen = Some(files);
                }
                Err(error) => {
                    self.reject(&error);
                    seen = None;
                }
            }
        }
    }

    /// Applies all valid files. The certificate and the other files are applied independently.
    fn replace(&self, files: &RawFiles) {
        let (reconfigured, renewed) = (self.reconfigure(files), self.renew(files));
        match reconfigured.and(renewed) {
            Ok(()) => {
                self.rejected.store(None);
                self.metrics.files_loaded(self.options.clock.now());
            }
            Err(error) => self.reject(&error),
        }
    }

    fn reconfigure(&self, files: &RawFiles) -> Result<(), MountedError> {
        let previous = self.serving.load_full();
        let serving = prepare(files, Some(&previous), &self.options, &self.metrics, &self.abort)?;
        tracing::info!(revision = %serving.app().mounted().revision, "configuration replaced");
        let serving = Arc::new(serving);
        self.serving.store(Arc::clone(&serving));
        previous.retire(Some(&serving));
        Ok(())
    }

    /// Uses the certificate of these files for new connections. Open connections continue.
    fn renew(&self, files: &RawFiles) -> Result<(), MountedError> {
        if self.serving().app().mounted().config.tls {
            self.tls.store(Some(files.certificate.server()?));
        }
        Ok(())
    }

    fn reject(&self, error: &MountedError) {
        let reason = chain(error);
        if self.rejected.load().as_deref() != Some(&reason) {
            tracing::error!(reason, "the mounted files were rejected; the last valid ones remain in force");
            self.rejected.store(Some(Arc::new(reason)));
        }
        self.metrics.files_rejected();
    }
}

/// Validates one set of files, and builds the public listener's state.
fn prepare(
    files: &RawFiles,
    in_force: Option<&Public>,
    options: &Options,
    metrics: &Arc<Metrics>,
    abort: &CancellationToken,
) -> Result<Public, MountedError> {
    let mounted = files.parse()?;
    let previous = in_force.map(Public::app);
    let tools = Registry::new(&mounted.config, options.workspaces.clone()).counted_in(&metrics.tool_calls());
    let (config, login, keys) = (&mounted.config, &mounted.login, &mounted.keys);
    let logins = Arc::new(match previous {
        Some(app) => app.logins().reloaded(config, login, keys)?,
        None => Logins::new(config, login, keys, Arc::clone(&options.outbound), Arc::clone(&options.clock))?,
    });
    let stores = Stores {
        grants: Arc::clone(&options.grants),
        registrations: Arc::clone(&options.registrations),
        published: previous.map_or_else(
            || Arc::new(PublishedMetadata::new(&options.outbound)),
            |app| Arc::clone(app.authorization().published()),
        ),
        users: logins.clone(),
        accounts: Arc::clone(&options.accounts),
        checks: previous.map_or_else(TaskTracker::new, |app| app.authorization().checks().clone()),
        user_rules: Arc::clone(&options.user_rules),
        workloads: Arc::clone(&options.workloads),
        external: external(&mounted.config, &options.outbound, previous)?,
    };
    let (metrics, clock) = (Arc::clone(metrics), Arc::clone(&options.clock));
    let workspaces = options.workspaces.as_ref().map(|backend| ServedWorkspaces {
        backend: Arc::clone(backend),
        tools: tools.definitions().map(|tool| tool.name).collect(),
    });
    let machine = Machine { memory: options.memory_limit, workspaces };
    let app = Arc::new(AppState::new(mounted, stores, logins, previous, metrics, clock, machine)?);
    let public = Public::new(&app, &Arc::new(tools), in_force, abort.clone())?;
    if let Some(workspaces) = &options.workspaces {
        workspaces.apply(&app.mounted().config.workspaces);
    }
    Ok(public)
}

/// The external authorization server. It is kept, with its cached keys, if its configuration is unchanged.
fn external(
    config: &ServerConfig,
    outbound: &Outbound,
    previous: Option<&AppState>,
) -> Result<Option<Arc<ExternalTokens>>, MountedError> {
    let Some(issuer) = &config.external_issuer else { return Ok(None) };
    let same = |app: &&AppState| {
        let before = &app.mounted().config;
        before.external_issuer == config.external_issuer && before.url == config.url
    };
    if let Some(known) = previous.filter(same).and_then(|app| app.authorization().external()) {
        return Ok(Some(Arc::clone(known)));
    }
    let client = outbound.trusted(issuer.ca_bundle.as_deref());
    let tokens = ExternalTokens::new(issuer, config.url.resource(), client.map_err(MountedError::ExternalIssuer)?);
    Ok(Some(Arc::new(tokens)))
}

/// Notifies of changes in the folder. A failure does not prevent serving: the files are also polled.
fn watch(folder: &Path, changed: Arc<Notify>) -> Option<notify::RecommendedWatcher> {
    let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        if event.is_ok_and(|event| !event.kind.is_access()) {
            changed.notify_one();
        }
    })
    .and_then(|mut watcher| watcher.watch(folder, RecursiveMode::NonRecursive).map(|()| watcher));
    watcher
        .inspect_err(|error| tracing::warn!(%error, "the configuration cannot be watched; it is polled instead"))
        .ok()
}
