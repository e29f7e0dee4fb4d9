//! Users and logins.

use crate::{
    helpers::{ENDPOINT, banner_value, path, quickstart, stop},
    support::{Dev, eventually},
};
use std::{fs, os::unix::fs::PermissionsExt as _};

#[test]
fn where_nobody_else_can_sign_in_the_person_in_front_of_it_can() {
    let state = tempfile::tempdir().unwrap();
    let folder = state.path().join("secrets/agents-local-user");
    let mounted = || fs::read_to_string(state.path().join("mounted/agents/login.json")).unwrap();
    let first = Dev::serve(&quickstart(), state.path());
    let (name, password) = (banner_value(&first, "user name"), banner_value(&first, "password"));
    assert_eq!(banner_value(&first, "kept in"), path(&folder.join("password").canonicalize().unwrap()));
    assert_eq!(fs::metadata(folder.join("password")).unwrap().permissions().mode() & 0o777, 0o600);
    let line = fs::read_to_string(folder.join("htpasswd")).unwrap();
    let (user, hash) = line.trim().split_once(':').unwrap();
    assert!(user == name && bcrypt::verify(&password, hash).unwrap(), "{line}");
    assert!(mounted().contains(hash) && !mounted().contains(&password), "{}", mounted());
    stop(first);

    let second = Dev::serve(&quickstart(), state.path());
    assert_eq!(banner_value(&second, "password"), password);
    // Whoever takes the password away takes it back.
    fs::remove_file(folder.join("password")).unwrap();
    eventually(|| (!mounted().contains(hash)).then_some(())).expect("the old password counts no longer");
    assert_ne!(fs::read_to_string(folder.join("password")).unwrap().trim(), password);
}

#[test]
fn a_login_of_the_manifest_takes_the_local_users_place() {
    let folder = tempfile::tempdir().unwrap();
    let (manifest, state) = (folder.path().join("all.yaml"), folder.path().join("state"));
    fs::write(&manifest, ENDPOINT).unwrap();
    let dev = Dev::serve(&manifest, &state);
    let local = state.join("secrets/agents-local-user");
    assert!(local.is_dir());
    let people =
        ENDPOINT.replace("spec: {", "spec: {login: [{name: people, passwords: {secretRef: {name: people}}}], ");
    fs::write(&manifest, &people).unwrap();
    dev.wait_for(r#"login "people": Secret "people" was not found with the label portcullis.dev/endpoint=agents"#);
    assert!(!local.exists(), "nobody can sign in as the local user any more");
    let hash = "$2y$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    let secret = format!(
        "apiVersion: v1\nkind: Secret\nmetadata: {{name: people, labels: {{portcullis.dev/endpoint: agents}}}}\n\
         stringData: {{htpasswd: 'ada:{hash}'}}\n"
    );
    fs::write(&manifest, format!("{people}{secret}")).unwrap();
    let mounted = || fs::read_to_string(state.join("mounted/agents/login.json")).unwrap();
    eventually(|| mounted().contains("\"ada\"").then_some(())).expect("the manifest's user can sign in");
}

#[test]
fn an_oauth_user_of_the_manifests_ends_grants_while_it_is_served() {
    let folder = tempfile::tempdir().unwrap();
    let (manifests, state) = (folder.path().join("manifests"), folder.path().join("state"));
    let grants = state.join("oauth/agents/grants");
    fs::create_dir_all(&grants).unwrap();
    fs::create_dir(&manifests).unwrap();
    fs::write(manifests.join("endpoint.yaml"), ENDPOINT).unwrap();
    let grant = |name: &str, user: &str| {
        let spec = serde_json::json!({
            "endpointRef": {"name": "local"}, "clientId": "claude", "user": {"id": user, "name": user},
            "scopes": ["files:read"], "resource": "http://127.0.0.1/mcp", "expiresAt": "2099-01-01T00:00:00Z",
        });
        let object = serde_json::json!({
            "apiVersion": "portcullis.dev/v1alpha1", "kind": "OAuthGrant",
            "metadata": {"name": name, "resourceVersion": "1", "creationTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec,
        });
        fs::write(grants.join(format!("{name}.json")), object.to_string()).unwrap();
    };
    grant("g-ada", "local:ada");
    grant("g-bob", "local:bob");
    let dev = Dev::serve(&manifests, &state);
    let kept = |name: &str| fs::read_to_string(grants.join(format!("{name}.json"))).unwrap_or_default();

    let user = |id: &str, endpoint: &str| {
        format!(
            "apiVersion: portcullis.dev/v1alpha1\nkind: OAuthUser\nmetadata: {{name: ended}}\n\
             spec: {{endpointRef: {{name: {endpoint}}}, user: {{id: '{id}'}}, disabled: true}}\n"
        )
    };
    let manifest = manifests.join("user.yaml");
    fs::write(&manifest, user("ada", "agents")).unwrap();
    dev.wait_for("user.yaml:4: spec.user.id: must be LOGIN:ID");
    fs::write(&manifest, user("local:ada", "agents")).unwrap();
    eventually(|| kept("g-ada").contains("UserDisabled").then_some(())).expect("the grant is revoked");
    assert!(!kept("g-bob").contains("revoked"), "{}", kept("g-bob"));
}
