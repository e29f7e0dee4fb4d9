//! Manifests that admission takes, and their defaults.

use super::{Kind, edge, login, users, workspaces};
use serde_json::{Value, json};

/// A manifest that is right, and what its `spec` holds once the defaults are in.
pub struct Right {
    pub what: &'static str,
    pub kind: Kind,
    pub spec: Value,
    pub stored: Value,
}

pub fn right_manifests() -> Vec<Right> {
    let mut rows = plain_manifests();
    rows.extend(edge::right_manifests());
    rows.extend(login::right_manifests());
    rows.extend(users::right_users());
    rows.extend(workspaces::right_manifests());
    rows
}

#[rustfmt::skip]
fn plain_manifests() -> Vec<Right> {
    use Kind::{Client, Endpoint};
    let endpoint = |what, spec, stored| Right { what, kind: Endpoint, spec, stored };
    let client = |what, spec, stored| Right { what, kind: Client, spec, stored };
    let url = |what, url: &str| endpoint(what, json!({"url": url}), json!({"url": url}));
    vec![
        endpoint("the plainest endpoint", json!({}), json!({
            "tokens": {"accessLifetime": "15m", "refreshLifetime": "720h", "refreshIdle": "168h", "keyRotation": "2160h"},
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "enforcedBy": "Auto"},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20, "maxBodySize": "4Mi", "maxConnections": 1000},
            "network": {"allowedCidrs": [], "trustedProxies": [], "proxyProtocol": false, "networkPolicy": true},
            "exposure": {},
            "deployment": {},
        })),
        endpoint("defaults beside what is set", json!({"limits": {"burst": 50}}), json!({"limits": {"burst": 50, "requestsPerSecond": 10}})),
        endpoint("what is null is left out", json!({"tokens": {"accessLifetime": null}}), json!({"tokens": {"accessLifetime": "15m"}})),
        endpoint("an issuer elsewhere", json!({"externalIssuer": {"issuerUrl": "https://idp.example.com/realms/a"}}), json!({"externalIssuer": {"usernameClaim": "preferred_username"}})),
        endpoint("an issuer on this machine", json!({"externalIssuer": {"issuerUrl": "http://127.0.0.1:8080/a", "audience": "api://agents"}}), json!({})),
        endpoint("workloads", json!({"workloadIdentity": {"rules": [{"name": "ci", "namespaces": ["ci", "build"], "serviceAccounts": ["*"], "scopes": ["files:read"]}]}}), json!({})),
        url("plain http on localhost", "http://localhost:8080/mcp"),
        url("plain http on an IPv4 loopback address", "http://127.0.0.1:8080/mcp"),
        url("plain http on the IPv6 loopback address", "http://[::1]:8080/mcp"),
        url("an international name", "https://xn--mnchen-3ya.example.com:8443/teams/a_b/mcp"),
        endpoint("origins", json!({"cors": {"allowedOrigins": ["https://claude.ai", "https://*.example.com:8443", "http://localhost:3000", "http://[::1]"], "maxAge": "24h"}}), json!({"cors": {"maxAge": "24h", "enforcedBy": "Auto"}})),
        endpoint("networks of both families", json!({"network": {"allowedCidrs": ["160.79.104.0/21", "2607:6bc0::/48"]}}), json!({"network": {"trustedProxies": []}})),
        endpoint("an Ingress", json!({"exposure": {"ingress": {"className": "traefik", "annotations": {"a.example.com/b": "c"}, "tls": {"secretName": "mcp-tls"}}}}), json!({"exposure": {"ingress": {"className": "traefik"}}})),
        endpoint("no Ingress", json!({"exposure": {"none": {}}}), json!({"exposure": {"none": {}}})),
        endpoint("a scaler", json!({"deployment": {"autoscaling": {"min": 2, "max": 5}}}), json!({"deployment": {"autoscaling": {"min": 2, "max": 5, "targetCpu": 70}}})),
        endpoint("a budget by number", json!({"deployment": {"replicas": 3, "disruptionBudget": {"minAvailable": 2}}}), json!({"deployment": {"disruptionBudget": {"minAvailable": 2}}})),
        endpoint("a budget by share, and resources", json!({"deployment": {"disruptionBudget": {"minAvailable": "50%"}, "resources": {"requests": {"cpu": "50m"}, "limits": {"memory": "256Mi"}}}}), json!({"deployment": {"disruptionBudget": {"minAvailable": "50%"}}})),
        endpoint("documents", json!({"clients": {"metadataDocuments": {"allowedHosts": ["claude.ai", "xn--mnchen-3ya.example.com"]}}}), json!({"clients": {"metadataDocuments": {"scopes": ["workspaces:read", "workspaces:write", "workspaces:exec", "files:read", "files:write", "templates:read"]}}})),
        endpoint("registration", json!({"clients": {"dynamicRegistration": {"scopes": ["files:read"]}}}), json!({"clients": {"dynamicRegistration": {"lifetime": "2160h", "maxClients": 100, "scopes": ["files:read"]}}})),
        client("keys", json!({"privateKeyJwt": {"jwks": {"keys": [{"kty": "EC", "crv": "P-384", "x": "x", "y": "y", "kid": "1", "use": "sig", "alg": "ES384"}, {"kty": "OKP", "crv": "Ed25519", "x": "x"}, {"kty": "RSA", "n": "n", "e": "AQAB"}]}}}), json!({})),
        client("keys elsewhere", json!({"privateKeyJwt": {"jwksUri": "https://agent.example.com/.well-known/jwks.json?v=1"}}), json!({})),
        client("a name for people", json!({"displayName": "Zoë's agent"}), json!({"displayName": "Zoë's agent"})),
        client("a client that registered itself", json!({"preset": "custom", "type": "Public", "redirectUris": ["http://localhost/callback"], "registration": {"expiresAt": "2027-01-01T00:00:00Z"}}), json!({"type": "Public"})),
        client("the plainest client", json!({}), json!({"preset": "claude", "redirectUris": []})),
        client("a client of no preset", json!({"preset": null, "redirectUris": ["https://agent.example.com/callback?tenant=a", "http://127.0.0.1/callback", "http://[::1]:8080/", "agent://callback", "com.example.agent:/callback"]}), json!({"preset": "custom"})),
        client("an unattended client", json!({"preset": "custom", "grants": ["client_credentials"]}), json!({"grants": ["client_credentials"]})),
        client("a rotation", json!({"secret": {"rotation": {"interval": "2160h"}}}), json!({"secret": {"rotation": {"interval": "2160h", "overlap": "30m"}}})),
        client("a secret of somebody else's", json!({"existingSecret": {"name": "mine"}}), json!({"existingSecret": {"name": "mine", "key": "client-secret"}})),
        client("a Public client", json!({"preset": "cursor", "type": "Public"}), json!({"type": "Public"})),
        client("a preset with a secret of its own", json!({"preset": "cursor", "type": "Confidential", "secret": {}}), json!({"type": "Confidential"})),
    ]
}
