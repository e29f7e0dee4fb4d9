//! The Secrets and ConfigMaps to which an endpoint refers: in its spec, and in the pods of its servers.

use super::value::{list, name, text};
use serde_json::Value;
use std::fmt;

/// The kind of a referenced object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ReferenceKind {
    Secret,
    ConfigMap,
}

/// One reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reference {
    pub kind: ReferenceKind,
    pub name: String,
    /// The keys that must exist.
    pub keys: Vec<String>,
    /// Whether the Secret must have the label with the name of the endpoint.
    pub labelled: bool,
    /// The field that refers to it.
    pub field: String,
}

impl fmt::Display for ReferenceKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
        })
    }
}

/// The references of an endpoint and of the Deployment of its servers. Those to certificates are separate.
pub(crate) fn references(endpoint: &Value, deployment: Option<&Value>) -> Vec<Reference> {
    let mut references: Vec<Reference> = list(endpoint, "/spec/login").iter().filter_map(login).collect();
    let volumes = deployment.map_or(&[][..], |deployment| list(deployment, "/spec/template/spec/volumes"));
    for volume in volumes {
        let sources = list(volume, "/projected/sources").iter().chain([volume]);
        references.extend(sources.filter_map(|source| mounted(source, volume)));
    }
    let certificates = certificates(endpoint);
    references.retain(|reference| certificates.iter().all(|certificate| certificate.name != reference.name));
    references
}

fn login(login: &Value) -> Option<Reference> {
    let (method, reference) = [("passwords", "secretRef"), ("github", "clientSecretRef"), ("oidc", "clientSecretRef")]
        .into_iter()
        .find_map(|(method, field)| Some((method, login.get(method)?.get(field)?)))?;
    let keys = match method {
        "passwords" => vec![text(reference, "/key").unwrap_or("htpasswd").to_owned()],
        _ => vec!["client-id".to_owned(), "client-secret".to_owned()],
    };
    Some(Reference {
        kind: ReferenceKind::Secret,
        name: text(reference, "/name")?.to_owned(),
        keys,
        labelled: true,
        field: format!("spec.login {:?}, {method}", text(login, "/name").unwrap_or_default()),
    })
}

/// A volume of the pods, or a source of a projected one.
fn mounted(source: &Value, volume: &Value) -> Option<Reference> {
    let secret = source.get("secret").map(|secret| (ReferenceKind::Secret, secret));
    let (kind, reference) =
        secret.or_else(|| source.get("configMap").map(|config_map| (ReferenceKind::ConfigMap, config_map)))?;
    if reference["optional"] == true {
        return None;
    }
    let keys = list(reference, "/items").iter().filter_map(|item| text(item, "/key")).map(str::to_owned).collect();
    Some(Reference {
        kind,
        name: text(reference, "/name").or_else(|| text(reference, "/secretName"))?.to_owned(),
        keys,
        labelled: false,
        field: format!("the volume {:?} of the servers", text(volume, "/name").unwrap_or_default()),
    })
}

/// The Secrets with the certificates of an endpoint: of the servers, and of the Ingress.
pub(crate) fn certificates(endpoint: &Value) -> Vec<Reference> {
    let certificate = |name: String, field: &str| Reference {
        kind: ReferenceKind::Secret,
        name,
        keys: vec!["tls.crt".to_owned(), "tls.key".to_owned()],
        labelled: false,
        field: field.to_owned(),
    };
    let servers =
        text(endpoint, "/spec/tls/secretName").map(|name| certificate(name.to_owned(), "spec.tls.secretName"));
    let ingress = endpoint.pointer("/spec/exposure/ingress/tls").map(|tls| {
        let given = text(tls, "/secretName").map(str::to_owned);
        let secret = given.unwrap_or_else(|| format!("{}-tls", name(endpoint)));
        certificate(secret, "spec.exposure.ingress.tls")
    });
    servers.into_iter().chain(ingress).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_reference_is_found() {
        let endpoint = json!({"metadata": {"name": "agents"}, "spec": {
            "login": [
                {"name": "local", "passwords": {"secretRef": {"name": "people"}}},
                {"name": "sso", "oidc": {"issuerUrl": "https://sso.example.com", "clientSecretRef": {"name": "sso"}}},
            ],
            "tls": {"secretName": "own"},
            "exposure": {"ingress": {"tls": {"issuerRef": {"name": "letsencrypt"}}}},
        }});
        let deployment = json!({"spec": {"template": {"spec": {"volumes": [
            {"name": "config", "projected": {"sources": [
                {"configMap": {"name": "agents-config", "items": [{"key": "config.json", "path": "config.json"}]}},
                {"secret": {"name": "agents-clients"}},
                {"secret": {"name": "extra", "optional": true}},
                {"secret": {"name": "own", "items": [{"key": "tls.crt", "path": "tls.crt"}]}},
                {"serviceAccountToken": {"path": "token"}},
            ]}},
            {"name": "plain", "secret": {"secretName": "mounted"}},
        ]}}}});
        let found: Vec<(ReferenceKind, String, Vec<String>, bool)> = references(&endpoint, Some(&deployment))
            .into_iter()
            .map(|found| (found.kind, found.name, found.keys, found.labelled))
            .collect();
        let row = |kind, name: &str, keys: &[&str], labelled| {
            (kind, name.to_owned(), keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), labelled)
        };
        let expected = [
            row(ReferenceKind::Secret, "people", &["htpasswd"], true),
            row(ReferenceKind::Secret, "sso", &["client-id", "client-secret"], true),
            row(ReferenceKind::ConfigMap, "agents-config", &["config.json"], false),
            row(ReferenceKind::Secret, "agents-clients", &[], false),
            row(ReferenceKind::Secret, "mounted", &[], false),
        ];
        assert_eq!(found, expected);
        let names: Vec<String> = certificates(&endpoint).into_iter().map(|found| found.name).collect();
        assert_eq!(names, ["own", "agents-tls"]);
    }
}
