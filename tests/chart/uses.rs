//! What service accounts asked of the API server, by its audit log.

use crate::node::Node;
use serde::Deserialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

/// Every request of service accounts, once it is answered; of a watch, once it ends.
pub const POLICY: &str = r"
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, userGroups: ['system:serviceaccounts']}
- {level: None}
";

/// One kind of request for which a right is needed, as RBAC has it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Use {
    /// Empty for the core group.
    pub group: String,
    /// The plural, and after a slash the subresource.
    pub resource: String,
    /// As in a rule.
    pub verb: String,
}

impl Use {
    pub fn new(group: &str, resource: &str, verb: &str) -> Self {
        Self { group: group.to_owned(), resource: resource.to_owned(), verb: verb.to_owned() }
    }
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Event {
    verb: String,
    user: User,
    object_ref: Object,
    response_status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    api_group: String,
    resource: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

/// What was asked for by accounts whose name begins so, and how it was answered. To apply what is not there is to patch
/// and to create.
pub fn uses(node: &Node, account: &str) -> BTreeMap<Use, BTreeSet<u16>> {
    let text = fs::read_to_string(node.folder().join("audit.log")).expect("there is an audit log");
    let mut found: BTreeMap<Use, BTreeSet<u16>> = BTreeMap::new();
    // The last line may be half written.
    let events = text.lines().filter_map(|line| serde_json::from_str::<Event>(line).ok());
    for Event { verb, object_ref, response_status: Status { code }, .. } in
        events.filter(|event| event.user.username.starts_with(account) && !event.object_ref.resource.is_empty())
    {
        let Object { api_group, resource, subresource } = object_ref;
        let resource = if subresource.is_empty() { resource } else { format!("{resource}/{subresource}") };
        let created = (verb == "patch" && code == 201).then_some("create");
        for verb in [verb.as_str()].into_iter().chain(created) {
            found.entry(Use::new(&api_group, &resource, verb)).or_default().insert(code);
        }
    }
    found
}
