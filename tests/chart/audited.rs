//! Which rights service accounts used: from the API server's audit log.

use crate::support::api_server::ApiServer;
use serde_json::Value;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Every request of service accounts, once it is answered; of a watch, once it begins and once it ends.
pub const POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

/// One right, as RBAC has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Right {
    /// Empty for the core group.
    pub group: String,
    /// The plural, and after a slash the subresource.
    pub resource: String,
    pub verb: String,
}

impl Right {
    pub fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }
}

/// What accounts whose name begins so asked for, and how it was answered. To apply what is not there is to patch and to
/// create.
pub fn used(server: &ApiServer, account: &str) -> BTreeMap<Right, BTreeSet<u64>> {
    let log = fs::read_to_string(server.folder().join("audit.log")).expect("there is an audit log");
    let mut rights: BTreeMap<Right, BTreeSet<u64>> = BTreeMap::new();
    // The last line may be half written.
    for event in log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let text = |field: &Value| field.as_str().unwrap_or_default().to_owned();
        let (object, code) = (&event["objectRef"], event["responseStatus"]["code"].as_u64().unwrap_or_default());
        // What is not about an object, such as discovery, everybody may do.
        if !text(&event["user"]["username"]).starts_with(account) || object["resource"].is_null() {
            continue;
        }
        let parts = [text(&object["resource"]), text(&object["subresource"])];
        let resource = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("/");
        let verb = text(&event["verb"]);
        let creates = (verb == "patch" && code == 201).then(|| "create".to_owned());
        for verb in [verb].into_iter().chain(creates) {
            rights.entry(Right::new(&text(&object["apiGroup"]), &resource, &verb)).or_default().insert(code);
        }
    }
    rights
}
