//! Tests of version skew. A server can load the files of an older operator, and an older server those of the current
//! operator, if the resources use no new field.
//!
//! `recorded/` has the files of the operator of commit 205550a. A release may add files, but existing ones do not
//! change.

use crate::{Clients, LoginSecrets, ServerConfig};
use serde::{Serialize, de::DeserializeOwned};

/// Reads a recorded file and serializes it again. Older servers would have to understand any difference.
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
