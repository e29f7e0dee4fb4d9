//! Support for the tests of the authorization server: servers with clients and a user, with stores in memory and a
//! stopped clock.

mod grants;
mod provider;
mod requests;
mod store;

pub(crate) use grants::Seen;
pub(crate) use provider::{PROVIDER, Provider};
pub(crate) use requests::{answer, challenge, changed, encoded, headers, query, redemption, refused, renewal};
pub(crate) use store::Memory;

use crate::{
    Approver, AuthorizationRequest, AuthorizationServer, AuthorizeError, ConsentTicket, OAuthError, ProviderToken,
    RecheckPolicy, Rechecked, Stores, UserStatus, Users, Verdict,
    clients::PublishedMetadata,
    grant::{Grant, Grants as _},
    introspect::Introspection,
    token::TokenResponse,
};
use async_trait::async_trait;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use jiff::Timestamp;
use portcullis_config::{ClientVerifier, Clients, SealingKey, SecretHash, SecretVerifier, ServerConfig, SigningKeys};
use portcullis_core::{
    Scope,
    client::{ClientType, Grant as GrantKind},
    clock::Clock,
    grant::{GrantUser, LoginEvidence},
};
use portcullis_outbound::Outbound;
use portcullis_telemetry::audit::RequestContext;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    future::pending,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
};
use tokio_util::task::TaskTracker;

pub(crate) const VERIFIER: &str = "a-verifier-of-43-characters-or-a-few-more-than-that";
pub(crate) const MACHINE: (&str, &str) = ("grant_type", "client_credentials");
pub(crate) const SECRET: &str = "s+c%r t";
pub(crate) const ADA: &str = "local:ada";
pub(crate) const WEB: &str = "https://agent.example.com/cb?tenant=1";
pub(crate) const LOOPBACK: &str = "http://localhost:4711/callback";

pub(crate) const FROM: RequestContext = RequestContext::UNKNOWN;
pub(crate) const ALLOWED: [Scope; 3] = [Scope::WorkspacesRead, Scope::WorkspacesExec, Scope::FilesRead];

/// A stopped clock, which changes only when it is set.
#[derive(Default)]
pub(crate) struct Stopped(AtomicI64);

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        at(self.0.load(Ordering::SeqCst))
    }

    fn sleep_until(&self, _: Timestamp) -> BoxFuture<'_, ()> {
        Box::pin(pending())
    }
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

pub(crate) fn ada() -> GrantUser {
    GrantUser { id: ADA.to_owned(), name: "Ada".to_owned() }
}

/// One server, and the store that it shares with others.
pub(crate) struct Stage {
    pub server: AuthorizationServer,
    pub grants: Arc<Seen>,
    pub place: Arc<Memory>,
    clock: Arc<Stopped>,
}

pub(crate) fn keys(sealing: &[u64]) -> SigningKeys {
    // Generated once, since generation is slow.
    static KEYS: LazyLock<SigningKeys> =
        LazyLock::new(|| SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(1)).unwrap());
    let mut keys = KEYS.clone();
    let key = |seed: &u64| SealingKey::generate(at(0), &mut StdRng::seed_from_u64(*seed));
    keys.sealing = sealing.iter().map(key).collect();
    keys
}

pub(crate) fn client(
    id: &str,
    client_type: ClientType,
    grants: &[GrantKind],
    redirect_uris: &[&str],
) -> ClientVerifier {
    let secret = || SecretVerifier { hash: SecretHash::of(id, SECRET), expires_at: None };
    let old = || SecretVerifier { hash: SecretHash::of(id, "old"), expires_at: Some(at(500)) };
    ClientVerifier {
        client_id: id.to_owned(),
        display_name: id.to_uppercase(),
        client_type,
        grants: grants.to_vec(),
        scopes: BTreeSet::from(ALLOWED),
        registered_at: None,
        redirect_uris: redirect_uris.iter().map(|&uri| uri.to_owned()).collect(),
        secrets: if client_type == ClientType::Public { Vec::new() } else { vec![secret(), old()] },
        private_key_jwt: None,
    }
}

pub(crate) fn clients() -> Vec<ClientVerifier> {
    use ClientType::{Confidential, Public};
    use GrantKind::{AuthorizationCode, ClientCredentials, RefreshToken};
    let user = [AuthorizationCode, RefreshToken];
    vec![
        client("agent", Confidential, &[AuthorizationCode, RefreshToken, ClientCredentials], &[WEB]),
        client("app", Public, &user, &["http://localhost/callback"]),
        client("brief", Public, &[AuthorizationCode], &["http://localhost/callback"]),
        client("other", Confidential, &user, &[WEB]),
        client("robot", Confidential, &[ClientCredentials], &[WEB]),
    ]
}

pub(crate) fn config() -> ServerConfig {
    let config = json!({
        "endpoint": "agents", "url": "https://h.example.com/team/mcp", "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
        "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20,
            "maxBodySize": "4Mi"},
        "access": {"allowedCidrs": [], "trustedProxies": []},
    });
    serde_json::from_value(config).unwrap()
}

/// The users who can still sign in, by id.
struct WhoCan {
    ids: BTreeSet<String>,
    provider: Option<Arc<Provider>>,
}

#[async_trait]
impl Users for WhoCan {
    fn status_of(&self, user_id: &str, _: Option<&LoginEvidence>) -> UserStatus {
        if self.ids.contains(user_id) { UserStatus::Valid } else { UserStatus::Missing }
    }

    fn assumed_evidence(&self, _: &str) -> Option<LoginEvidence> {
        None
    }

    fn recheck_policy(&self, _: &str) -> Option<RecheckPolicy> {
        self.provider.as_ref().map(|_| provider::POLICY)
    }

    fn accepts(&self, _: &str, token: &ProviderToken) -> bool {
        token.provider == PROVIDER
    }

    async fn recheck(&self, _: &str, token: &ProviderToken, _: Timestamp) -> Rechecked {
        match &self.provider {
            Some(provider) => provider.answer(token).await,
            None => Verdict::Unsupported.into(),
        }
    }
}

impl Stage {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(Stopped::default());
        let place = Arc::new(Memory::new(clock.clone()));
        Self::on(place, clock, clients(), &keys(&[7]), &["ada"], None)
    }

    /// A server whose users sign in at a provider.
    pub(crate) fn with_provider(provider: &Arc<Provider>) -> Self {
        let clock = Arc::new(Stopped::default());
        let place = Arc::new(Memory::new(clock.clone()));
        Self::on(place, clock, clients(), &keys(&[7]), &["ada"], Some(provider.clone()))
    }

    /// Another server of the same endpoint, with these sealing keys and this provider.
    pub(crate) fn replica_with_provider(&self, sealing: &[u64], provider: &Arc<Provider>) -> Self {
        let (place, clock) = (self.place.clone(), self.clock.clone());
        Self::on(place, clock, clients(), &keys(sealing), &["ada"], Some(provider.clone()))
    }

    /// Another server of the same endpoint.
    pub(crate) fn replica(&self) -> Self {
        self.with(clients(), &[7], &["ada"])
    }

    /// The same endpoint with other clients, keys or users.
    pub(crate) fn with(&self, clients: Vec<ClientVerifier>, sealing: &[u64], users: &[&str]) -> Self {
        Self::on(self.place.clone(), self.clock.clone(), clients, &keys(sealing), users, None)
    }

    fn on(
        place: Arc<Memory>,
        clock: Arc<Stopped>,
        clients: Vec<ClientVerifier>,
        keys: &SigningKeys,
        names: &[&str],
        provider: Option<Arc<Provider>>,
    ) -> Self {
        let grants = Arc::new(Seen {
            place: place.clone(),
            lags: AtomicBool::default(),
            unreachable: AtomicBool::default(),
            reads: AtomicUsize::default(),
        });
        let published = Arc::new(PublishedMetadata::new(&Arc::new(Outbound::new().unwrap())));
        let stores = Stores {
            grants: grants.clone(),
            registrations: place.clone(),
            published,
            users: Arc::new(WhoCan { ids: names.iter().map(|name| format!("local:{name}")).collect(), provider }),
            accounts: place.clone(),
            checks: TaskTracker::new(),
            user_rules: place.clone(),
            workloads: Arc::new(super::workload::NoCluster),
            external: None,
        };
        let server = AuthorizationServer::new(&config(), &Clients { clients }, keys, stores, Arc::default()).unwrap();
        Self { server, grants, place, clock }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn pass(&self, seconds: i64) {
        self.clock.0.fetch_add(seconds, Ordering::SeqCst);
    }

    pub(crate) async fn check(&self, query: &str) -> Result<AuthorizationRequest, AuthorizeError> {
        self.server.check(query, self.now()).await
    }

    /// Lets the user approve these scopes, and returns the code.
    pub(crate) async fn code(&self, client_id: &str, scopes: &[Scope]) -> String {
        let request = self.check(&query(client_id, &[])).await.unwrap();
        let chosen = scopes.iter().copied().collect();
        let mut rng = portcullis_core::rng::rng();
        let ticket = ConsentTicket::new(&mut rng);
        let location = self
            .server
            .approve(
                &request,
                Approver { user: &ada(), since: self.now(), evidence: None },
                &chosen,
                &ticket,
                self.now(),
                &mut rng,
            )
            .unwrap();
        answer(&location)["code"].clone()
    }

    pub(crate) async fn token(&self, form: &[(&str, &str)]) -> Result<Answer, OAuthError> {
        self.token_as(None, form).await
    }

    pub(crate) async fn token_as(&self, basic: Option<&str>, form: &[(&str, &str)]) -> Result<Answer, OAuthError> {
        let body = encoded(form);
        let mut rng = portcullis_core::rng::rng();
        let response = self.server.token(&headers(basic), body.as_bytes(), &FROM, self.now(), &mut rng).await?;
        Ok(Answer::of(&response))
    }

    /// Redeems a code of the public client `app`.
    pub(crate) async fn redeem(&self, code: &str) -> Result<Answer, OAuthError> {
        self.token(&redemption("app", code)).await
    }

    pub(crate) async fn renew(&self, refresh_token: &str) -> Result<Answer, OAuthError> {
        self.token(&renewal("app", refresh_token)).await
    }

    /// The tokens of the public client `app` after a complete flow.
    pub(crate) async fn signed_in(&self) -> Answer {
        let code = self.code("app", &ALLOWED).await;
        self.redeem(&code).await.unwrap()
    }

    pub(crate) async fn caller(&self, token: &str) -> Result<Arc<super::Caller>, super::verify::Unauthenticated> {
        let value = HeaderValue::try_from(format!("Bearer {token}")).unwrap();
        self.server.caller(&HeaderMap::from_iter([(AUTHORIZATION, value)]), self.now()).await
    }

    pub(crate) async fn revoke(&self, form: &[(&str, &str)]) -> Result<(), OAuthError> {
        self.server.revoke(&headers(None), encoded(form).as_bytes(), &FROM, self.now()).await
    }

    pub(crate) async fn introspect(&self, form: &[(&str, &str)]) -> Result<Value, OAuthError> {
        let told: Introspection =
            self.server.introspect(&headers(None), encoded(form).as_bytes(), &FROM, self.now()).await?;
        Ok(serde_json::to_value(told).unwrap())
    }

    /// The only grant.
    pub(crate) fn grant(&self) -> Arc<Grant> {
        let mut grants = self.place.of_user(ADA);
        assert_eq!(grants.len(), 1);
        grants.remove(0)
    }
}

/// A response of the token endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub access: String,
    pub refresh: Option<String>,
    pub scope: String,
    pub expires_in: u64,
}

impl Answer {
    pub(crate) fn of(response: &TokenResponse) -> Self {
        let value = serde_json::to_value(response).unwrap();
        let text = |name: &str| value[name].as_str().map(str::to_owned);
        assert_eq!(value["token_type"], "Bearer");
        Self {
            access: text("access_token").unwrap(),
            refresh: text("refresh_token"),
            scope: text("scope").unwrap(),
            expires_in: value["expires_in"].as_u64().unwrap(),
        }
    }

    pub(crate) fn refresh(&self) -> &str {
        self.refresh.as_deref().unwrap()
    }
}
