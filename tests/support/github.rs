//! GitHub, as its documentation describes it: the web flow of OAuth apps with PKCE, `/user`, `/user/memberships/orgs` and
//! `/user/teams` with pages, and its ways of refusing.
//!
//! <https://docs.github.com/en/apps/oauth-apps/building-oauth-apps/authorizing-oauth-apps>,
//! <https://docs.github.com/en/apps/oauth-apps/maintaining-oauth-apps/troubleshooting-oauth-app-access-token-request-errors>,
//! <https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api>,
//! <https://docs.github.com/en/rest/using-the-rest-api/troubleshooting-the-rest-api>.

use axum::{
    Form, Json, Router,
    extract::{Query, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{Html, IntoResponse as _, Response},
    routing::{get, post},
};
use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};
use tokio::{net::TcpListener, task::JoinHandle};
use url::Url;

pub const CLIENT_ID: &str = "Iv1.8a61f9b3a7aba766";
pub const CLIENT_SECRET: &str = "the-app's-secret";
/// What it gives out for a code.
pub const TOKEN: &str = "gho_16C7e42F292c6912E7710c838347Ae178B4a";
const PER_PAGE: usize = 2;

/// A GitHub Enterprise Server at [`GitHub::url`].
pub struct GitHub {
    pub url: String,
    pub world: Shared,
    task: JoinHandle<()>,
}

pub type Shared = Arc<Mutex<World>>;

/// What there is, to be changed by a test.
#[derive(Default)]
pub struct World {
    /// Organizations of the user, and the state of the membership.
    pub organizations: Vec<(&'static str, &'static str)>,
    /// Organization and slug.
    pub teams: Vec<(&'static str, &'static str)>,
    /// The callback of the app's settings.
    pub callback: String,
    /// Whether the user's primary email address is not verified.
    pub email_unverified: bool,
    /// What every answer of the API carries besides.
    pub headers: Vec<(&'static str, String)>,
    /// What the API answers instead, if anything.
    pub instead: Option<(u16, String)>,
    /// Where the next page is, instead of here.
    pub next_page: Option<String>,
    /// What the API was asked.
    pub asked: Vec<String>,
    codes: HashMap<String, HashMap<String, String>>,
    base: String,
}

impl GitHub {
    /// With `callback` in the settings of the app.
    pub async fn start(callback: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let world = Shared::default();
        world.lock().unwrap().base.clone_from(&url);
        callback.clone_into(&mut world.lock().unwrap().callback);
        let api = Router::new()
            .route("/user", get(user))
            .route("/user/memberships/orgs", get(memberships))
            .route("/user/teams", get(teams))
            .layer(middleware::from_fn_with_state(Arc::clone(&world), guard));
        let router = Router::new()
            .route("/login/oauth/authorize", get(consent))
            .route("/login/oauth/access_token", post(access_token))
            .nest("/api/v3", api)
            .with_state(Arc::clone(&world));
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, world, task }
    }

    /// What the user does at GitHub: agrees. Returns the query that the browser comes back with.
    pub fn authorize(&self, location: &str) -> String {
        assert!(location.starts_with(&format!("{}/login/oauth/authorize?", self.url)), "{location}");
        let location = Url::parse(location).unwrap();
        agreed(&mut self.world.lock().unwrap(), location.query_pairs().into_owned().collect())
    }
}

fn agreed(world: &mut World, request: HashMap<String, String>) -> String {
    assert_eq!(request["client_id"], CLIENT_ID);
    assert_eq!(request["code_challenge_method"], "S256");
    assert_eq!(request["scope"], "read:org");
    let code = format!("code-of-the-web-flow-{}", world.codes.len());
    let state: String = url::form_urlencoded::byte_serialize(request["state"].as_bytes()).collect();
    world.codes.insert(code.clone(), request);
    format!("code={code}&state={state}")
}

/// Where somebody agrees who has a browser.
async fn consent(State(world): State<Shared>, Query(request): Query<HashMap<String, String>>) -> Html<String> {
    let callback = request["redirect_uri"].clone();
    let query = agreed(&mut world.lock().unwrap(), request).replace('&', "&amp;");
    Html(format!("<title>Authorize application</title><a href=\"{callback}?{query}\">Authorize acme</a>"))
}

impl Drop for GitHub {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Errors come with the status 200.
async fn access_token(
    State(world): State<Shared>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Json<Value> {
    // Without, the answer is a form and no JSON.
    assert_eq!(headers[header::ACCEPT], "application/json");
    let error = |error: &str| {
        Json(json!({"error": error, "error_description": "in words", "error_uri": "https://docs.github.com"}))
    };
    let mut world = world.lock().unwrap();
    if form["client_id"] != CLIENT_ID || form["client_secret"] != CLIENT_SECRET {
        return error("incorrect_client_credentials");
    }
    if form["redirect_uri"] != world.callback {
        return error("redirect_uri_mismatch");
    }
    let Some(request) = world.codes.remove(&form["code"]) else { return error("bad_verification_code") };
    if BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(&form["code_verifier"])) != request["code_challenge"] {
        return error("bad_verification_code");
    }
    if world.email_unverified {
        return error("unverified_user_email");
    }
    Json(json!({"access_token": TOKEN, "scope": "read:org", "token_type": "bearer"}))
}

/// What holds for every call of the API.
async fn guard(State(world): State<Shared>, request: Request, next: Next) -> Response {
    let headers = request.headers().clone();
    let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let (extra, instead) = {
        let mut world = world.lock().unwrap();
        world.asked.push(request.uri().to_string());
        (world.headers.clone(), world.instead.clone())
    };
    let refused = if text(header::USER_AGENT).is_empty() {
        Some((StatusCode::FORBIDDEN, "Please make sure your request has a User-Agent header"))
    } else if text(header::AUTHORIZATION) != format!("Bearer {TOKEN}") {
        Some((StatusCode::UNAUTHORIZED, "Bad credentials"))
    } else if text(HeaderName::from_static("x-github-api-version")) != "2022-11-28" {
        Some((StatusCode::BAD_REQUEST, "There is no such version"))
    } else {
        None
    };
    let mut response = match (refused, instead) {
        (Some((status, message)), _) => (status, Json(json!({"message": message}))).into_response(),
        (None, Some((status, body))) => (StatusCode::from_u16(status).unwrap(), body).into_response(),
        (None, None) => next.run(request).await,
    };
    for (name, value) in extra {
        response.headers_mut().insert(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    response
}

async fn user() -> Json<Value> {
    Json(
        json!({"login": "octocat", "id": 583_231, "node_id": "MDQ6VXNlcjU4MzIzMQ==", "type": "User", "name": null, "email": null}),
    )
}

async fn memberships(State(world): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let world = world.lock().unwrap();
    let wanted = |state: &str| query.get("state").is_none_or(|wanted| wanted == state);
    let all: Vec<Value> = world
        .organizations
        .iter()
        .filter(|(_, state)| wanted(state))
        .map(|(login, state)| json!({"state": state, "role": "member", "organization": {"login": login, "id": 1}, "user": {"login": "octocat"}}))
        .collect();
    page(&world, "/user/memberships/orgs", &query, &all)
}

async fn teams(State(world): State<Shared>, Query(query): Query<HashMap<String, String>>) -> Response {
    let world = world.lock().unwrap();
    let all: Vec<Value> = world
        .teams
        .iter()
        .map(|(organization, slug)| json!({"id": 1, "name": slug.to_uppercase(), "slug": slug, "privacy": "closed", "organization": {"login": organization, "id": 1}}))
        .collect();
    page(&world, "/user/teams", &query, &all)
}

/// A page of a list, with links to the others.
fn page(world: &World, path: &str, query: &HashMap<String, String>, all: &[Value]) -> Response {
    assert_eq!(query["per_page"], "100");
    let number: usize = query.get("page").map_or(1, |page| page.parse().unwrap());
    let last = all.len().div_ceil(PER_PAGE).max(1);
    let url = |page: usize| format!("{}/api/v3{path}?per_page=100&state=active&page={page}", world.base);
    let items: Vec<&Value> = all.iter().skip((number - 1) * PER_PAGE).take(PER_PAGE).collect();
    let mut response = Json(items).into_response();
    if number < last {
        let next = world.next_page.clone().unwrap_or_else(|| url(number + 1));
        let links = format!(r#"<{next}>; rel="next", <{}>; rel="last""#, url(last));
        response.headers_mut().insert(header::LINK, HeaderValue::from_str(&links).unwrap());
    }
    response
}
