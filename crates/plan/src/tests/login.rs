//! Tests of the logins' Secret, which is collected from other Secrets.

use crate::Plan;
use crate::tests::{PlanScenario, find, typed};
use k8s_openapi::{ByteString, api::core::v1::Secret};
use portcullis_config::{LOGIN_FILE, LoginSecret, LoginSecrets};
use proptest::prelude::*;

const LOGINS: &str = "
url: https://mcp.example.com/mcp
login:
- {name: local, passwords: {secretRef: {name: users}}}
- {name: github, github: {clientSecretRef: {name: github-app}, allowedOrganizations: [acme]}}
- {name: sso, oidc: {issuerUrl: 'https://idp.example.com', clientSecretRef: {name: sso}, allowedGroups: [platform]}}
";
const BCRYPT: &str = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
const ARGON2: &str = "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo";

/// The same endpoint with these groups of administrators, and this file of groups.
fn administered(groups: &[&str], file: Option<&str>) -> PlanScenario {
    let mut scenario = whole();
    scenario.endpoint.spec.console.administrators.groups = groups.iter().map(|group| (*group).to_owned()).collect();
    let users = format!("alice:{BCRYPT}\nbob:{ARGON2}\n");
    let mut data = vec![("htpasswd", users.as_str())];
    data.extend(file.map(|file| ("groups", file)));
    keep(&mut scenario, "users", &data);
    scenario
}

fn keep(scenario: &mut PlanScenario, name: &str, data: &[(&str, &str)]) {
    let data = data.iter().map(|(key, text)| ((*key).to_owned(), ByteString(text.as_bytes().to_vec()))).collect();
    scenario.secrets.insert(name.to_owned(), Secret { data: Some(data), ..Secret::default() });
}

fn whole() -> PlanScenario {
    let mut scenario = PlanScenario::new(LOGINS);
    keep(&mut scenario, "users", &[("htpasswd", &format!("# people\n\nalice:{BCRYPT}\n  bob:{ARGON2}\n"))]);
    keep(&mut scenario, "github-app", &[("client-id", "Iv1.abc\n"), ("client-secret", " s3cret \n")]);
    keep(&mut scenario, "sso", &[("client-id", "portcullis"), ("client-secret", "other")]);
    scenario
}

fn mounted(plan: &Plan) -> LoginSecrets {
    let secret: Secret = typed(find(plan, "Secret", "agents-login"));
    serde_json::from_slice(&secret.data.unwrap()[LOGIN_FILE].0).unwrap()
}

fn said(plan: &Plan) -> Vec<String> {
    plan.login_problems.iter().map(ToString::to_string).collect()
}

#[test]
fn servers_get_what_signing_in_needs_and_nothing_else() {
    let plan = whole().plan();
    assert_eq!(said(&plan), Vec::<String>::new());
    insta::assert_yaml_snapshot!(mounted(&plan));
    assert_eq!(plan.config.login.len(), 3);
    let config = serde_json::to_string(&plan.config).unwrap();
    assert!(!config.contains("s3cret") && !config.contains(BCRYPT), "{config}");
    let shown = format!("{:?}", mounted(&plan));
    assert!(!shown.contains("s3cret") && !shown.contains(BCRYPT) && shown.contains("alice"), "{shown}");
}

#[test]
fn a_changed_user_changes_the_revision_of_the_servers() {
    let mut scenario = whole();
    let first = scenario.plan();
    scenario.secrets.insert("agents-signing-keys".to_owned(), typed(find(&first, "Secret", "agents-signing-keys")));
    let before = scenario.plan().revision;
    assert_eq!(scenario.plan().revision, before);
    keep(&mut scenario, "users", &[("htpasswd", &format!("alice:{BCRYPT}"))]);
    assert_ne!(scenario.plan().revision, before);
}

#[test]
fn a_login_that_cannot_be_used_takes_no_other_along() {
    let mut scenario = whole();
    scenario.secrets.remove("users");
    keep(&mut scenario, "github-app", &[("client-id", "Iv1.abc"), ("client-secret", "  ")]);
    let plan = scenario.plan();
    assert_eq!(
        said(&plan),
        [
            r#"login "local": Secret "users" was not found with the label portcullis.dev/endpoint=agents; create it, or add the label to it"#,
            r#"login "github": Secret "github-app" has no text under the key "client-secret"; add it"#,
        ]
    );
    assert_eq!(mounted(&plan).logins.into_keys().collect::<Vec<_>>(), ["sso"]);
}

#[test]
fn servers_get_the_groups_that_make_administrators_and_no_others() {
    let file = "# groups\n\nops: alice  carol\nsecret: bob\n staff :bob\nops: dave\nempty:\n";
    let plan = administered(&["local:ops", "local:staff", "local:empty", "sso:secret"], Some(file)).plan();
    assert_eq!(said(&plan), Vec::<String>::new());
    insta::assert_yaml_snapshot!((&plan.config.console, mounted(&plan).groups), @r#"
    - administrators:
        groups:
          - "local:ops"
          - "local:staff"
          - "local:empty"
          - "sso:secret"
    - local:
        empty: []
        ops:
          - alice
          - carol
          - dave
        staff:
          - bob
    "#);
    let plan = administered(&["sso:secret"], Some(file)).plan();
    assert_eq!((said(&plan), mounted(&plan).groups.len()), (Vec::new(), 0), "the file is not read");
}

#[test]
fn groups_that_cannot_be_read_are_named_and_leave_their_users() {
    let signs_in =
        |plan: &Plan| matches!(&mounted(plan).logins["local"], LoginSecret::Passwords(users) if users.len() == 2);
    for file in [None, Some("  \n")] {
        let plan = administered(&["local:ops"], file).plan();
        assert_eq!(
            said(&plan),
            [
                r#"console.administrators names the group local:ops, but Secret "users" has no text under the key "groups"; add it, with a line such as `ops: NAME NAME`"#
            ]
        );
        assert!(signs_in(&plan) && mounted(&plan).groups.is_empty());
    }
    let plan = administered(&["local:ops"], Some("hush\nops: alice\n: bob\n")).plan();
    let line = |line| {
        format!(
            "login \"local\": line {line} of the groups in Secret \"users\" is not a group, a colon and names of users; write it as `ops: ada bob`"
        )
    };
    assert_eq!(said(&plan), [line(1), line(3)]);
    assert!(signs_in(&plan) && mounted(&plan).groups["local"]["ops"].contains("alice"));
}

#[test]
fn a_changed_group_changes_the_revision_of_the_servers() {
    let mut scenario = administered(&["local:ops"], Some("ops: alice"));
    let first = scenario.plan();
    scenario.secrets.insert("agents-signing-keys".to_owned(), typed(find(&first, "Secret", "agents-signing-keys")));
    let before = scenario.plan().revision;
    let users = format!("alice:{BCRYPT}\nbob:{ARGON2}\n");
    keep(&mut scenario, "users", &[("htpasswd", &users), ("groups", "ops: alice\nother: bob")]);
    assert_eq!(scenario.plan().revision, before, "another group");
    keep(&mut scenario, "users", &[("htpasswd", &users), ("groups", "ops: bob")]);
    assert_ne!(scenario.plan().revision, before);
}

#[test]
fn a_hash_that_would_bring_a_server_down_is_refused() {
    let mut scenario = whole();
    let argon2 = |params: &str| format!("$argon2id$v=19${params}$c2FsdHNhbHQ$aGFzaGhhc2hoYXNo");
    let file = [
        BCRYPT.replace("$05$", "$14$"),
        BCRYPT.replace("$05$", "$15$"),
        argon2("m=65536,t=10,p=4"),
        argon2("m=65537,t=1,p=1"),
        argon2("m=1024,t=11,p=1"),
    ];
    let lines: Vec<String> = file.iter().enumerate().map(|(n, hash)| format!("user-{n}:{hash}")).collect();
    keep(&mut scenario, "users", &[("htpasswd", &lines.join("\n"))]);
    let plan = scenario.plan();
    assert_eq!(said(&plan).iter().filter(|text| text.contains("is too costly to check")).count(), 3);
    let LoginSecret::Passwords(users) = &mounted(&plan).logins["local"] else { panic!("no users") };
    assert_eq!(users.keys().collect::<Vec<_>>(), ["user-0", "user-2"]);
}

#[test]
fn a_line_that_cannot_be_used_is_named_but_never_quoted() {
    let mut scenario = whole();
    let file = format!(
        "alice:{BCRYPT}\nbob:secret-in-plain\n:{BCRYPT}\ncarol\ndave:$apr1$old$hash\neve:$2y$05$cut\nfay:$argon2id$v=19$m=64,t=1,p=1$c2FsdHNhbHQ\n"
    );
    keep(&mut scenario, "users", &[("htpasswd", &file)]);
    let plan = scenario.plan();
    let said = said(&plan);
    assert_eq!(said.len(), 6);
    for (line, text) in [2, 3, 4, 5, 6, 7].into_iter().zip(&said) {
        assert!(text.starts_with(&format!("login \"local\": line {line} of the users in Secret \"users\"")), "{text}");
    }
    assert!(!said.concat().contains("secret-in-plain"), "{said:?}");
    let LoginSecret::Passwords(users) = &mounted(&plan).logins["local"] else { panic!("no users") };
    assert_eq!(users.keys().collect::<Vec<_>>(), ["alice"]);
}

proptest! {
    #[test]
    fn whatever_is_in_an_htpasswd_file_only_hashes_that_can_be_borne_are_users(
        text in prop::collection::vec("\\PC{0,30}|[a-z]{0,3}:\\$(2y\\$[0-9]{0,2}|argon2id)\\$\\PC{0,60}", 0..4)
    ) {
        let mut scenario = whole();
        keep(&mut scenario, "users", &[("htpasswd", &format!("{}\nlast:{BCRYPT}", text.join("\n")))]);
        let mounted = mounted(&scenario.plan());
        let Some(LoginSecret::Passwords(users)) = mounted.logins.get("local") else { panic!("no users") };
        prop_assert!(users.contains_key("last"));
        prop_assert!(users.values().all(|hash| hash.starts_with("$2") || hash.starts_with("$argon2")));
        prop_assert!(users.keys().all(|name| !name.is_empty() && !name.contains(':')));
    }
}
