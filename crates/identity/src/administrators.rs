//! Administrators of the endpoint (`console.administrators`): named users, and members of named groups.

use crate::{Logins, evidence, method::Kind};
use portcullis_core::grant::{GrantUser, LoginEvidence};

impl Logins {
    /// Whether a user who is signed in is an administrator. Groups of local users are those of the present files; those of a
    /// provider are in the evidence. Does not ask the provider.
    #[must_use]
    pub fn is_administrator(&self, user_id: &str, evidence: Option<&LoginEvidence>) -> bool {
        let Some((method, user)) = self.method_of(user_id) else { return false };
        if self.administrators.names(user_id) {
            return true;
        }
        match &method.kind {
            Kind::Passwords { groups, .. } => {
                let mut of_user = groups.iter().filter(|(_, members)| members.contains(user)).map(|(group, _)| group);
                of_user.any(|group| method.administrator_groups.contains(group))
            }
            Kind::GitHub(_) => evidence::is_in_any(&method.administrator_groups, evidence, str::eq_ignore_ascii_case),
            Kind::Oidc(_) => evidence::is_in_any(&method.administrator_groups, evidence, |one, other| one == other),
        }
    }

    /// Local users, sorted by id: at most `limit` after the id `after`.
    #[must_use]
    pub fn local_users(&self, after: &str, limit: usize) -> Vec<GrantUser> {
        let users = self.methods.iter().filter_map(|method| match &method.kind {
            Kind::Passwords { fingerprints, .. } => Some(fingerprints.keys().map(move |user| method.user(user, user))),
            Kind::GitHub(_) | Kind::Oidc(_) => None,
        });
        let mut users: Vec<GrantUser> = users.flatten().filter(|user| user.id.as_str() > after).collect();
        users.sort_by(|a, b| a.id.cmp(&b.id));
        users.truncate(limit);
        users
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_config::{LoginSecrets, ServerConfig, SigningKeys};
    use portcullis_core::clock::SystemClock;
    use portcullis_outbound::Outbound;
    use rand::{SeedableRng as _, rngs::StdRng};
    use serde_json::{Value, json};
    use std::sync::Arc;

    fn config(users: &Value, groups: &Value) -> ServerConfig {
        serde_json::from_value(json!({
            "endpoint": "agents", "url": "http://127.0.0.1:9/mcp",
            "login": [
                {"name": "local", "passwords": {"secretRef": {"name": "users"}}},
                {"name": "other", "passwords": {"secretRef": {"name": "users"}}},
                {"name": "hub", "github": {"clientSecretRef": {"name": "app"}, "allowedOrganizations": ["acme"]}},
                {"name": "sso", "oidc": {"issuerUrl": "http://127.0.0.1:9", "clientSecretRef": {"name": "sso"}}},
            ],
            "console": {"administrators": {"users": users, "groups": groups}},
            "accessTokenLifetime": "15m", "refreshTokenLifetime": "720h", "refreshTokenIdle": "168h",
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "2h", "answeredHere": true},
            "limits": {"requestTimeout": "2m", "maxConcurrentRequests": 100, "requestsPerSecond": 10, "burst": 20, "maxBodySize": "4Mi"},
            "access": {"allowedCidrs": [], "trustedProxies": []},
        }))
        .unwrap()
    }

    fn secrets(groups: &Value) -> LoginSecrets {
        let client = json!({"client": {"clientId": "id", "clientSecret": "secret"}});
        let users = json!({"passwords": {"ada": "$2b$04$a", "bob": "$2b$04$b"}});
        serde_json::from_value(json!({
            "logins": {"local": users, "other": users, "hub": client, "sso": client}, "groups": groups,
        }))
        .unwrap()
    }

    fn keys() -> SigningKeys {
        SigningKeys::generate(jiff::Timestamp::UNIX_EPOCH, &mut StdRng::seed_from_u64(1)).unwrap()
    }

    fn logins(users: &Value, groups: &Value, members: &Value) -> Logins {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let outbound = Arc::new(Outbound::new().unwrap());
        Logins::new(&config(users, groups), &secrets(members), &keys(), outbound, Arc::new(SystemClock)).unwrap()
    }

    #[test]
    fn users_and_groups_count_for_their_own_login_only() {
        let members = json!({"local": {"ops": ["ada"], "secret": ["bob"]}});
        let groups = json!(["local:ops", "sso:platform", "hub:acme", "hub:acme/ops"]);
        let logins = logins(&json!(["local:root", "other:bob", "sso:7", "gone:x"]), &groups, &members);
        let evidence = |groups: Value| serde_json::from_value(json!({"administratorGroups": groups})).unwrap();
        for (user, groups, is) in [
            ("local:ada", json!([]), true),
            ("other:ada", json!([]), false),
            ("local:bob", json!([]), false),
            ("local:bob", json!(["ops"]), false),
            ("local:root", json!([]), true),
            ("other:bob", json!([]), true),
            ("sso:7", json!([]), true),
            ("sso:8", json!([]), false),
            ("sso:8", json!(["platform"]), true),
            ("sso:8", json!(["Platform"]), false),
            ("sso:8", json!(["ops", "acme"]), false),
            ("hub:1", json!(["ACME"]), true),
            ("hub:1", json!(["acme/ops"]), true),
            ("hub:1", json!(["acme/dev", "platform"]), false),
            ("gone:x", json!([]), false),
            ("ada", json!([]), false),
            ("", json!([]), false),
        ] {
            let evidence: LoginEvidence = evidence(groups.clone());
            assert_eq!(logins.is_administrator(user, Some(&evidence)), is, "{user} {groups}");
            let named = ["local:ada", "local:root", "other:bob", "sso:7"].contains(&user);
            assert_eq!(logins.is_administrator(user, None), named, "{user} without evidence");
        }
        // Groups that only let people sign in make no administrator.
        let allowed: LoginEvidence =
            serde_json::from_value(json!({"groups": ["platform"], "organizations": ["acme"], "teams": ["acme/ops"]}))
                .unwrap();
        assert!(!logins.is_administrator("sso:8", Some(&allowed)) && !logins.is_administrator("hub:1", Some(&allowed)));
    }

    #[test]
    fn a_change_of_the_files_counts_at_once() {
        let (none, ops) = (json!([]), json!(["local:ops", "sso:platform"]));
        let before = logins(&none, &ops, &json!({"local": {"ops": ["ada"]}}));
        let platform: LoginEvidence = serde_json::from_value(json!({"administratorGroups": ["platform"]})).unwrap();
        assert!(before.is_administrator("local:ada", None) && before.is_administrator("sso:8", Some(&platform)));
        let members = secrets(&json!({"local": {"ops": ["bob"]}}));
        let after = before.reloaded(&config(&none, &ops), &members, &keys()).unwrap();
        assert!(!after.is_administrator("local:ada", None) && after.is_administrator("local:bob", None));
        let after = before.reloaded(&config(&none, &json!(["local:other"])), &members, &keys()).unwrap();
        assert!(!after.is_administrator("local:bob", None) && !after.is_administrator("sso:8", Some(&platform)));
    }

    #[test]
    fn local_users_come_in_pages() {
        let logins = logins(&json!([]), &json!([]), &json!({}));
        let ids = |after: &str, limit| -> Vec<String> {
            logins.local_users(after, limit).into_iter().map(|user| user.id).collect()
        };
        assert_eq!(ids("", 3), ["local:ada", "local:bob", "other:ada"]);
        assert_eq!(ids("local:bob", 3), ["other:ada", "other:bob"]);
        assert_eq!(ids("other:bob", 3), [""; 0]);
    }
}
