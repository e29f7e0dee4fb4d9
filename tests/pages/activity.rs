//! The activity page: what clients ran and changed in a workspace, for its owner alone.

use crate::pages::{
    browser::Browser,
    stage::{Stage, authorize},
};
use serde_json::json;

const ACTIVITY: &str = "/console/workspaces/web/activity";

/// Lets a client work for the user of the browser. What comes is its access token.
async fn connect(stage: &Stage, browser: &mut Browser, client_id: &str) -> String {
    let scopes = "workspaces:read workspaces:write workspaces:exec files:read files:write";
    let request = authorize(&[("client_id", client_id), ("scope", scopes)]);
    let page = browser.allow(&request).await;
    let token = stage.redeem_for(client_id, page.location()).await;
    token["access_token"].as_str().unwrap().to_owned()
}

/// The links of a page whose text is this.
fn link(html: &str, text: &str) -> Option<String> {
    let (before, _) = html.split_once(&format!(">{text}</a>"))?;
    let (_, href) = before.rsplit_once("href=\"")?;
    Some(href.split('"').next()?.replace("&#38;", "&").replace("&amp;", "&"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_appears_with_its_client_and_outcome_for_the_owner_alone() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let (mut ada, mut bob) = (stage.signed_in("ada").await, stage.signed_in("bob").await);
    let token = connect(&stage, &mut ada, "agent").await;
    stage.tool(&token, "create_workspace", json!({"template": "blank", "name": "web"})).await;
    let page = ada.get(ACTIVITY).await;
    assert!(page.status == 200 && page.text().contains("Nothing is recorded yet"), "{}", page.text());

    let command = json!({"workspace": "web", "command": "echo from-claude; exit 3", "env": {"TOKEN": "hunter2"}});
    stage.tool(&token, "run_command", command).await;
    let file = json!({"workspace": "web", "path": "docs/<b>.md", "content": "hunter2"});
    stage.tool(&token, "write_file", file).await;
    let missing = json!({"workspace": "web", "path": "nothing.md"});
    stage.tool(&token, "remove_path", missing).await;
    stage.tool(&token, "read_file", json!({"workspace": "web", "path": "docs/<b>.md"})).await;

    let page = ada.get(ACTIVITY).await;
    let text = page.text();
    let order = ["Removed", "nothing.md", "Wrote a file", "docs/", "Ran a command", "echo from-claude; exit 3"];
    let positions: Vec<usize> = order.iter().map(|words| text.find(words).expect(words)).collect();
    assert!(positions.is_sorted(), "{text}");
    assert!(text.contains("exit code 3") && text.contains("failed: not found"), "{text}");
    assert_eq!(text.matches("Claude ·").count(), 3, "reads are not recorded: {text}");
    assert!(!page.html.contains("hunter2") && !page.html.contains("<b>"), "{}", page.html);
    let details = ada.get("/console/workspaces/web").await;
    assert!(link(&details.html, "Activity: what agents ran and changed").unwrap().ends_with("/activity"));
    assert!(ada.get("/agents").await.text().contains("under Activity"));

    // Neither another user nor a browser without a session sees it.
    connect(&stage, &mut bob, "agent").await;
    let page = bob.get(ACTIVITY).await;
    assert_eq!(page.status, 404, "{}", page.text());
    assert!(!page.html.contains("from-claude"));
    let page = stage.browser().get(ACTIVITY).await;
    assert!(page.path().starts_with("/login?continue="), "{}", page.path());

    stage.tool(&token, "stop_workspace", json!({"workspace": "web"})).await;
    let page = ada.get(ACTIVITY).await;
    assert!(page.text().contains("only while the workspace runs"), "{}", page.text());
    stage.tool(&token, "start_workspace", json!({"workspace": "web"})).await;
    assert!(ada.get(ACTIVITY).await.text().contains("from-claude"), "it survives a stop on this machine");
    stage.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn activity_is_filtered_by_client_and_paged_by_links() {
    let stage = Stage::with_workspaces(|_| {}).await;
    let mut ada = stage.signed_in("ada").await;
    let (claude, other) = (connect(&stage, &mut ada, "agent").await, connect(&stage, &mut ada, "hostile").await);
    stage.tool(&claude, "create_workspace", json!({"template": "blank", "name": "web"})).await;
    let write = async |token: &str, path: String| {
        stage.tool(token, "write_file", json!({"workspace": "web", "path": path, "content": ""})).await
    };
    for number in 10..40 {
        write(&claude, format!("claude-{number}")).await;
    }
    write(&other, "of-the-other".to_owned()).await;

    let page = ada.get(ACTIVITY).await;
    assert!(page.text().contains("of-the-other") && !page.html.contains("<script"), "{}", page.html);
    assert!(page.text().contains("claude-39") && !page.text().contains("claude-10"), "{}", page.text());
    assert_eq!(link(&page.html, "Newest"), None);

    let filtered = ada.get(&link(&page.html, "Claude").unwrap()).await;
    assert!(filtered.html.contains("aria-current") && !filtered.text().contains("of-the-other"), "{}", filtered.text());
    assert!(filtered.text().contains("claude-15") && !filtered.text().contains("claude-14"), "{}", filtered.text());
    let older = ada.get(&link(&filtered.html, "Older").unwrap()).await;
    let text = older.text();
    assert!(text.contains("claude-14") && text.contains("claude-10") && !text.contains("claude-15"), "{text}");
    assert!(!text.contains("of-the-other"), "the filter stays: {text}");
    assert_eq!(link(&older.html, "Older"), None);
    assert_eq!(ada.get(&link(&older.html, "Newest").unwrap()).await.text(), filtered.text());
    assert_eq!(ada.get(&link(&older.html, "All agents").unwrap()).await.text(), page.text());

    // What a link never has does no harm.
    for query in ["before=x", "before=-1", "before=99999999999999999999", "client=%3Cscript%3E&client=2"] {
        assert_eq!(ada.get(&format!("{ACTIVITY}?{query}")).await.status, 200, "{query}");
    }
    let nothing = ada.get(&format!("{ACTIVITY}?client=%3Cscript%3E")).await;
    assert!(nothing.text().contains("for this agent") && !nothing.html.contains("<script"), "{}", nothing.html);
    stage.stop().await;
}
