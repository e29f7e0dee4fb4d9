//! Who signs in: local users with passwords, accounts of GitHub, accounts of OpenID Connect providers.
//!
//! What comes out is a user with an id that stays ([`GrantUser`]), or a reason for people ([`SignInError`]). Of a provider's
//! tokens only the one is kept with which it is asked again ([`ProviderToken`]): the caller stores it sealed. Knows neither Kubernetes nor pages; the page that begins a sign-in
//! keeps [`Pending`] for it, sealed.

mod error;
mod evidence;
mod github;
mod oidc;
mod passwords;
mod recheck;
mod redirect;
mod throttle;
mod users;
pub mod workload;

pub use error::SignInError;
pub use recheck::LoggedOut;

use evidence::FingerprintKeys;
use github::GitHub;
use jiff::{SignedDuration, Timestamp};
use oidc::Oidc;
use passwords::{Room, Users};
use portcullis_budget::Pool;
use portcullis_config::{KeyError, LoginSecret, LoginSecrets, ServerConfig, SigningKeys};
use portcullis_core::{
    clock::Clock,
    grant::{GrantUser, LoginEvidence},
    login::Login,
};
use portcullis_oauth::{ProviderToken, Standing};
use portcullis_outbound::{Outbound, OutboundError};
use rand::CryptoRng;
use redirect::{Callback, Flow, Secrets};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt, future::Future, net::IpAddr, sync::Arc};
use throttle::Throttle;

/// Longer names are nobody's.
const MAX_NAME: usize = 256;

/// All ways to sign in at one endpoint.
pub struct Logins {
    ways: Vec<Arc<Way>>,
    /// The logins whose Secret is missing.
    unavailable: Vec<String>,
    outbound: Arc<Outbound>,
    clock: Arc<dyn Clock>,
    lasting: Arc<Lasting>,
}

/// What outlives a reload of the configuration.
#[derive(Debug, Default)]
struct Lasting {
    throttle: Throttle,
    room: Room,
}

/// One way to sign in.
struct Way {
    login: Login,
    secret: LoginSecret,
    title: String,
    kind: Kind,
}

enum Kind {
    Passwords {
        users: Users,
        /// By user: the fingerprints of the password's hash.
        fingerprints: BTreeMap<String, Vec<String>>,
    },
    GitHub(GitHub),
    Oidc(Box<Oidc>),
}

/// Why logins cannot be used as they are configured.
#[derive(Debug, thiserror::Error)]
#[error("login {login:?} cannot be used")]
pub struct LoginsError {
    /// The login's name.
    pub login: String,
    /// What is wrong.
    pub source: UnusableLogin,
}

/// What is wrong with a login.
#[derive(Debug, thiserror::Error)]
pub enum UnusableLogin {
    /// Its provider cannot be spoken to.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The endpoint's keys cannot be used.
    #[error(transparent)]
    Keys(#[from] KeyError),
}

/// Someone who has just signed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignedIn {
    /// The user.
    pub user: GrantUser,
    /// Why the user was let in.
    pub evidence: LoginEvidence,
    /// With which the provider can be asked again.
    pub token: Option<ProviderToken>,
    /// A hash that names the provider's session.
    pub session: Option<String>,
}

/// A way to sign in, for the page that offers it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginInfo {
    /// Names it in URLs.
    pub name: String,
    /// What people call it.
    pub title: String,
    /// What signing in takes.
    pub kind: LoginKind,
}

/// What signing in takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoginKind {
    /// A user name and a password, asked for here.
    Password,
    /// A visit to the provider.
    Redirect,
}

/// The beginning of a sign-in at a provider.
#[derive(Debug)]
pub struct Begun {
    /// Where to send the browser, but for `state`: see [`Begun::with_state`].
    pub location: String,
    /// What [`Logins::finish`] needs again.
    pub pending: Pending,
}

impl Begun {
    /// Where to send the browser. `state` seals [`Begun::pending`] for this very browser.
    #[must_use]
    pub fn with_state(&self, state: &str) -> String {
        let state: String = url::form_urlencoded::byte_serialize(state.as_bytes()).collect();
        format!("{}&state={state}", self.location)
    }
}

/// What is kept for a sign-in while the browser is at the provider. Secret: seal it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pending {
    /// The login's name.
    login: String,
    secrets: Secrets,
    /// How old the sign-in at the provider may be, in seconds.
    #[serde(default)]
    max_age: Option<i64>,
}

impl Pending {
    /// The name of the login that was begun.
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
    /// Prepares every login that has its secret. Speaks to nobody yet.
    pub fn new(
        config: &ServerConfig,
        secrets: &LoginSecrets,
        keys: &SigningKeys,
        outbound: Arc<Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LoginsError> {
        let none = Self { ways: Vec::new(), unavailable: Vec::new(), outbound, clock, lasting: Arc::default() };
        none.reloaded(config, secrets, keys)
    }

    /// What checking passwords takes is charged there from now on.
    pub fn charge(&self, memory: &Arc<Pool>) {
        self.lasting.room.charge(memory);
    }

    /// The logins of another configuration. Who guessed passwords stays known, and so does what was learnt of a
    /// provider whose login did not change.
    pub fn reloaded(
        &self,
        config: &ServerConfig,
        secrets: &LoginSecrets,
        keys: &SigningKeys,
    ) -> Result<Self, LoginsError> {
        let mut ways = Vec::new();
        let mut unavailable = Vec::new();
        for login in &config.login {
            let secret = secrets.logins.get(&login.name);
            // What a provider published is kept; fingerprints depend on the keys too.
            let same = |way: &&Arc<Way>| {
                way.login == *login && Some(&way.secret) == secret && way.kind() == LoginKind::Redirect
            };
            let way = match (self.ways.iter().find(same), secret) {
                (Some(way), _) => Some(Arc::clone(way)),
                (None, Some(secret)) => Way::new(login, secret, keys, &self.outbound)
                    .map_err(|source| LoginsError { login: login.name.clone(), source })?
                    .map(Arc::new),
                (None, None) => None,
            };
            match way {
                Some(way) => ways.push(way),
                None => unavailable.push(login.name.clone()),
            }
        }
        Ok(Self {
            ways,
            unavailable,
            outbound: Arc::clone(&self.outbound),
            clock: Arc::clone(&self.clock),
            lasting: Arc::clone(&self.lasting),
        })
    }

    /// The ways that can be used, in the manifest's order.
    pub fn list(&self) -> impl Iterator<Item = LoginInfo> {
        let offered =
            self.ways.iter().filter(|way| !matches!(&way.kind, Kind::Passwords { users, .. } if users.is_empty()));
        offered.map(|way| way.info())
    }

    /// Signs a local user in. Slow on purpose.
    pub async fn check_password(
        &self,
        login: &str,
        user: &str,
        password: String,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let way = self.way(login)?;
        let Kind::Passwords { users, fingerprints } = &way.kind else { return Err(SignInError::UnknownLogin) };
        if user.is_empty() || user.len() > MAX_NAME {
            return Err(SignInError::WrongPassword);
        }
        let Lasting { throttle, room } = &*self.lasting;
        throttle.begin(login, user, address, now).map_err(|wait| SignInError::TooManyAttempts { wait })?;
        match users.check(room, user, password).await {
            Ok(true) => {
                throttle.succeeded(login, user, address, now);
                let evidence = evidence::of_password(fingerprints.get(user).map_or(&[], Vec::as_slice));
                Ok(SignedIn { user: way.user(user, user), evidence, token: None, session: None })
            }
            Ok(false) => Err(SignInError::WrongPassword),
            Err(error) => {
                throttle.undone(login, user, address);
                Err(error)
            }
        }
    }

    /// Begins a sign-in at a provider, which will send the browser back to `callback_url`. With `max_age`, a user who
    /// authenticated at the provider longer ago does it again there.
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
            let way = self.way(login)?;
            let location = match &way.kind {
                Kind::Passwords { .. } => return Err(SignInError::UnknownLogin),
                Kind::GitHub(github) => github.authorization_url(callback_url, &secrets),
                Kind::Oidc(oidc) => oidc.authorization_url(callback_url, &secrets, max_age, self.clock.now()).await?,
            };
            Ok(Begun { location, pending: Pending { login: login.to_owned(), secrets, max_age } })
        }
    }

    /// Ends it: who signed in, by the query that the provider sent the browser back with. The caller has opened `state`
    /// and knows that it is this browser's.
    pub async fn finish(
        &self,
        pending: &Pending,
        callback_query: &str,
        callback_url: &str,
        now: Timestamp,
    ) -> Result<SignedIn, SignInError> {
        let way = self.way(&pending.login)?;
        let callback = Callback::parse(callback_query);
        let account = match &way.kind {
            Kind::Passwords { .. } => return Err(SignInError::UnknownLogin),
            Kind::GitHub(github) => github.finish(&pending.secrets, &callback, callback_url).await?,
            Kind::Oidc(oidc) => {
                let flow = Flow { secrets: &pending.secrets, callback_url, max_age: pending.max_age };
                oidc.finish(&flow, &callback, now).await?
            }
        };
        let token = account.token.zip(way.party()).map(|(token, (provider, client_id))| ProviderToken {
            provider: provider.to_owned(),
            client_id: client_id.to_owned(),
            token,
        });
        let session = account.session.map(|session| recheck::session_id(&way.login.name, &session));
        Ok(SignedIn { user: way.user(&account.id, &account.name), evidence: account.evidence, token, session })
    }

    /// Whether a user could be one of this endpoint's: the login is there, and a local user is among its users. The
    /// provider is not asked.
    #[must_use]
    pub fn still_known(&self, user_id: &str) -> bool {
        !matches!(self.standing(user_id, None), Standing::Gone | Standing::Unavailable)
    }

    /// How the evidence of a user who signed in some time ago compares with the present rules. The provider is not asked.
    #[must_use]
    pub fn standing(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> Standing {
        let Some((login, user)) = user_id.split_once(':').filter(|(_, user)| !user.is_empty()) else {
            return Standing::Gone;
        };
        match self.way(login) {
            Ok(way) => way.standing(user, evidence),
            Err(_) if self.unavailable.iter().any(|name| name == login) => Standing::Unavailable,
            Err(_) => Standing::Gone,
        }
    }

    /// The evidence that the present rules give for a user whose evidence is not known.
    #[must_use]
    pub fn assumed_evidence(&self, user_id: &str) -> Option<LoginEvidence> {
        let (login, user) = user_id.split_once(':')?;
        Some(match &self.way(login).ok()?.kind {
            Kind::Passwords { fingerprints, .. } => evidence::of_password(fingerprints.get(user)?),
            Kind::GitHub(github) => github.assumed_evidence(),
            Kind::Oidc(oidc) => oidc.assumed_evidence(),
        })
    }

    /// The login of a user, and after what time consent needs another sign-in there.
    #[must_use]
    pub fn reauthentication(&self, user_id: &str) -> Option<(LoginInfo, SignedDuration)> {
        let (login, _) = user_id.split_once(':')?;
        let way = self.way(login).ok()?;
        let after = SignedDuration::try_from(way.login.reauthenticate_after.as_duration()).ok()?;
        Some((way.info(), after))
    }

    fn way(&self, login: &str) -> Result<&Way, SignInError> {
        self.ways.iter().find(|way| way.login.name == login).map(AsRef::as_ref).ok_or(SignInError::UnknownLogin)
    }
}

impl fmt::Debug for Logins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Logins").field("ways", &self.list().collect::<Vec<_>>()).finish_non_exhaustive()
    }
}

impl Way {
    /// `None` where login and secret are of different kinds, which no plan makes.
    fn new(
        login: &Login,
        secret: &LoginSecret,
        keys: &SigningKeys,
        outbound: &Outbound,
    ) -> Result<Option<Self>, UnusableLogin> {
        let title = |otherwise: &str| login.display_name.clone().unwrap_or_else(|| otherwise.to_owned());
        let (title, kind) = match (login, secret) {
            (Login { passwords: Some(_), .. }, LoginSecret::Passwords(users)) => {
                let keys = FingerprintKeys::new(keys)?;
                let of = |(name, hash): (&String, &String)| Ok((name.clone(), keys.of(&login.name, name, hash)?));
                let fingerprints = users.iter().map(of).collect::<Result<_, KeyError>>()?;
                (title(&login.name), Kind::Passwords { users: Users::new(users.clone()), fingerprints })
            }
            (Login { github: Some(github), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title("GitHub");
                let client = outbound.trusted(github.ca_bundle.as_deref())?;
                (title.clone(), Kind::GitHub(GitHub::new(title, github, client_id, client_secret, client)))
            }
            (Login { oidc: Some(oidc), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title(&login.name);
                let client = outbound.trusted(oidc.ca_bundle.as_deref())?;
                (title.clone(), Kind::Oidc(Box::new(Oidc::new(title, oidc, client_id, client_secret, client))))
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { login: login.clone(), secret: secret.clone(), title, kind }))
    }

    fn standing(&self, user: &str, evidence: Option<&LoginEvidence>) -> Standing {
        match &self.kind {
            Kind::Passwords { fingerprints, .. } => {
                fingerprints.get(user).map_or(Standing::Gone, |known| evidence::password(known, evidence))
            }
            Kind::GitHub(github) => github.standing(evidence),
            Kind::Oidc(oidc) => oidc.standing(evidence),
        }
    }

    fn info(&self) -> LoginInfo {
        LoginInfo { name: self.login.name.clone(), title: self.title.clone(), kind: self.kind() }
    }

    fn kind(&self) -> LoginKind {
        match self.kind {
            Kind::Passwords { .. } => LoginKind::Password,
            Kind::GitHub(_) | Kind::Oidc(_) => LoginKind::Redirect,
        }
    }

    /// The user as grants and tokens have it.
    fn user(&self, id: &str, name: &str) -> GrantUser {
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        let name = if name.trim().is_empty() { id.to_owned() } else { name };
        GrantUser { id: self.user_id(id), name }
    }

    fn user_id(&self, id: &str) -> String {
        format!("{}:{id}", self.login.name)
    }

    /// The provider, and what this endpoint is called there; `None` for local users.
    fn party(&self) -> Option<(&str, &str)> {
        match &self.kind {
            Kind::Passwords { .. } => None,
            Kind::GitHub(github) => Some(github.party()),
            Kind::Oidc(oidc) => Some(oidc.party()),
        }
    }
}
