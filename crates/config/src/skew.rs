//! An operator and its servers may be of different releases: a server starts on the files of an older operator, and an
//! older server on the files of this one, if the resources use no new field.
//!
//! `recorded/` has the files that the operator of commit 205550a made. A release may add files; these stay as they are.

use crate::{Clients, LoginSecrets, ServerConfig};
use serde::{Serialize, de::DeserializeOwned};

/// Reads a recorded file and writes it again. An older server would read any difference.
fn written_again<T: Serialize + DeserializeOwned>(recorded: &str) -> String {
    let read: T = serde_json::from_str(recorded).unwrap();
    format!("{}\n", serde_json::to_string_pretty(&read).unwrap())
}

#[test]
fn files_of_an_older_operator_are_read_and_written_the_same() {
    for recorded in [
        include_str!("recorded/config-plain.json"),
        include_str!("recorded/config-full.json"),
        include_str!("recorded/config-tls.json"),
        include_str!("recorded/config-gateway.json"),
    ] {
        assert_eq!(written_again::<ServerConfig>(recorded), recorded);
    }
    let clients = include_str!("recorded/clients.json");
    assert_eq!(written_again::<Clients>(clients), clients);
    let login = include_str!("recorded/login.json");
    assert_eq!(written_again::<LoginSecrets>(login), login);
}
