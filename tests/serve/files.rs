//! The mounted files: what changes is live, what is wrong changes nothing.

use crate::serve::{
    clock::ManualClock,
    mounted::{Files, Volume},
    stage::{PATIENCE, SECRET, Server, config, header, keys, options, ping, secret, start_of_time},
};
use jiff::SignedDuration;
use portcullis_config::{Clients, SecretVerifier};
use portcullis_server::{self, Listeners};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_replaced_secret_is_live_without_a_restart() {
    let server = Server::start().await;
    let token = server.token().await;
    let new = "another secret of more than thirty-two characters";
    let end = start_of_time() + SignedDuration::from_secs(60);
    let old = SecretVerifier { expires_at: Some(end), ..secret(SECRET) };
    server.replace(&server.files(vec![secret(new), old])).await;
    for accepted in [new, SECRET] {
        assert_eq!(server.ask_token(accepted).await.status(), StatusCode::OK, "both count in the overlap");
    }
    server.clock.set(end);
    assert_eq!(server.ask_token(new).await.status(), StatusCode::OK);
    let refused = server.ask_token(SECRET).await;
    assert_eq!(refused.status(), StatusCode::UNAUTHORIZED);
    assert!(header(&refused, "www-authenticate").starts_with("Basic "));
    assert_eq!(refused.json::<Value>().await.unwrap()["error"], "invalid_client");
    let called = server.call(&token, &ping()).send().await.unwrap();
    assert_eq!(called.status(), StatusCode::OK, "tokens given before live on");
    server.stop().await;
}

#[tokio::test]
async fn a_call_from_before_a_reload_can_be_cancelled() {
    let server = Server::start().await;
    let token = server.token().await;
    let workspace = server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let begun = Path::new(workspace["home"].as_str().unwrap()).join("begun");
    let params = json!({"name": "run_command", "arguments": {"workspace": "web", "command": "touch begun; sleep 600"}});
    let call = json!({"jsonrpc": "2.0", "id": "long", "method": "tools/call", "params": params});
    let call = server.call(&token, &call).header("accept", "application/json");
    let call = tokio::spawn(async move { call.send().await.unwrap().text().await.unwrap() });
    let wait = async {
        while !begun.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.expect("the command begins");

    server
        .replace(&server.files(vec![secret("another secret of more than thirty-two characters"), secret(SECRET)]))
        .await;
    let params = json!({"requestId": "long", "reason": "it takes too long"});
    let cancel = json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params});
    assert_eq!(server.call(&token, &cancel).send().await.unwrap().status(), StatusCode::ACCEPTED);
    let answer = tokio::time::timeout(PATIENCE, call).await.expect("the call ends").unwrap();
    assert!(answer.contains("the call was cancelled"), "{answer}");
    server.stop().await;
}

#[tokio::test]
async fn corrupt_files_keep_the_last_good_ones_in_force() {
    let server = Server::start().await;
    let good = server.files(vec![secret(SECRET)]);
    let state = async || {
        let metrics = server.private("/metrics").await.text().await.unwrap();
        let line = metrics.lines().find(|line| line.starts_with("portcullis_config_last_reload_successful ")).unwrap();
        (line.ends_with(" 1"), server.private("/readyz").await.status(), server.ask_token(SECRET).await.status())
    };
    assert_eq!(state().await, (true, StatusCode::OK, StatusCode::OK));
    for corrupt in [
        Files { clients: br#"{"clients": [{"hush": 1}]}"#.to_vec(), ..good.clone() },
        Files { keys: b"hush".to_vec(), ..good.clone() },
        Files { config: b"{".to_vec(), ..good.clone() },
    ] {
        server.volume.replace(&corrupt);
        server.eventually(|loaded| loaded.rejected.is_some()).await;
        let loaded = server.revision().await;
        assert_eq!(loaded.revision, good.revision());
        assert!(!loaded.rejected.unwrap().contains("hush"));
        assert_eq!(state().await, (false, StatusCode::OK, StatusCode::OK));
        server.replace(&good).await;
        assert_eq!(state().await, (true, StatusCode::OK, StatusCode::OK));
    }
    server.stop().await;
}

#[tokio::test]
async fn a_folder_of_plain_files_is_followed_too() {
    let server = Server::start().await;
    assert_eq!(server.ask_token(SECRET).await.status(), StatusCode::OK);
    let folder = server.volume.path();
    // As a person would do: the link away, the files in its place.
    std::fs::remove_file(folder.join("..data")).unwrap();
    for name in ["config.json", "clients.json", "signing-keys.json", "login.json"] {
        std::fs::remove_file(folder.join(name)).unwrap();
    }
    server.eventually(|loaded| loaded.rejected.as_deref().is_some_and(|reason| reason.contains("config.json"))).await;
    let files = server.files(vec![secret("a secret of somebody who edits files by hand")]);
    files.write(&folder);
    server.eventually(|loaded| loaded.revision == files.revision() && loaded.rejected.is_none()).await;
    assert_eq!(server.ask_token(SECRET).await.status(), StatusCode::UNAUTHORIZED);
    server.stop().await;
}

#[tokio::test]
async fn at_the_start_wrong_files_are_fatal() {
    let address = "127.0.0.1:1".parse().unwrap();
    let mut files = Files::new(&config(address), &Clients::default(), &keys(1));
    files.keys = b"{}".to_vec();
    let volume = Volume::new(&files);
    let options = options(&volume, None, Arc::new(ManualClock::at(start_of_time())));
    let listeners = Listeners { public: TcpListener::bind("127.0.0.1:0").await.unwrap(), private: None };
    let error = portcullis_server::run(options, listeners, CancellationToken::new()).await.unwrap_err();
    let reason = std::error::Error::source(&error).unwrap().to_string();
    assert!(reason.contains("signing-keys.json"), "{reason}");
}
