//! Who wrote what: the API server's audit log and its own metrics.

use super::api_server::ApiServer;
use serde::Deserialize;
use std::{
    collections::BTreeMap,
    fs,
    io::{Read as _, Seek as _, SeekFrom},
    path::PathBuf,
};

/// Every request that changes something, once it is answered.
pub const POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- {level: None, verbs: [get, list, watch]}
- {level: Metadata}
";

/// One request that changed something, or tried to, from the API server's audit log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Write {
    /// `create`, `update`, `patch`, `delete` or `deletecollection`.
    pub verb: String,
    /// The plural, such as `deployments`.
    pub resource: String,
    /// Such as `status`; empty for the object itself.
    pub subresource: String,
    /// Empty for what has none.
    pub namespace: String,
    /// Empty where the server chose it.
    pub name: String,
    /// The HTTP status of the answer.
    pub code: u16,
}

/// A position in the audit log.
#[derive(Clone, Copy, Debug)]
pub struct AuditMark(u64);

impl ApiServer {
    /// The end of the audit log as it is now.
    pub fn audit_mark(&self) -> AuditMark {
        AuditMark(fs::metadata(self.audit_log()).map_or(0, |file| file.len()))
    }

    /// What a user wrote or tried to write since `mark`, in order. A service account's user is
    /// `system:serviceaccount:NAMESPACE:NAME`.
    pub fn audit_writes(&self, mark: AuditMark, user: &str) -> Vec<Write> {
        let mut log = fs::File::open(self.audit_log()).expect("there is an audit log");
        let mut text = String::new();
        log.seek(SeekFrom::Start(mark.0)).unwrap();
        log.read_to_string(&mut text).unwrap();
        text.lines()
            .map(|line| serde_json::from_str::<AuditEvent>(line).unwrap_or_else(|error| panic!("{error}: {line}")))
            .filter(|event| event.impersonated_user.as_ref().unwrap_or(&event.user).username == user)
            .map(Write::from)
            .collect()
    }

    /// How many requests the API server says it has answered that change something, by (verb, resource). Verbs are
    /// `POST`, `PUT`, `PATCH`, `APPLY`, `DELETE` and `DELETECOLLECTION`; a subresource follows its resource after a
    /// slash.
    pub async fn write_requests(&self) -> BTreeMap<(String, String), u64> {
        let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
        let text = self.client().await.request_text(request).await.unwrap();
        let mut counts = BTreeMap::new();
        for line in text.lines().filter_map(|line| line.strip_prefix("apiserver_request_total{")) {
            let (labels, value) = line.rsplit_once("} ").expect("a sample has a value");
            let label = |name: &str| labels.split_once(&format!("{name}=\"")).map_or("", |(_, rest)| until_quote(rest));
            let (verb, subresource) = (label("verb"), label("subresource"));
            if matches!(verb, "POST" | "PUT" | "PATCH" | "APPLY" | "DELETE" | "DELETECOLLECTION") {
                // The label that is wanted is not the one whose name ends with it: `,resource=`, not `subresource=`.
                let resource = labels.split_once(",resource=\"").map_or("", |(_, rest)| until_quote(rest));
                let resource =
                    if subresource.is_empty() { resource.to_owned() } else { format!("{resource}/{subresource}") };
                let value: u64 = value.parse().expect("a counter of this size is a whole number");
                *counts.entry((verb.to_owned(), resource)).or_insert(0) += value;
            }
        }
        counts
    }

    fn audit_log(&self) -> PathBuf {
        self.folder().join("audit.log")
    }
}

fn until_quote(text: &str) -> &str {
    text.split_once('"').map_or(text, |(before, _)| before)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AuditEvent {
    verb: String,
    user: AuditUser,
    /// As whom the user acted, if as somebody else.
    impersonated_user: Option<AuditUser>,
    #[serde(default)]
    object_ref: AuditObject,
    #[serde(default)]
    response_status: AuditAnswer,
}

#[derive(Deserialize)]
struct AuditUser {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct AuditObject {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Default, Deserialize)]
struct AuditAnswer {
    #[serde(default)]
    code: u16,
}

impl From<AuditEvent> for Write {
    fn from(event: AuditEvent) -> Self {
        let AuditObject { resource, subresource, namespace, name } = event.object_ref;
        Self { verb: event.verb, resource, subresource, namespace, name, code: event.response_status.code }
    }
}
