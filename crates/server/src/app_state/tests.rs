use crate::app_state::*;
use crate::public::Public;
use portcullis_config::{Clients, LoginSecrets, Revision, SigningKeys};
use portcullis_core::clock::SystemClock;
use portcullis_oauth::clients::PublishedMetadata;
use portcullis_outbound::Outbound;
use rand::{SeedableRng as _, rngs::StdRng};
use serde_json::json;
use tokio_util::task::TaskTracker;

fn mounted(url: &str, burst: u32, seed: u64) -> Mounted {
    let config = json!({
        "endpoint": "agents", "url": url, "accessTokenLifetime": "15m",
        "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
        "tools": {"allow": ["*"], "deny": []},
        "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
        "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": burst,
            "maxBodySize": "4Mi"},
        "access": {"allowedCidrs": [], "trustedProxies": []},
    });
    Mounted {
        config: serde_json::from_value(config).unwrap(),
        clients: Clients::default(),
        keys: SigningKeys::generate(jiff::Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(seed)).unwrap(),
        login: LoginSecrets::default(),
        revision: Revision::of(b"", b"", b"", b""),
    }
}

fn app(mounted: Mounted, previous: Option<&AppState>) -> Arc<AppState> {
    let state = Arc::new(portcullis_state::Local::memory(Arc::new(SystemClock)));
    let outbound = Arc::new(Outbound::new().unwrap());
    let published = Arc::new(PublishedMetadata::new(&outbound));
    let logins = Logins::new(&mounted.config, &mounted.login, &mounted.keys, outbound, Arc::new(SystemClock)).unwrap();
    let logins = Arc::new(logins);
    let stores = Stores {
        grants: state.clone(),
        registrations: state.clone(),
        accounts: state.clone(),
        checks: TaskTracker::new(),
        user_rules: state,
        published,
        users: logins.clone(),
        workloads: Arc::new(portcullis_oauth::workload::NoCluster),
        external: None,
    };
    let machine = Machine { memory: 256 << 20, workspaces: None };
    let clock = Arc::new(SystemClock);
    Arc::new(AppState::new(mounted, stores, logins, previous, Arc::default(), clock, machine).unwrap())
}

#[test]
fn a_reload_keeps_what_it_does_not_affect() {
    let first = app(mounted("https://h/mcp", 20, 1), None);
    for (next, same_cache, same_limiters) in [
        (mounted("https://h/mcp", 20, 1), true, true),
        (mounted("https://h/mcp", 21, 1), true, false),
        (mounted("https://h/mcp", 20, 2), false, true),
        (mounted("https://h/other", 20, 1), false, true),
    ] {
        let next = app(next, Some(&first));
        assert_eq!(Arc::ptr_eq(first.authorization.cache(), next.authorization.cache()), same_cache);
        assert_eq!(Arc::ptr_eq(&first.limiters, &next.limiters), same_limiters);
    }
}

#[test]
fn every_path_of_the_url_can_be_routed() {
    for url in ["https://h/mcp", "https://h/a/b/mcp", "https://h/:mcp", "https://h/*"] {
        let app = app(mounted(url, 20, 1), None);
        let config = &app.mounted.config.url;
        let routes = [
            (config.path().to_owned(), Route::Mcp),
            (format!("{}/", config.path()), Route::Rest),
            (format!("{}/workspaces/web/execute", config.path()), Route::Rest),
            (format!("{}/token", config.path()), Route::Rest),
            (format!("{}/openapi.json", config.path()), Route::ApiDocument),
            (format!("{}/reference", config.path()), Route::ApiDocument),
            (format!("{}/server-card", config.path()), Route::ApiDocument),
            (format!("{}/reference/", config.path()), Route::Rest),
            (format!("{}x", config.path()), Route::Unknown),
            (format!("{}/jwks.json", config.base_path()), Route::Jwks),
            (format!("{}/authorize", config.base_path()), Route::Authorize),
            (format!("{}/login/github/callback", config.base_path()), Route::Login),
            (format!("{}/loginx", config.base_path()), Route::Unknown),
            (format!("{}/agents/revoke", config.base_path()), Route::Agents),
            (format!("{}/", config.base_path()), Route::Console),
            (format!("{}/console", config.base_path()), Route::Console),
            (format!("{}/console/", config.base_path()), Route::Console),
            (format!("{}/console/workspaces/web/stop", config.base_path()), Route::Console),
            (format!("{}/consoles", config.base_path()), Route::Unknown),
            ("/favicon.ico".to_owned(), if config.base_path().is_empty() { Route::Assets } else { Route::Unknown }),
            (format!("{}/assets/style-0.css", config.base_path()), Route::Assets),
            (format!("{}/token", config.base_path()), Route::Token),
            (format!("{}/revoke", config.base_path()), Route::Revoke),
            (format!("{}/introspect", config.base_path()), Route::Introspect),
            (format!("{}/register", config.base_path()), Route::Register),
            (config.resource_metadata_path(), Route::ResourceMetadata),
            (config.issuer_metadata_path(), Route::IssuerMetadata),
            (format!("{}/else", config.base_path()), Route::Unknown),
        ];
        for (path, route) in routes {
            assert_eq!(app.route(&path), route, "{path}");
        }
        let tools = Arc::new(portcullis_tools::Registry::new(&app.mounted.config, None));
        drop(Public::new(&app, &tools, None, tokio_util::sync::CancellationToken::new()).unwrap());
    }
}
