//! Accounts of GitHub.

use crate::identity::{
    relying::{CALLBACK, begin, client, config, finish, keys, logins, now, secrets, whole},
    stand_in::{CLIENT_ID, CLIENT_SECRET, GitHub, World},
};
use portcullis_core::{clock::SystemClock, grant::GrantUser};
use portcullis_identity::{Logins, SignInError};
use portcullis_outbound::Outbound;
use serde_json::{Value, json};
use std::sync::Arc;

fn endpoint(github: &GitHub, secret: &str, allowed: &Value) -> Logins {
    let mut login = json!({"url": github.url, "clientSecretRef": {"name": "app"}});
    login.as_object_mut().unwrap().extend(allowed.as_object().unwrap().clone());
    logins(&json!([{"name": "github", "github": login}]), &secrets("github", client(CLIENT_ID, secret)))
}

async fn sign_in(github: &GitHub, logins: &Logins) -> Result<GrantUser, SignInError> {
    let (location, pending) = begin(logins, "github").await?;
    finish(logins, &pending, &github.authorize(&location)).await
}

/// Signs in where only members of `acme` may, in a world that was changed.
async fn refused(change: impl FnOnce(&mut World)) -> SignInError {
    let github = GitHub::start(CALLBACK).await;
    change(&mut github.world.lock().unwrap());
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["acme"]}));
    let error = sign_in(&github, &logins).await.unwrap_err();
    assert!(!whole(&error).contains("gho_") && !whole(&error).contains(CLIENT_SECRET), "{}", whole(&error));
    error
}

#[tokio::test]
async fn a_member_of_an_organization_signs_in_with_an_id_that_stays() {
    let github = GitHub::start(CALLBACK).await;
    github.world.lock().unwrap().organizations = vec![("other", "active"), ("another", "active"), ("ACME", "active")];
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["Acme"]}));
    let user = sign_in(&github, &logins).await.unwrap();
    assert_eq!(user, GrantUser { id: "github:583231".to_owned(), name: "octocat".to_owned() });
    assert!(logins.still_known(&user.id) && !logins.still_known("gone:583231"));
    let asked = github.world.lock().unwrap().asked.clone();
    assert_eq!(asked.len(), 3, "two pages of organizations, and no teams: {asked:?}");
}

#[tokio::test]
async fn a_member_of_a_team_signs_in_wherever_the_team_stands() {
    let github = GitHub::start(CALLBACK).await;
    github.world.lock().unwrap().teams =
        vec![("acme", "ops"), ("other", "web"), ("acme", "docs"), ("acme", "qa"), ("acme", "web")];
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedTeams": ["acme/Web"]}));
    assert_eq!(sign_in(&github, &logins).await.unwrap().name, "octocat");
    github.world.lock().unwrap().teams.pop();
    assert_eq!(sign_in(&github, &logins).await.unwrap_err().reason(), "not_allowed", "other/web is another team");
}

#[tokio::test]
async fn groups_of_administrators_are_kept_beside_those_that_let_in() {
    let github = GitHub::start(CALLBACK).await;
    {
        let mut world = github.world.lock().unwrap();
        world.organizations = vec![("acme", "active"), ("Platform", "active"), ("other", "active")];
        world.teams = vec![("acme", "Ops"), ("acme", "dev")];
    }
    let login = json!({"url": github.url, "clientSecretRef": {"name": "app"}, "allowedOrganizations": ["acme"]});
    let mut config = config(&json!([{"name": "github", "github": login}]));
    let groups = ["github:platform", "github:acme/ops", "github:acme/web", "other:acme", "github:acme"];
    config.console.administrators.groups = groups.map(str::to_owned).to_vec();
    let outbound = Arc::new(Outbound::new().unwrap());
    let secrets = secrets("github", client(CLIENT_ID, CLIENT_SECRET));
    let logins = Logins::new(&config, &secrets, &keys(), outbound, Arc::new(SystemClock)).unwrap();
    let evidence = async || {
        let (location, pending) = begin(&logins, "github").await.unwrap();
        let query = github.authorize(&location);
        logins.finish(&pending, &query, CALLBACK, now()).await.map(|signed_in| signed_in.evidence)
    };
    let found = evidence().await.unwrap();
    assert_eq!((&*found.organizations, found.teams.len()), (&["acme".to_owned()][..], 0));
    assert_eq!(found.administrator_groups, ["acme", "platform", "acme/ops"]);
    assert!(logins.is_administrator("github:583231", Some(&found)));

    github.world.lock().unwrap().organizations.remove(0);
    assert_eq!(
        evidence().await.unwrap_err().reason(),
        "not_allowed",
        "membership in a group of administrators is not enough"
    );
}

#[tokio::test]
async fn whoever_is_in_no_allowed_organization_is_told_so() {
    let error = refused(|world| world.organizations = vec![("other", "active"), ("acme", "pending")]).await;
    assert_eq!(error.title(), "This account has no access");
    insta::assert_snapshot!(error, @"You are signed in at GitHub as octocat, but that account is not in any organization that may use this endpoint. Sign out at GitHub and use another account, or ask the administrator of the endpoint to allow yours.");
}

#[tokio::test]
async fn a_code_counts_once_and_for_who_began() {
    let github = GitHub::start(CALLBACK).await;
    github.world.lock().unwrap().organizations = vec![("acme", "active")];
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["acme"]}));
    let (location, pending) = begin(&logins, "github").await.unwrap();
    let query = github.authorize(&location);
    finish(&logins, &pending, &query).await.unwrap();
    assert_eq!(finish(&logins, &pending, &query).await.unwrap_err().reason(), "expired");

    let (location, _) = begin(&logins, "github").await.unwrap();
    let (_, other) = begin(&logins, "github").await.unwrap();
    let stolen = finish(&logins, &other, &github.authorize(&location)).await.unwrap_err();
    assert_eq!(stolen.reason(), "expired", "the verifier is another flow's");
}

#[tokio::test]
async fn what_is_set_up_wrongly_is_said() {
    let github = GitHub::start(CALLBACK).await;
    let logins = endpoint(&github, "wrong", &json!({"allowedOrganizations": ["acme"]}));
    let error = sign_in(&github, &logins).await.unwrap_err();
    assert_eq!(error.title(), "Sign-in is not configured correctly");
    insta::assert_snapshot!(error, @"The sign-in at GitHub is not configured correctly: the client secret is wrong (incorrect_client_credentials); correct client-id and client-secret in this login's Secret. The administrator of the endpoint must correct this. Connected agents continue to work.");

    let error = refused(|world| world.callback = "https://elsewhere.example/callback".to_owned()).await;
    assert_eq!(error.reason(), "provider_misconfigured");
    assert!(error.to_string().contains("redirect_uri_mismatch"), "{error}");

    let error =
        refused(|world| world.instead = Some((403, r#"{"message": "Resource not accessible"}"#.to_owned()))).await;
    assert_eq!(error.reason(), "provider_misconfigured");
    assert_eq!(refused(|world| world.email_unverified = true).await.reason(), "email_unverified");
}

#[tokio::test]
async fn single_sign_on_is_not_taken_for_no_membership() {
    let partial = ("x-github-sso", "partial-results; organizations=21955855,20582480".to_owned());
    let error = refused(|world| world.headers = vec![partial]).await;
    assert_eq!(error.reason(), "single_sign_on");
    insta::assert_snapshot!(error, @"GitHub hides organizations until you have used their single sign-on, so it is unknown whether octocat may use this endpoint. Sign in to your organization at GitHub, then here again.");

    let required =
        ("x-github-sso", "required; url=https://github.com/orgs/acme/sso?authorization_request=A".to_owned());
    let error = refused(|world| {
        world.headers = vec![required];
        world.instead =
            Some((403, r#"{"message": "Resource protected by organization SAML enforcement."}"#.to_owned()));
    })
    .await;
    assert_eq!(error.reason(), "single_sign_on");
}

#[tokio::test]
async fn trouble_at_github_is_said_as_such() {
    let limit = r#"{"message": "API rate limit exceeded for user ID 583231."}"#;
    for (status, headers, body, reason) in [
        (403, vec![("x-ratelimit-remaining", "0".to_owned())], limit, "provider_unreachable"),
        (429, vec![("retry-after", "60".to_owned())], limit, "provider_unreachable"),
        (429, vec![], limit, "provider_unreachable"),
        (500, vec![], "", "provider_unreachable"),
        (502, vec![], "<html>Unicorn!</html>", "provider_unreachable"),
        (401, vec![], r#"{"message": "Bad credentials"}"#, "provider_unexpected"),
        (200, vec![], "<html>", "provider_unexpected"),
        (200, vec![], r#"{"login": "octocat"}"#, "provider_unexpected"),
        (302, vec![("location", "https://elsewhere.example/".to_owned())], "", "provider_unexpected"),
    ] {
        let error = refused(|world| {
            world.headers = headers.clone();
            world.instead = Some((status, body.to_owned()));
        })
        .await;
        assert_eq!(error.reason(), reason, "{status} {body}");
        assert!(!whole(&error).contains("Unicorn"), "{}", whole(&error));
    }
}

#[tokio::test]
async fn a_user_has_names_not_positions() {
    let github = GitHub::start(CALLBACK).await;
    github.world.lock().unwrap().instead = Some((200, r#"[583231, "octocat"]"#.to_owned()));
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["acme"]}));
    assert_eq!(sign_in(&github, &logins).await.unwrap_err().reason(), "provider_unexpected");
    assert_eq!(github.world.lock().unwrap().asked, ["/user"], "whose organizations they would be is not known");
}

#[tokio::test]
async fn the_token_goes_nowhere_else() {
    let elsewhere = GitHub::start(CALLBACK).await;
    let next = format!("{}/api/v3/user/memberships/orgs?per_page=100&page=2", elsewhere.url);
    let error = refused(|world| {
        world.organizations = vec![("a", "active"), ("b", "active"), ("c", "active")];
        world.next_page = Some(next);
    })
    .await;
    assert_eq!(error.reason(), "not_allowed");
    assert_eq!(elsewhere.world.lock().unwrap().asked, Vec::<String>::new());
}

#[tokio::test]
async fn a_github_that_is_down_is_said_to_be() {
    let github = GitHub::start(CALLBACK).await;
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["acme"]}));
    let (location, pending) = begin(&logins, "github").await.unwrap();
    let query = github.authorize(&location);
    drop(github);
    tokio::task::yield_now().await;
    let error = finish(&logins, &pending, &query).await.unwrap_err();
    assert_eq!(error.title(), "The sign-in provider cannot be reached");
    insta::assert_snapshot!(error, @"GitHub cannot be reached at the moment. Connected agents continue to work. To sign in, try again in a few minutes.");
}

/// What GitHub answers about a user who signed in, and what it means.
#[tokio::test]
async fn what_github_answers_about_a_user_decides() {
    use portcullis_core::grant::RevocationReason::{NotAllowed, ProviderRefused};
    use portcullis_oauth::Verdict::{Allowed, Refused, Unavailable};
    let github = GitHub::start(CALLBACK).await;
    github.world.lock().unwrap().organizations = vec![("acme", "active")];
    let logins = endpoint(&github, CLIENT_SECRET, &json!({"allowedOrganizations": ["acme", "other"]}));
    let (location, pending) = begin(&logins, "github").await.unwrap();
    let signed_in = logins.finish(&pending, &github.authorize(&location), CALLBACK, now()).await.unwrap();
    let token = signed_in.token.clone().unwrap();
    assert!(!format!("{signed_in:?}").contains("gho_"));
    assert_eq!(logins.recheck("github:583231", &token, now()).await.verdict, Allowed(signed_in.evidence));
    assert_eq!(logins.recheck("github:7", &token, now()).await.verdict, Refused(ProviderRefused), "somebody else's");

    let instead = |status: u16, message: &str| {
        github.world.lock().unwrap().instead = Some((status, json!({"message": message}).to_string()));
    };
    for (status, verdict) in
        [(401, Refused(ProviderRefused)), (403, Unavailable), (429, Unavailable), (502, Unavailable)]
    {
        instead(status, "as GitHub says it");
        assert_eq!(logins.recheck("github:583231", &token, now()).await.verdict, verdict, "{status}");
    }
    github.world.lock().unwrap().instead = None;
    github.world.lock().unwrap().organizations = vec![("other", "active")];
    let moved = logins.recheck("github:583231", &token, now()).await.verdict;
    assert!(matches!(moved, Allowed(evidence) if evidence.organizations == ["other"]), "the evidence is of now");
    github.world.lock().unwrap().organizations = vec![("acme", "pending"), ("elsewhere", "active")];
    assert_eq!(logins.recheck("github:583231", &token, now()).await.verdict, Refused(NotAllowed));
}
