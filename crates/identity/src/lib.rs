//! The login methods: local users with passwords, GitHub accounts, and accounts of OpenID Connect providers.
//!
//! A sign-in returns a user with a stable id ([`GrantUser`]), or an error with a message for the user
//! ([`SignInError`]). Of a provider's tokens, only the one for rechecks is kept ([`ProviderToken`]); the caller stores
//! it sealed. Only the module [`workload`] uses Kubernetes. The crate renders no pages: the page that begins a sign-in
//! keeps [`Pending`], sealed.

mod administrators;
mod error;
mod evidence;
mod github;
mod method;
mod oidc;
mod passwords;
mod recheck;
mod redirect;
mod throttle;
mod users;
pub mod workload;

pub use error::SignInError;
pub use recheck::LoggedOut;

use jiff::{SignedDuration, Timestamp};
use method::{Kind, LoginMethod};
use passwords::HashPermits;
use portcullis_budget::Pool;
use portcullis_config::{KeyError, LoginSecrets, ServerConfig, SigningKeys};
use portcullis_core::{
    clock::Clock,
    console::Administrators,
    grant::{GrantUser, LoginEvidence},
};
use portcullis_oauth::{ProviderToken, UserStatus};
use portcullis_outbound::{Outbound, OutboundError};
use rand::CryptoRng;
use redirect::{Callback, Flow, Secrets};
use serde::{Deserialize, Serialize};
use std::{fmt, future::Future, net::IpAddr, sync::Arc};
use throttle::Throttle;

/// The maximum length of a user name that is entered, in bytes, and of a user's display name, in characters.
const MAX_NAME: usize = 256;

/// All logins of one endpoint.
pub struct Logins {
    methods: Vec<Arc<LoginMethod>>,
    /// The logins whose Secret is missing.
    unavailable: Vec<String>,
    administrators: Administrators,
    outbound: Arc<Outbound>,
    clock: Arc<dyn Clock>,
    shared: Arc<Shared>,
}

/// State that outlives a reload of the configuration.
#[derive(Debug, Default)]
struct Shared {
    throttle: Throttle,
    permits: HashPermits,
}

/// A login cannot be used as it is configured.
#[derive(Debug, thiserror::Error)]
#[error("login {login:?} cannot be used")]
pub struct LoginsError {
    /// The login's name.
    pub login: String,
    /// The reason.
    pub source: UnusableLogin,
}

/// The reason why a login cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UnusableLogin {
    /// The HTTP client for its provider cannot be built.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The endpoint's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// The result of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The user.
    pub user: GrantUser,
    /// The facts that admitted the user under the login's rules.
    pub evidence: LoginEvidence,
    /// The token for rechecks at the provider, if it issued one.
    pub token: Option<ProviderToken>,
    /// A hash that identifies the session at the provider.
    pub session: Option<String>,
}

/// A login, as the sign-in page lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginInfo {
    /// The name in URLs.
    pub name: String,
    /// The name that the page shows.
    pub title: String,
    /// How the user authenticates.
    pub kind: LoginKind,
}

/// How a user authenticates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// With a user name and a password, on the endpoint's own page.
    Password,
    /// At the provider, after a redirect.
    Redirect,
}

/// A sign-in that has begun at a provider.
#[derive(Debug)]
pub struct Begun {
    /// The URL to redirect the browser to, without `state`: see [`Begun::with_state`].
    pub location: String,
    /// The state that [`Logins::finish`] needs.
    pub pending: Pending,
}

impl Begun {
    /// The URL to redirect the browser to. `state` seals [`Begun::pending`] for this browser.
    #[must_use]
    pub fn with_state(&self, state: &str) -> String {
        let state: String = url::form_urlencoded::byte_serialize(state.as_bytes()).collect();
        format!("{}&state={state}", self.location)
    }
}

/// The state of a sign-in while the browser is at the provider. Secret: seal it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The login's name.
    login: String,
    secrets: Secrets,
    /// The maximum age of the authentication at the provider, in seconds.
    #[serde(default)]
    max_age: Option<i64>,
}

impl Pending {
    /// The name of the login.
    #[must_use]
    pub fn login(&self) -> &str {
        &self.login
    }
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pending").field("login", &self.login).finish_non_exhaustive()
    }
}

impl Logins {
    /// Prepares every login that has its secret. Sends no request.
    pub fn new(
        config: &ServerConfig,
        secrets: &LoginSecrets,
        keys: &SigningKeys,
        outbound: Arc<Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LoginsError> {
        let (methods, unavailable, administrators) = (Vec::new(), Vec::new(), Administrators::default());
        let none = Self { methods, unavailable, administrators, outbound, clock, shared: Arc::default() };
        none.reloaded(config, secrets, keys)
    }

    /// Charges the memory of password checks to this pool from now on.
    pub fn charge(&self, memory: &Arc<Pool>) {
        self.shared.permits.charge(memory);
    }

    /// The logins of a new configuration. Keeps the recorded failures of password checks, and the cached metadata and
    /// keys of each provider whose login did not change.
    pub fn reloaded(
        &self,
        config: &ServerConfig,
        secrets: &LoginSecrets,
        keys: &SigningKeys,
    ) -> Result<Self, LoginsError> {
        let mut methods = Vec::new();
        let mut unavailable = Vec::new();
        let administrators = &config.console.administrators;
        for login in &config.login {
            let secret = secrets.logins.get(&login.name);
            // Only provider logins are reused. Password logins are built anew, since fingerprints depend on the keys
            // too.
            let groups: Vec<String> = administrators.groups_of(&login.name).map(ToOwned::to_owned).collect();
            let same = |method: &&Arc<LoginMethod>| {
                method.login == *login
                    && Some(&method.secret) == secret
                    && method.administrator_groups == groups
                    && method.kind() == LoginKind::Redirect
            };
            let method = match (self.methods.iter().find(same), secret) {
                (Some(method), _) => Some(Arc::clone(method)),
                (None, Some(secret)) => LoginMethod::new(login, secret, groups, secrets, keys, &self.outbound)
                    .map_err(|source| LoginsError { login: login.name.clone(), source })?
                    .map(Arc::new),
                (None, None) => None,
            };
            match method {
                Some(method) => methods.push(method),
                None => unavailable.push(login.name.clone()),
            }
        }
        Ok(Self {
            methods,
            unavailable,
            administrators: administrators.clone(),
            outbound: Arc::clone(&self.outbound),
            clock: Arc::clone(&self.clock),
            shared: Arc::clone(&self.shared),
        })
    }

    /// The usable logins, in the manifest's order. A password login without users is omitted.
    pub fn list(&self) -> impl Iterator<Item = LoginInfo> {
        let offered = self
            .methods
            .iter()
            .filter(|method| !matches!(&method.kind, Kind::Passwords { users, .. } if users.is_empty()));
        offered.map(|method| method.info())
    }

    /// Signs in a local user. Deliberately slow: it verifies a password hash.
    pub async fn check_password(
        &self,
        login: &str,
        user: &str,
        password: String,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let method = self.method(login)?;
        let Kind::Passwords { users, fingerprints, .. } = &method.kind else { return Err(SignInError::UnknownLogin) };
        if user.is_empty() || user.len() > MAX_NAME {
            return Err(SignInError::WrongPassword);
        }
        let Shared { throttle, permits } = &*self.shared;
        throttle.begin(login, user, address, now).map_err(|wait| SignInError::TooManyAttempts { wait })?;
        match users.check(permits, user, password).await {
            Ok(true) => {
                throttle.succeeded(login, user, address, now);
                let evidence = evidence::of_password(fingerprints.get(user).map_or(&[], Vec::as_slice));
                Ok(SignedIn { user: method.user(user, user), evidence, token: None, session: None })
            }
            Ok(false) => Err(SignInError::WrongPassword),
            Err(error) => {
                throttle.undone(login, user, address);
                Err(error)
            }
        }
    }

    /// Begins a sign-in at a provider, which will redirect the browser to `callback_url`. With `max_age`, the provider
    /// asks a user whose authentication is older to authenticate again.
    pub fn begin<'a>(
        &'a self,
        login: &'a str,
        callback_url: &'a str,
        max_age: Option<SignedDuration>,
        rng: &mut dyn CryptoRng,
    ) -> impl Future<Output = Result<Begun, SignInError>> + Send + use<'a> {
        let secrets = Secrets::generate(rng);
        let max_age = max_age.map(|age| age.as_secs());
        async move {
            let method = self.method(login)?;
            let location = match &method.kind {
                Kind::Passwords { .. } => return Err(SignInError::UnknownLogin),
                Kind::GitHub(github) => github.authorization_url(callback_url, &secrets),
                Kind::Oidc(oidc) => oidc.authorization_url(callback_url, &secrets, max_age, self.clock.now()).await?,
            };
            Ok(Begun { location, pending: Pending { login: login.to_owned(), secrets, max_age } })
        }
    }

    /// Completes a sign-in with the query of the provider's redirect to the callback. The caller has opened `state` and
    /// checked that it belongs to this browser.
    pub async fn finish(
        &self,
        pending: &Pending,
        callback_query: &str,
        callback_url: &str,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let method = self.method(&pending.login)?;
        let callback = Callback::parse(callback_query);
        let account = match &method.kind {
            Kind::Passwords { .. } => return Err(SignInError::UnknownLogin),
            Kind::GitHub(github) => github.finish(&pending.secrets, &callback, callback_url).await?,
            Kind::Oidc(oidc) => {
                let flow = Flow { secrets: &pending.secrets, callback_url, max_age: pending.max_age };
                oidc.finish(&flow, &callback, now).await?
            }
        };
        let token = account.token.zip(method.party()).map(|(token, (provider, client_id))| ProviderToken {
            provider: provider.to_owned(),
            client_id: client_id.to_owned(),
            token,
        });
        let session = account.session.map(|session| recheck::session_id(&method.login.name, &session));
        Ok(SignedIn { user: method.user(&account.id, &account.name), evidence: account.evidence, token, session })
    }

    /// Whether a user can be valid at this endpoint: the login exists and, for a local user, has that user. Does not
    /// ask the provider.
    #[must_use]
    pub fn still_known(&self, user_id: &str) -> bool {
        !matches!(self.status_of(user_id, None), UserStatus::Missing | UserStatus::Unavailable)
    }

    /// Compares the evidence of a previous sign-in with the present rules. Does not ask the provider.
    #[must_use]
    pub fn status_of(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> UserStatus {
        let Some((login, user)) = user_id.split_once(':').filter(|(_, user)| !user.is_empty()) else {
            return UserStatus::Missing;
        };
        match self.method(login) {
            Ok(method) => method.status_of(user, evidence),
            Err(_) if self.unavailable.iter().any(|name| name == login) => UserStatus::Unavailable,
            Err(_) => UserStatus::Missing,
        }
    }

    /// The evidence that the present rules imply for a user without recorded evidence.
    #[must_use]
    pub fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence> {
        let (login, user) = user_id.split_once(':')?;
        Some(match &self.method(login).ok()?.kind {
            Kind::Passwords { fingerprints, .. } => evidence::of_password(fingerprints.get(user)?),
            Kind::GitHub(github) => github.assumed_evidence(),
            Kind::Oidc(oidc) => oidc.assumed_evidence(),
        })
    }

    /// The login of a user, and the age of a sign-in after which consent needs another one.
    #[must_use]
    pub fn reauthentication(&self, user_id: &str) -> Option<(LoginInfo, SignedDuration)> {
        let (login, _) = user_id.split_once(':')?;
        let method = self.method(login).ok()?;
        let after = SignedDuration::try_from(method.login.reauthenticate_after.as_duration()).ok()?;
        Some((method.info(), after))
    }

    fn method(&self, login: &str) -> Result<&LoginMethod, SignInError> {
        self.methods
            .iter()
            .find(|method| method.login.name == login)
            .map(AsRef::as_ref)
            .ok_or(SignInError::UnknownLogin)
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("methods", &self.list().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}
