//! A namespace that is restored from a backup is what it was: same keys, same secrets, and tokens go on.

use super::stage::{api, create, endpoint, eventually, local_users, names, operator, own_plane, robot};
use crate::support::{controlplane::ControlPlane, kubelet::Kubelet};
use jiff::SignedDuration;
use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::{Client, ResourceExt as _, api::ListParams};
use portcullis_api::{OAuthClient, OAuthGrant};
use portcullis_config::SigningKeys;
use portcullis_core::{
    Scope,
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_oauth::jwt::{AccessTokens, Subject};
use portcullis_plan::ENDPOINT_LABEL;
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    time::Duration,
};

const RESOURCE: &str = "https://agents.example.com/mcp";

/// In which order a tool brings things back.
#[derive(Clone, Copy, Debug)]
enum Order {
    SecretsFirst,
    /// By the time that the Secrets come, the operator has made others.
    OwnersFirst,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_namespace_goes_on_where_it_was() {
    let plane = own_plane().await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("restore").await;
    let kubelet = Kubelet::start(&plane, &namespace, Path::new(env!("CARGO_BIN_EXE_portcullis"))).await;
    let _operator = operator(&plane, "one").await;
    let login = local_users(&client, &namespace, &["ada"]).await;
    let spec = json!({"exposure": {"none": {}}, "deployment": {"replicas": 1}, "login": login});
    create(&client, &namespace, &endpoint("agents", &spec)).await;
    create(&client, &namespace, &robot("robot", "agents", &json!({}))).await;
    wait_ready(&plane, &namespace, &kubelet);
    let grant = create(&client, &namespace, &consent()).await.name_any();

    for order in [Order::SecretsFirst, Order::OwnersFirst] {
        let before = Held::of(&client, &namespace).await;
        let token = token(&client, &namespace, &before.client_secret).await.unwrap();
        let issued = SystemClock.now().as_second();
        assert_eq!(call(&client, &namespace, &token).await, 200);

        let owners = dump(&plane, &namespace, "mcpendpoints,oauthclients");
        let secrets = dump(&plane, &namespace, "secrets,oauthgrants");
        let of_user = before.token_of_user(&grant);
        eventually("the user's token counts", async || {
            (call(&client, &namespace, &of_user).await == 200).then_some(())
        })
        .await;
        empty(&plane, &client, &namespace).await;
        eventually("a second has passed", async || (SystemClock.now().as_second() > issued).then_some(())).await;
        match order {
            Order::SecretsFirst => {
                restore(&plane, &namespace, &secrets);
                restore(&plane, &namespace, &owners);
            }
            Order::OwnersFirst => {
                restore(&plane, &namespace, &owners);
                eventually("the operator made other secrets", async || Held::find(&client, &namespace).await).await;
                restore(&plane, &namespace, &secrets);
            }
        }
        wait_ready(&plane, &namespace, &kubelet);
        eventually("the servers have what was restored", async || {
            (call(&client, &namespace, &token).await == 200).then_some(())
        })
        .await;
        eventually("the user's token goes on", async || {
            (call(&client, &namespace, &of_user).await == 200).then_some(())
        })
        .await;
        let created = api::<OAuthClient>(&client, &namespace).get("robot").await.unwrap().creation_timestamp().unwrap();
        assert!(created.0.as_second() > issued, "{order:?}: the token is older than the client's resource");
        let after = Held::of(&client, &namespace).await;
        assert_eq!(after.keys, before.keys, "{order:?}");
        assert_eq!(after.client_secret, before.client_secret, "{order:?}");
        let again = eventually("the client's secret works", async || {
            self::token(&client, &namespace, &before.client_secret).await
        })
        .await;
        assert_eq!(call(&client, &namespace, &again).await, 200, "{order:?}");
        let secrets = api::<Secret>(&client, &namespace).list(&ListParams::default()).await.unwrap();
        // The users' own is not the operator's.
        for secret in secrets.into_iter().filter(|secret| secret.name_any() != "people") {
            assert_eq!(secret.owner_references().len(), 1, "{order:?}: {} goes with its owner", secret.name_any());
        }
    }
}

fn wait_ready(plane: &ControlPlane, namespace: &str, kubelet: &Kubelet) {
    let args = ["-n", namespace, "wait", "--for=condition=Ready", "mcp/agents", "oac/robot", "--timeout=90s"];
    let waited = plane.kubectl(&args);
    let shown = || {
        String::from_utf8_lossy(&plane.kubectl(&["-n", namespace, "get", "mcp,oac", "-o", "yaml"]).stdout).into_owned()
    };
    assert!(waited.status.success(), "{waited:?}\n{}\n{}", shown(), kubelet.logs());
}

/// As backup tools write it: nothing that only the cluster of that day knew.
fn dump(plane: &ControlPlane, namespace: &str, kinds: &str) -> String {
    let got = plane.kubectl(&["-n", namespace, "get", kinds, "-o", "json"]);
    assert!(got.status.success(), "{got:?}");
    let mut list: Value = serde_json::from_slice(&got.stdout).unwrap();
    for item in list["items"].as_array_mut().unwrap() {
        item.as_object_mut().unwrap().remove("status");
        for field in ["uid", "resourceVersion", "generation", "creationTimestamp", "ownerReferences", "managedFields"] {
            item["metadata"].as_object_mut().unwrap().remove(field);
        }
    }
    list.to_string()
}

fn restore(plane: &ControlPlane, namespace: &str, dump: &str) {
    let applied = plane.kubectl_with_input(&["-n", namespace, "apply", "-f", "-"], dump);
    assert!(applied.status.success(), "{applied:?}");
}

async fn empty(plane: &ControlPlane, client: &Client, namespace: &str) {
    for what in [&["mcp,oac,oag", "--all"], &["secret", "people"]] {
        let deleted = plane.kubectl(&[&["-n", namespace, "delete"], &what[..]].concat());
        assert!(deleted.status.success(), "{deleted:?}");
    }
    eventually("the namespace is empty", async || {
        let pods = api::<Pod>(client, namespace).list(&ListParams::default()).await.unwrap().items;
        (pods.is_empty() && names(client, namespace).await.is_empty()).then_some(())
    })
    .await;
}

/// What a user allowed the client.
fn consent() -> OAuthGrant {
    let spec = json!({
        "endpointRef": {"name": "agents"}, "clientId": "robot", "user": {"id": "local:ada", "name": "Ada"},
        "scopes": ["workspaces:read"], "resource": RESOURCE,
        "expiresAt": SystemClock.now().saturating_add(SignedDuration::from_hours(24)).unwrap(),
    });
    let mut grant = OAuthGrant::new("g-0123456789abcdef01234567", serde_json::from_value(spec).unwrap());
    // As servers make them, and by which they are followed.
    grant.labels_mut().insert(ENDPOINT_LABEL.to_owned(), "agents".to_owned());
    grant
}

/// What must not be lost.
struct Held {
    keys: SigningKeys,
    client_secret: String,
}

impl Held {
    /// As a server would have made it.
    fn token_of_user(&self, grant: &str) -> String {
        let tokens = AccessTokens::new(&RESOURCE.parse().unwrap(), Duration::from_mins(15), &self.keys).unwrap();
        let scopes = BTreeSet::from([Scope::WorkspacesRead]);
        let subject = Subject {
            id: "local:ada".into(),
            name: Some("Ada"),
            grant: Some(grant),
            ..Subject::client("robot", &scopes)
        };
        tokens.issue(&subject, SystemClock.now(), &mut rng::rng()).unwrap()
    }

    async fn find(client: &Client, namespace: &str) -> Option<Self> {
        let secrets = api::<Secret>(client, namespace).list(&ListParams::default()).await.unwrap();
        let data: BTreeMap<_, _> =
            secrets.into_iter().map(|one| (one.name_any(), one.data.unwrap_or_default())).collect();
        Some(Self {
            keys: serde_json::from_slice(&data.get("agents-signing-keys")?.get("signing-keys.json")?.0).ok()?,
            client_secret: String::from_utf8(data.get("robot-oauth")?.get("client-secret")?.0.clone()).ok()?,
        })
    }

    async fn of(client: &Client, namespace: &str) -> Self {
        Self::find(client, namespace).await.unwrap()
    }
}

/// The server that runs; `None` while none does.
async fn server(client: &Client, namespace: &str) -> Option<String> {
    let pods = api::<Pod>(client, namespace).list(&ListParams::default()).await.unwrap().items;
    let running = pods.into_iter().find(|pod| pod.metadata.deletion_timestamp.is_none())?;
    Some(format!("http://{}:8080", running.status?.pod_ip?))
}

async fn token(client: &Client, namespace: &str, secret: &str) -> Option<String> {
    let request = reqwest::Client::new()
        .post(format!("{}/token", server(client, namespace).await?))
        .header("host", "agents.example.com")
        .basic_auth("robot", Some(secret))
        .form(&[("grant_type", "client_credentials")]);
    let answer: Value = request.send().await.ok()?.json().await.ok()?;
    Some(answer["access_token"].as_str()?.to_owned())
}

/// What a server says to a call with this token; 0 while none answers.
async fn call(client: &Client, namespace: &str, token: &str) -> u16 {
    let Some(server) = server(client, namespace).await else { return 0 };
    let request = reqwest::Client::new()
        .post(format!("{server}/mcp"))
        .header("host", "agents.example.com")
        .header("accept", "application/json, text/event-stream")
        .timeout(Duration::from_secs(5))
        .bearer_auth(token)
        .json(&json!({"jsonrpc": "2.0", "id": 1, "method": "ping"}));
    request.send().await.map_or(0, |answer| answer.status().as_u16())
}
