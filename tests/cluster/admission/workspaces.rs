//! Manifests of templates and workspaces: wrong ones, and right ones.

use super::{
    Kind::{Template, Workspace},
    right::Right,
    wrong::{Wrong, change, limit, name},
};
use serde_json::{Value, json};

/// A template whose `spec` is wrong by a rule.
fn template(what: &'static str, spec: Value, field: &'static str, says: &'static str) -> Wrong {
    limit(Template, what, spec, field, says, says)
}

/// A template with one parameter of these fields.
fn parameter(what: &'static str, parameter: &Value, field: &'static str, says: &'static str) -> Wrong {
    let mut whole = json!({"name": "size"});
    super::merge(&mut whole, parameter);
    template(what, json!({"parameters": [whole]}), field, says)
}

/// A template with something else about its pod.
fn pod(what: &'static str, pod: Value, field: &'static str, says: &'static str) -> Wrong {
    template(what, [("pod".to_owned(), pod)].into_iter().collect(), field, says)
}

#[rustfmt::skip]
pub fn wrong_templates() -> Vec<Wrong> {
    let idle = "must be a duration from 5m to 8760h, in whole hours, minutes or seconds, such as 90s, 15m or 1h30m";
    let age = "must be a duration from 1h to 87600h, in whole hours, minutes or seconds, such as 90s, 15m or 1h30m";
    let one = "must have exactly one of value and secretKeyRef";
    let options = "are required for type enum, and only apply to it";
    let least = "minimum and maximum only apply to type integer; remove them";
    let path = "must be an absolute path of plain segments, such as /home/dev, and not below /proc, /sys, /dev or /run";
    let letters = "must be made of letters, digits and _, beginning with a small letter";
    let resources = |resources: Value| json!({"pod": {"resources": resources}});
    let variable = |variable: Value| json!({"env": [variable]});
    let mount = |path: &str| json!({"storage": {"mountPath": path}});
    vec![
        limit(Template, "no pod", json!({"pod": null}), "spec.pod", "Required value", "is required"),
        limit(Template, "an empty image", json!({"pod": {"image": ""}}), "spec.pod.image", "should be at least 1 chars long", "at least 1"),
        limit(Template, "an unknown field", json!({"privileged": true}), "spec.privileged", "unknown field", "unknown field"),
        limit(Template, "a pull policy that is none", json!({"pod": {"imagePullPolicy": "Sometimes"}}), "spec.pod.imagePullPolicy", "supported values", "must be one of"),
        limit(Template, "root", json!({"pod": {"runAsUser": 0}}), "spec.pod.runAsUser", "should be greater than or equal to 1", "at least 1"),
        template("egress rules that do not count", json!({"egressRules": [{}]}), "spec.egressRules", "only apply with egress: Custom; set it, or remove them"),
        template("an idle stop that is too short", json!({"idleStop": "1m"}), "spec.idleStop", idle),
        template("an idle stop in days", json!({"idleStop": "1d"}), "spec.idleStop", idle),
        template("a life that is too short", json!({"timeToLive": "30m"}), "spec.timeToLive", age),
        parameter("a parameter with a dash", &json!({"name": "my-size"}), "spec.parameters[0].name", letters),
        parameter("an enum without options", &json!({"type": "enum"}), "spec.parameters[0].options", options),
        parameter("options of no enum", &json!({"options": ["a"]}), "spec.parameters[0].options", options),
        parameter("a default that is no option", &json!({"type": "enum", "options": ["a"], "default": "b"}), "spec.parameters[0].default", "must be one of the options"),
        limit(Template, "a pattern that is no expression", json!({"parameters": [{"name": "tz", "pattern": "[a-z"}]}), "spec.parameters[0].pattern", "must be a regular expression (RE2)", "must be a regular expression (RE2)"),
        limit(Template, "a pattern with a group that nothing opens", json!({"parameters": [{"name": "tz", "pattern": "a)|(b"}]}), "spec.parameters[0].pattern", "must be a regular expression (RE2)", "must be a regular expression (RE2)"),
        parameter("a pattern of a number", &json!({"type": "integer", "pattern": "[0-9]"}), "spec.parameters[0].pattern", "only applies to type string; remove it"),
        parameter("a minimum of a string", &json!({"minimum": 1}), "spec.parameters[0]", least),
        parameter("a range that is empty", &json!({"type": "integer", "minimum": 2, "maximum": 1}), "spec.parameters[0]", "minimum must not be above maximum"),
        parameter("a default that is no number", &json!({"type": "integer", "default": "two"}), "spec.parameters[0].default", "must be a whole number, in quotes"),
        parameter("a default that is no boolean", &json!({"type": "boolean", "default": "yes"}), "spec.parameters[0].default", "must be \"true\" or \"false\", in quotes"),
        limit(Template, "a parameter twice", json!({"parameters": [{"name": "a"}, {"name": "a"}]}), "spec.parameters", "Duplicate value", "is repeated"),
        pod("a variable with a dash", variable(json!({"name": "A-B", "value": ""})), "spec.pod.env[0].name", "must be made of letters, digits and _, not beginning with a digit"),
        pod("a variable without a value", variable(json!({"name": "A"})), "spec.pod.env[0]", one),
        pod("a variable with two values", variable(json!({"name": "A", "value": "", "secretKeyRef": {"name": "s", "key": "k"}})), "spec.pod.env[0]", one),
        limit(Template, "a request in words", resources(json!({"requests": {"cpu": "half"}})), "spec.pod.resources.requests.cpu", "should match", "must match"),
        limit(Template, "a request below nothing", resources(json!({"requests": {"cpu": -1}})), "spec.pod.resources.requests.cpu", "greater than or equal to 0", "must be at least 0"),
        limit(Template, "a limit with a parameter inside", resources(json!({"limits": {"memory": "$(parameters.a)Gi"}})), "spec.pod.resources.limits.memory", "should match", "must match"),
        template("a size in words", json!({"storage": {"size": "big"}}), "spec.storage.size", "must be a size such as 10Gi, or a parameter such as $(parameters.disk)"),
        template("a temporary size in words", json!({"storage": {"temporarySize": "much"}}), "spec.storage.temporarySize", "must be a size such as 8Gi"),
        template("a home that is relative", mount("home"), "spec.storage.mountPath", path),
        template("a home that leads elsewhere", mount("/home/../etc"), "spec.storage.mountPath", path),
        template("a home where the agent is", mount("/run/portcullis"), "spec.storage.mountPath", path),
        template("the root as home", mount("/a/"), "spec.storage.mountPath", path),
    ]
}

#[rustfmt::skip]
pub fn wrong_workspaces() -> Vec<Wrong> {
    let short = "must be at most 40 of a-z, 0-9 and -, beginning with a letter, since the names of its pod and volume are made of it";
    let shown = "must be made of a-z, 0-9 and -, beginning with a letter";
    let fixed = "cannot be changed";
    let spec = |what, spec, field, says| limit(Workspace, what, spec, field, says, says);
    let required = |what, field: &str, path| limit(Workspace, what, json!({field: null}), path, "Required value", "is required");
    let long = "a".repeat(513);
    vec![
        name("a workspace with a long name", Workspace, "a-name-that-has-more-than-forty-characters", short, short),
        name("a workspace whose name begins with a digit", Workspace, "1st", short, short),
        name("a workspace with a dot", Workspace, "my.web", short, short),
        required("no owner", "owner", "spec.owner"),
        required("no endpoint", "endpointRef", "spec.endpointRef"),
        required("no template", "templateRef", "spec.templateRef"),
        required("no display name", "displayName", "spec.displayName"),
        spec("a display name with a capital", json!({"displayName": "Web"}), "spec.displayName", shown),
        spec("a display name that ends with a dash", json!({"displayName": "web-"}), "spec.displayName", shown),
        spec("a value that is too long", json!({"parameters": {"a": long}}), "spec.parameters", "values must have at most 512 characters"),
        change("another endpoint", Workspace, json!({"endpointRef": {"name": "others"}}), "spec.endpointRef", fixed),
        change("another owner", Workspace, json!({"owner": {"id": "local:bob"}}), "spec.owner", fixed),
        change("another template", Workspace, json!({"templateRef": {"name": "node"}}), "spec.templateRef", "cannot be changed; delete the workspace and make another"),
    ]
}

#[rustfmt::skip]
pub fn right_manifests() -> Vec<Right> {
    let template = |what, spec, stored| Right { what, kind: Template, spec, stored };
    let workspace = |what, spec, stored| Right { what, kind: Workspace, spec, stored };
    vec![
        template("the plainest template", json!({}), json!({
            "description": "", "parameters": [], "egress": "Internet", "egressRules": [],
            "storage": {"size": "10Gi", "mountPath": "/home/dev", "onDelete": "Delete", "temporarySize": "8Gi"},
            "pod": {
                "imagePullPolicy": "IfNotPresent", "imagePullSecrets": [], "command": [], "env": [], "runAsUser": 1000,
                "resources": {"requests": {}, "limits": {}}, "nodeSelector": {}, "tolerations": [],
            },
        })),
        template("parameters of each type", json!({"parameters": [
            {"name": "text", "pattern": "[a-z]+"},
            {"name": "one", "type": "enum", "options": ["a", "b"], "default": "a"},
            {"name": "count", "type": "integer", "minimum": -1, "maximum": 8, "default": "-1"},
            {"name": "debug", "type": "boolean", "default": "false"},
        ]}), json!({})),
        template("a pod with everything", json!({"pod": {
            "image": "registry.example.com/$(parameters.a):1", "command": ["serve", ""],
            "env": [{"name": "A", "value": ""}, {"name": "B", "secretKeyRef": {"name": "s", "key": "k"}}],
            "resources": {"requests": {"cpu": "0.5"}, "limits": {"memory": "$(parameters.memory)", "nvidia.com/gpu": "1"}},
            "runtimeClassName": "gvisor", "nodeSelector": {"a/b": "c"},
            "tolerations": [{"key": "a", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5}],
        }}), json!({})),
        template("egress of its own", json!({"egress": "Custom", "egressRules": [
            {"to": [{"ipBlock": {"cidr": "192.0.2.0/24", "except": ["192.0.2.1/32"]}}], "ports": [{"port": "https"}, {"port": 1, "endPort": 9, "protocol": "UDP"}]},
            {"to": [{"namespaceSelector": {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}}]},
        ]}), json!({})),
        template("storage and times", json!({"storage": {"size": "$(parameters.disk)", "storageClassName": "fast", "mountPath": "/work", "onDelete": "Retain"}, "idleStop": "5m", "timeToLive": "87600h"}), json!({})),
        workspace("the plainest workspace", json!({}), json!({"parameters": {}, "running": true})),
        workspace("one with parameters", json!({"parameters": {"size": "large"}, "running": false}), json!({"running": false})),
    ]
}
