//! Two users: neither sees, names, guesses or reaches the other's workspace, by whatever the endpoint serves: every tool,
//! every operation of the OpenAPI document, prompts, resources and completion. What is served says what is tried, so that
//! nothing new can be forgotten.

use crate::{
    probing::{NOTHING, Target, names_a_workspace, probes},
    stage::{Person, Stage},
};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use serde_json::{Value, json};
use std::collections::BTreeMap;

#[tokio::test(flavor = "multi_thread")]
async fn neither_of_two_users_meets_the_other() {
    let Some(stage) = Stage::shared(&json!({})).await else { return };
    let (ann, bob) = (stage.sign_in("ann").await, stage.sign_in("bob").await);
    keep_apart(&stage, &ann, &bob).await;
}

/// What bob tries to get at.
struct Secret {
    process_id: Value,
    /// Nothing that bob is told may have any of it.
    words: [String; 5],
}

impl Secret {
    /// Holds an answer about it against the same about nothing.
    fn same(&self, what: &str, target: &str, theirs: &str, nobodys: &str) {
        assert_eq!(without_request_id(&theirs.replace(target, NOTHING)), without_request_id(nobodys), "{what}");
        self.kept(what, what, theirs);
    }

    fn kept(&self, what: &str, asked: &str, said: &str) {
        for word in &self.words {
            // That he was told what he asked for himself is no secret.
            assert!(asked.contains(word) || !said.contains(word), "{what}: {word} in {said}");
        }
    }
}

/// An answer in JSON without the id of its request, which is another for each; any other as it is.
fn without_request_id(answer: &str) -> String {
    match serde_json::from_str::<Value>(answer) {
        Ok(Value::Object(mut problem)) => {
            problem.remove("request_id");
            Value::Object(problem).to_string()
        }
        _ => answer.to_owned(),
    }
}

/// That bob does not get at anything of ann's. Makes a workspace of each.
pub async fn keep_apart(stage: &Stage<'_>, ann: &Person, bob: &Person) {
    let (plan, own) = tokio::join!(ann.make("secret-plan"), bob.make("own"));
    ann.run("secret-plan", "echo the word is xyzzy > notes.txt").await;
    let background = json!({"workspace": "secret-plan", "command": "sleep 300 # xyzzy", "background": true});
    let process_id = ann.call("run_command", &background).await.unwrap()["process_id"].clone();
    let id = plan["id"].as_str().unwrap();
    let words = ["secret-plan", id, "xyzzy", "notes.txt", "local:ann"].map(str::to_owned);
    let secret = Secret { process_id, words };

    let listed = bob.rpc("tools/list", &json!({})).await.unwrap();
    let tools = listed["tools"].as_array().unwrap().iter();
    let tools: BTreeMap<&str, &Value> =
        tools.map(|tool| (tool["name"].as_str().unwrap(), &tool["inputSchema"])).collect();
    let pod = format!("workspace-{id}-0");
    for target in ["secret-plan", id, &pod] {
        by_tools(bob, &tools, &secret, target).await;
        by_operations(bob, &tools, &secret, target).await;
        by_prompts_and_resources(bob, &secret, target).await;
    }
    a_name_is_taken_for_its_owner_only(stage, bob, id).await;

    let after = ann.call("get_workspace", &json!({"workspace": id})).await.unwrap();
    assert_eq!((&after["status"], &after["created_at"]), (&json!("running"), &plan["created_at"]), "{after}");
    assert_eq!(ann.run(id, "cat notes.txt").await["stdout"], "the word is xyzzy\n");
    let processes = ann.call("list_processes", &json!({"workspace": id})).await.unwrap();
    let process = &processes["processes"][0];
    assert_eq!((&process["process_id"], &process["running"]), (&secret.process_id, &json!(true)), "{processes}");
    let found = ann.call("search", &json!({"query": "xyzzy"})).await.unwrap();
    assert!(found.to_string().contains("notes.txt"), "it can be found, by her: {found}");
    let theirs = bob.call("list_workspaces", &json!({})).await.unwrap();
    assert_eq!(theirs["workspaces"][0]["id"], own["id"], "{theirs}");
}

/// The arguments to try with a tool, once for what is ann's and once for nothing.
fn pairs(tool: &str, schema: &Value, secret: &Secret, target: &str) -> Vec<(Value, Value)> {
    let of =
        |workspace| probes(tool, schema, &Target { workspace, process_id: &secret.process_id, template: "debian" });
    of(target).into_iter().zip(of(NOTHING)).collect()
}

async fn by_tools(bob: &Person, tools: &BTreeMap<&str, &Value>, secret: &Secret, target: &str) {
    for (tool, schema) in tools.iter().filter(|(tool, _)| **tool != "create_workspace") {
        for (arguments, blind) in pairs(tool, schema, secret, target) {
            let what = format!("{tool} {arguments}");
            let theirs = bob.call(tool, &arguments).await;
            let nobodys = bob.call(tool, &blind).await;
            if names_a_workspace(tool, schema) {
                let theirs = theirs.unwrap_err();
                assert!(theirs.contains("there is no workspace"), "{what}: {theirs}");
                secret.same(&what, target, &theirs, &nobodys.unwrap_err());
            } else {
                secret.kept(&what, &arguments.to_string(), &format!("{theirs:?}"));
            }
        }
    }
}

async fn by_operations(bob: &Person, tools: &BTreeMap<&str, &Value>, secret: &Secret, target: &str) {
    let (status, document) = bob.rest(Method::GET, "/openapi.json", None).await;
    assert_eq!(status, 200);
    let operations = document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        item.as_object().unwrap().iter().map(move |(method, operation)| (path, method.to_uppercase(), operation))
    });
    let mut tried = 0;
    for (path, method, operation) in operations {
        let tool = operation["operationId"].as_str().unwrap();
        if tool == "create_workspace" {
            continue;
        }
        let schema = tools[tool];
        let methods = if method == "GET" { vec![Method::GET, Method::HEAD] } else { vec![method.parse().unwrap()] };
        for (arguments, blind) in pairs(tool, schema, secret, target) {
            for method in &methods {
                let what = format!("{method} {path} {arguments}");
                let has_body = operation.get("requestBody").is_some();
                let (code, theirs) = send(bob, method, path, &arguments, has_body).await;
                let (blind_code, nobodys) = send(bob, method, path, &blind, has_body).await;
                tried += 1;
                if names_a_workspace(tool, schema) {
                    assert_eq!((code, blind_code), (404, 404), "{what}: {theirs}");
                    secret.same(&what, target, &theirs.to_string(), &nobodys.to_string());
                } else {
                    secret.kept(&what, &arguments.to_string(), &theirs.to_string());
                }
            }
        }
    }
    assert!(tried > tools.len(), "{tried}");
}

/// Does an operation: arguments go where the path names them, the others into the body or the query.
async fn send(bob: &Person, method: &Method, path: &str, arguments: &Value, has_body: bool) -> (u16, Value) {
    let mut arguments = arguments.as_object().unwrap().clone();
    let encoded = |value: &Value| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        utf8_percent_encode(&text, NON_ALPHANUMERIC).to_string()
    };
    let segment = |segment: &str| match segment.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
        Some(name) => encoded(&arguments.remove(name).unwrap()),
        None => segment.to_owned(),
    };
    let path = path.split('/').map(segment).collect::<Vec<_>>().join("/");
    if has_body {
        return bob.rest(method.clone(), &path, Some(&Value::Object(arguments))).await;
    }
    let query: Vec<String> = arguments.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    bob.rest(method.clone(), &format!("{path}?{}", query.join("&")), None).await
}

async fn by_prompts_and_resources(bob: &Person, secret: &Secret, target: &str) {
    let ask = async |method: &str, params: &Value| match bob.rpc(method, params).await {
        Ok(answer) => answer.to_string(),
        Err(error) => error,
    };
    let compare = async |method: &str, params: &dyn Fn(&str) -> Value| {
        let (theirs, nobodys) = (params(target), params(NOTHING));
        secret.same(&format!("{method} {theirs}"), target, &ask(method, &theirs).await, &ask(method, &nobodys).await);
    };
    let mut completions = Vec::new();
    let prompts = bob.rpc("prompts/list", &json!({})).await.unwrap();
    for prompt in prompts["prompts"].as_array().unwrap() {
        let names = prompt["arguments"].as_array().into_iter().flatten().map(|it| it["name"].as_str().unwrap());
        let names: Vec<&str> = names.collect();
        compare("prompts/get", &|at| {
            let arguments: Value = names.iter().map(|&name| (name.to_owned(), json!(at))).collect();
            json!({"name": prompt["name"], "arguments": arguments})
        })
        .await;
        let reference = json!({"type": "ref/prompt", "name": prompt["name"]});
        completions.extend(names.iter().map(|&name| (reference.clone(), name.to_owned())));
    }
    let templates = bob.rpc("resources/templates/list", &json!({})).await.unwrap();
    for template in templates["resourceTemplates"].as_array().unwrap() {
        let uri = template["uriTemplate"].as_str().unwrap();
        let reference = json!({"type": "ref/resource", "uri": uri});
        let variables = uri.split('{').skip(1).filter_map(|rest| Some(rest.split_once('}')?.0.trim_start_matches('+')));
        completions.extend(variables.map(|name| (reference.clone(), name.to_owned())));
    }
    assert!(completions.len() >= 4, "{completions:?}");
    for (reference, name) in completions {
        // Part of the name is a guess, nothing at all is a look around.
        for typed in ["", &target[..3], target] {
            let params = json!({"ref": reference, "argument": {"name": name, "value": typed}});
            let said = ask("completion/complete", &params).await;
            assert!(said.contains("\"values\""), "{params}: {said}");
            secret.kept(&params.to_string(), typed, &said);
        }
    }
    secret.kept("resources/list", "", &ask("resources/list", &json!({})).await);
    for path in ["/", "/notes.txt", "//etc/passwd", "/../../etc/passwd"] {
        compare("resources/read", &|at| json!({"uri": format!("workspace://{at}{path}")})).await;
    }
}

async fn a_name_is_taken_for_its_owner_only(stage: &Stage<'_>, bob: &Person, id: &str) {
    for name in ["secret-plan", id] {
        let new = json!({"template": "debian", "name": name, "wait": false});
        let made = bob.call("create_workspace", &new).await.unwrap();
        assert_eq!((&made["name"], &made["owner"]), (&json!(name), &json!("bob")), "{made}");
        assert_ne!(made["id"], id);
        bob.call("delete_workspace", &json!({"workspace": made["id"]})).await.unwrap();
        let object = format!("ws/{}", made["id"].as_str().unwrap());
        stage.kubectl(&["wait", "--for=delete", &object, "--timeout=60s"]);
    }
}
