//! The pages for users: the landing page, sign-in, consent, workspaces, connected agents, and error pages.
//!
//! The templates escape everything, and a policy forbids scripts, of which there are none. URLs come from the
//! configuration and never from the `Host` of a request. `oauth` has the rules about clients, redirects and scopes,
//! `identity` authenticates users.

mod administration;
mod agent_setup;
mod agents;
mod assets;
mod authorize;
mod consent;
mod console;
mod error_page;
mod forms;
mod headers;
mod logout;
mod navigation;
mod served_workspaces;
mod session;
mod sign_in;
mod sign_out_everywhere;
mod text;
mod user_session;
mod view;
mod workspaces;

pub use assets::style_sheet;
pub use headers::secure;
pub use served_workspaces::ServedWorkspaces;

use agent_setup::AgentSetup;
use askama::Template;
use axum::{
    Json, Router,
    extract::{Request, State},
    middleware::{Next, from_fn_with_state, map_response},
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use error_page::ErrorPage;
use forms::{Action, CsrfError, Form};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use jiff::{SignedDuration, Timestamp};
use portcullis_config::{Clients, ServerConfig};
use portcullis_core::{PublicUrl, clock::Clock, grant::GrantUser, rng};
use portcullis_identity::{LoginInfo, Logins};
use portcullis_oauth::{AuthorizationServer, UserStatus, seal::Sealer, user_rules::Ended};
use portcullis_telemetry::audit::{Event, FormRefused, RequestContext};
use serde_json::json;
use session::{Cookie, Session};
use std::sync::Arc;
use tokio::sync::Semaphore;
use view::Frame;

/// The paths, after the issuer. The server counts requests by them, and an Ingress lists them.
pub mod paths {
    use portcullis_telemetry::metrics::Route;

    pub use portcullis_core::endpoint_paths::{
        ADMINISTRATION, AGENTS, ASSETS, AUTHORIZE, CONSENT, CONSOLE, FAVICON, LOGIN, LOGOUT, WORKSPACES, has_console,
        has_favicon,
    };

    /// The route of a path.
    #[must_use]
    pub fn route(path: &str) -> Option<Route> {
        let below =
            |parent: &str| path.strip_prefix(parent).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        match path {
            AUTHORIZE => Some(Route::Authorize),
            CONSENT => Some(Route::Consent),
            LOGOUT => Some(Route::Logout),
            _ if below(LOGIN) => Some(Route::Login),
            _ if below(AGENTS) => Some(Route::Agents),
            _ if below(CONSOLE) => Some(Route::Console),
            _ if below(ASSETS) => Some(Route::Assets),
            _ => None,
        }
    }
}

/// How many logs and journals of workspaces are read at a time. Each takes up to a few MiB until it is cut for the page.
const LOG_READS: usize = 8;

/// The pages of one endpoint.
pub struct Pages {
    url: PublicUrl,
    frame: Frame,
    cookie: Cookie,
    /// How long a consent lasts, in words.
    lifetime: String,
    /// The setup of each well-known agent. `None`: the endpoint's own URL is at the path of the landing page.
    setups: Option<Vec<AgentSetup>>,
    server: Arc<AuthorizationServer>,
    logins: Arc<Logins>,
    clock: Arc<dyn Clock>,
    /// Whether [`paths::FAVICON`] is served.
    has_favicon: bool,
    /// The permits to read logs and journals of workspaces.
    log_reads: Semaphore,
    /// The workspaces; `None` if the endpoint has none.
    workspaces: Option<ServedWorkspaces>,
}

impl Pages {
    /// The pages of this configuration.
    #[must_use]
    pub fn new(
        config: &ServerConfig,
        clients: &Clients,
        server: Arc<AuthorizationServer>,
        logins: Arc<Logins>,
        clock: Arc<dyn Clock>,
        workspaces: Option<ServedWorkspaces>,
    ) -> Self {
        let url = config.url.clone();
        let lifetime = SignedDuration::try_from(config.refresh_token_lifetime.as_duration()).ok();
        Self {
            frame: Frame {
                base: url.base_path().to_owned(),
                endpoint: config.endpoint.clone(),
                host: url.authority().to_owned(),
                style: format!("{}/{}", paths::ASSETS, assets::style()),
                icon: format!("{}/{}", paths::ASSETS, assets::icon()),
            },
            cookie: Cookie::new(&url),
            setups: paths::has_console(&url, &config.path_aliases).then(|| agent_setup::setups(config, clients)),
            log_reads: Semaphore::new(LOG_READS),
            has_favicon: paths::has_favicon(&url, &config.path_aliases),
            lifetime: lifetime.and_then(text::spoken).unwrap_or_else(|| "a moment".to_owned()),
            url,
            server,
            logins,
            clock,
            workspaces,
        }
    }

    /// Their routes.
    pub fn router(self: Arc<Self>) -> Router {
        let path = |path: &str| format!("{}{path}", self.base());
        let mut console = Router::new().without_v07_checks();
        if self.has_console() {
            console = console
                .merge(workspaces::router(&path(paths::WORKSPACES)))
                .merge(administration::router(&path(paths::ADMINISTRATION)))
                .route(&path("/console/"), get(console::get))
                .route(&path(paths::CONSOLE), get(console::redirect))
                .route(&path("/"), get(console::redirect));
            if !self.base().is_empty() {
                console = console.route(self.base(), get(console::redirect));
            }
            if self.has_favicon {
                console = console.route(paths::FAVICON, get(assets::favicon));
            }
        }
        console
            .route(&path(paths::AUTHORIZE), get(authorize::get).post(authorize::post))
            .route(&path(paths::CONSENT), post(consent::post))
            .route(&path(paths::LOGIN), get(sign_in::get).post(sign_in::post))
            .route(&path("/login/{name}"), get(sign_in::begin))
            .route(&path("/login/{name}/callback"), get(sign_in::callback))
            .route(&path("/login/{name}/backchannel-logout"), post(logout::post))
            .route(&path(paths::LOGOUT), post(sign_in::sign_out))
            .route(&path(paths::AGENTS), get(agents::get))
            .route(&path("/agents/revoke"), post(agents::revoke))
            .route(&path("/agents/sign-out-everywhere"), post(sign_out_everywhere::post))
            .route(&path("/assets/{name}"), get(assets::get))
            .method_not_allowed_fallback(wrong_method)
            .layer(from_fn_with_state(Arc::clone(&self), own_forms))
            .layer(map_response(|response: Response| std::future::ready(headers::secure(response))))
            .with_state(self)
    }

    /// The error page for a request that the server refused.
    #[must_use]
    pub fn refused(&self, from: &RequestContext, status: StatusCode, reason: &'static str, message: &str) -> Response {
        let title = if status.is_server_error() { "Not at the moment" } else { "This request was refused" };
        headers::secure(self.show(from, &ErrorPage::new(status, reason, title, text::sentence(message))))
    }

    /// The error page for a path that does not exist.
    #[must_use]
    pub fn not_found(&self, from: &RequestContext) -> Response {
        let error_page = ErrorPage::not_found();
        let error_page = if self.has_console() {
            error_page.link(format!("{}{}/", self.base(), paths::CONSOLE), "To the start page")
        } else {
            error_page
        };
        headers::secure(self.show(from, &error_page))
    }

    fn base(&self) -> &str {
        self.url.base_path()
    }

    /// Whether the endpoint has the pages below [`paths::CONSOLE`].
    fn has_console(&self) -> bool {
        self.setups.is_some()
    }

    /// Whether workspaces run on the server's own machine without a sandbox. The consent page says so.
    fn is_unconfined(&self) -> bool {
        self.workspaces.as_ref().is_some_and(|served| served.backend.are_unconfined())
    }

    fn sealer(&self) -> &Sealer {
        self.server.sealer()
    }

    /// The logins, or the error page for none.
    fn logins_or(&self, no_login: impl FnOnce() -> ErrorPage) -> Result<Vec<LoginInfo>, ErrorPage> {
        let logins: Vec<_> = self.logins.list().collect();
        if logins.is_empty() { Err(no_login()) } else { Ok(logins) }
    }

    /// The login with this name. Only existing names are recorded.
    fn has_login(&self, name: &str) -> bool {
        self.logins.list().any(|login| login.name == name)
    }

    /// The session of a request, unless the login no longer admits the user, or an administrator or the user's provider
    /// ended it.
    fn session(&self, headers: &HeaderMap, now: Timestamp) -> Option<Session> {
        let session = self.cookie.read(headers, self.sealer(), now)?;
        let valid = session
            .user
            .as_ref()
            .is_none_or(|user| self.logins.status_of(&user.id, session.evidence.as_ref()) == UserStatus::Valid);
        (valid && self.ended(&session).is_none() && !self.logged_out(&session)).then_some(session)
    }

    /// Whether the user's identity provider ended this session, or no longer lets the user in.
    fn logged_out(&self, session: &Session) -> bool {
        let sid = session.provider_sid.as_deref();
        let ended = |user: &GrantUser| self.server.session_ended(&user.id, sid, session.since);
        session.user.as_ref().is_some_and(ended)
    }

    /// Whether an administrator ended this session.
    fn ended(&self, session: &Session) -> Option<Ended> {
        self.server.ended(&session.user.as_ref()?.id, session.since)
    }

    /// The error page for a form without a valid session, if an administrator or the provider ended the session.
    fn ended_session(&self, headers: &HeaderMap, now: Timestamp) -> Option<ErrorPage> {
        let session = self.cookie.read(headers, self.sealer(), now)?;
        if self.logged_out(&session) {
            return Some(ErrorPage::signed_out(self.base()));
        }
        let ended = self.ended(&session)?;
        let user = session.user?;
        let error_page = self.user_ended(ended, &user);
        Some(ErrorPage { ended_session: Some(Box::new(user)), ..error_page })
    }

    /// The error page for a user whose access was ended.
    fn user_ended(&self, ended: Ended, user: &GrantUser) -> ErrorPage {
        ErrorPage::user_ended(ended, &text::name(&user.name, &user.id), &user.id, &self.frame.endpoint, self.base())
    }

    /// The login at which the user of a session has to sign in again before approving an agent.
    fn reauthentication(&self, session: &Session, now: Timestamp) -> Option<LoginInfo> {
        let (login, after) = self.logins.reauthentication(&session.user.as_ref()?.id)?;
        (now.duration_since(session.since) >= after).then_some(login)
    }

    /// The session of a request, or a new one without a user, with its `Set-Cookie` header.
    fn any_session(&self, headers: &HeaderMap, now: Timestamp) -> Result<(Session, Option<HeaderValue>), ErrorPage> {
        if let Some(session) = self.session(headers, now) {
            return Ok((session, None));
        }
        let session = Session::begin(None, now, &mut rng::rng());
        let cookie = self.give(&session)?;
        Ok((session, Some(cookie)))
    }

    fn give(&self, session: &Session) -> Result<HeaderValue, ErrorPage> {
        self.cookie.set(session, self.sealer(), &mut rng::rng()).map_err(|error| ErrorPage::internal(error.to_string()))
    }

    fn csrf_token(&self, action: Action, session: &Session) -> Result<String, ErrorPage> {
        forms::csrf_token(action, session, self.sealer(), &mut rng::rng())
            .map_err(|error| ErrorPage::internal(error.to_string()))
    }

    /// Checks that the browser of `session` sent a form of these pages.
    fn check_form(
        &self,
        form: &Form,
        action: Action,
        headers: &HeaderMap,
        session: Option<&Session>,
        now: Timestamp,
    ) -> Result<(), ErrorPage> {
        form.check(action, headers, self.url.origin(), session, self.sealer(), now).map_err(|why| {
            let ended = if why == CsrfError::NoSession { self.ended_session(headers, now) } else { None };
            ended.unwrap_or_else(|| ErrorPage::csrf_error(why, self.url.origin()))
        })
    }

    /// The page, or the error page.
    fn answer(&self, from: &RequestContext, result: Result<Response, ErrorPage>) -> Response {
        result.unwrap_or_else(|error_page| self.show(from, &error_page))
    }

    /// Renders an error page, and logs its cause. Both have the request's id.
    fn show(&self, from: &RequestContext, error_page: &ErrorPage) -> Response {
        let request_id = from.id.as_str();
        let ErrorPage { status, reason, cause, .. } = error_page;
        let (code, cause) = (status.as_u16(), cause.as_deref().unwrap_or_default());
        if status.is_server_error() {
            tracing::error!(request_id, reason, status = code, cause, "a page reported an error");
        } else {
            tracing::info!(request_id, reason, status = code, cause, "a page rejected a request");
        }
        let message = view::Message {
            frame: &self.frame,
            title: error_page.title,
            happened: &error_page.happened,
            todo: error_page.todo.as_deref(),
            link: error_page.link.as_deref(),
            reference: Some(request_id),
        };
        let mut response = match message.render() {
            Ok(html) => (*status, Html(html)).into_response(),
            Err(_) => (*status, error_page.happened.clone()).into_response(),
        };
        if let Some(wait) = error_page.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, wait.into());
        }
        if let Some(user) = &error_page.ended_session {
            Event::SessionRefused { from, user: &user.id, reason }.emit();
        }
        if let Some(why) = error_page.csrf_error {
            response.extensions_mut().insert(FormRefused(why.reason()));
        }
        response
    }
}

/// A rendered page.
fn page(status: StatusCode, template: &impl Template) -> Result<Response, ErrorPage> {
    let html = template.render().map_err(|error| ErrorPage::internal(error.to_string()))?;
    Ok((status, Html(html)).into_response())
}

/// A redirect that turns whatever came into a GET (RFC 9700 §4.12).
fn see_other(location: &str) -> Result<Response, ErrorPage> {
    let location = HeaderValue::try_from(location)
        .map_err(|_| ErrorPage::internal("the redirect target is not a valid header value"))?;
    Ok((StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response())
}

/// Refuses forms of other sites before their content is read. Agents' pages may post to `/authorize`.
async fn own_forms(State(pages): State<Arc<Pages>>, request: Request, next: Next) -> Response {
    let origin = pages.url.origin();
    let from_agents = request.uri().path().strip_prefix(pages.base()) == Some(paths::AUTHORIZE);
    if request.method() == Method::POST
        && !from_agents
        && let Err(why) = forms::same_origin(request.headers(), origin)
    {
        return pages.show(&RequestContext::of(request.extensions()), &ErrorPage::csrf_error(why, origin));
    }
    next.run(request).await
}

async fn wrong_method(State(pages): State<Arc<Pages>>, request: Request) -> Response {
    let from = RequestContext::of(request.extensions());
    if accepts_html(request.headers()) {
        return pages.show(&from, &ErrorPage::method());
    }
    // A program, such as a client whose path a proxy has rewritten.
    let problem = json!({
        "error": "method_not_allowed",
        "error_description": format!("this page does not support {}", request.method()),
        "request_id": from.id.as_str(),
    });
    (StatusCode::METHOD_NOT_ALLOWED, Json(problem)).into_response()
}

/// Whether a browser asks for a page.
#[must_use]
pub fn accepts_html(headers: &HeaderMap) -> bool {
    let mut accepted = headers.get_all(header::ACCEPT).iter();
    accepted.any(|value| value.to_str().is_ok_and(|accept| accept.contains("text/html")))
}
