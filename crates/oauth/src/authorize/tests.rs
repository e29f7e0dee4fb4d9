use crate::authorize::*;
use crate::{
    seal::Purpose,
    testing::{ADA, ALLOWED, LOOPBACK, Stage, WEB, ada, answer, at, challenge, query},
};
use futures::FutureExt as _;
use proptest::prelude::*;
use rand::{SeedableRng as _, rngs::StdRng};

fn rng() -> StdRng {
    StdRng::seed_from_u64(1)
}

fn redirected(result: Result<AuthorizationRequest, AuthorizeError>, name: &str) -> String {
    match result {
        Err(AuthorizeError::Redirect(location)) => location,
        other => panic!("{name}: {other:?}"),
    }
}

#[tokio::test]
async fn a_good_request_is_read_whole() {
    let stage = Stage::new();
    stage.pass(100);
    let request = stage.check(&query("agent", &[])).await.unwrap();
    let expected = AuthorizationRequest {
        client_id: "agent".to_owned(),
        client_name: "AGENT".to_owned(),
        origin: Origin::Configured,
        redirect_uri: WEB.to_owned(),
        scopes: BTreeSet::from(ALLOWED),
        state: Some("x y&z".to_owned()),
        code_challenge: challenge(),
        resource: "https://h.example.com/team/mcp".to_owned(),
        prompt: None,
        created_at: at(100),
    };
    assert_eq!(request, expected);
    for (name, changes, scopes) in [
        ("no resource", &[("resource", "")][..], &ALLOWED[..]),
        ("a slash", &[("resource", "https://h.example.com/team/mcp/")], &ALLOWED),
        ("one scope", &[("scope", "files:read")], &[Scope::FilesRead]),
        ("more than it may have", &[("scope", "files:read files:write")], &[Scope::FilesRead]),
        ("words without effect", &[("scope", "openid profile email offline_access")], &ALLOWED),
        ("some of them", &[("scope", "offline_access files:read")], &[Scope::FilesRead]),
        ("unknown parameters", &[("nonce", "1"), ("nonce", "2"), ("login_hint", "x")], &ALLOWED),
        ("the mode that there is", &[("response_mode", "query")], &ALLOWED),
    ] {
        let request = stage.check(&query("agent", changes)).await.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        assert_eq!(request.scopes, scopes.iter().copied().collect(), "{name}");
    }
    let request = stage.check(&query("app", &[("state", "")])).await.unwrap();
    assert_eq!((request.redirect_uri.as_str(), request.state), (LOOPBACK, None));
    for (prompt, expected) in [
        ("login", Some(Prompt::Login)),
        ("consent", Some(Prompt::Consent)),
        ("select_account consent", Some(Prompt::SelectAccount)),
        ("consent login select_account", Some(Prompt::Login)),
        ("create", None),
    ] {
        assert_eq!(stage.check(&query("app", &[("prompt", prompt)])).await.unwrap().prompt, expected, "{prompt}");
    }
}

#[tokio::test]
async fn nobody_is_redirected_to_where_no_client_is() {
    let stage = Stage::new();
    let long = "x".repeat(MAX_REQUEST);
    let twice = |name: &str| format!("{}&{name}=https%3A%2F%2Fevil.com", query("agent", &[]));
    for (name, query) in [
        ("no client", query("", &[])),
        ("unknown client", query("who", &[("redirect_uri", "https://evil.com/")])),
        ("nobody", query("nobody", &[])),
        ("two clients", twice("client_id")),
        ("two callbacks", twice("redirect_uri")),
        ("no callback", query("agent", &[("redirect_uri", "")])),
        ("another's callback", query("agent", &[("redirect_uri", LOOPBACK)])),
        ("open redirect", query("agent", &[("redirect_uri", "https://evil.com/cb?tenant=1")])),
        ("callback without its query", query("agent", &[("redirect_uri", "https://agent.example.com/cb")])),
        (
            "control in the callback",
            query("agent", &[("redirect_uri", "https://agent.example.com/cb?tenant=1\r\nX: y")]),
        ),
        ("control in the client", query("agent\0", &[])),
        ("long client", query(&"a".repeat(5000), &[])),
        ("too long", query("agent", &[("x", &long)])),
        ("nothing", String::new()),
        ("no words", "%%%\u{fffd}&&==".to_owned()),
    ] {
        let result = stage.check(&query).await;
        assert!(matches!(result, Err(AuthorizeError::Page { .. })), "{name}: {result:?}");
    }
}

#[tokio::test]
async fn a_client_is_told_what_is_wrong_by_a_redirect_with_state_and_issuer() {
    let stage = Stage::new();
    let repeated = |name: &str| format!("{}&{name}=1", query("agent", &[]));
    let agent = |changes: &[(&str, &str)]| query("agent", changes);
    for (name, query, code) in [
        ("no type", agent(&[("response_type", "")]), "invalid_request"),
        ("implicit", agent(&[("response_type", "token")]), "unsupported_response_type"),
        ("hybrid", agent(&[("response_type", "code id_token")]), "unsupported_response_type"),
        ("fragment mode", agent(&[("response_mode", "fragment")]), "invalid_request"),
        ("form mode", agent(&[("response_mode", "form_post")]), "invalid_request"),
        ("no challenge", agent(&[("code_challenge", "")]), "invalid_request"),
        ("no challenge at all", agent(&[("code_challenge", ""), ("code_challenge_method", "")]), "invalid_request"),
        ("plain", agent(&[("code_challenge_method", "plain")]), "invalid_request"),
        ("method left out, which means plain", agent(&[("code_challenge_method", "")]), "invalid_request"),
        ("method in other letters", agent(&[("code_challenge_method", "s256")]), "invalid_request"),
        ("short challenge", agent(&[("code_challenge", "abc")]), "invalid_request"),
        ("padded challenge", agent(&[("code_challenge", &format!("{}=", challenge()))]), "invalid_request"),
        ("other resource", agent(&[("resource", "https://h.example.com/mcp")]), "invalid_target"),
        ("one of two", format!("{}&resource=https://evil.com", agent(&[])), "invalid_target"),
        ("unknown scope", agent(&[("scope", "files:read everything")]), "invalid_scope"),
        ("none of its scopes", agent(&[("scope", "files:write")]), "invalid_scope"),
        ("request object", agent(&[("request", "e30.e30.")]), "request_not_supported"),
        ("request by reference", agent(&[("request_uri", "https://evil.com/r")]), "request_uri_not_supported"),
        ("silently", agent(&[("prompt", "none")]), "interaction_required"),
        ("silently and not", agent(&[("prompt", "login none")]), "interaction_required"),
        ("scope twice", repeated("scope") + "&scope=2", "invalid_request"),
        ("type twice", repeated("response_type"), "invalid_request"),
        ("challenge twice", repeated("code_challenge"), "invalid_request"),
        ("control", agent(&[("scope", "files:read\0")]), "invalid_request"),
        ("no codes for it", query("robot", &[]), "unauthorized_client"),
    ] {
        let location = redirected(stage.check(&query).await, name);
        assert!(location.starts_with(&format!("{WEB}&error=")), "{name}: {location}");
        let answer = answer(&location);
        assert_eq!(answer["error"], code, "{name}: {answer:?}");
        assert_eq!(
            (answer["state"].as_str(), answer["iss"].as_str()),
            ("x y&z", "https://h.example.com/team"),
            "{name}"
        );
        assert!(!answer.contains_key("code"));
    }
    for (name, query) in [
        ("state twice", repeated("state")),
        ("state with a control", agent(&[("state", "a\nb")])),
        ("long state", agent(&[("state", &"s".repeat(MAX_STATE + 1))])),
    ] {
        let answer = answer(&redirected(stage.check(&query).await, name));
        assert_eq!((answer["error"].as_str(), answer.get("state")), ("invalid_request", None), "{name}");
    }
}

#[tokio::test]
async fn an_answer_carries_code_or_refusal_with_state_and_issuer() {
    let stage = Stage::new();
    let request = stage.check(&query("agent", &[])).await.unwrap();
    let chosen = BTreeSet::from([Scope::FilesRead]);
    let location = stage
        .server
        .approve(
            &request,
            Approver { user: &ada(), since: stage.now(), evidence: None },
            &chosen,
            &ConsentTicket::new(&mut rng()),
            stage.now(),
            &mut rng(),
        )
        .unwrap();
    assert!(location.starts_with(&format!("{WEB}&code=")), "{location}");
    let parts = answer(&location);
    let names: Vec<_> = parts.keys().map(String::as_str).collect();
    assert_eq!(names, ["code", "iss", "state", "tenant"]);
    assert_eq!((parts["state"].as_str(), parts["iss"].as_str()), ("x y&z", "https://h.example.com/team"));

    let refused = answer(&stage.server.refuse(&request, "access_denied", "the user said \"no\"\r\n"));
    assert_eq!((refused["error"].as_str(), refused["state"].as_str()), ("access_denied", "x y&z"));
    assert_eq!((refused["error_description"].as_str(), refused["tenant"].as_str()), ("the user said 'no'??", "1"));
    assert_eq!(refused["iss"], "https://h.example.com/team");
    assert!(!refused.contains_key("code"));

    let silent = stage.check(&query("app", &[("state", "")])).await.unwrap();
    let location = stage
        .server
        .approve(
            &silent,
            Approver { user: &ada(), since: stage.now(), evidence: None },
            &chosen,
            &ConsentTicket::new(&mut rng()),
            stage.now(),
            &mut rng(),
        )
        .unwrap();
    assert!(location.starts_with(&format!("{LOOPBACK}?code=")) && !location.contains("state="), "{location}");
}

#[tokio::test]
async fn only_what_was_shown_can_be_allowed() {
    let stage = Stage::new();
    let request = stage.check(&query("app", &[("scope", "files:read")])).await.unwrap();
    let approve = |scopes: &[Scope]| {
        let chosen = scopes.iter().copied().collect();
        stage
            .server
            .approve(
                &request,
                Approver { user: &ada(), since: stage.now(), evidence: None },
                &chosen,
                &ConsentTicket::new(&mut rng()),
                stage.now(),
                &mut rng(),
            )
            .map(drop)
    };
    assert_eq!(approve(&[]), Err(ApproveError::Nothing));
    assert_eq!(approve(&[Scope::FilesRead, Scope::WorkspacesExec]), Err(ApproveError::Beyond));

    // Scopes that the user approved before are on the page too, and may be kept.
    let code = stage.code("app", &[Scope::WorkspacesExec]).await;
    stage.redeem(&code).await.unwrap();
    let granted = |client| stage.server.already_granted(ADA, client, stage.now());
    assert_eq!(granted("app"), BTreeSet::from([Scope::WorkspacesExec]));
    assert_eq!(granted("agent"), BTreeSet::new(), "another client's is another's");
    assert_eq!(approve(&[Scope::FilesRead, Scope::WorkspacesExec]), Ok(()));
    let code = stage.code("app", &[Scope::FilesRead]).await;
    stage.redeem(&code).await.unwrap();
    assert_eq!(granted("app"), BTreeSet::from([Scope::FilesRead, Scope::WorkspacesExec]), "both machines'");

    stage.pass(720 * 3600);
    assert_eq!(granted("app"), BTreeSet::new(), "until they end");
}

#[tokio::test]
async fn the_largest_request_can_be_sealed_into_a_form_and_opened_again() {
    let stage = Stage::new();
    let longest = "\"".repeat(MAX_STATE);
    let request = stage.check(&query("agent", &[("state", &longest)])).await.unwrap();
    let sealer = stage.server.sealer();
    let form = sealer.seal(Purpose::Consent, &request, at(600), &mut rng()).unwrap();
    assert_eq!(sealer.open::<AuthorizationRequest>(Purpose::Consent, &form, at(0)), Ok(request));
}

proptest! {
    #[test]
    fn no_query_panics_and_every_redirect_goes_to_a_registered_place(
        names in prop::collection::vec((prop::sample::select(&NAMES[..]), "\\PC{0,30}|[\\x00-\\x7f]{0,20}|https://[a-z./@:]{0,20}"), 0..6),
        tail in "\\PC{0,30}",
    ) {
        let stage = Stage::new();
        let changes: Vec<(&str, &str)> = names.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let query = format!("{}&{tail}", query("agent", &changes));
        match stage.check(&query).now_or_never().unwrap() {
            Ok(request) => {
                prop_assert_eq!(request.redirect_uri, WEB);
                prop_assert!(!request.scopes.is_empty() && request.scopes.is_subset(&BTreeSet::from(ALLOWED)));
                prop_assert!(pkce::is_challenge(&request.code_challenge));
                prop_assert!(!request.state.unwrap_or_default().contains(char::is_control));
            }
            Err(AuthorizeError::Redirect(location)) => {
                let prefix = format!("{WEB}&error=");
                prop_assert!(location.starts_with(&prefix));
                prop_assert!(location.bytes().all(|byte| (0x21..0x7f).contains(&byte)), "{}", location);
            }
            Err(AuthorizeError::Page { .. } | AuthorizeError::Offer { .. }) => {}
        }
    }

    #[test]
    fn any_bytes_as_a_query_are_answered(query in "\\PC{0,200}") {
        let stage = Stage::new();
        let told = stage.check(&query).now_or_never().unwrap();
        prop_assert!(matches!(told, Err(AuthorizeError::Page { .. })), "{:?}", told);
    }
}
