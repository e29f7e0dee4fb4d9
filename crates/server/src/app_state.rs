//! The state that every request uses: the mounted files, the authorization server, the limits and the metrics. A reload
//! of the mounted files builds a new one.

mod admission;
mod oauth_endpoints;
mod refuse;
#[cfg(test)]
mod tests;

use crate::{
    address::{Sender, Untrusted},
    limits::Limiters,
    mounted::Mounted,
    origin::Origins,
    problem::HttpProblem,
    refusals::{Refusals, RefusedPart, RefusedRequest},
};
use http::{HeaderMap, StatusCode};
use ipnet::IpNet;
use jiff::Timestamp;
use portcullis_config::KeyError;
use portcullis_core::{clock::Clock, endpoint_paths::AI_CATALOG, rng};
use portcullis_identity::Logins;
use portcullis_mcp::MessageRate;
use portcullis_oauth::{
    AuthorizationServer, Caller, Stores,
    challenge::Challenges,
    metadata::{INTROSPECT_PATH, JWKS_PATH, REGISTER_PATH, REVOKE_PATH, ROOT_RESOURCE_METADATA, TOKEN_PATH},
};
use portcullis_pages::{Pages, ServedWorkspaces, paths};
use portcullis_telemetry::{
    audit::{RequestContext, RequestIds},
    metrics::{Metrics, Route},
};
use std::{
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

/// The state of the public listener for one set of mounted files.
pub(crate) struct AppState {
    mounted: Mounted,
    origins: Origins,
    challenges: Challenges,
    authorization: Arc<AuthorizationServer>,
    logins: Arc<Logins>,
    pages: Option<Arc<Pages>>,
    limiters: Arc<Limiters>,
    untrusted: Arc<Untrusted>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
    ids: Arc<RequestIds>,
    refusals: Arc<Refusals>,
    rate: MessageRate,
}

/// The inputs of the state other than the mounted files.
pub(crate) struct Machine {
    /// The memory limit of the process, in bytes.
    pub memory: u64,
    /// The workspaces behind the pages.
    pub workspaces: Option<ServedWorkspaces>,
}

impl AppState {
    /// Builds the state; keeps the parts of `previous` that the new files do not change.
    pub(crate) fn new(
        mounted: Mounted,
        stores: Stores,
        logins: Arc<Logins>,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        machine: Machine,
    ) -> Result<Self, KeyError> {
        let config = &mounted.config;
        let same_tokens = |app: &&Self| {
            let before = &app.mounted;
            before.keys == mounted.keys
                && before.config.url == config.url
                && before.config.external_issuer == config.external_issuer
        };
        let cache = previous.filter(same_tokens).map(|app| Arc::clone(app.authorization.cache()));
        let limiters =
            previous.filter(|app| *app.limiters.limits() == config.limits).map(|app| Arc::clone(&app.limiters));
        let authorization = Arc::new(AuthorizationServer::new(
            config,
            &mounted.clients,
            &mounted.keys,
            stores,
            cache.unwrap_or_default(),
        )?);
        // With an external issuer there are no pages.
        let pages = config.external_issuer.is_none().then(|| {
            let (server, logins, clock) = (Arc::clone(&authorization), Arc::clone(&logins), Arc::clone(&clock));
            Arc::new(Pages::new(config, &mounted.clients, server, logins, clock, machine.workspaces))
        });
        let limiters = limiters.unwrap_or_else(|| {
            Arc::new(Limiters::new(&config.limits, machine.memory, previous.map(|app| &*app.limiters)))
        });
        logins.charge(limiters.memory());
        let rate = rate(&limiters, &metrics);
        Ok(Self {
            origins: Origins::new(config.url.origin(), &config.cors.allowed_origins),
            challenges: Challenges::new(config),
            authorization,
            logins,
            pages,
            limiters,
            untrusted: previous.map(|app| Arc::clone(&app.untrusted)).unwrap_or_default(),
            metrics,
            clock,
            ids: previous.map_or_else(|| Arc::new(RequestIds::new(rng::rng())), |app| Arc::clone(&app.ids)),
            refusals: previous.map(|app| Arc::clone(&app.refusals)).unwrap_or_default(),
            rate,
            mounted,
        })
    }

    /// The mounted files.
    pub(crate) fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// The allowed origins.
    pub(crate) fn origins(&self) -> &Origins {
        &self.origins
    }

    /// The authorization server.
    pub(crate) fn authorization(&self) -> &Arc<AuthorizationServer> {
        &self.authorization
    }

    /// The logins.
    pub(crate) fn logins(&self) -> &Arc<Logins> {
        &self.logins
    }

    /// The pages; `None` with an external issuer.
    pub(crate) fn pages(&self) -> Option<&Arc<Pages>> {
        self.pages.as_ref()
    }

    /// The metrics.
    pub(crate) fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// The current time.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The generator of request ids.
    pub(crate) fn ids(&self) -> &RequestIds {
        &self.ids
    }

    /// Records a refusal in the audit trail.
    pub(crate) fn note(
        &self,
        what: RefusedPart,
        route: Route,
        from: &RequestContext,
        reason: &'static str,
        status: StatusCode,
        caller: Option<Arc<Caller>>,
    ) {
        let refusal = RefusedRequest { what, from: *from, route, reason, status, caller };
        self.refusals.note(&refusal, self.clock.now());
    }

    /// Drops callers and addresses without recent requests. The reload loop calls this every few seconds.
    pub(crate) fn tidy(&self) {
        self.limiters.tidy();
        self.refusals.tidy(self.clock.now());
    }

    /// Records the sender of forwarding headers, unless it is a trusted proxy. With the PROXY protocol the peer is the
    /// client itself.
    pub(crate) fn note_forwarding(&self, peer: IpAddr, headers: &HeaderMap) {
        let access = &self.mounted.config.access;
        if let (false, Some(sender)) = (access.proxy_protocol, Sender::of(peer, headers, &access.trusted_proxies)) {
            self.metrics.forwarded_untrusted(matches!(sender, Sender::Private(_)));
            self.untrusted.note(sender, self.now());
        }
    }

    /// The recent senders of forwarding headers that are not trusted, as networks of one address each.
    pub(crate) fn untrusted_forwarders(&self) -> Vec<IpNet> {
        self.untrusted.recent(self.now(), &self.mounted.config.access.trusted_proxies)
    }

    /// The limits.
    pub(crate) fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    /// The route of a path.
    pub(crate) fn route(&self, path: &str) -> Route {
        let url = &self.mounted.config.url;
        match path.strip_prefix(url.path()) {
            Some("") => return Route::Mcp,
            Some(
                portcullis_rest::OPENAPI_PATH | portcullis_rest::REFERENCE_PATH | portcullis_mcp::SERVER_CARD_PATH,
            ) => return Route::ApiDocument,
            Some(below) if below.starts_with('/') => return Route::Rest,
            _ => {}
        }
        match path.strip_prefix(url.base_path()) {
            Some(TOKEN_PATH) => Route::Token,
            Some(REVOKE_PATH) => Route::Revoke,
            Some(INTROSPECT_PATH) => Route::Introspect,
            Some(REGISTER_PATH) => Route::Register,
            Some(JWKS_PATH) => Route::Jwks,
            _ if path == url.issuer_metadata_path() => Route::IssuerMetadata,
            _ if path == AI_CATALOG && url.base_path().is_empty() => Route::ApiDocument,
            Some(paths::FAVICON) if url.base_path().is_empty() && self.pages.is_some() => Route::Assets,
            _ if path.starts_with(ROOT_RESOURCE_METADATA) => Route::ResourceMetadata,
            Some("" | "/") if self.pages.is_some() => Route::Console,
            Some(path) if self.pages.is_some() => paths::route(path).unwrap_or(Route::Unknown),
            _ => Route::Unknown,
        }
    }

    fn count_address(&self, address: Option<IpAddr>) -> Result<(), HttpProblem> {
        self.limiters.count_address(known(address))
    }
}

/// The callback that counts the messages of a batch after the first one.
fn rate(limiters: &Arc<Limiters>, metrics: &Arc<Metrics>) -> MessageRate {
    let (limiters, metrics) = (Arc::clone(limiters), Arc::clone(metrics));
    MessageRate(Arc::new(move |caller| {
        limiters.count_caller(caller).map_err(|problem| {
            metrics.refused(problem.reason());
            problem.message().to_owned()
        })
    }))
}

/// The address for the rate limit. All requests with an unknown address share one rate.
fn known(address: Option<IpAddr>) -> IpAddr {
    address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}
