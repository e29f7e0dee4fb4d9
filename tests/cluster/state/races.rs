//! The same code, or the same refresh token, at two servers at the same instant: what decides is the API server.

use super::revocation::Stage;
use kube::api::{Api, ListParams};
use portcullis::{
    ambient::{self, Clock as _, SystemClock},
    api::{
        OAuthGrant, Scope,
        grant::{GrantUser, RevocationReason},
    },
    config::PUBLIC_PORT,
    oauth::{
        code::{Code, Consent},
        seal::Sealer,
    },
};
use serde_json::Value;
use tokio::time::Instant;

const CALLBACK: &str = "http://localhost:8123/callback";
/// Of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const TRIES: usize = 20;

/// A code as ann's consent makes it.
fn code(sealer: &Sealer) -> String {
    let consent = Consent {
        client_id: "claude".to_owned(),
        redirect_uri: CALLBACK.to_owned(),
        challenge: CHALLENGE.to_owned(),
        user: GrantUser { id: "local:ann".to_owned(), name: "ann".to_owned() },
        scopes: [Scope::WorkspacesRead].into(),
        resource: "https://agents.example.com/mcp".to_owned(),
    };
    Code::seal(consent, sealer, SystemClock.now(), &mut ambient::rng()).unwrap()
}

async fn token(stage: &Stage, server: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let request = stage.http.post(format!("http://{server}:{PUBLIC_PORT}/token"));
    let answer = request.header("Host", "agents.example.com").form(form).send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

async fn redeem(stage: &Stage, server: &str, code: &str) -> (u16, Value) {
    let form = [
        ("grant_type", "authorization_code"),
        ("client_id", "claude"),
        ("code", code),
        ("redirect_uri", CALLBACK),
        ("code_verifier", VERIFIER),
    ];
    token(stage, server, &form).await
}

async fn renew(stage: &Stage, server: &str, refresh_token: &str) -> (u16, Value) {
    let form = [("grant_type", "refresh_token"), ("client_id", "claude"), ("refresh_token", refresh_token)];
    token(stage, server, &form).await
}

async fn only(grants: &Api<OAuthGrant>, known: &mut Vec<String>) -> OAuthGrant {
    let all = grants.list(&ListParams::default()).await.unwrap().items;
    let mut new = all.into_iter().filter(|grant| !known.contains(grant.metadata.name.as_ref().unwrap()));
    let grant = new.next().expect("a grant was made");
    assert!(new.next().is_none(), "one only");
    known.push(grant.metadata.name.clone().unwrap());
    grant
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_server_decides_between_two_servers() {
    let stage = Stage::start(&format!("ann:{}\n", bcrypt::hash("a password of hers", 4).unwrap())).await;
    let sealer = Sealer::new(&stage.keys).unwrap();
    let (grants, mut known) = (stage.grants(), Vec::new());
    let [one, two] = [stage.servers[0].clone(), stage.servers[1].clone()];

    // Codes: exactly one wins, and its grant dies.
    for attempt in 0..TRIES {
        let code = code(&sealer);
        let (a, b) = tokio::join!(redeem(&stage, &one, &code), redeem(&stage, &two, &code));
        let mut both = [a, b];
        both.sort_by_key(|(status, _)| *status);
        let [(won, tokens), (lost, error)] = both;
        assert_eq!((won, lost), (200, 400), "{attempt}: {tokens} {error}");
        assert_eq!(error["error"], "invalid_grant", "{attempt}");
        let grant = only(&grants, &mut known).await;
        assert_eq!(grant.spec.revoked.unwrap().reason, RevocationReason::CodeReplayed, "{attempt}");
        stage.all_answer(tokens["access_token"].as_str().unwrap(), 401, Instant::now()).await;
    }

    // Refresh tokens: the same next token from both, and one step.
    let (status, mut tokens) = redeem(&stage, &one, &code(&sealer)).await;
    assert_eq!(status, 200, "{tokens}");
    let name = only(&grants, &mut known).await.metadata.name.unwrap();
    for generation in 1..=20 {
        let presented = tokens["refresh_token"].as_str().unwrap().to_owned();
        let (a, b) = tokio::join!(renew(&stage, &one, &presented), renew(&stage, &two, &presented));
        assert_eq!((a.0, b.0), (200, 200), "{generation}: {} {}", a.1, b.1);
        assert_eq!(a.1["refresh_token"], b.1["refresh_token"], "{generation}");
        let grant = grants.get(&name).await.unwrap();
        assert_eq!(grant.spec.refresh.unwrap().generation, generation);
        tokens = a.1;
    }
    stage.all_answer(tokens["access_token"].as_str().unwrap(), 200, Instant::now()).await;
}
