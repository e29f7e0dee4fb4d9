//! Two endpoints in two namespaces, with clients and people of the same names: whatever one of them gave out is of no use at
//! the other, and of all its use at its own.

use crate::{
    endpoint::{CLIENT, Endpoint, ROBOT, Tokens, credentials, redeem, refresh},
    front::Front,
    support::operator::eventually,
};
use reqwest::Method;
use serde_json::{Value, json};

/// What one endpoint gave out.
struct Given {
    tokens: Tokens,
    code: String,
    secret: String,
    cookie: String,
    workspace: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_one_endpoint_is_of_use_at_another() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let north = Endpoint::set(front, "north", &json!({})).await;
    let south = Endpoint::set(front, "south", &json!({})).await;
    tokio::join!(north.reachable(), south.reachable());
    for endpoint in [&north, &south] {
        endpoint.apply(&[template()]);
    }
    let given = give(&north, "plan").await;
    let theirs = give(&south, "own").await;

    tokens(&north, &south, &given).await;
    workspaces(&south, &given, &theirs).await;
    service_account(&north, &south, &given).await;
    // All of that was refused since it is another's, not since it was no good: it counts where it belongs.
    for (endpoint, given) in [(&north, &given), (&south, &theirs)] {
        at_home(endpoint, given).await;
    }
}

async fn give(endpoint: &Endpoint, workspace: &str) -> Given {
    let mut browser = endpoint.browser();
    let code = endpoint.code(&mut browser, "ann").await;
    let tokens = endpoint.sign_in("ann").await;
    let secret = endpoint.secret(&format!("{ROBOT}-oauth"), "client-secret").await.unwrap();
    let new = json!({"template": "shell", "name": workspace});
    let made = eventually("a workspace is made", async || {
        let (_, answer) = endpoint.call(&tokens.access, "create_workspace", &new).await;
        answer.pointer("/result/structuredContent").filter(|made| made["status"] == "running").cloned()
    });
    let workspace = made.await["id"].as_str().unwrap().to_owned();
    Given { tokens, code, secret, cookie: browser.cookie.unwrap(), workspace }
}

/// What somebody who has got hold of what `north` gave out tries at `south`.
async fn tokens(north: &Endpoint, south: &Endpoint, given: &Given) {
    let (status, answer) = south.call(&given.tokens.access, "whoami", &json!({})).await;
    assert_eq!(status, 401, "an access token: {answer}");
    let rows = [
        ("a refresh token", refresh(&given.tokens.refresh).to_vec(), 400, "invalid_grant"),
        ("a code", redeem(&given.code).to_vec(), 400, "invalid_grant"),
        ("a client's secret", credentials(ROBOT, &given.secret).to_vec(), 401, "invalid_client"),
    ];
    for (what, fields, status, error) in rows {
        let answer = south.token(&fields).await;
        assert_eq!((answer.0, &answer.1["error"]), (status, &json!(error)), "{what}: {}", answer.1);
    }
    let mut browser = south.browser();
    browser.cookie = Some(given.cookie.clone());
    let page = browser.get("/agents").await;
    assert!(page.path().starts_with("/login"), "a session: {}", page.location());
    let mut browser = north.browser();
    browser.cookie = Some(given.cookie.clone());
    assert_eq!(browser.get("/agents").await.status, 200);

    // The robot of the south asks about, and takes back, what is the north's.
    let secret = south.secret(&format!("{ROBOT}-oauth"), "client-secret").await.unwrap();
    for token in [&given.tokens.access, &given.tokens.refresh] {
        let fields = [("client_id", ROBOT), ("client_secret", &secret), ("token", token)];
        let answer = south.http.post(format!("{}/introspect", south.origin())).form(&fields).send().await.unwrap();
        assert_eq!(answer.json::<Value>().await.unwrap(), json!({"active": false}));
        let fields = [("client_id", CLIENT), ("token", token)];
        let answer = south.http.post(format!("{}/revoke", south.origin())).form(&fields).send().await.unwrap();
        assert_eq!(answer.status(), 200);
    }
    let keys = async |endpoint: &Endpoint| {
        let url = format!("{}/jwks.json", endpoint.origin());
        let keys: Value = endpoint.http.get(url).send().await.unwrap().json().await.unwrap();
        keys["keys"][0]["kid"].as_str().unwrap().to_owned()
    };
    assert_ne!(keys(north).await, keys(south).await);
}

/// The same person, known by the same id, at the other endpoint.
async fn workspaces(south: &Endpoint, given: &Given, theirs: &Given) {
    let token = &theirs.tokens.access;
    for name in [&given.workspace, "plan"] {
        let get = json!({"workspace": name});
        let run = json!({"workspace": name, "command": "true"});
        let read = json!({"workspace": name, "path": "x"});
        let calls = [("get_workspace", &get), ("run_command", &run), ("read_file", &read), ("delete_workspace", &get)];
        for (tool, arguments) in calls {
            let (_, answer) = south.call(token, tool, arguments).await;
            let said = answer.pointer("/result/content/0/text").and_then(Value::as_str).unwrap_or_default();
            assert!(said.contains("there is no workspace"), "{tool}: {answer}");
        }
    }
    let (_, answer) = south.call(token, "list_workspaces", &json!({})).await;
    let listed = answer["result"]["structuredContent"]["workspaces"].as_array().unwrap();
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(theirs.workspace)), "{answer}");
}

/// The servers' own account at the API server, in the other namespace.
async fn service_account(north: &Endpoint, south: &Endpoint, given: &Given) {
    let kubeconfig =
        south.front.node.kubeconfig_for_service_account(&south.namespace, "portcullis-server-agents").await;
    let ask = |endpoint: &Endpoint, args: &[&str]| {
        let mut command = endpoint.front.node.kubectl_command(&[&["--namespace", &endpoint.namespace], args].concat());
        let done = command.env("KUBECONFIG", &kubeconfig).output().unwrap();
        (done.status.success(), String::from_utf8_lossy(&done.stderr).into_owned())
    };
    for kind in ["oauthgrants", "workspaces", "oauthclients", "oauthusers", "workspacetemplates"] {
        assert!(ask(south, &["get", kind]).0, "{kind} at home");
    }
    let pod = format!("workspace-{}-0", given.workspace);
    let exec = ["exec", &pod, "--", "/bin/true"];
    let workspace = format!("workspace/{}", given.workspace);
    for args in [
        &["get", "oauthgrants"][..],
        &["get", "workspaces"],
        &["get", "oauthclients"],
        &["get", "oauthusers"],
        &["get", "workspacetemplates"],
        &["get", "secrets"],
        &["get", "configmaps"],
        &["get", "pods"],
        &["logs", &pod],
        &exec,
        &["delete", &workspace],
        &["delete", "oauthgrants", "--all"],
        &["create", "token", "portcullis-server-agents"],
    ] {
        let (done, said) = ask(north, args);
        assert!(!done && said.contains("orbidden"), "{args:?}: {said}");
    }
    for args in [["get", "secrets"], ["get", "pods"]] {
        assert!(!ask(south, &args).0, "{args:?}, not even at home");
    }
}

async fn at_home(endpoint: &Endpoint, given: &Given) {
    let (status, answer) = endpoint.call(&given.tokens.access, "whoami", &json!({})).await;
    assert!(status == 200 && answer.to_string().contains("local:ann"), "{status} {answer}");
    for fields in [&refresh(&given.tokens.refresh)[..], &redeem(&given.code), &credentials(ROBOT, &given.secret)] {
        let (status, answer) = endpoint.token(fields).await;
        assert_eq!(status, 200, "{answer}");
    }
    let run = json!({"workspace": given.workspace, "command": "echo here"});
    let (_, answer) = endpoint.call(&given.tokens.access, "run_command", &run).await;
    assert_eq!(answer["result"]["structuredContent"]["stdout"], "here\n", "{answer}");
    let page = endpoint.http.request(Method::GET, format!("{}/agents", endpoint.origin()));
    assert_eq!(page.header("Cookie", &given.cookie).send().await.unwrap().status(), 200);
}

fn template() -> Value {
    json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": "shell"},
        "spec": {"displayName": "A shell", "pod": {"image": "local/workspace:1"}, "storage": {"size": "16Mi"}},
    })
}
