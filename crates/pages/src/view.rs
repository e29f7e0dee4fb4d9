//! The data of the templates. All of it is text; askama escapes it.

use crate::{
    agent_setup::AgentSetup,
    error_page::Link,
    navigation::NavigationBar,
    text::{Destination, ScopeWords, When},
};
use askama::Template;
use portcullis_core::Scope;
use portcullis_identity::LoginInfo;

/// What is around every page.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    /// What every path begins with.
    pub base: String,
    /// The endpoint's name.
    pub endpoint: String,
    /// Its host.
    pub host: String,
    /// The path of the style sheet.
    pub style: String,
    /// The path of the icon.
    pub icon: String,
}

/// An error in the input.
#[derive(Clone, Debug)]
pub(crate) struct InputProblem {
    /// A few words.
    pub title: &'static str,
    /// What is wrong, and what to do.
    pub message: String,
}

/// The sign-in page.
#[derive(Template)]
#[template(path = "sign_in.html")]
pub(crate) struct SignIn<'a> {
    pub frame: &'a Frame,
    /// The agent that wants to connect.
    pub client: Option<String>,
    /// Who is signed in already.
    pub signed_in: Option<String>,
    /// Whether that was too long ago for approving an agent.
    pub again: bool,
    pub problem: Option<InputProblem>,
    /// The login with which it did not work.
    pub failed: Option<&'a str>,
    /// The name that was typed.
    pub user: &'a str,
    pub passwords: Vec<LoginInfo>,
    pub providers: Vec<LoginInfo>,
    pub csrf_token: String,
    /// Where to go on, sealed.
    pub target: Option<&'a str>,
}

/// Where a client is described.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Provenance {
    Configured,
    Document { host: String },
    Registered,
}

/// One line of the consent page.
#[derive(Clone, Debug)]
pub(crate) struct ScopeLine {
    pub scope: Scope,
    pub words: ScopeWords,
    pub checked: bool,
    /// Whether the user allowed it before.
    pub before: bool,
}

/// The consent page.
#[derive(Template)]
#[template(path = "consent.html")]
pub(crate) struct Consent<'a> {
    pub frame: &'a Frame,
    pub client: String,
    pub origin: Provenance,
    pub user: String,
    /// Whether workspaces run on the server's own machine without a sandbox.
    pub unconfined: bool,
    pub scopes: Vec<ScopeLine>,
    /// How long it lasts.
    pub lifetime: &'a str,
    pub destination: Destination,
    pub redirect_uri: &'a str,
    /// Whether nothing was ticked.
    pub problem: bool,
    pub csrf_token: String,
    /// The request, sealed.
    pub request: String,
    /// The same request after signing in as another user, sealed.
    pub switch: String,
}

/// A grant that counts.
#[derive(Clone, Debug)]
pub(crate) struct ActiveGrant {
    pub name: String,
    pub client: String,
    pub note: Option<String>,
    pub scopes: Vec<&'static str>,
    pub since: When,
    pub last_used: Option<When>,
    pub expires: When,
}

/// A grant that no longer counts.
#[derive(Clone, Debug)]
pub(crate) struct EndedGrant {
    pub client: String,
    pub why: &'static str,
}

/// The page of connected agents.
#[derive(Template)]
#[template(path = "agents.html")]
pub(crate) struct Agents<'a> {
    pub frame: &'a Frame,
    pub navigation: NavigationBar,
    pub active: Vec<ActiveGrant>,
    pub ended: Vec<EndedGrant>,
    /// Whether there are pages of workspaces, which link to the activity in them.
    pub has_activity: bool,
    pub resource: &'a str,
    /// The CSRF tokens of the forms.
    pub revoke: String,
    pub sign_out_everywhere: String,
}

/// The landing page.
#[derive(Template)]
#[template(path = "landing.html")]
pub(crate) struct Landing<'a> {
    pub frame: &'a Frame,
    /// `None`: the user is not signed in.
    pub navigation: Option<NavigationBar>,
    pub can_sign_in: bool,
    pub resource: &'a str,
    pub setups: &'a [AgentSetup],
}

/// A message with a link.
#[derive(Template)]
#[template(path = "message.html")]
pub(crate) struct Message<'a> {
    pub frame: &'a Frame,
    pub title: &'a str,
    pub happened: &'a str,
    pub todo: Option<&'a str>,
    pub link: Option<&'a Link>,
    /// The id of the request, which the log contains too.
    pub reference: Option<&'a str>,
}
