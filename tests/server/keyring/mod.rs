//! `portcullis login` with the keyring of a desktop, and where there is none.

mod secret_service;

use crate::client_commands::{MANIFESTS, Machine};
use std::{
    fs,
    os::unix::net::UnixListener,
    process::{Child, Stdio},
};

/// An endpoint whose access tokens must always be refreshed, and a user with this store and this address of the bus.
fn machine(store: &str, bus: &str) -> Machine {
    let manifests = MANIFESTS.replace("  clients:\n", "  tokens: {accessLifetime: 1m}\n  clients:\n");
    let mut machine = Machine::start_with(&manifests);
    let bus = format!("unix:path={}", machine.path(bus).display());
    machine.environment = vec![("PORTCULLIS_STORE", store.to_owned()), ("DBUS_SESSION_BUS_ADDRESS", bus)];
    machine
}

/// Whether a file of the user has tokens.
fn has_tokens_in_files(machine: &Machine) -> bool {
    let entries = fs::read_dir(machine.path("home/portcullis")).unwrap();
    entries.map(|entry| fs::read(entry.unwrap().path()).unwrap()).any(|content| {
        let content = String::from_utf8(content).unwrap();
        content.contains("eyJ") || content.contains("refresh_token")
    })
}

async fn status(machine: &Machine, token: &str) -> u16 {
    let whoami = format!("{}/mcp/whoami", machine.origin());
    reqwest::Client::new().get(whoami).bearer_auth(token.trim()).send().await.unwrap().status().as_u16()
}

#[tokio::test(flavor = "multi_thread")]
async fn tokens_are_in_the_keyring_of_the_desktop() {
    let mut machine = machine("auto", "bus");
    let items = secret_service::serve(&machine.path("bus"));
    let said = machine.login().await;
    assert!(said.contains("The tokens are in the keyring of this computer."), "{said}");
    assert!(!said.contains("WARN") && !said.contains("ERROR"), "{said}");
    let [attributes] = items.attributes().try_into().unwrap();
    assert_eq!(attributes["service"], "portcullis");
    assert!(attributes["username"].starts_with(&format!("{}/mcp (", machine.origin())), "{attributes:?}");
    assert!(!has_tokens_in_files(&machine));

    // Several processes refresh at once, each with the tokens of the one before.
    let start = || machine.command(&["token"]).stdout(Stdio::piped()).spawn().unwrap();
    let together: Vec<Child> = (0..4).map(|_| start()).collect();
    for child in together {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        assert_eq!(status(&machine, &String::from_utf8(output.stdout).unwrap()).await, 200);
    }
    assert_eq!(items.attributes().len(), 1);

    // A command that cannot reach the keyring says so.
    let connected = machine.environment.clone();
    machine.environment[1].1 = "unix:path=/nonexistent/bus".to_owned();
    let error = machine.failed(&["token"]);
    assert!(error.contains("keyring") && error.contains("--store file"), "{error}");
    machine.environment = connected;

    // A new sign-in may be in the other store.
    machine.environment[0].1 = "file".to_owned();
    let said = machine.login().await;
    let file = machine.sign_in().unwrap();
    assert!(said.contains(&format!("The tokens are in {}, which only you can read.", file.display())), "{said}");
    assert!(has_tokens_in_files(&machine) && items.attributes().is_empty());
    machine.environment[0].1 = "keyring".to_owned();
    machine.login().await;
    assert!(!has_tokens_in_files(&machine) && items.attributes().len() == 1);

    let token = machine.printed(&["token"]);
    assert!(machine.run(&["logout"]).status.success());
    assert_eq!(status(&machine, &token).await, 401, "the token is revoked");
    assert!(items.attributes().is_empty() && machine.sign_in().is_none());
    assert!(machine.failed(&["token"]).contains("there is no sign-in"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_keyring_the_tokens_are_in_a_file() {
    let mut machine = machine("auto", "missing");
    let said = machine.login().await;
    let file = machine.sign_in().unwrap();
    assert!(said.ends_with(&format!("The tokens are in {}, which only you can read.\n", file.display())), "{said}");
    assert!(!said.contains("keyring") && !said.contains("WARN") && !said.contains("ERROR"), "{said}");
    assert_eq!(status(&machine, &machine.printed(&["token"])).await, 200);

    // A bus that does not answer delays the sign-in, and no more.
    let _silent = UnixListener::bind(machine.path("missing")).unwrap();
    assert!(machine.login().await.contains("The tokens are in "));

    machine.environment[0].1 = "disk".to_owned();
    let error = String::from_utf8(machine.run(&["login"]).stderr).unwrap();
    assert!(error.contains("[possible values: auto, file, keyring]"), "{error}");
}
