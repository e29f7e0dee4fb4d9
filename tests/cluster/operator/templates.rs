//! The status of `WorkspaceTemplate`s: what is wrong with one is in its condition, written once, and goes when it is mended.

use super::stage::{OPERATOR, api, condition, create, eventually, operator, own_plane};
use k8s_openapi::{api::events::v1::Event, apimachinery::pkg::apis::meta::v1::Condition};
use kube::{
    Api,
    api::{ListParams, Patch, PatchParams},
};
use portcullis_api::WorkspaceTemplate;
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_says_so_once_until_it_is_mended() {
    let plane = own_plane().await;
    let _operator = operator(&plane, "one").await;
    let client = plane.client().await;
    let namespace = plane.create_namespace("templates").await;
    let templates: Api<WorkspaceTemplate> = api(&client, &namespace);
    let conditions = async |name: &str| -> Vec<Condition> {
        eventually("the status speaks of the newest spec", async || {
            let template = templates.get(name).await.unwrap();
            let status = template.status?;
            (status.observed_generation == template.metadata.generation).then_some(status.conditions)
        })
        .await
    };
    let template = |name: &str, env: &Value| -> WorkspaceTemplate {
        serde_json::from_value(json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "WorkspaceTemplate", "metadata": {"name": name},
            "spec": {"parameters": [{"name": "timezone"}], "pod": {"image": "debian", "env": env}},
        }))
        .unwrap()
    };
    let mark = plane.audit_mark();
    create(&client, &namespace, &template("good", &json!([{"name": "TZ", "value": "$(parameters.timezone)"}]))).await;
    create(&client, &namespace, &template("broken", &json!([{"name": "TZ", "value": "$(parameters.tz)"}]))).await;

    let found = conditions("good").await;
    assert_eq!(condition(&found, "Ready"), Some(("True".to_owned(), "Ready".to_owned())));
    assert_eq!(condition(&found, "Stalled"), None);
    let found = conditions("broken").await;
    assert_eq!(condition(&found, "Ready"), Some(("False".to_owned(), "Invalid".to_owned())));
    assert_eq!(condition(&found, "Stalled"), Some(("True".to_owned(), "Invalid".to_owned())));
    let says = "spec.pod.env[0].value: parameter \"tz\" does not exist; did you mean timezone?";
    assert!(found[0].message.contains(says), "{}", found[0].message);
    let events: Api<Event> = api(&client, &namespace);
    eventually("a Warning", async || {
        let all = events.list(&ListParams::default()).await.unwrap();
        let is_it = |event: &&Event| event.note.as_deref().is_some_and(|note| note.contains(says));
        all.iter().find(is_it).filter(|event| event.type_.as_deref() == Some("Warning")).map(drop)
    })
    .await;

    let writes = || {
        let written = plane.audit_writes(mark, OPERATOR).into_iter();
        let of_templates = written.filter(|write| write.resource == "workspacetemplates");
        of_templates.map(|write| (write.name, write.subresource, write.code)).collect::<Vec<_>>()
    };
    let status_of = |name: &str| (name.to_owned(), "status".to_owned(), 200);
    // A change that is none of the spec is looked at, and changes nothing.
    let annotate = Patch::Merge(json!({"metadata": {"annotations": {"a": "b"}}}));
    templates.patch("broken", &PatchParams::default(), &annotate).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3)).await;
    let mut written = writes();
    written.sort();
    assert_eq!(written, [status_of("broken"), status_of("good")]);

    let mend = Patch::Merge(json!({"spec": {"parameters": [{"name": "timezone"}, {"name": "tz"}]}}));
    templates.patch("broken", &PatchParams::default(), &mend).await.unwrap();
    let found = conditions("broken").await;
    assert_eq!(condition(&found, "Ready"), Some(("True".to_owned(), "Ready".to_owned())));
    assert_eq!(condition(&found, "Stalled"), None);
    let printed = plane.kubectl(&["-n", &namespace, "get", "wst", "broken"]);
    let printed = String::from_utf8(printed.stdout).unwrap();
    let headings: Vec<&str> = printed.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(headings, ["NAME", "DISPLAY-NAME", "IMAGE", "READY", "REASON", "AGE"], "{printed}");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(writes().len(), 3, "{:?}", writes());
}
