//! The authorization server of one endpoint, for one set of mounted files: the state that its HTTP endpoints share.
//! Each of them has a module of its own: `authorize`, `token`, `revoke`, `introspect`. `verify` is the part of the
//! resource server.

use crate::{
    accounts::Accounts,
    client::Registrations,
    clients::{Directory, PublishedMetadata, registrar::Registrar},
    external::ExternalTokens,
    grant::{Grant, Grants},
    jwt::AccessTokens,
    misses::Misses,
    recheck::Rechecks,
    refresh::RefreshTokens,
    seal::Sealer,
    user_rules::{Ended, UserRules},
    users::Users,
    verify::{FreshGrants, TokenCache},
    workload::WorkloadTokens,
};
use jiff::Timestamp;
use portcullis_config::{Clients, KeyError, ServerConfig, SigningKeys};
use portcullis_core::authorization::WorkloadRule;
use std::sync::Arc;
use tokio_util::task::TaskTracker;

/// The dependencies of an authorization server besides its configuration files.
#[derive(Clone)]
pub struct Stores {
    /// The store of grants.
    pub grants: Arc<dyn Grants>,
    /// The store of dynamically registered clients.
    pub registrations: Arc<dyn Registrations>,
    /// The metadata and keys that clients publish.
    pub published: Arc<PublishedMetadata>,
    /// The users.
    pub users: Arc<dyn Users>,
    /// The store of accounts.
    pub accounts: Arc<dyn Accounts>,
    /// The rechecks in progress. They survive a reload of the configuration.
    pub checks: TaskTracker,
    /// The rules with which administrators end the access of users.
    pub user_rules: Arc<dyn UserRules>,
    /// The verifier of service account tokens.
    pub workloads: Arc<dyn WorkloadTokens>,
    /// The external authorization server, if one issues the tokens.
    pub external: Option<Arc<ExternalTokens>>,
}

/// The authorization server of one endpoint: see the module.
pub struct AuthorizationServer {
    pub(super) issuer: String,
    pub(super) resource: String,
    /// The accepted values of the parameter `resource`: the endpoint's URL and its aliases.
    pub(super) resources: Vec<String>,
    /// The lifetime of a grant.
    pub(super) grant_lifetime: std::time::Duration,
    pub(super) directory: Directory,
    pub(super) tokens: AccessTokens,
    pub(super) refresh: RefreshTokens,
    pub(super) sealer: Arc<Sealer>,
    pub(super) rechecks: Arc<Rechecks>,
    pub(super) grants: Arc<dyn Grants>,
    pub(super) registrations: Arc<dyn Registrations>,
    pub(super) published: Arc<PublishedMetadata>,
    pub(super) users: Arc<dyn Users>,
    pub(super) user_rules: Arc<dyn UserRules>,
    pub(super) workloads: Arc<dyn WorkloadTokens>,
    /// The rules of workload identity.
    pub(super) workload_rules: Vec<WorkloadRule>,
    pub(super) external: Option<Arc<ExternalTokens>>,
    pub(super) cache: Arc<TokenCache>,
    pub(super) fresh: FreshGrants,
    /// The names of grants that the store does not have.
    pub(super) missing: Misses,
    pub(super) registrar: Arc<Registrar>,
    /// Held while a client registers.
    pub(super) registering: tokio::sync::Mutex<()>,
}

impl AuthorizationServer {
    /// Prepares keys and clients. `cache` must contain only tokens that were verified with these keys and this URL.
    pub fn new(
        config: &ServerConfig,
        clients: &Clients,
        keys: &SigningKeys,
        stores: Stores,
        cache: Arc<TokenCache>,
    ) -> Result<Self, KeyError> {
        let registrar = Arc::new(Registrar::new(keys)?);
        let Stores { grants, registrations, published, users, accounts, checks, user_rules, workloads, external } =
            stores;
        let sealer = Arc::new(Sealer::new(keys)?);
        let rechecks = Rechecks {
            endpoint: config.endpoint.clone(),
            accounts,
            users: Arc::clone(&users),
            grants: Arc::clone(&grants),
            sealer: Arc::clone(&sealer),
            tasks: checks,
        };
        Ok(Self {
            issuer: config.url.issuer(),
            resource: config.url.resource(),
            resources: resources(config),
            grant_lifetime: config.refresh_token_lifetime.as_duration(),
            directory: Directory::new(
                clients.clone(),
                config.client_policy.clone(),
                Arc::clone(&registrations),
                Arc::clone(&published),
                Arc::clone(&registrar),
            ),
            tokens: AccessTokens::new(&config.url, config.access_token_lifetime.as_duration(), keys)?,
            refresh: RefreshTokens::new(keys, config.refresh_token_idle.as_duration())?,
            sealer,
            rechecks: Arc::new(rechecks),
            grants,
            registrations,
            published,
            users,
            user_rules,
            workloads,
            workload_rules: config.workload_identity.clone(),
            external,
            cache,
            fresh: FreshGrants::default(),
            missing: Misses::default(),
            registrar,
            registering: tokio::sync::Mutex::default(),
        })
    }

    /// The directory of clients.
    #[must_use]
    pub fn directory(&self) -> &Directory {
        &self.directory
    }

    /// The sealer of values that round-trip through the client.
    #[must_use]
    pub fn sealer(&self) -> &Sealer {
        &self.sealer
    }

    /// The store of grants.
    #[must_use]
    pub fn grants(&self) -> &Arc<dyn Grants> {
        &self.grants
    }

    /// Whether an administrator ended the access of this user that began at `since`, and why.
    #[must_use]
    pub fn ended(&self, user_id: &str, since: Timestamp) -> Option<Ended> {
        self.user_rules.ended(user_id, since)
    }

    /// Whether a grant is valid at `now`: it is active, and its user's access has not ended.
    #[must_use]
    pub fn counts(&self, grant: &Grant, now: Timestamp) -> bool {
        grant.is_active(now) && self.ended(&grant.user.id, grant.signed_in_at).is_none()
    }

    /// The store of dynamically registered clients.
    #[must_use]
    pub fn registrations(&self) -> &Arc<dyn Registrations> {
        &self.registrations
    }

    /// The metadata and keys that clients publish.
    #[must_use]
    pub fn published(&self) -> &Arc<PublishedMetadata> {
        &self.published
    }

    /// The external authorization server, if one issues the tokens.
    #[must_use]
    pub fn external(&self) -> Option<&Arc<ExternalTokens>> {
        self.external.as_ref()
    }

    /// The cache of verified tokens.
    #[must_use]
    pub fn cache(&self) -> &Arc<TokenCache> {
        &self.cache
    }
}

fn resources(config: &ServerConfig) -> Vec<String> {
    let aliases = config.path_aliases.iter().map(|path| config.url.at_path(path).resource());
    std::iter::once(config.url.resource()).chain(aliases).collect()
}
