//! The runbook "Off-board a user" of `docs/signing-in.md`, run to the letter on a real API server with three servers.

use super::stage::{Server, Stage, authorize, code, parameter, signed_in, signed_in_as, text};
use crate::{
    operator::stage::{eventually, install},
    support::{controlplane::ControlPlane, form_browser::Browser},
};
use kube::{
    Api,
    api::{ListParams, PostParams},
};
use portcullis_api::OAuthUser;
use portcullis_core::grant::RevocationReason;
use serde_json::json;
use std::{
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

const SERVERS: usize = 3;

/// The commands of the runbook's part with this name.
fn commands(part: &str) -> String {
    let document = include_str!("../../../docs/signing-in.md");
    let marked = format!("<!-- runbook: {part} -->\n```\n");
    let (_, below) = document.split_once(&marked).unwrap_or_else(|| panic!("docs/signing-in.md has no part {part}"));
    below.split_once("\n```").unwrap().0.to_owned()
}

/// A shell whose kubectl works in the namespace of a stage.
struct Shell {
    folder: TempDir,
    path: PathBuf,
}

impl Shell {
    fn of(stage: &Stage<'_>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let kubectl = stage.plane.kubectl_command(&[]);
        let path = Path::new(kubectl.get_program()).parent().unwrap().to_owned();
        std::fs::copy(stage.plane.admin_kubeconfig(), folder.path().join("kubeconfig")).unwrap();
        let shell = Self { folder, path };
        let set = shell.run_now(&format!("kubectl config set-context --current --namespace={}", stage.namespace));
        assert!(set.status.success(), "{set:?}");
        shell
    }

    fn run_now(&self, script: &str) -> Output {
        std::process::Command::new("bash")
            .args(["-euo", "pipefail", "-c", script])
            .env("PATH", format!("{}:{}", self.path.display(), std::env::var("PATH").unwrap()))
            .env("KUBECONFIG", self.folder.path().join("kubeconfig"))
            .env("HOME", self.folder.path())
            .output()
            .unwrap()
    }

    /// Runs a part of the runbook. What it prints.
    fn run(&self, part: &str) -> String {
        let script = commands(part);
        let output = tokio::task::block_in_place(|| self.run_now(&script));
        assert!(output.status.success(), "{script}\n{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

/// Polls until the server refuses the token; when it did.
async fn refusal(server: &Server, token: &str) -> Instant {
    eventually("a server refuses the token", async || {
        for _ in 0..20 {
            match server.call(token).await {
                401 => return Some(Instant::now()),
                status => assert_eq!(status, 200),
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        None
    })
    .await
}

fn disabled(name: &str, endpoint: &str, user: &str) -> OAuthUser {
    let spec = json!({"endpointRef": {"name": endpoint}, "user": {"id": user}, "disabled": true});
    OAuthUser::new(name, serde_json::from_value(spec).unwrap())
}

async fn cannot_go_on(server: &Server, browser: &Browser) {
    let mut copy = server.browser();
    copy.cookie.clone_from(&browser.cookie);
    for path in [authorize("claude").as_str(), "/agents"] {
        assert!(copy.get(path).await.path().starts_with("/login"), "{path} at {server:?}");
        copy.cookie.clone_from(&browser.cookie);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_runbook_ends_a_users_sessions_grants_and_agents_at_every_server() {
    let plane = ControlPlane::shared().await;
    install(plane);
    let namespace = plane.create_namespace("offboarding").await;
    let more = json!({"deployment": {"replicas": SERVERS}});
    let stage = Stage::start(plane, namespace, plane.url(), &more, &[]).await;
    let servers = stage.servers_that_are(SERVERS).await;
    let (one, two) = (&servers[0], &servers[1]);
    let shell = Shell::of(&stage);
    let users: Api<OAuthUser> = Api::namespaced(stage.client.clone(), &stage.namespace);

    // Ann has two agents, a code that is not redeemed yet, and a consent page that is open; bob has an agent.
    let mut browser = signed_in(one).await;
    let first = one.redeem(&code(&mut browser, "claude").await).await;
    let second = two.redeem(&code(&mut browser, "claude").await).await;
    let of_bob = two.redeem(&code(&mut signed_in_as(two, "bob").await, "claude").await).await;
    let tokens = [&first, &second].map(|answer| text(answer, "access_token").to_owned());
    let bob = text(&of_bob, "access_token");
    for server in &servers {
        for token in tokens.iter().map(String::as_str).chain([bob]) {
            eventually("the tokens count", async || (server.call(token).await == 200).then_some(())).await;
        }
    }
    let open = browser.get(&authorize("claude")).await.form("/consent").with("decision", "allow");
    let waiting = code(&mut browser, "claude").await;

    let waits = servers.iter().flat_map(|server| tokens.iter().map(move |token| refusal(server, token)));
    // It comes before the other, so servers that know the other know this one too.
    users.create(&PostParams::default(), &disabled("elsewhere", "others", "local:bob")).await.unwrap();
    let since = Instant::now();
    let (refused, printed) = tokio::join!(futures::future::join_all(waits), async { shell.run("off-board") });
    let last = refused.into_iter().max().unwrap().duration_since(since);
    println!("from the start of the runbook to the refusal of both tokens by the last of {SERVERS} servers: {last:?}");
    let shown: Vec<&str> = printed.lines().last().unwrap().split_whitespace().collect();
    assert_eq!(shown[..6], ["ann", "agents", "local:ann", "true", "True", "GrantsRevoked"], "{printed}");

    let grants = stage.grants().list(&ListParams::default()).await.unwrap().items;
    assert_eq!(grants.len(), 3);
    for grant in &grants {
        let revoked = grant.spec.revoked.as_ref().map(|revoked| revoked.reason);
        let expected = (grant.spec.user.id == "local:ann").then_some(RevocationReason::UserDisabled);
        assert_eq!(revoked, expected, "{grant:?}");
        assert!(grant.spec.signed_in_at.is_some());
    }
    for server in &servers {
        cannot_go_on(server, &browser).await;
        let mut copy = server.browser();
        copy.cookie.clone_from(&browser.cookie);
        let consent = copy.submit("/consent", &open.0).await;
        assert!(consent.status == 403 && consent.text().contains("This account is disabled"), "{}", consent.text());
        let signing_in = server.browser().sign_in("/login", "ann", super::stage::PASSWORD).await;
        assert!(signing_in.status == 403 && signing_in.text().contains("This account is disabled"));
        for answer in [server.redeem(&waiting).await, server.refresh(text(&first, "refresh_token")).await] {
            assert_eq!((answer.0, text(&answer, "error")), (400, "invalid_grant"), "{answer:?}");
        }
        assert_eq!(server.call(bob).await, 200, "others go on, also where another endpoint's user has the id");
    }
    assert_eq!(stage.grants().list(&ListParams::default()).await.unwrap().items.len(), 3, "no new agent was approved");

    eventually("the condition says that the endpoint is not there", async || {
        let conditions = users.get("elsewhere").await.unwrap().status?.conditions;
        conditions.iter().any(|one| one.status == "False" && one.reason == "EndpointNotFound").then_some(())
    })
    .await;

    // From before the request, so that the request's own time counts too.
    let since = Instant::now();
    users.create(&PostParams::default(), &disabled("bob", "agents", "local:bob")).await.unwrap();
    let refused = futures::future::join_all(servers.iter().map(|server| refusal(server, bob))).await;
    let last = refused.into_iter().max().unwrap().duration_since(since);
    println!("from the request that creates an OAuthUser to the refusal by the last of {SERVERS} servers: {last:?}");

    let account = format!("--as=system:serviceaccount:{}:portcullis-server-agents", stage.namespace);
    for (verb, may) in [("list", "yes"), ("patch", "no"), ("delete", "no"), ("create", "no")] {
        let asked = stage.plane.kubectl(&["-n", &stage.namespace, "auth", "can-i", verb, "oauthusers", &account]);
        assert_eq!(String::from_utf8_lossy(&asked.stdout).trim(), may, "servers, {verb}");
    }

    enabled_again(&stage, &shell, &servers, &browser, &tokens).await;
}

/// The user is let in again, without what was ended; then ended once more, with `notBefore`.
async fn enabled_again(stage: &Stage<'_>, shell: &Shell, servers: &[Server], old: &Browser, tokens: &[String]) {
    shell.run("enable");
    // `notBefore` includes its second.
    let server = &servers[2];
    let mut browser = eventually("ann may sign in", async || {
        let mut browser = server.browser();
        let page = browser.sign_in("/login", "ann", super::stage::PASSWORD).await;
        (page.status == 303).then_some(browser)
    })
    .await;
    let new = server.redeem(&parameter(browser.allow(&authorize("claude")).await.location(), "code")).await;
    let access = text(&new, "access_token");
    for server in servers {
        eventually("the new token counts", async || (server.call(access).await == 200).then_some(())).await;
        for token in tokens {
            assert_eq!(server.call(token).await, 401);
        }
        cannot_go_on(server, old).await;
    }

    shell.run("end");
    for server in servers {
        refusal(server, access).await;
        cannot_go_on(server, &browser).await;
    }
    let deleted = stage.plane.kubectl(&["-n", &stage.namespace, "delete", "oau", "ann"]);
    assert!(deleted.status.success(), "{deleted:?}");
    for server in servers {
        for token in tokens.iter().map(String::as_str).chain([access]) {
            assert_eq!(server.call(token).await, 401, "what ended does not come back");
        }
    }
}
