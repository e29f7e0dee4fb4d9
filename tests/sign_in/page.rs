//! A page of another origin that is an agent by itself, as browser-based MCP clients are: it finds its way from the
//! challenge to the documents, registers, has a person sign in and allow it, and calls tools. In a real browser, which
//! holds the page to the Fetch standard.

use crate::{
    browser::Browser,
    stage::{Manifests, PASSWORD, USER},
};
use axum::{Router, response::Html, routing::get};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// What the page does before its person is sent to sign in: gives the URL for that.
const BEGIN: &str = r#"(async (endpoint) => {
    const json = async (response) => { if (!response.ok) throw new Error(await response.text()); return response.json(); };
    const version = { 'MCP-Protocol-Version': '2025-11-25' };
    const ping = { method: 'POST', headers: { ...version, 'Content-Type': 'application/json' },
        body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'ping' }) };
    const refused = await fetch(endpoint, ping);
    if (refused.status !== 401) throw new Error(`status ${refused.status}`);
    const metadata = /resource_metadata="([^"]+)"/.exec(refused.headers.get('WWW-Authenticate'))[1];
    const resource = await json(await fetch(metadata, { headers: version }));
    const issuer = resource.authorization_servers[0];
    const openid = await fetch(new URL('/.well-known/openid-configuration', issuer), { headers: version });
    const server = await json(await fetch(new URL('/.well-known/oauth-authorization-server', issuer), { headers: version }));
    const callback = new URL('/callback', location.href).href;
    const client = await json(await fetch(server.registration_endpoint, { method: 'POST',
        headers: { ...version, 'Content-Type': 'application/json' },
        body: JSON.stringify({ client_name: 'A page', redirect_uris: [callback], token_endpoint_auth_method: 'none',
            grant_types: ['authorization_code', 'refresh_token', 'client_credentials'], response_types: ['code'] }) }));
    const encode = (bytes) => btoa(String.fromCharCode(...bytes)).replace(/\+/g, '-').replace(/\//g, '_').replace(/=/g, '');
    const verifier = encode(crypto.getRandomValues(new Uint8Array(32)));
    const digest = await crypto.subtle.digest('SHA-256', new TextEncoder().encode(verifier));
    const authorize = new URL(server.authorization_endpoint);
    const query = { response_type: 'code', client_id: client.client_id, redirect_uri: callback, state: 'a state',
        code_challenge: encode(new Uint8Array(digest)), code_challenge_method: 'S256', resource: resource.resource };
    for (const [name, value] of Object.entries(query)) authorize.searchParams.set(name, value);
    sessionStorage.memory = JSON.stringify({ server, client, callback, verifier, resource: resource.resource });
    return { authorize: authorize.href, openid: openid.status, grants: client.grant_types };
})"#;

/// What it does when the person is back.
const END: &str = r"(async (endpoint) => {
    const json = async (response) => { if (!response.ok) throw new Error(await response.text()); return response.json(); };
    const { server, client, callback, verifier, resource } = JSON.parse(sessionStorage.memory);
    const answer = new URL(location.href).searchParams;
    if (answer.get('state') !== 'a state' || answer.get('iss') !== server.issuer) throw new Error(location.href);
    const version = { 'MCP-Protocol-Version': '2025-11-25' };
    const post = (url, form) => fetch(url, { method: 'POST', headers: version, body: new URLSearchParams(form) });
    const first = await json(await post(server.token_endpoint, { grant_type: 'authorization_code', resource,
        client_id: client.client_id, redirect_uri: callback, code: answer.get('code'), code_verifier: verifier }));
    const tokens = await json(await post(server.token_endpoint, { grant_type: 'refresh_token',
        client_id: client.client_id, refresh_token: first.refresh_token }));
    const call = async (method, params, headers) => json(await fetch(endpoint, { method: 'POST', headers: {
        'Content-Type': 'application/json', Accept: 'application/json, text/event-stream',
        Authorization: `Bearer ${tokens.access_token}`, ...headers }, body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }) }));
    const clientInfo = { name: 'page', version: '1' };
    const begun = await call('initialize', { protocolVersion: '2025-11-25', capabilities: {}, clientInfo }, {});
    const tools = await call('tools/list', {}, version);
    const old = await call('tools/call', { name: 'whoami', arguments: {} }, version);
    const _meta = { 'io.modelcontextprotocol/protocolVersion': '2026-07-28', 'io.modelcontextprotocol/clientInfo': clientInfo,
        'io.modelcontextprotocol/clientCapabilities': {} };
    const current = await call('tools/call', { name: 'whoami', arguments: {}, _meta },
        { 'MCP-Protocol-Version': '2026-07-28', 'Mcp-Method': 'tools/call', 'Mcp-Name': 'whoami' });
    const rest = await json(await fetch(`${endpoint}/whoami`, { headers: { Authorization: `Bearer ${tokens.access_token}` } }));
    const api = await json(await fetch(`${endpoint}/openapi.json`, { headers: { Authorization: `Bearer ${tokens.access_token}` } }));
    const basic = await fetch(server.introspection_endpoint, { method: 'POST',
        headers: { Authorization: `Basic ${btoa(`${client.client_id}:x`)}` }, body: new URLSearchParams({ token: tokens.access_token }) });
    const keys = await json(await fetch(server.jwks_uri, { headers: version }));
    const revoked = await post(server.revocation_endpoint, { client_id: client.client_id, token: tokens.refresh_token });
    return { revision: begun.result.protocolVersion, tools: tools.result.tools.length, api: api.openapi, keys: keys.keys.length,
        users: [old, current].map((answer) => answer.result.structuredContent.user).concat(rest.user),
        basic: basic.status, revoked: revoked.status };
})";

/// A page, and its origin.
async fn page() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    // Another host than the server's, so that it is another site to the browser too.
    let origin = format!("http://localhost:{}", listener.local_addr().unwrap().port());
    let show = get(|| async { Html("<!doctype html><title>An agent</title><link rel=icon href=data:,>An agent") });
    let router = Router::new().route("/", show.clone()).route("/callback", show);
    tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
    origin
}

fn with(script: &str, endpoint: &str) -> String {
    format!("{script}({})", json!(endpoint))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_registers_and_calls_tools() {
    let (origin, foreign) = (page().await, page().await);
    let mut manifests = Manifests::new().open();
    manifests.endpoint["cors"] = json!({"allowedOrigins": [origin]});
    let stage = manifests.start().await;
    let mut person = Browser::start().await;

    person.open(&origin).await;
    let begun = person.evaluate(&with(BEGIN, &stage.url)).await;
    assert_eq!(begun["openid"], 404, "it can tell that there is no such document");
    assert_eq!(begun["grants"], json!(["authorization_code", "refresh_token"]));
    let back = person.authorize(begun["authorize"].as_str().unwrap(), USER, PASSWORD).await;
    assert!(back.url.starts_with(&format!("{origin}/callback?")), "{}", back.url);
    let ended = person.evaluate(&with(END, &stage.url)).await;
    assert_eq!(ended["users"], json!([USER, USER, USER]), "{ended}");
    assert!(ended["tools"].as_u64().unwrap() > 1 && ended["keys"].as_u64().unwrap() > 0, "{ended}");
    assert_eq!((&ended["revision"], &ended["revoked"]), (&json!("2025-11-25"), &json!(200)));
    assert_eq!((&ended["basic"], &ended["api"]), (&json!(401), &json!("3.1.0")), "a refusal can be read");

    // A page of an origin that is not listed learns nothing.
    person.open(&foreign).await;
    let tried = format!("{}.then(() => 'let in', (error) => error.name)", with(BEGIN, &stage.url));
    assert_eq!(person.evaluate(&tried).await, Value::from("TypeError"));
}
