//! Who signs in: local users with passwords, accounts of GitHub, accounts of OpenID Connect providers.
//!
//! What comes out is a user with an id that stays ([`GrantUser`]), or a reason for people ([`SignInError`]). A provider's
//! tokens are used to learn who it is, and dropped. Knows neither Kubernetes nor pages; the page that begins a sign-in
//! keeps [`Pending`] for it, sealed.

mod error;
mod github;
mod oidc;
mod passwords;
mod redirect;
mod throttle;
pub mod workload;

pub use error::SignInError;

use crate::{
    ambient::Clock,
    api::{grant::GrantUser, login::Login},
    budget::Pool,
    config::{LoginSecret, LoginSecrets, ServerConfig},
    outbound::{Outbound, OutboundError},
};
use github::GitHub;
use jiff::Timestamp;
use oidc::Oidc;
use passwords::{Room, Users};
use rand::CryptoRng;
use redirect::{Callback, Secrets};
use serde::{Deserialize, Serialize};
use std::{fmt, future::Future, net::IpAddr, sync::Arc};
use throttle::Throttle;

/// Longer names are nobody's.
const MAX_NAME: usize = 256;

/// All ways to sign in at one endpoint.
pub struct Logins {
    ways: Vec<Arc<Way>>,
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
    Passwords(Users),
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
    pub source: OutboundError,
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
        outbound: Arc<Outbound>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, LoginsError> {
        let none = Self { ways: Vec::new(), outbound, clock, lasting: Arc::default() };
        none.reloaded(config, secrets)
    }

    /// What checking passwords takes is charged there from now on.
    pub fn charge(&self, memory: &Arc<Pool>) {
        self.lasting.room.charge(memory);
    }

    /// The logins of another configuration. Who guessed passwords stays known, and so does what was learnt of a
    /// provider whose login did not change.
    pub fn reloaded(&self, config: &ServerConfig, secrets: &LoginSecrets) -> Result<Self, LoginsError> {
        let ways = config.login.iter().filter_map(|login| Some((login, secrets.logins.get(&login.name)?)));
        let ways = ways.map(|(login, secret)| {
            let same = self.ways.iter().find(|way| way.login == *login && way.secret == *secret);
            match same {
                Some(way) => Ok(Some(Arc::clone(way))),
                None => Ok(Way::new(login, secret, &self.outbound)?.map(Arc::new)),
            }
        });
        Ok(Self {
            ways: ways.filter_map(Result::transpose).collect::<Result<_, _>>()?,
            outbound: Arc::clone(&self.outbound),
            clock: Arc::clone(&self.clock),
            lasting: Arc::clone(&self.lasting),
        })
    }

    /// The ways that can be used, in the manifest's order.
    pub fn list(&self) -> impl Iterator<Item = LoginInfo> {
        let offered = self.ways.iter().filter(|way| !matches!(&way.kind, Kind::Passwords(users) if users.is_empty()));
        offered.map(|way| LoginInfo { name: way.login.name.clone(), title: way.title.clone(), kind: way.kind() })
    }

    /// Signs a local user in. Slow on purpose.
    pub async fn check_password(
        &self,
        login: &str,
        user: &str,
        password: String,
        address: IpAddr,
        now: Timestamp,
    ) -> Result<GrantUser, SignInError> {
        let way = self.way(login)?;
        let Kind::Passwords(users) = &way.kind else { return Err(SignInError::UnknownLogin) };
        if user.is_empty() || user.len() > MAX_NAME {
            return Err(SignInError::WrongPassword);
        }
        let Lasting { throttle, room } = &*self.lasting;
        throttle.begin(login, user, address, now).map_err(|wait| SignInError::TooManyAttempts { wait })?;
        match users.check(room, user, password).await {
            Ok(true) => {
                throttle.succeeded(login, user, address, now);
                Ok(way.user(user, user))
            }
            Ok(false) => Err(SignInError::WrongPassword),
            Err(error) => {
                throttle.undone(login, user, address);
                Err(error)
            }
        }
    }

    /// Begins a sign-in at a provider, which will send the browser back to `callback_url`.
    pub fn begin<'a>(
        &'a self,
        login: &'a str,
        callback_url: &'a str,
        rng: &mut dyn CryptoRng,
    ) -> impl Future<Output = Result<Begun, SignInError>> + Send + use<'a> {
        let secrets = Secrets::generate(rng);
        async move {
            let way = self.way(login)?;
            let location = match &way.kind {
                Kind::Passwords(_) => return Err(SignInError::UnknownLogin),
                Kind::GitHub(github) => github.authorization_url(callback_url, &secrets),
                Kind::Oidc(oidc) => oidc.authorization_url(callback_url, &secrets, self.clock.now()).await?,
            };
            Ok(Begun { location, pending: Pending { login: login.to_owned(), secrets } })
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
    ) -> Result<GrantUser, SignInError> {
        let way = self.way(&pending.login)?;
        let callback = Callback::parse(callback_query);
        let (id, name) = match &way.kind {
            Kind::Passwords(_) => return Err(SignInError::UnknownLogin),
            Kind::GitHub(github) => github.finish(&pending.secrets, &callback, callback_url).await?,
            Kind::Oidc(oidc) => oidc.finish(&pending.secrets, &callback, callback_url, now).await?,
        };
        Ok(way.user(&id, &name))
    }

    /// Whether a user who signed in some time ago could still be one of this endpoint's: the login is there, and a local
    /// user is among its users. Whether a provider would still let them in is not asked.
    #[must_use]
    pub fn still_known(&self, user_id: &str) -> bool {
        let Some((login, user)) = user_id.split_once(':') else { return false };
        self.way(login).is_ok_and(|way| match &way.kind {
            Kind::Passwords(users) => users.has(user),
            Kind::GitHub(_) | Kind::Oidc(_) => !user.is_empty(),
        })
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
    fn new(login: &Login, secret: &LoginSecret, outbound: &Outbound) -> Result<Option<Self>, LoginsError> {
        let failed = |source| LoginsError { login: login.name.clone(), source };
        let title = |otherwise: &str| login.display_name.clone().unwrap_or_else(|| otherwise.to_owned());
        let (title, kind) = match (login, secret) {
            (Login { passwords: Some(_), .. }, LoginSecret::Passwords(users)) => {
                (title(&login.name), Kind::Passwords(Users::new(users.clone())))
            }
            (Login { github: Some(github), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title("GitHub");
                let client = outbound.trusted(github.ca_bundle.as_deref()).map_err(failed)?;
                (title.clone(), Kind::GitHub(GitHub::new(title, github, client_id, client_secret, client)))
            }
            (Login { oidc: Some(oidc), .. }, LoginSecret::Client { client_id, client_secret }) => {
                let title = title(&login.name);
                let client = outbound.trusted(oidc.ca_bundle.as_deref()).map_err(failed)?;
                (title.clone(), Kind::Oidc(Box::new(Oidc::new(title, oidc, client_id, client_secret, client))))
            }
            _ => return Ok(None),
        };
        Ok(Some(Self { login: login.clone(), secret: secret.clone(), title, kind }))
    }

    fn kind(&self) -> LoginKind {
        match self.kind {
            Kind::Passwords(_) => LoginKind::Password,
            Kind::GitHub(_) | Kind::Oidc(_) => LoginKind::Redirect,
        }
    }

    /// The user as grants and tokens have it.
    fn user(&self, id: &str, name: &str) -> GrantUser {
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(MAX_NAME).collect();
        let name = if name.trim().is_empty() { id.to_owned() } else { name };
        GrantUser { id: format!("{}:{id}", self.login.name), name }
    }
}
