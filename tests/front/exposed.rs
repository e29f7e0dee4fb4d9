//! From manifests to a browser: by Ingress of either kind and by the Gateway API, a page of an allowed origin signs a person
//! in and calls the endpoint, one of any other origin cannot, and every CORS header comes once.

use crate::{
    app::Apps,
    browser::Browser,
    endpoint::{Endpoint, PASSWORD, PEOPLE, VERIFIER, authorize, call},
    front::Front,
    support::operator::eventually,
};
use portcullis_api::McpEndpoint;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tokio::time::Instant;

const APP: &str = "app.example.org";
const OTHER: &str = "other.example.org";
const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/people.yaml");

#[tokio::test(flavor = "multi_thread")]
async fn from_the_example_to_a_browser_by_an_ingress() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let namespace = front.node.create_namespace("example").await;
    let endpoint = Endpoint::at(front, namespace, "mcp.example.com".to_owned()).await;
    // What the example says to do.
    let users = format!("{}:{}", PEOPLE[0], bcrypt::hash(PASSWORD, 4).unwrap());
    endpoint.kubectl(&["create", "secret", "generic", "users", &format!("--from-literal=htpasswd={users}")]);
    endpoint.kubectl(&["label", "secret", "users", "portcullis.dev/endpoint=agents"]);
    let begun = Instant::now();
    endpoint.kubectl(&["apply", "-f", EXAMPLE]);
    endpoint.kubectl(&["wait", "--for=condition=Ready", "mcpendpoint/agents", "--timeout=90s"]);
    let ready = begun.elapsed().as_secs_f64();
    endpoint.kubectl(&["wait", "--for=condition=Verified", "mcpendpoint/agents", "--timeout=30s"]);
    println!("from kubectl apply to Ready {ready:.1} s, to Verified {:.1} s", begun.elapsed().as_secs_f64());
    let memory = eventually("the node measures the servers' memory", async || memory(&endpoint)).await;
    println!("a server at rest: {memory}");

    let certificate = front.authority.certify(&[&endpoint.host]).secret("certificate");
    endpoint.apply(&[certificate]);
    endpoint.patch(&json!({
        "cors": {"allowedOrigins": [format!("https://{APP}")]},
        "exposure": {"ingress": {"tls": {"secretName": "certificate"}}},
    }));
    answers_browsers(&endpoint, "Traefik").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_through_by_the_annotations_of_ingress_nginx() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let ingress = json!({"ingress": {"className": "nginx", "tls": {"secretName": "certificate"}}});
    answers_browsers(&exposed_by(front, &ingress).await, "IngressNginx").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_gets_through_by_the_gateway_api() {
    let Some(front) = Front::shared().await else { return };
    let _turn = front.turn().await;
    let namespace = front.node.create_namespace("gateway").await;
    let listener = json!({
        "name": "https", "protocol": "HTTPS", "port": front.traefik.address.port(),
        "tls": {"certificateRefs": [{"name": "certificate"}]}, "allowedRoutes": {"namespaces": {"from": "All"}},
    });
    let gateway = json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "Gateway", "metadata": {"name": "public"},
        "spec": {"gatewayClassName": "traefik", "listeners": [listener]},
    });
    let certificate = front.authority.certify(&["*.example.test"]).secret("certificate");
    for manifest in [certificate, gateway] {
        let done = front.node.kubectl_with_input(&["-n", &namespace, "apply", "-f", "-"], &manifest.to_string());
        assert!(done.status.success(), "{done:?}");
    }
    let gateway = json!({"gateway": {"parentRefs": [{"name": "public", "namespace": namespace}]}});
    // Traefik does not know the filter of the Gateway API.
    answers_browsers(&exposed_by(front, &gateway).await, "Server").await;
}

async fn exposed_by(front: &'static Front, exposure: &Value) -> Endpoint {
    let spec = json!({"cors": {"allowedOrigins": [format!("https://{APP}")]}, "exposure": exposure});
    Endpoint::set(front, "exposed", &spec).await
}

/// Memory of the first server that the kubelets have measured, for people.
fn memory(endpoint: &Endpoint) -> Option<String> {
    let nodes = ["node", "node2"].into_iter().find_map(|node| {
        let summary = endpoint.kubectl(&["get", "--raw", &format!("/api/v1/nodes/{node}/proxy/stats/summary")]);
        let summary: Value = serde_json::from_str(&summary).unwrap();
        let pods = summary["pods"].as_array()?.clone();
        let pod = pods.into_iter().find(|pod| pod["podRef"]["namespace"] == *endpoint.namespace)?;
        pod.pointer("/containers/0/memory").cloned()
    })?;
    let mebibytes = |field: &str| Some(nodes[field].as_f64().filter(|bytes| *bytes > 0.0)? / 1_048_576.0);
    let (working, resident) = (mebibytes("workingSetBytes")?, mebibytes("rssBytes")?);
    Some(format!("working set {working:.1} MiB, of which resident {resident:.1} MiB"))
}

/// `enforcer`: who speaks CORS, as the status says.
async fn answers_browsers(endpoint: &Endpoint, enforcer: &str) {
    let callback = format!("https://{APP}/callback");
    let app = json!({
        "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthClient", "metadata": {"name": "app"},
        "spec": {"endpointRef": {"name": "agents"}, "type": "Public", "redirectUris": [callback],
            "scopes": ["workspaces:read", "workspaces:write", "workspaces:exec", "files:read", "files:write", "templates:read"]},
    });
    endpoint.apply(&[app]);
    endpoint.reachable().await;
    eventually("CORS is in force", async || {
        let status = endpoint.api::<McpEndpoint>().get("agents").await.unwrap().status?;
        let answer = send(endpoint, Method::POST, APP).await;
        (status.cors_enforced_by.as_deref() == Some(enforcer) && answer.headers().contains_key(ALLOW_ORIGIN))
            .then_some(())
    })
    .await;
    endpoint.ready();
    every_header_comes_once(endpoint).await;
    a_page_signs_in_and_calls(endpoint, &callback).await;
}

const ALLOW_ORIGIN: &str = "access-control-allow-origin";

async fn send(endpoint: &Endpoint, method: Method, host: &str) -> Response {
    let request = endpoint.http.request(method.clone(), endpoint.url()).header("Origin", format!("https://{host}"));
    let request = if method == Method::OPTIONS {
        let asked = "authorization,content-type,mcp-protocol-version";
        request.header("Access-Control-Request-Method", "POST").header("Access-Control-Request-Headers", asked)
    } else {
        request.json(&json!({}))
    };
    request.send().await.unwrap()
}

async fn every_header_comes_once(endpoint: &Endpoint) {
    let rows = [
        (
            Method::OPTIONS,
            &[ALLOW_ORIGIN, "access-control-allow-methods", "access-control-allow-headers", "access-control-max-age"][..],
        ),
        (Method::POST, &[ALLOW_ORIGIN, "access-control-expose-headers"][..]),
    ];
    for (method, wanted) in rows {
        let answer = send(endpoint, method.clone(), APP).await;
        let (status, headers) = (answer.status().as_u16(), answer.headers());
        assert!(if method == Method::POST { status == 401 } else { status / 100 == 2 }, "{method}: {answer:?}");
        assert_eq!(headers[ALLOW_ORIGIN], format!("https://{APP}"), "{method}");
        for name in wanted {
            assert_eq!(headers.get_all(*name).iter().count(), 1, "{method} {name}: {headers:?}");
        }
        assert!(!headers.contains_key("access-control-allow-credentials"), "{method}: {headers:?}");

        let answer = send(endpoint, method.clone(), OTHER).await;
        assert!(!answer.headers().contains_key(ALLOW_ORIGIN), "{method}: {answer:?}");
        assert!(method == Method::OPTIONS || answer.status() == 403, "{method}: {answer:?}");
    }
    // What comes from no browser is not concerned.
    let answer = endpoint.http.post(endpoint.url()).json(&json!({})).send().await.unwrap();
    assert_eq!(answer.status(), 401);
}

async fn a_page_signs_in_and_calls(endpoint: &Endpoint, callback: &str) {
    let apps = Apps::start(&endpoint.front.authority, &[APP, OTHER]).await;
    let rules = [(&*endpoint.host, endpoint.front.traefik.address), (APP, apps.address), (OTHER, apps.address)];
    let rules = rules.map(|(host, address)| format!("MAP {host}:443 {address}")).join(",");
    let mut person = Browser::start_where(&rules).await;

    let challenge = fetch(&endpoint.url(), &json!({"method": "POST"}), "[r.status, r.headers.get('www-authenticate')]");
    person.open(&format!("https://{APP}/")).await;
    let said = person.evaluate(&challenge).await;
    assert_eq!(said[0], 401, "{said}");
    assert!(said[1].as_str().unwrap().contains(&format!("{}/.well-known/", endpoint.origin())), "{said}");

    let arrived =
        person.authorize(&format!("{}{}", endpoint.origin(), authorize("app", callback)), PEOPLE[0], PASSWORD).await;
    let arrived = url::Url::parse(&arrived.url).unwrap();
    let (_, code) = arrived.query_pairs().find(|(key, _)| key == "code").unwrap_or_else(|| panic!("{arrived}"));
    let fields = json!({
        "grant_type": "authorization_code", "client_id": "app", "code": code, "redirect_uri": callback, "code_verifier": VERIFIER,
    });
    let form = "application/x-www-form-urlencoded";
    let body = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs(fields.as_object().unwrap().iter().map(|(key, value)| (key, value.as_str().unwrap())))
        .finish();
    let redeem = json!({"method": "POST", "headers": {"Content-Type": form}, "body": body});
    let tokens = person.evaluate(&fetch(&format!("{}/token", endpoint.origin()), &redeem, "await r.json()")).await;
    let token = tokens["access_token"].as_str().unwrap_or_else(|| panic!("no token: {tokens}")).to_owned();

    let request = call(&endpoint.http, &endpoint.url(), &token, "whoami", &json!({})).build().unwrap();
    let body = String::from_utf8(request.body().unwrap().as_bytes().unwrap().to_vec()).unwrap();
    let headers = json!({
        "Authorization": format!("Bearer {token}"), "Content-Type": "application/json",
        "Accept": "application/json", "Mcp-Protocol-Version": "2025-11-25",
    });
    let whoami = fetch(
        &endpoint.url(),
        &json!({"method": "POST", "headers": headers, "body": body}),
        "[r.status, await r.json()]",
    );
    let said = person.evaluate(&whoami).await;
    assert_eq!(said[0], 200, "{said}");
    assert!(said[1].to_string().contains("local:ann"), "{said}");

    person.open(&format!("https://{OTHER}/")).await;
    let redeem = fetch(&format!("{}/token", endpoint.origin()), &redeem, "[r.status]");
    for expression in [challenge, whoami, redeem] {
        assert_eq!(person.evaluate(&expression).await, json!("TypeError"), "{expression}");
    }
}

/// A script that fetches, and gives what `then` makes of the answer `r`, or the name of the error.
fn fetch(url: &str, options: &Value, then: &str) -> String {
    format!("fetch({}, {options}).then(async (r) => {then}).catch((error) => error.name)", json!(url))
}
