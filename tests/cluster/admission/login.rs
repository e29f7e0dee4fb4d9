//! Manifests about who signs in and which clients come by themselves: wrong ones, and right ones.

use super::{
    Kind::{Client, Endpoint},
    right::Right,
    wrong::{Wrong, client, endpoint, limit},
};
use serde_json::{Value, json};

fn local(name: &str) -> Value {
    json!({"name": name, "passwords": {"secretRef": {"name": "users"}}})
}

/// A login of GitHub, with `change` merged into what is below `github`.
fn github(change: &Value) -> Value {
    let mut github = json!({"clientSecretRef": {"name": "github"}, "allowedOrganizations": ["acme"]});
    super::merge(&mut github, change);
    json!({"login": [{"name": "github", "github": github}]})
}

/// A login of a provider, with `change` merged into what is below `oidc`.
fn oidc(change: &Value) -> Value {
    let mut oidc = json!({"clientSecretRef": {"name": "sso"}, "issuerUrl": "https://idp.example.com"});
    super::merge(&mut oidc, change);
    json!({"login": [{"name": "sso", "oidc": oidc}]})
}

/// With a field more beside the first login's provider.
fn beside(mut spec: Value, field: &str, value: &str) -> Value {
    spec["login"][0][field] = json!(value);
    spec
}

fn workload(change: &Value) -> Value {
    let mut rule = json!({"name": "ci", "namespaces": ["ci"], "serviceAccounts": ["*"], "scopes": ["files:read"]});
    super::merge(&mut rule, change);
    json!({"workloadIdentity": {"rules": [rule]}})
}

fn documents(host: &str) -> Value {
    json!({"clients": {"metadataDocuments": {"allowedHosts": [host]}}})
}

#[rustfmt::skip]
pub fn wrong_logins() -> Vec<Wrong> {
    let one = "must have exactly one of passwords, github and oidc";
    let name = "must be made of a-z, 0-9 and -, beginning with a letter; client and workload are taken";
    let provider = "must be an https:// URL without query, fragment or user information (plain http is for localhost, 127.0.0.1 and [::1] only)";
    let pem = "must be certificates in PEM, and no private key";
    let named = |text: &str| json!({"login": [local(text)]});
    let mut both = github(&json!({}));
    both["login"][0]["passwords"] = local("a")["passwords"].clone();
    vec![
        endpoint("a login of no kind", json!({"login": [{"name": "local"}]}), "spec.login[0]", one),
        endpoint("a login of two kinds", both, "spec.login[0]", one),
        endpoint("a login with a space", named("my login"), "spec.login[0].name", name),
        endpoint("a login in upper case", named("GitHub"), "spec.login[0].name", name),
        endpoint("a login with a slash", named("a/b"), "spec.login[0].name", name),
        endpoint("a login that ends in a dash", named("sso-"), "spec.login[0].name", name),
        endpoint("a login named like clients", named("client"), "spec.login[0].name", name),
        endpoint("a login named like workloads", named("workload"), "spec.login[0].name", name),
        limit(Endpoint, "a login without a name", json!({"login": [{"passwords": {"secretRef": {"name": "users"}}}]}), "spec.login[0].name", "Required value", "is required"),
        limit(Endpoint, "two logins of one name", json!({"login": [local("a"), local("a")]}), "spec.login", "Duplicate value", "must have each name once"),
        limit(Endpoint, "nine logins", json!({"login": (0..9).map(|n| local(&format!("l{n}"))).collect::<Vec<_>>()}), "spec.login", "must have at most 8 items", "must have at most 8 entries"),
        limit(Endpoint, "users without a Secret", json!({"login": [{"name": "local", "passwords": {}}]}), "spec.login[0].passwords.secretRef", "Required value", "is required"),
        endpoint("users in a Secret that cannot be named so", json!({"login": [{"name": "local", "passwords": {"secretRef": {"name": "My Users"}}}]}), "spec.login[0].passwords.secretRef.name", "must be made of a-z, 0-9, - and ."),
        endpoint("a GitHub of everybody", github(&json!({"allowedOrganizations": []})), "spec.login[0].github", "allowedOrganizations or allowedTeams must name at least one, since anyone can have a GitHub account"),
        endpoint("an organization with a slash", github(&json!({"allowedOrganizations": ["acme/web"]})), "spec.login[0].github.allowedOrganizations", "each must be the name of an organization, as in its URL"),
        endpoint("a team without its organization", github(&json!({"allowedTeams": ["web-team"]})), "spec.login[0].github.allowedTeams", "each must be organization/team"),
        limit(Endpoint, "an organization twice", github(&json!({"allowedOrganizations": ["acme", "acme"]})), "spec.login[0].github.allowedOrganizations", "Duplicate value", "must have each entry once"),
        endpoint("a GitHub over plain http", github(&json!({"url": "http://github.example.com"})), "spec.login[0].github.url", provider),
        endpoint("an Enterprise Server's authority that is none", github(&json!({"caBundle": "none"})), "spec.login[0].github.caBundle", pem),
        limit(Endpoint, "a GitHub without its app", github(&json!({"clientSecretRef": null})), "spec.login[0].github.clientSecretRef", "Required value", "is required"),
        limit(Endpoint, "no provider", oidc(&json!({"issuerUrl": null})), "spec.login[0].oidc.issuerUrl", "Required value", "is required"),
        endpoint("a provider over plain http", oidc(&json!({"issuerUrl": "http://idp.example.com"})), "spec.login[0].oidc.issuerUrl", provider),
        endpoint("a provider that begins like loopback", oidc(&json!({"issuerUrl": "http://127.0.0.1.example.com"})), "spec.login[0].oidc.issuerUrl", provider),
        endpoint("a provider with a query", oidc(&json!({"issuerUrl": "https://idp.example.com?tenant=a"})), "spec.login[0].oidc.issuerUrl", provider),
        endpoint("a provider with a user", oidc(&json!({"issuerUrl": "https://user@idp.example.com"})), "spec.login[0].oidc.issuerUrl", provider),
        endpoint("two scopes in one", oidc(&json!({"scopes": ["profile email"]})), "spec.login[0].oidc.scopes", "each must be one word"),
        endpoint("a provider's authority that is none", oidc(&json!({"caBundle": "none"})), "spec.login[0].oidc.caBundle", pem),
        endpoint("a provider's authority with its key", oidc(&json!({"caBundle": "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----\n"})), "spec.login[0].oidc.caBundle", pem),
        endpoint("a provider that is asked each second", beside(oidc(&json!({})), "recheckAfter", "1s"), "spec.login[0].recheckAfter", "must be a duration from 1m to 720h"),
        endpoint("a provider that is never asked", beside(oidc(&json!({})), "recheckAfter", "721h"), "spec.login[0].recheckAfter", "must be a duration from 1m to 720h"),
        endpoint("grants that nobody looks after", beside(github(&json!({})), "maxGrantAge", "8761h"), "spec.login[0].maxGrantAge", "must be a duration from 1m to 8760h"),
        endpoint("local users who are checked again", beside(json!({"login": [local("a")]}), "recheckAfter", "1h"), "spec.login[0]", "recheckAfter and maxGrantAge are for github and oidc"),
        endpoint("local users who grow old", beside(json!({"login": [local("a")]}), "maxGrantAge", "1h"), "spec.login[0]", "recheckAfter and maxGrantAge are for github and oidc"),
        limit(Endpoint, "an offline access of another kind", oidc(&json!({"offlineAccess": "Always"})), "spec.login[0].oidc.offlineAccess", "supported values", "must be one of"),
        limit(Endpoint, "an unknown field of a provider", oidc(&json!({"issuer": "https://idp.example.com"})), "spec.login[0].oidc.issuer", "unknown field", "unknown field"),
    ]
}

/// An endpoint with a local login and these administrators.
fn administrators(administrators: &Value) -> Value {
    json!({"login": [local("local")], "console": {"administrators": administrators}})
}

#[rustfmt::skip]
pub fn wrong_administrators() -> Vec<Wrong> {
    let (users, groups) = ("spec.console.administrators.users", "spec.console.administrators.groups");
    let login = "each must begin with the name of a login of spec.login and a colon; correct the name, or add the login";
    let many: Vec<String> = (0..65).map(|n| format!("local:user-{n}")).collect();
    let mut without_login = administrators(&json!({"users": ["local:ada"]}));
    without_login["login"] = json!([]);
    vec![
        endpoint("an administrator without a login", administrators(&json!({"users": ["ada"]})), users, "each must be LOGIN:ID, the name of a login of the endpoint and the user's id there, such as local:ada"),
        endpoint("administrators without a login", administrators(&json!({"groups": ["platform"]})), groups, "each must be LOGIN:GROUP, the name of a login of the endpoint and a group there, such as sso:platform"),
        endpoint("an administrator of another login", administrators(&json!({"users": ["local:ada", "sso:7"]})), users, login),
        endpoint("administrators of another login", administrators(&json!({"groups": ["loc:ops"]})), groups, login),
        endpoint("an administrator of an endpoint without logins", without_login, users, login),
        limit(Endpoint, "too many administrators", administrators(&json!({"users": many})), users, "must have at most 64 items", "must have at most 64 entries"),
        limit(Endpoint, "an administrator twice", administrators(&json!({"users": ["local:ada", "local:ada"]})), users, "Duplicate value", "must have each entry once"),
        limit(Endpoint, "an administrator by name", administrators(&json!({"names": ["ada"]})), "spec.console.administrators.names", "unknown field", "unknown field"),
    ]
}

#[rustfmt::skip]
pub fn wrong_policies() -> Vec<Wrong> {
    let host = "each must be the full name of a host in lower case, such as claude.ai; no address, port, wildcard or path";
    let external = |more: &Value| {
        let mut spec = json!({"externalIssuer": {"issuerUrl": "https://login.example.com"}});
        super::merge(&mut spec, more);
        spec
    };
    let built_in = "with an authorization server elsewhere the built-in one is off; remove login, clients and workloadIdentity, or externalIssuer";
    vec![
        endpoint("documents from anywhere", documents("*"), "spec.clients.metadataDocuments.allowedHosts", host),
        endpoint("documents from a wildcard", documents("*.example.com"), "spec.clients.metadataDocuments.allowedHosts", host),
        endpoint("documents from an address", documents("10.0.0.1"), "spec.clients.metadataDocuments.allowedHosts", host),
        endpoint("documents from a port", documents("claude.ai:8443"), "spec.clients.metadataDocuments.allowedHosts", host),
        endpoint("registrations for ever", json!({"clients": {"dynamicRegistration": {"lifetime": "87600h"}}}), "spec.clients.dynamicRegistration.lifetime", "must be a duration from 1h to 8760h"),
        endpoint("an issuer elsewhere beside a login", external(&json!({"login": [local("a")]})), "spec.externalIssuer", built_in),
        endpoint("an issuer elsewhere beside registration", external(&json!({"clients": {"dynamicRegistration": {}}})), "spec.externalIssuer", built_in),
        endpoint("an issuer elsewhere beside workloads", external(&workload(&json!({}))), "spec.externalIssuer", built_in),
        endpoint("an issuer elsewhere over plain http", json!({"externalIssuer": {"issuerUrl": "http://login.example.com"}}), "spec.externalIssuer.issuerUrl", "must be an https:// URL"),
        endpoint("workloads of every namespace", workload(&json!({"namespaces": ["*"]})), "spec.workloadIdentity.rules[0].namespaces", "each must be the name of a namespace; there are no wildcards"),
        limit(Endpoint, "two workload rules of one name", json!({"workloadIdentity": {"rules": [workload(&json!({}))["workloadIdentity"]["rules"][0], workload(&json!({}))["workloadIdentity"]["rules"][0]]}}), "spec.workloadIdentity.rules", "Duplicate value", "must have each name once"),
        client("a name on two lines", json!({"displayName": "Claude\nand more"}), "spec.displayName", "must have no control characters"),
    ]
}

#[rustfmt::skip]
pub fn right_manifests() -> Vec<Right> {
    let right = |what, kind, spec, stored| Right { what, kind, spec, stored };
    let key = json!({"keys": [{"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA", "kid": "1", "alg": "ES256", "use": "sig"}]});
    vec![
        right("administrators", Endpoint, administrators(&json!({"users": ["local:ada", "local:a:b"], "groups": ["local:ops", "local:acme/ops"]})), json!({"console": {"administrators": {"users": ["local:ada", "local:a:b"]}}})),
        right("logins of every kind", Endpoint, json!({"login": [
            {"name": "local", "passwords": {"secretRef": {"name": "users"}}},
            {"name": "github", "displayName": "Our GitHub", "github": {"clientSecretRef": {"name": "github"}, "allowedTeams": ["acme/web.team_1"]}},
            {"name": "sso", "oidc": {"issuerUrl": "https://idp.example.com/realms/acme", "clientSecretRef": {"name": "sso"}, "allowedGroups": ["/platform", "dev team"]}},
        ]}), json!({"login": [
            {"name": "local", "passwords": {"secretRef": {"name": "users", "key": "htpasswd"}}},
            {"name": "github", "displayName": "Our GitHub", "github": {"url": "https://github.com", "clientSecretRef": {"name": "github"}, "allowedOrganizations": [], "allowedTeams": ["acme/web.team_1"]}},
            {"name": "sso", "oidc": {"issuerUrl": "https://idp.example.com/realms/acme", "clientSecretRef": {"name": "sso"}, "scopes": ["profile", "email"],
                "usernameClaim": "preferred_username", "groupsClaim": "groups", "allowedGroups": ["/platform", "dev team"]}},
        ]})),
        right("a provider that is asked every hour", Endpoint, beside(oidc(&json!({"offlineAccess": "RequestWithConsent"})), "recheckAfter", "1h"), json!({})),
        right("a GitHub whose grants grow a year old", Endpoint, beside(github(&json!({})), "maxGrantAge", "8760h"), json!({})),
        right("a provider on this machine", Endpoint, oidc(&json!({"issuerUrl": "http://127.0.0.1:8080/realms/acme"})), json!({})),
        right("a provider with a slash at its end, and an authority", Endpoint, oidc(&json!({"issuerUrl": "https://acme.auth0.com/", "caBundle": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"})), json!({})),
        right("documents and registrations", Endpoint, json!({"clients": {"metadataDocuments": {"allowedHosts": ["claude.ai", "a-b.example.co.uk"], "scopes": ["files:read"]}, "dynamicRegistration": {}}}),
            json!({"clients": {"dynamicRegistration": {"lifetime": "2160h", "maxClients": 100}}})),
        right("workloads", Endpoint, workload(&json!({"serviceAccounts": ["*", "ci.bot"]})), json!({})),
        right("an issuer elsewhere", Endpoint, json!({"externalIssuer": {"issuerUrl": "https://login.example.com/"}}), json!({"externalIssuer": {"issuerUrl": "https://login.example.com/", "usernameClaim": "preferred_username"}})),
        right("lifetimes", Endpoint, json!({"tokens": {"refreshLifetime": "24h", "refreshIdle": "24h"}}), json!({"tokens": {"keyRotation": "2160h"}})),
        right("a client with keys", Client, json!({"preset": "custom", "privateKeyJwt": {"jwks": key}, "grants": ["client_credentials"]}), json!({"privateKeyJwt": {"jwks": key}})),
        right("a client that publishes its keys", Client, json!({"privateKeyJwt": {"jwksUri": "https://agent.example.com/jwks.json?v=1"}}), json!({})),
        right("a client that registered itself", Client, json!({"preset": "custom", "type": "Public", "redirectUris": ["http://127.0.0.1/callback"], "registration": {"expiresAt": "2027-01-01T00:00:00Z"}}), json!({"type": "Public"})),
        right("a client with a name for people", Client, json!({"displayName": "Claude für alle"}), json!({"displayName": "Claude für alle"})),
    ]
}
