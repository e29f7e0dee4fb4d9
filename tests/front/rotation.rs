//! How soon a changed client secret is in force at every server, and whether what the conditions say of it is so.

use crate::{
    endpoint::{Endpoint, ROBOT, Server, credentials},
    front::Front,
    support::operator::eventually,
};
use futures::future::join_all;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams};
use portcullis_api::{OAuthClient, condition::CREDENTIALS_LOADED};
use portcullis_config::{LoadedRevision, PRIVATE_PORT};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};
use tokio::{select, time::Instant};
use tokio_util::sync::CancellationToken;

const ROTATIONS: usize = 20;
const GOAL: Duration = Duration::from_secs(2);
/// A client whose Secret somebody else keeps. That of [`ROBOT`] is the operator's.
const GIVEN: &str = "given";

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_secret_counts_everywhere_at_once_and_the_condition_never_lies() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let endpoint = Endpoint::set(front, "rotation", &json!({"deployment": {"replicas": 3}})).await;
    endpoint.apply(&[given("the first secret, long enough to be one"), client()]);
    endpoint.ready();
    let servers = endpoint.servers().await;
    assert_eq!(servers.len(), 3);

    let ended = CancellationToken::new();
    let (mut times, samples) = tokio::join!(
        async {
            let _ended = ended.clone().drop_guard();
            let mut times = Vec::new();
            for turn in 0..ROTATIONS {
                times.push(rotate(&endpoint, &servers, turn).await);
            }
            times
        },
        watch(&endpoint, &servers, &ended),
    );
    times.sort();
    let p95 = times[(ROTATIONS * 95).div_ceil(100) - 1];
    println!(
        "{ROTATIONS} rotations: live in 3 pods after {:?} (p50), {p95:?} (p95), {:?} (most)",
        times[ROTATIONS / 2],
        times[ROTATIONS - 1]
    );
    println!("the condition was held against the pods {samples} times");
    assert!(p95 <= GOAL, "{times:?}");
    assert!(samples > ROTATIONS, "{samples}");

    let pods = endpoint.api::<Pod>().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(pods.len(), 3);
    for pod in pods {
        let status = pod.status.unwrap().container_statuses.unwrap().remove(0);
        assert_eq!(status.restart_count, 0, "{:?}", pod.metadata.name);
        assert!(
            servers.iter().any(|server| Some(&server.name) == pod.metadata.name.as_ref()),
            "{:?}",
            pod.metadata.name
        );
    }
}

fn given(secret: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": GIVEN, "labels": {"portcullis.dev/endpoint": "agents"}},
        "stringData": {"client-secret": secret},
    })
}

fn client() -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": GIVEN},
        "spec": {"endpointRef": {"name": "agents"}, "grants": ["client_credentials"], "scopes": ["workspaces:read"],
            "existingSecret": {"name": GIVEN, "key": "client-secret"}},
    })
}

/// Changes a secret, by turns one that somebody keeps and one that the operator makes, and waits until it counts at every
/// server. At the moment when the client's condition says so, it does, and the one before does not.
async fn rotate(endpoint: &Endpoint, servers: &[Server], turn: usize) -> Duration {
    let (name, kept) =
        if turn.is_multiple_of(2) { (GIVEN, GIVEN.to_owned()) } else { (ROBOT, format!("{ROBOT}-oauth")) };
    let before = endpoint.secret(&kept, "client-secret").await.unwrap();
    // The conditions of the two clients are written one after the other: both have caught up with the turn before.
    let announced = eventually("all is quiet", async || {
        let (given, robot) = (announced(endpoint, GIVEN).await?, announced(endpoint, ROBOT).await?);
        (given == robot).then_some(given)
    })
    .await;
    let begun = Instant::now();
    let secret = if turn.is_multiple_of(2) {
        let secret = format!("secret number {turn}, long enough to be one");
        let patch = Patch::Merge(json!({"stringData": {"client-secret": secret}}));
        endpoint.api::<Secret>().patch(&kept, &PatchParams::default(), &patch).await.unwrap();
        secret
    } else {
        endpoint.api::<Secret>().delete(&kept, &DeleteParams::default()).await.unwrap();
        let new = async || endpoint.secret(&kept, "client-secret").await.filter(|secret| *secret != before);
        eventually("there is a new secret", new).await
    };
    let counts = async |server| {
        eventually("it counts", async || obtains(endpoint, server, name, &secret).await.then_some(())).await;
        begun.elapsed()
    };
    let said = async {
        let changed = async || self::announced(endpoint, name).await.filter(|now| *now != announced);
        eventually("the condition says so", changed).await;
        for server in servers {
            assert!(obtains(endpoint, server, name, &secret).await, "{} has it not, but {name} says so", server.name);
            assert!(!obtains(endpoint, server, name, &before).await, "{} takes what was before", server.name);
        }
    };
    let (times, ()) = tokio::join!(join_all(servers.iter().map(counts)), said);
    times.into_iter().max().unwrap()
}

/// The revision that every server has loaded, as the client's condition says for its newest generation.
async fn announced(endpoint: &Endpoint, client: &str) -> Option<String> {
    let found = endpoint.api::<OAuthClient>().get(client).await.unwrap();
    let status = found.status?;
    let condition = status.conditions.into_iter().find(|condition| condition.type_ == CREDENTIALS_LOADED)?;
    let current = condition.observed_generation == found.metadata.generation;
    (current && condition.status == "True").then(|| condition.message.rsplit(' ').next().unwrap().to_owned())
}

/// Whether a client obtains a token at one server.
async fn obtains(endpoint: &Endpoint, server: &Server, client: &str, secret: &str) -> bool {
    let request = endpoint.http.post(format!("http://{}/token", server.address)).form(&credentials(client, secret));
    let answer = request.header("Host", &endpoint.host).header("X-Forwarded-Proto", "https").send().await.unwrap();
    match answer.status().as_u16() {
        200 => true,
        401 => false,
        other => panic!("{other}: {}", answer.text().await.unwrap()),
    }
}

/// Holds what the condition says against what the servers have, until the end: none may be behind what is said.
async fn watch(endpoint: &Endpoint, servers: &[Server], ended: &CancellationToken) -> usize {
    let mut order: Vec<String> = Vec::new();
    let mut place = |revision: &str| {
        order.iter().position(|known| known == revision).unwrap_or_else(|| {
            order.push(revision.to_owned());
            order.len() - 1
        })
    };
    let mut samples = 0;
    loop {
        let said = select! {
            said = announced(endpoint, ROBOT) => said,
            () = ended.cancelled() => return samples,
        };
        let Some(said) = said else { continue };
        let least = place(&said);
        let loaded: BTreeSet<String> =
            join_all(servers.iter().map(|server| loaded(endpoint, server))).await.into_iter().collect();
        for revision in loaded {
            assert!(place(&revision) >= least, "the condition says {said}, a server has {revision}");
        }
        samples += 1;
    }
}

async fn loaded(endpoint: &Endpoint, server: &Server) -> String {
    let url = format!("http://{}:{PRIVATE_PORT}/revision", server.address.ip());
    let answer: LoadedRevision = endpoint.http.get(url).send().await.unwrap().json().await.unwrap();
    answer.revision.to_string()
}
