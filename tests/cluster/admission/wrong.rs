//! Manifests that admission refuses, each wrong in one thing.

use super::{Kind, edge, login, users, workspaces};
use serde_json::{Value, json};

/// A manifest that is wrong in one thing.
pub struct Wrong {
    pub what: &'static str,
    pub kind: Kind,
    /// A merge patch (RFC 7396) over the kind's plainest manifest.
    pub patch: Value,
    /// Whether the plainest manifest is there already, and this one changes it.
    pub update: bool,
    pub field: &'static str,
    /// What the API server says of the field.
    pub server: &'static str,
    /// What `portcullis dev` says of it.
    pub client: &'static str,
}

/// An endpoint whose `spec` is wrong by a rule, which both sides word alike.
pub(super) fn endpoint(what: &'static str, spec: Value, field: &'static str, says: &'static str) -> Wrong {
    limit(Kind::Endpoint, what, spec, field, says, says)
}

/// A client whose `spec` is wrong by a rule.
pub(super) fn client(what: &'static str, spec: Value, field: &'static str, says: &'static str) -> Wrong {
    limit(Kind::Client, what, spec, field, says, says)
}

/// A manifest that is wrong by its schema, which the two sides word differently.
pub(super) fn limit(
    kind: Kind,
    what: &'static str,
    spec: Value,
    field: &'static str,
    server: &'static str,
    client: &'static str,
) -> Wrong {
    let patch = Value::Object([("spec".to_owned(), spec)].into_iter().collect());
    Wrong { what, kind, patch, update: false, field, server, client }
}

/// A manifest that changes what cannot be changed.
pub(super) fn change(what: &'static str, kind: Kind, spec: Value, field: &'static str, says: &'static str) -> Wrong {
    Wrong { update: true, ..limit(kind, what, spec, field, says, says) }
}

/// A manifest whose name is wrong.
pub(super) fn name(what: &'static str, kind: Kind, name: &str, says: &'static str, client: &'static str) -> Wrong {
    let patch = json!({"metadata": {"name": name}});
    Wrong { what, kind, patch, update: false, field: "metadata.name", server: says, client }
}

fn url(what: &'static str, url: &str, says: &'static str) -> Wrong {
    endpoint(what, json!({"url": url}), "spec.url", says)
}

fn redirect(what: &'static str, uri: &str, says: &'static str) -> Wrong {
    client(what, json!({"redirectUris": [uri]}), "spec.redirectUris", says)
}

fn origin(what: &'static str, origin: &str) -> Wrong {
    let says = "each must be scheme and host in lower case, without path or slash, such as https://claude.ai";
    endpoint(what, json!({"cors": {"allowedOrigins": [origin]}}), "spec.cors.allowedOrigins", says)
}

fn allowed_host(what: &'static str, host: &str) -> Wrong {
    let says =
        "each must be the full name of a host in lower case, such as claude.ai; no address, port, wildcard or path";
    let spec = json!({"clients": {"metadataDocuments": {"allowedHosts": [host]}}});
    endpoint(what, spec, "spec.clients.metadataDocuments.allowedHosts", says)
}

/// A client whose only key has these members besides.
fn key(what: &'static str, key: &Value, field: &'static str, says: &'static str) -> Wrong {
    client(what, json!({"privateKeyJwt": {"jwks": {"keys": [key]}}}), field, says)
}

fn keys_at(what: &'static str, uri: &str) -> Wrong {
    let says = "must be an https:// URL of a host by its full name, without port, fragment or user information";
    client(what, json!({"privateKeyJwt": {"jwksUri": uri}}), "spec.privateKeyJwt.jwksUri", says)
}

/// A rule of workload identity; `change` is merged over it.
fn rule(change: &Value) -> Value {
    let mut rule = json!({"name": "ci", "namespaces": ["ci"], "serviceAccounts": ["runner"], "scopes": ["files:read"]});
    super::merge(&mut rule, change);
    rule
}

fn login() -> Value {
    json!({"name": "local", "passwords": {"secretRef": {"name": "users"}}})
}

fn many_annotations() -> Value {
    (0..65).map(|number| (format!("example.com/{number}"), json!("yes"))).collect()
}

pub fn wrong_manifests() -> Vec<Wrong> {
    let mut rows = wrong_endpoints();
    rows.extend(edge::wrong_endpoints());
    rows.extend(login::wrong_logins());
    rows.extend(login::wrong_policies());
    rows.extend(login::wrong_administrators());
    rows.extend(wrong_clients());
    rows.extend(users::wrong_users());
    rows.extend(workspaces::wrong_templates());
    rows.extend(workspaces::wrong_workspaces());
    rows
}

#[rustfmt::skip]
fn wrong_endpoints() -> Vec<Wrong> {
    use Kind::Endpoint;
    let https = "must begin with https:// (plain http is for localhost, 127.0.0.1 and [::1] only)";
    let plain = "must have no query, fragment or user information; write scheme, host and path only";
    let path = "must have a path of plain segments, not . or .., and no slash at its end, such as https://mcp.example.com/mcp";
    let reserved = "the authorization server answers there";
    let host = "the host must be a name in lower case, international ones in their xn-- form, or an address";
    let duration = "in whole hours, minutes or seconds, such as 90s, 15m or 1h30m";
    let bytes = "must be a positive number of bytes with Ki, Mi or Gi, such as 512Ki or 4Mi";
    vec![
        url("http that is not loopback", "http://mcp.example.com/mcp", https),
        url("http that begins like loopback", "http://localhost.example.com/mcp", https),
        url("another scheme", "ftp://mcp.example.com/mcp", https),
        url("a query", "https://mcp.example.com/mcp?tenant=a", plain),
        url("a fragment", "https://mcp.example.com/mcp#top", plain),
        url("user information", "https://user@mcp.example.com/mcp", plain),
        url("no path", "https://mcp.example.com", path),
        url("a path of one slash", "https://mcp.example.com/", path),
        url("a slash at the end", "https://mcp.example.com/mcp/", path),
        url("an empty segment", "https://mcp.example.com//mcp", path),
        url("a dot segment", "https://mcp.example.com/../mcp", path),
        url("the token endpoint's path", "https://mcp.example.com/token", reserved),
        url("a path of discovery", "https://mcp.example.com/.well-known/mcp", reserved),
        url("a host in upper case", "https://MCP.example.com/mcp", host),
        url("no URL", "mcp.example.com/mcp", "must be an absolute URL such as https://mcp.example.com/mcp"),
        url("no host", "https:///mcp", "must be an absolute URL such as https://mcp.example.com/mcp"),
        url("a port that is none", "https://mcp.example.com:99999/mcp", "the port must be a number from 1 to 65535"),
        limit(Endpoint, "no URL at all", json!({"url": null}), "spec.url", "Required value", "is required"),
        limit(Endpoint, "a URL that is none but a number", json!({"url": 5}), "spec.url", "must be of type string", "must be of type string"),
        endpoint("two exposures at once", json!({"exposure": {"ingress": {}, "none": {}}}), "spec.exposure", "ingress, gateway and none exclude each other; keep one"),
        endpoint("the operator's own annotation", json!({"exposure": {"ingress": {"annotations": {"nginx.ingress.kubernetes.io/cors-allow-origin": "*"}}}}), "spec.exposure.ingress.annotations", "are written by the operator; use spec.cors instead"),
        limit(Endpoint, "too many annotations", json!({"exposure": {"ingress": {"annotations": many_annotations()}}}), "spec.exposure.ingress.annotations", "must have at most 64 items", "must have at most 64 entries"),
        limit(Endpoint, "an empty class", json!({"exposure": {"ingress": {"className": ""}}}), "spec.exposure.ingress.className", "should be at least 1 chars long", "must have at least 1 characters"),
        endpoint("TLS without a Secret", json!({"exposure": {"ingress": {"tls": {}}}}), "spec.exposure.ingress.tls", "needs secretName, issuerRef, or both"),
        limit(Endpoint, "a negative limit", json!({"limits": {"burst": -5}}), "spec.limits.burst", "greater than or equal to 1", "must be at least 1"),
        limit(Endpoint, "a limit of zero", json!({"limits": {"requestsPerSecond": 0}}), "spec.limits.requestsPerSecond", "greater than or equal to 1", "must be at least 1"),
        limit(Endpoint, "a limit beyond reason", json!({"limits": {"maxConcurrentRequests": 1_000_000}}), "spec.limits.maxConcurrentRequests", "less than or equal to 100000", "must be at most 100000"),
        limit(Endpoint, "half a request", json!({"limits": {"burst": 1.5}}), "spec.limits.burst", "must be of type integer", "must be of type integer"),
        endpoint("a timeout that is too long", json!({"limits": {"requestTimeout": "2h"}}), "spec.limits.requestTimeout", "must be a duration from 1s to 1h"),
        endpoint("no duration", json!({"limits": {"requestTimeout": "2 minutes"}}), "spec.limits.requestTimeout", duration),
        endpoint("an empty duration", json!({"limits": {"requestTimeout": ""}}), "spec.limits.requestTimeout", duration),
        endpoint("a duration in parts", json!({"limits": {"requestTimeout": "1.5m"}}), "spec.limits.requestTimeout", duration),
        endpoint("a size in decimal units", json!({"limits": {"maxBodySize": "5MB"}}), "spec.limits.maxBodySize", bytes),
        endpoint("a size of nothing", json!({"limits": {"maxBodySize": "0"}}), "spec.limits.maxBodySize", bytes),
        endpoint("tokens that live too long", json!({"tokens": {"accessLifetime": "2h"}}), "spec.tokens.accessLifetime", "must be a duration from 1m to 1h"),
        endpoint("tokens that live too short", json!({"tokens": {"accessLifetime": "10s"}}), "spec.tokens.accessLifetime", "must be a duration from 1m to 1h"),
        endpoint("keys that are replaced too often", json!({"tokens": {"keyRotation": "1h"}}), "spec.tokens.keyRotation", "must be a duration from 24h to 87600h"),
        endpoint("a consent that lasts for ever", json!({"tokens": {"refreshLifetime": "20000h"}}), "spec.tokens.refreshLifetime", "must be a duration from 1h to 8760h"),
        endpoint("an idle time that is too short", json!({"tokens": {"refreshIdle": "5m"}}), "spec.tokens.refreshIdle", "must be a duration from 1h to 8760h"),
        endpoint("idle for longer than the consent lasts", json!({"tokens": {"refreshLifetime": "24h", "refreshIdle": "48h"}}), "spec.tokens.refreshIdle", "must not be longer than refreshLifetime"),
        endpoint("an issuer elsewhere, and logins", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com"}, "login": [login()]}), "spec.externalIssuer", "the built-in one is off; remove login, clients and workloadIdentity, or externalIssuer"),
        endpoint("an issuer elsewhere, and workloads", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com"}, "workloadIdentity": {"rules": [rule(&json!({}))]}}), "spec.externalIssuer", "the built-in one is off"),
        endpoint("an issuer elsewhere, and registration", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com"}, "clients": {"dynamicRegistration": {}}}), "spec.externalIssuer", "the built-in one is off"),
        endpoint("an issuer in the clear", json!({"externalIssuer": {"issuerUrl": "http://idp.example.com"}}), "spec.externalIssuer.issuerUrl", "must be an https:// URL without query, fragment or user information"),
        endpoint("an issuer with a query", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com?tenant=a"}}), "spec.externalIssuer.issuerUrl", "must be an https:// URL without query, fragment or user information"),
        endpoint("certificates that are none", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com", "caBundle": "x"}}), "spec.externalIssuer.caBundle", "must be certificates in PEM, and no private key"),
        limit(Endpoint, "no rules for workloads", json!({"workloadIdentity": {"rules": []}}), "spec.workloadIdentity.rules", "should have at least 1 items", "must have at least 1 entries"),
        endpoint("a rule for every namespace", json!({"workloadIdentity": {"rules": [rule(&json!({"namespaces": ["*"]}))]}}), "spec.workloadIdentity.rules[0].namespaces", "each must be the name of a namespace; there are no wildcards"),
        endpoint("a rule for a pattern of accounts", json!({"workloadIdentity": {"rules": [rule(&json!({"serviceAccounts": ["ci-*"]}))]}}), "spec.workloadIdentity.rules[0].serviceAccounts", "each must be the name of a service account, or * for all"),
        limit(Endpoint, "a rule that allows nothing", json!({"workloadIdentity": {"rules": [rule(&json!({"scopes": []}))]}}), "spec.workloadIdentity.rules[0].scopes", "should have at least 1 items", "must have at least 1 entries"),
        limit(Endpoint, "a rule twice", json!({"workloadIdentity": {"rules": [rule(&json!({})), rule(&json!({}))]}}), "spec.workloadIdentity.rules", "Duplicate value", r#"must have each name once; "ci" is repeated"#),
        limit(Endpoint, "two logins of one name", json!({"login": [login(), login()]}), "spec.login", "Duplicate value", r#"must have each name once; "local" is repeated"#),
        endpoint("a network that is none", json!({"network": {"allowedCidrs": ["160.79.104.0/40"]}}), "spec.network.allowedCidrs", "each must be a network such as 160.79.104.0/21"),
        endpoint("a single address", json!({"network": {"trustedProxies": ["10.0.0.1"]}}), "spec.network.trustedProxies", "a single address is written with /32 or /128"),
        origin("any origin", "*"),
        origin("an origin with a path", "https://claude.ai/"),
        origin("an origin without a scheme", "claude.ai"),
        origin("a plain http origin", "http://claude.ai"),
        origin("a wildcard inside", "https://app.*.example.com"),
        limit(Endpoint, "an origin twice", json!({"cors": {"allowedOrigins": ["https://claude.ai", "https://claude.ai"]}}), "spec.cors.allowedOrigins", "Duplicate value", "must have each entry once"),
        endpoint("a preflight that is remembered too long", json!({"cors": {"maxAge": "48h"}}), "spec.cors.maxAge", "must be a duration from 0s to 24h"),
        limit(Endpoint, "an unknown enforcer", json!({"cors": {"enforcedBy": "Nginx"}}), "spec.cors.enforcedBy", r#"supported values: "Auto", "Server", "Gateway""#, r#"must be one of "Auto", "Server", "Gateway""#),
        endpoint("a tool that cannot be", json!({"tools": {"allow": ["Run Command"]}}), "spec.tools.allow", "tool names are made of a-z, 0-9, _ and the wildcard *"),
        endpoint("a tool that cannot be, to leave out", json!({"tools": {"deny": ["delete-workspace"]}}), "spec.tools.deny", "tool names are made of a-z, 0-9, _ and the wildcard *"),
        endpoint("a tool that there is not, to leave out", json!({"tools": {"deny": ["fetch", "run_comand"]}}), "spec.tools.deny", "each must be the name of a tool, or have the wildcard *; the tools are whoami, list_templates, "),
        endpoint("a tool that there is not", json!({"tools": {"allow": ["whoamI", "read_fil"]}}), "spec.tools.allow", "tool names are made of a-z, 0-9, _ and the wildcard *"),
        limit(Endpoint, "no tools", json!({"tools": {"allow": []}}), "spec.tools.allow", "should have at least 1 items", "must have at least 1 entries"),
        endpoint("replicas and a scaler", json!({"deployment": {"replicas": 2, "autoscaling": {"min": 1, "max": 3}}}), "spec.deployment", "replicas and autoscaling exclude each other; remove autoscaling to set a number, as kubectl scale does, or change its min and max"),
        endpoint("fewest above most", json!({"deployment": {"autoscaling": {"min": 4, "max": 3}}}), "spec.deployment.autoscaling", "min must not be above max"),
        allowed_host("a host in capitals", "Claude.ai"),
        allowed_host("a host with a port", "claude.ai:443"),
        allowed_host("any host below another", "*.claude.ai"),
        allowed_host("an address", "127.0.0.1"),
        allowed_host("a URL", "https://claude.ai"),
        allowed_host("a host that is not whole", "localhost"),
        limit(Endpoint, "documents from nowhere", json!({"clients": {"metadataDocuments": {"allowedHosts": []}}}), "spec.clients.metadataDocuments.allowedHosts", "should have at least 1 items", "must have at least 1 entries"),
        limit(Endpoint, "documents for nothing", json!({"clients": {"metadataDocuments": {"allowedHosts": ["claude.ai"], "scopes": []}}}), "spec.clients.metadataDocuments.scopes", "should have at least 1 items", "must have at least 1 entries"),
        endpoint("registrations that end too soon", json!({"clients": {"dynamicRegistration": {"lifetime": "59m"}}}), "spec.clients.dynamicRegistration.lifetime", "must be a duration from 1h to 8760h"),
        limit(Endpoint, "registrations of nobody", json!({"clients": {"dynamicRegistration": {"maxClients": 0}}}), "spec.clients.dynamicRegistration.maxClients", "greater than or equal to 1", "must be at least 1"),
        limit(Endpoint, "negative replicas", json!({"deployment": {"replicas": -1}}), "spec.deployment.replicas", "greater than or equal to 0", "must be at least 0"),
        limit(Endpoint, "no memory that is", json!({"deployment": {"resources": {"limits": {"memory": "lots"}}}}), "spec.deployment.resources.limits.memory", "should match", "must match"),
        endpoint("a share beyond all", json!({"deployment": {"disruptionBudget": {"minAvailable": "150%"}}}), "spec.deployment.disruptionBudget.minAvailable", "must be a number from 0 or a share such as 50%"),
        endpoint("fewer than none", json!({"deployment": {"disruptionBudget": {"minAvailable": -1}}}), "spec.deployment.disruptionBudget.minAvailable", "must be a number from 0 or a share such as 50%"),
        limit(Endpoint, "an unknown field", json!({"limit": {"burst": 5}}), "spec.limit", "unknown field", "unknown field; the known fields are: authorization, clients, console, cors, deployment, exposure, externalIssuer, limits, login"),
        limit(Endpoint, "an unknown field deep inside", json!({"exposure": {"none": {"really": true}}}), "spec.exposure.none.really", "unknown field", "unknown field"),
        name("a name that is too long", Endpoint, &"a".repeat(41), "at most 40", "at most 40"),
        name("a name that no Service can have", Endpoint, "mcp.agents", "beginning with a letter", "beginning with a letter"),
        name("a name that no object can have", Endpoint, "MCP", "RFC 1123", "must be made of a-z, 0-9, - and ."),
    ]
}

#[rustfmt::skip]
fn wrong_clients() -> Vec<Wrong> {
    use Kind::Client;
    let absolute = "each must be an absolute URI without user information, such as https://agent.example.com/callback";
    let clean = "must have no white space, backslash or .. segment";
    let wildcard = "must have no wildcard; list each URI in full";
    let scopes = r#""workspaces:read", "workspaces:write", "workspaces:exec", "files:read", "files:write", "templates:read""#;
    let secret = |rotation: Value| json!({"secret": {"rotation": rotation}});
    vec![
        redirect("a wildcard", "https://*.example.com/callback", wildcard),
        redirect("a wildcard path", "https://agent.example.com/*", wildcard),
        redirect("a fragment", "https://agent.example.com/callback#done", "must have no fragment (RFC 6749); remove everything from #"),
        redirect("a script", "javascript://agent.example.com/%0aalert(1)", "cannot be redirect URIs; use https or the app's own scheme"),
        redirect("a script that is no URI", "javascript:alert(1)", absolute),
        redirect("plain http", "http://agent.example.com/callback", "plain http is for localhost, 127.0.0.1 and [::1] only; use https"),
        redirect("http that begins like loopback", "http://127.0.0.1.example.com/callback", "plain http is for localhost, 127.0.0.1 and [::1] only; use https"),
        redirect("user information", "https://user@agent.example.com/callback", absolute),
        redirect("a relative one", "/callback", absolute),
        redirect("no host", "https:///callback", absolute),
        redirect("a backslash", "https://agent.example.com\\@evil.example.com/", clean),
        redirect("a line break", "https://agent.example.com/\ncallback", clean),
        redirect("a step back", "https://agent.example.com/a/../callback", clean),
        limit(Client, "an empty one", json!({"redirectUris": [""]}), "spec.redirectUris[0]", "should be at least 1 chars long", "must have at least 1 characters"),
        limit(Client, "an unknown preset", json!({"preset": "claud"}), "spec.preset", r#"supported values: "claude", "chatgpt", "claude-code", "cursor", "vscode", "gemini-cli", "codex", "opencode", "zed", "goose", "mcp-inspector", "n8n", "custom""#, r#"must be one of "claude", "chatgpt", "claude-code", "cursor", "vscode", "gemini-cli", "codex", "opencode", "zed", "goose", "mcp-inspector", "n8n", "custom""#),
        limit(Client, "empty scopes", json!({"scopes": []}), "spec.scopes", "should have at least 1 items", "must have at least 1 entries"),
        limit(Client, "no scopes", json!({"scopes": null}), "spec.scopes", "Required value", "is required"),
        limit(Client, "an unknown scope", json!({"scopes": ["workspaces:delete"]}), "spec.scopes[0]", scopes, scopes),
        limit(Client, "a scope twice", json!({"scopes": ["files:read", "files:read"]}), "spec.scopes", "Duplicate value", "must have each entry once"),
        limit(Client, "an unknown grant", json!({"grants": ["password"]}), "spec.grants[0]", r#""authorization_code", "refresh_token", "client_credentials""#, r#""authorization_code", "refresh_token", "client_credentials""#),
        client("a renewal of nothing", json!({"grants": ["refresh_token"]}), "spec.grants", "refresh_token goes with authorization_code; add it or remove refresh_token"),
        client("an unattended client without a secret", json!({"type": "Public", "grants": ["client_credentials"]}), "spec.grants", "client_credentials needs a client that keeps a secret; set spec.type to Confidential"),
        client("an unattended client that its preset makes Public", json!({"preset": "cursor", "grants": ["client_credentials"]}), "spec.grants", "client_credentials needs a client that keeps a secret; set spec.type to Confidential"),
        client("a Public client with a secret", json!({"type": "Public", "secret": {}}), "spec.type", "a Public client has no secret and no key; remove secret, existingSecret and privateKeyJwt, or set spec.type to Confidential"),
        client("a client that its preset makes Public, with a secret", json!({"preset": "vscode", "existingSecret": {"name": "mine"}}), "spec.type", "a Public client has no secret and no key; remove secret, existingSecret and privateKeyJwt, or set spec.type to Confidential"),
        client("custom without a callback", json!({"preset": "custom"}), "spec.redirectUris", "a custom client that signs people in needs at least one; for an unattended agent set spec.grants to [client_credentials]"),
        client("two secrets", json!({"secret": {}, "existingSecret": {"name": "mine"}}), "spec", "secret, existingSecret and privateKeyJwt exclude each other; keep one"),
        client("a Secret that cannot be named so", json!({"secret": {"name": "Claude_Secret"}}), "spec.secret.name", "must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit"),
        client("an existing Secret that cannot be named so", json!({"existingSecret": {"name": "Claude_Secret"}}), "spec.existingSecret.name", "must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit"),
        client("an overlap as long as the interval", secret(json!({"interval": "24h", "overlap": "24h"})), "spec.secret.rotation.overlap", "must be shorter than interval, so that at most two secrets are valid at a time"),
        client("a rotation in days", secret(json!({"interval": "90d"})), "spec.secret.rotation.interval", "must be a duration from 1h to 87600h"),
        client("a rotation too often", secret(json!({"interval": "59m"})), "spec.secret.rotation.interval", "must be a duration from 1h to 87600h"),
        client("an overlap that is no duration", secret(json!({"interval": "24h", "overlap": "soon"})), "spec.secret.rotation.overlap", "in whole hours, minutes or seconds, such as 90s, 15m or 1h30m"),
        limit(Client, "a rotation without an interval", secret(json!({"overlap": "1h"})), "spec.secret.rotation.interval", "Required value", "is required"),
        limit(Client, "a type that is none", json!({"type": "Secret"}), "spec.type", r#"supported values: "Confidential", "Public""#, r#"must be one of "Confidential", "Public""#),
        limit(Client, "an endpoint without a name", json!({"endpointRef": {"name": ""}}), "spec.endpointRef.name", "should be at least 1 chars long", "must have at least 1 characters"),
        limit(Client, "an unknown field", json!({"redirectURIs": ["https://agent.example.com/callback"]}), "spec.redirectURIs", "unknown field", "unknown field; the known fields are: displayName, endpointRef, existingSecret, grants, preset, privateKeyJwt, redirectUris"),
        client("keys twice", json!({"privateKeyJwt": {"jwks": {"keys": [{"kty": "RSA", "n": "n", "e": "e"}]}, "jwksUri": "https://agent.example.com/jwks"}}), "spec.privateKeyJwt", "must have exactly one of jwks and jwksUri"),
        client("keys nowhere", json!({"privateKeyJwt": {}}), "spec.privateKeyJwt", "must have exactly one of jwks and jwksUri"),
        limit(Client, "an empty key set", json!({"privateKeyJwt": {"jwks": {"keys": []}}}), "spec.privateKeyJwt.jwks.keys", "should have at least 1 items", "must have at least 1 entries"),
        key("a private key", &json!({"kty": "EC", "crv": "P-256", "x": "x", "y": "y", "d": "d"}), "spec.privateKeyJwt.jwks.keys[0].d", "unknown field"),
        key("a private RSA key", &json!({"kty": "RSA", "n": "n", "e": "e", "p": "p"}), "spec.privateKeyJwt.jwks.keys[0].p", "unknown field"),
        key("a symmetric key", &json!({"kty": "oct"}), "spec.privateKeyJwt.jwks.keys[0].kty", "must be EC, OKP or RSA"),
        key("half a point", &json!({"kty": "EC", "crv": "P-256", "x": "x"}), "spec.privateKeyJwt.jwks.keys[0]", "an EC key must have x, y and crv, P-256 or P-384"),
        key("a curve that is not taken", &json!({"kty": "EC", "crv": "P-521", "x": "x", "y": "y"}), "spec.privateKeyJwt.jwks.keys[0]", "an EC key must have x, y and crv, P-256 or P-384"),
        key("a key that is not for signing", &json!({"kty": "OKP", "crv": "X25519", "x": "x"}), "spec.privateKeyJwt.jwks.keys[0]", "an OKP key must have x and crv, Ed25519"),
        key("a modulus alone", &json!({"kty": "RSA", "n": "n"}), "spec.privateKeyJwt.jwks.keys[0]", "an RSA key must have n and e"),
        keys_at("keys over plain http", "http://agent.example.com/jwks"),
        keys_at("keys at another port", "https://agent.example.com:8443/jwks"),
        keys_at("keys at an address", "https://10.0.0.1/jwks"),
        keys_at("keys at a host of the cluster's", "https://kubernetes/jwks"),
        keys_at("keys with user information", "https://user@agent.example.com/jwks"),
        keys_at("keys with a fragment", "https://agent.example.com/jwks#1"),
        client("a secret and keys", json!({"secret": {}, "privateKeyJwt": {"jwksUri": "https://agent.example.com/jwks"}}), "spec", "secret, existingSecret and privateKeyJwt exclude each other; keep one"),
        client("a Public client with keys", json!({"type": "Public", "privateKeyJwt": {"jwksUri": "https://agent.example.com/jwks"}}), "spec.type", "a Public client has no secret and no key; remove secret, existingSecret and privateKeyJwt, or set spec.type to Confidential"),
        client("a Confidential client that registered itself", json!({"registration": {"expiresAt": "2027-01-01T00:00:00Z"}}), "spec.registration", "is for Public clients, which registered themselves; remove it"),
        limit(Client, "a name that says nothing", json!({"displayName": ""}), "spec.displayName", "should be at least 1 chars long", "must have at least 1 characters"),
        limit(Client, "a name that goes on", json!({"displayName": "a".repeat(65)}), "spec.displayName", "may not be more than 64", "must have at most 64 characters"),
        client("a name of two lines", json!({"displayName": "Claude\nverified"}), "spec.displayName", "must have no control characters"),
        change("another endpoint", Client, json!({"endpointRef": {"name": "others"}}), "spec.endpointRef", "cannot be changed; make a new OAuthClient for the other endpoint"),
        change("another type", Client, json!({"type": "Public"}), "spec.type", "cannot be changed, not by another preset either; make a new OAuthClient"),
        change("another type by another preset", Client, json!({"preset": "claude-code"}), "spec.type", "cannot be changed, not by another preset either; make a new OAuthClient"),
        name("a name that is too long", Client, &"a".repeat(53), "at most 52", "at most 52"),
    ]
}
