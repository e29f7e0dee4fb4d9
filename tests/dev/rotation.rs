//! `portcullis dev` rotates secrets and keys on schedule too: both count in the overlap, only the new one after.

use crate::clock;

use clock::ManualClock;
use jiff::{SignedDuration, Timestamp};
use portcullis::dev::{self, Options, Source};
use portcullis_core::{clock::Clock as _, rng};
use std::{env, fs, path::Path, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

const MANIFESTS: &str = "\
apiVersion: portcullis.dev/v1alpha1
kind: McpEndpoint
metadata: {name: agents}
spec: {url: https://mcp.example.com/mcp, tokens: {keyRotation: 240h}}
---
apiVersion: portcullis.dev/v1alpha1
kind: OAuthClient
metadata: {name: agent}
spec:
  endpointRef: {name: agents}
  grants: [client_credentials]
  scopes: [workspaces:read]
  secret: {rotation: {interval: 24h, overlap: 1h}}
";

async fn read(folder: &Path, file: &str) -> String {
    let path = folder.join("secrets/agent-oauth").join(file);
    loop {
        match fs::read_to_string(&path) {
            Ok(text) => return text,
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

/// Waits until a token request with `secret` is answered with `status`.
async fn answers(url: &str, secret: &str, status: u16) {
    let form = [("grant_type", "client_credentials"), ("client_id", "agent"), ("client_secret", secret)];
    // For reqwest's clients: nobody else has chosen one in this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = reqwest::Client::new();
    loop {
        let answer = client.post(url).form(&form).send().await.unwrap();
        if answer.status() == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Waits until the endpoint publishes `count` keys, and tells their ids, the one that signs first.
async fn keys(url: &str, count: usize) -> Vec<String> {
    loop {
        let document: serde_json::Value = reqwest::get(url).await.unwrap().json().await.unwrap();
        let keys = document["keys"].as_array().unwrap();
        if keys.len() == count {
            return keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect();
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn options(state: &Path) -> Options {
    // For reqwest's clients: nobody else has chosen one in this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Options {
        sources: vec![Source::Text(MANIFESTS.to_owned())],
        endpoint: None,
        listen: "127.0.0.1:0".parse().unwrap(),
        beyond_loopback: false,
        state: state.to_owned(),
        path: env::var_os("PATH").unwrap(),
        user: "tester".into(),
        alone: false,
        open: false,
    }
}

#[tokio::test]
async fn a_signing_key_is_replaced_when_its_time_has_come() {
    let state = tempfile::tempdir().unwrap();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(start));
    let stop = CancellationToken::new();
    let dev = dev::run(options(state.path()), Arc::clone(&clock) as Arc<_>, rng::rng(), stop.clone());
    let story = async {
        let token_url = read(state.path(), "token-url").await;
        answers(&token_url, &read(state.path(), "client-secret").await, 200).await;
        let url = token_url.replace("/token", "/jwks.json");
        let first = keys(&url, 1).await;
        clock.set(start + SignedDuration::from_hours(240));
        let published = keys(&url, 2).await;
        assert_eq!(published[0], first[0]);
        clock.set(clock.now() + SignedDuration::from_mins(10));
        while keys(&url, 2).await[0] != published[1] {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        clock.set(clock.now() + SignedDuration::from_mins(65));
        assert_eq!(keys(&url, 1).await[0], published[1]);
        stop.cancel();
    };
    let both = Box::pin(async { tokio::join!(dev, story) });
    let (ended, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    ended.unwrap();
}

#[tokio::test]
async fn a_secret_is_rotated_when_its_time_has_come() {
    let state = tempfile::tempdir().unwrap();
    let start: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
    let clock = Arc::new(ManualClock::at(start));
    let stop = CancellationToken::new();
    let dev = dev::run(options(state.path()), Arc::clone(&clock) as Arc<_>, rng::rng(), stop.clone());
    let story = async {
        let url = read(state.path(), "token-url").await;
        let old = read(state.path(), "client-secret").await;
        answers(&url, &old, 200).await;

        clock.set(start + SignedDuration::from_hours(24));
        let new = loop {
            let secret = read(state.path(), "client-secret").await;
            if secret != old {
                break secret;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        answers(&url, &new, 200).await;
        answers(&url, &old, 200).await;

        clock.set(clock.now() + SignedDuration::from_hours(1));
        answers(&url, &old, 401).await;
        answers(&url, &new, 200).await;
        stop.cancel();
    };
    let both = Box::pin(async { tokio::join!(dev, story) });
    let (ended, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    ended.unwrap();
}
