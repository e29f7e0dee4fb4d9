//! The public listener: which path is what, and what a request passes on its way.
//!
//! In this order, outermost first:
//!
//! 1. [`Public::answer`]: counted and timed; refused by address (403), and by `Origin` (403) where it is not for a
//!    metadata document: those are public. What a refusal left unread of the body is read.
//! 2. CORS, where the configuration says that it is answered here and a page asks: preflights end here, and every
//!    answer from further in, a 401 too, carries the headers. The documents allow any origin.
//! 3. For the MCP endpoint, [`Door::mcp`]: as many at once as may be (503), each for as long as it may take (504); the
//!    caller (401) and its rate (429); then the MCP edge.
//!
//!    For `/token`, [`Door::issue_token`]: the rate of the address (429), the body (413, 408), the endpoint itself. It
//!    takes no place from those who have a token already.

use super::{
    address,
    body::{self, Held},
    limits::Limiters,
    mounted::Mounted,
    origin::Origins,
    problem::Problem,
    unread::{Unread, read_on_refused},
};
use crate::{
    ambient::{self, Clock},
    config::{
        KeyError,
        cors::{ALLOWED_HEADERS, ALLOWED_METHODS, EXPOSED_HEADERS},
    },
    mcp,
    oauth::{
        challenge::Challenges,
        jwt::AccessTokens,
        metadata::{self, AUTHORIZE_PATH, JWKS_PATH, TOKEN_PATH},
        token::{self, TokenEndpoint},
        verify::{self, TokenCache, Unauthenticated},
    },
    observe::metrics::{Metrics, Route},
};
use axum::{
    Extension, Json, Router,
    extract::{ConnectInfo, Request, State},
    response::{IntoResponse, Response},
    routing::{any, get, post},
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts};
use serde_json::Value;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    pin::pin,
    sync::Arc,
    time::Duration,
};
use tower::{ServiceExt as _, util::option_layer};
use tower_http::cors::{AllowOrigin, Any, CorsLayer};

/// How long discovery may be remembered. Short: keys rotate.
const DOCUMENT_CACHING: HeaderValue = HeaderValue::from_static("public, max-age=300");
/// Where RFC 9728 puts the metadata of a resource without a path: some clients look only there.
const ROOT_RESOURCE_METADATA: &str = "/.well-known/oauth-protected-resource";

/// How long the body of a token request may take to arrive: it is a few hundred bytes.
const TOKEN_BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// All that the checks need; made anew from every set of mounted files.
pub struct Door {
    mounted: Mounted,
    origins: Origins,
    challenges: Challenges,
    tokens: AccessTokens,
    token_endpoint: TokenEndpoint,
    token_path: String,
    cache: Arc<TokenCache>,
    limiters: Arc<Limiters>,
    metrics: Arc<Metrics>,
    clock: Arc<dyn Clock>,
}

/// From where a request comes; `None` where a proxy did not say it rightly.
#[derive(Clone, Copy)]
struct ClientAddress(Option<IpAddr>);

impl Door {
    /// Prepares everything; keeps of `previous` what the new files leave as it was.
    pub fn new(
        mounted: Mounted,
        previous: Option<&Self>,
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, KeyError> {
        let config = &mounted.config;
        let cache = previous
            .filter(|door| door.mounted.keys == mounted.keys && door.mounted.config.url == config.url)
            .map(|door| Arc::clone(&door.cache));
        let limiters =
            previous.filter(|door| *door.limiters.limits() == config.limits).map(|door| Arc::clone(&door.limiters));
        Ok(Self {
            origins: Origins::new(config.url.origin(), &config.cors.allowed_origins),
            challenges: Challenges::new(config),
            tokens: AccessTokens::new(&config.url, config.access_token_lifetime.as_duration(), &mounted.keys)?,
            token_endpoint: TokenEndpoint::new(mounted.clients.clone(), config.url.resource()),
            token_path: format!("{}{TOKEN_PATH}", config.url.base_path()),
            cache: cache.unwrap_or_default(),
            limiters: limiters.unwrap_or_else(|| Arc::new(Limiters::new(&config.limits))),
            metrics,
            clock,
            mounted,
        })
    }

    /// The files behind it.
    pub fn mounted(&self) -> &Mounted {
        &self.mounted
    }

    /// The limits in force.
    pub fn limiters(&self) -> &Limiters {
        &self.limiters
    }

    fn route(&self, path: &str) -> Route {
        let url = &self.mounted.config.url;
        if path == url.path() {
            Route::Mcp
        } else if path == self.token_path {
            Route::Token
        } else if path.strip_prefix(url.base_path()) == Some(AUTHORIZE_PATH) {
            Route::Authorize
        } else if path.strip_prefix(url.base_path()) == Some(JWKS_PATH) {
            Route::Jwks
        } else if path == url.issuer_metadata_path() {
            Route::IssuerMetadata
        } else if path.starts_with(ROOT_RESOURCE_METADATA) {
            Route::ResourceMetadata
        } else {
            Route::Unknown
        }
    }

    fn refuse(&self, route: Route, problem: Problem) -> Response {
        self.metrics.refused(problem.reason());
        problem.into_response(route)
    }
}

/// Everything that answers on the public listener, for one set of mounted files.
pub struct Public {
    door: Arc<Door>,
    endpoint: Arc<mcp::Endpoint>,
    router: Router,
}

impl Public {
    /// The routes, with the MCP edge `endpoint` behind the door.
    pub fn new(door: &Arc<Door>, endpoint: mcp::Endpoint) -> Result<Self, KeyError> {
        let endpoint = Arc::new(endpoint);
        let config = &door.mounted.config;
        let url = &config.url;
        let resource = metadata::protected_resource(config);
        let mut documents = Router::new()
            .without_v07_checks()
            .route(&url.resource_metadata_path(), get(document(resource.clone())))
            .route(&url.issuer_metadata_path(), get(document(metadata::authorization_server(config))))
            .route(&format!("{}{JWKS_PATH}", url.base_path()), get(document(metadata::jwks(&door.mounted.keys)?)));
        if url.base_path().is_empty() {
            documents = documents.route(ROOT_RESOURCE_METADATA, get(document(resource)));
        }
        let public_cors =
            CorsLayer::new().allow_origin(Any).allow_methods([Method::GET, Method::HEAD]).allow_headers(Any);
        let answered_here = config.cors.answered_here;

        let issue_token =
            |State(door): State<Arc<Door>>,
             Extension(ClientAddress(address)): Extension<ClientAddress>,
             request: Request| async move { door.issue_token(address, request).await };
        let mcp = {
            let endpoint = Arc::clone(&endpoint);
            |State(door): State<Arc<Door>>, mut request: Request| async move { door.mcp(&endpoint, &mut request).await }
        };
        let guarded = Router::new()
            .without_v07_checks()
            .route(&format!("{}{AUTHORIZE_PATH}", url.base_path()), get(sign_in).post(sign_in))
            .route(&door.token_path, post(issue_token))
            .route(url.path(), any(mcp))
            .with_state(Arc::clone(door))
            .layer(option_layer(answered_here.then(|| cors(door))));

        let router = documents
            .layer(option_layer(answered_here.then_some(public_cors)))
            .merge(guarded)
            .fallback(unknown_path)
            .method_not_allowed_fallback(unknown_method);
        Ok(Self { door: Arc::clone(door), endpoint, router })
    }

    /// What the checks need.
    pub fn door(&self) -> &Door {
        &self.door
    }

    /// Answers a request from the public listener.
    pub async fn answer(&self, mut request: Request) -> Response {
        let door = &self.door;
        let _in_flight = door.metrics.request_begins();
        let begin = tokio::time::Instant::now();
        let route = door.route(request.uri().path());
        let rules = &door.mounted.config.access;
        let client = request
            .extensions()
            .get::<ConnectInfo<SocketAddr>>()
            .and_then(|ConnectInfo(peer)| address::client(peer.ip(), request.headers(), &rules.trusted_proxies));
        let limit = door.mounted.config.limits.max_body_size.bytes();
        let (mut response, close) = match door.admit(route, client, request.headers()) {
            Err(problem) => (door.refuse(route, problem), read_on_refused(request, limit).await),
            // Agents are no pages: CORS has nothing to add to what they get.
            Ok(()) if route == Route::Mcp && !is_of_a_page(&request) => {
                let response = door.mcp(&self.endpoint, &mut request).await;
                (response, read_on_refused(request, limit).await)
            }
            Ok(()) => {
                request.extensions_mut().insert(ClientAddress(client));
                let unread = Unread::of(&mut request);
                let response = self.router.clone().oneshot(request).await.unwrap_or_else(|never| match never {});
                let close = match unread {
                    Some(unread) => unread.read_on(limit).await,
                    None => None,
                };
                (response, close)
            }
        };
        if let Some(close) = close {
            response.headers_mut().insert(header::CONNECTION, close);
        }
        let (status, duration) = (response.status().as_u16(), begin.elapsed());
        door.metrics.request_ends(route, status, duration);
        tracing::debug!(?route, status, ?duration, "answered");
        response
    }
}

/// Whether a page makes the request, or a browser asks for one.
fn is_of_a_page(request: &Request) -> bool {
    request.method() == Method::OPTIONS || request.headers().contains_key(header::ORIGIN)
}

fn cors(door: &Door) -> CorsLayer {
    let origins = door.origins.clone();
    let names = |list: &[&'static str]| -> Vec<HeaderName> {
        list.iter().filter_map(|name| HeaderName::try_from(*name).ok()).collect()
    };
    let methods: Vec<Method> = ALLOWED_METHODS.iter().filter_map(|name| name.parse().ok()).collect();
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(move |origin, _| {
            origin.to_str().is_ok_and(|origin| origins.allow(origin))
        }))
        .allow_methods(methods)
        .allow_headers(names(&ALLOWED_HEADERS))
        .expose_headers(names(&EXPOSED_HEADERS))
        .max_age(door.mounted.config.cors.max_age.as_duration())
}

/// A public document, the same for everyone.
fn document(content: Value) -> impl Fn() -> std::future::Ready<Response> + Clone + Send + Sync + 'static {
    let content = Arc::new(content);
    move || {
        let mut response = Json(&*content).into_response();
        response.headers_mut().insert(header::CACHE_CONTROL, DOCUMENT_CACHING);
        std::future::ready(response)
    }
}

impl Door {
    /// Refuses by address and by origin.
    fn admit(&self, route: Route, client: Option<IpAddr>, headers: &HeaderMap) -> Result<(), Problem> {
        if !address::admitted(client, &self.mounted.config.access) {
            let message = "this address may not use the endpoint; its network must be in spec.network.allowedCidrs";
            return Err(Problem::new(StatusCode::FORBIDDEN, "address_not_allowed", message));
        }
        let guarded = matches!(route, Route::Mcp | Route::Token | Route::Authorize);
        if guarded && !self.origins.admit(headers) {
            let message = "pages of this origin may not use the endpoint; it must be in spec.cors.allowedOrigins";
            return Err(Problem::new(StatusCode::FORBIDDEN, "origin_not_allowed", message));
        }
        Ok(())
    }

    /// Answers a request to the MCP endpoint. Takes it, unless it refuses it.
    async fn mcp(&self, endpoint: &mcp::Endpoint, request: &mut Request) -> Response {
        let place = match self.limiters.enter() {
            Ok(place) => place,
            Err(problem) => return self.refuse(Route::Mcp, problem),
        };
        let timeout = self.mounted.config.limits.request_timeout;
        let deadline = tokio::time::Instant::now() + timeout.as_duration();
        let answer = pin!(self.guarded(endpoint, request));
        let Ok(response) = tokio::time::timeout_at(deadline, answer).await else {
            let message = format!("the request took longer than {timeout}; ask for less at a time");
            return self.refuse(Route::Mcp, Problem::new(StatusCode::GATEWAY_TIMEOUT, "timeout", message));
        };
        Held::until_sent(response, place, deadline)
    }

    async fn guarded(&self, endpoint: &mcp::Endpoint, request: &mut Request) -> Response {
        let clients = self.token_endpoint.clients();
        let caller = verify::caller(request.headers(), &self.tokens, clients, &self.cache, self.clock.now());
        let caller = match caller {
            Ok(caller) => caller,
            Err(why) => return unauthenticated(self, request.method(), request.headers(), why),
        };
        if let Err(problem) = self.limiters.count_client(&caller.client_id) {
            return self.refuse(Route::Mcp, problem);
        }
        request.extensions_mut().insert(caller);
        endpoint.answer(std::mem::take(request)).await
    }

    /// Answers a request to the token endpoint.
    async fn issue_token(&self, address: Option<IpAddr>, request: Request) -> Response {
        // Whoever comes from nowhere shares one rate with all others who do.
        let address = address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        if let Err(problem) = self.limiters.count_address(address) {
            return self.refuse(Route::Token, problem);
        }
        let (Parts { headers, .. }, body) = request.into_parts();
        let Ok(body) = tokio::time::timeout(TOKEN_BODY_TIMEOUT, body::collect(body, token::MAX_BODY)).await else {
            let message = "the request did not arrive in time; send it again";
            return self.refuse(Route::Token, Problem::new(StatusCode::REQUEST_TIMEOUT, "timeout", message));
        };
        let body = match body {
            Ok(body) => body,
            Err(problem) => return self.refuse(Route::Token, problem),
        };
        let now = self.clock.now();
        match self.token_endpoint.answer(&headers, &body, &self.tokens, now, &mut ambient::rng()) {
            Ok(answer) => {
                self.metrics.token_answered("issued");
                answer.into_response()
            }
            Err(error) => {
                self.metrics.token_answered(error.code());
                error.into_response(&self.challenges)
            }
        }
    }
}

/// 401: JSON-RPC for clients, and for somebody who opened the URL in a browser, a line about what this is.
fn unauthenticated(door: &Door, method: &Method, headers: &HeaderMap, why: Unauthenticated) -> Response {
    door.metrics.not_authenticated(why.reason());
    let config = &door.mounted.config;
    let accepts_html = headers
        .get_all(header::ACCEPT)
        .iter()
        .any(|value| value.to_str().is_ok_and(|accept| accept.contains("text/html")));
    let challenge = door.challenges.bearer(why);
    if method == Method::GET && accepts_html {
        let text = format!(
            "This is the MCP endpoint \"{}\", for AI agents and not for browsers.\nAdd this URL to your agent: {}\n",
            config.endpoint,
            config.url.resource()
        );
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response();
    }
    let message = format!("{why}; obtain one at {}", config.url.issuer_url(TOKEN_PATH));
    Problem::new(StatusCode::UNAUTHORIZED, "unauthenticated", message)
        .with(header::WWW_AUTHENTICATE, challenge)
        .into_response(Route::Mcp)
}

/// Whoever gets here was sent by a client that wants a person to sign in. There is no redirect: no callback is checked.
async fn sign_in() -> Response {
    let message = "people cannot sign in at this endpoint yet; set the client up with the grant client_credentials";
    Problem::new(StatusCode::BAD_REQUEST, "unsupported_response_type", message).into_response(Route::Authorize)
}

async fn unknown_path(State(()): State<()>) -> Response {
    Problem::new(StatusCode::NOT_FOUND, "not_found", "there is nothing at this path").into_response(Route::Unknown)
}

async fn unknown_method(method: Method) -> Response {
    let message = format!("{method} is not for this path; see the header Allow");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message).into_response(Route::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        ambient::SystemClock,
        config::{Clients, Revision, SigningKey, SigningKeys},
    };
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::json;

    fn mounted(url: &str, burst: u32, seed: u64) -> Mounted {
        let config = json!({
            "endpoint": "agents", "url": url, "accessTokenLifetime": "15m",
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": burst,
                "maxBodySize": "4Mi"},
            "access": {"allowedCidrs": [], "trustedProxies": []},
        });
        let key = SigningKey::generate(SystemClock.now(), &mut StdRng::seed_from_u64(seed)).unwrap();
        Mounted {
            config: serde_json::from_value(config).unwrap(),
            clients: Clients::default(),
            keys: SigningKeys { keys: vec![SigningKey { created_at: jiff::Timestamp::UNIX_EPOCH, ..key }] },
            revision: Revision::of(b"", b"", b""),
        }
    }

    fn door(mounted: Mounted, previous: Option<&Door>) -> Arc<Door> {
        Arc::new(Door::new(mounted, previous, Arc::default(), Arc::new(SystemClock)).unwrap())
    }

    #[test]
    fn a_reload_keeps_what_it_does_not_concern() {
        let first = door(mounted("https://h/mcp", 20, 1), None);
        for (next, same_cache, same_limiters) in [
            (mounted("https://h/mcp", 20, 1), true, true),
            (mounted("https://h/mcp", 21, 1), true, false),
            (mounted("https://h/mcp", 20, 2), false, true),
            (mounted("https://h/other", 20, 1), false, true),
        ] {
            let next = door(next, Some(&first));
            assert_eq!(Arc::ptr_eq(&first.cache, &next.cache), same_cache);
            assert_eq!(Arc::ptr_eq(&first.limiters, &next.limiters), same_limiters);
        }
    }

    #[test]
    fn every_path_of_the_url_can_be_routed() {
        for url in ["https://h/mcp", "https://h/a/b/mcp", "https://h/:mcp", "https://h/*"] {
            let door = door(mounted(url, 20, 1), None);
            let config = &door.mounted.config.url;
            let routes = [
                (config.path().to_owned(), Route::Mcp),
                (format!("{}/jwks.json", config.base_path()), Route::Jwks),
                (format!("{}/authorize", config.base_path()), Route::Authorize),
                (config.resource_metadata_path(), Route::ResourceMetadata),
                (config.issuer_metadata_path(), Route::IssuerMetadata),
                (format!("{}/else", config.base_path()), Route::Unknown),
            ];
            for (path, route) in routes {
                assert_eq!(door.route(&path), route, "{path}");
            }
            let endpoint = mcp::Endpoint::new(&door.mounted.config, None, tokio_util::sync::CancellationToken::new());
            drop(Public::new(&door, endpoint).unwrap());
        }
    }
}
