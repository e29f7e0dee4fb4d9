//! A steady load, as agents make it: tool calls for people, over connections that are kept and over new ones, rotations of
//! refresh tokens, and tokens for a client itself. Every request counts, and none is sent twice.

use crate::endpoint::{Endpoint, PEOPLE, ROBOT, Tokens, call, credentials, refresh};
use reqwest::{ClientBuilder, RequestBuilder};
use serde_json::{Value, json};
use std::{
    error::Error,
    fmt::Write as _,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

/// Who does what at the same time.
const CALLERS: usize = 4;
const STRANGERS: usize = 1;
const REFRESHERS: usize = 2;

pub struct Load {
    tally: Arc<Tally>,
    stop: CancellationToken,
    workers: JoinSet<()>,
}

#[derive(Default)]
struct Tally {
    requests: AtomicU64,
    refreshes: AtomicU64,
    /// How long the tool calls took.
    calls: Mutex<Vec<Duration>>,
    failures: Mutex<Vec<String>>,
}

struct Worker {
    http: reqwest::Client,
    origin: String,
    task: Task,
}

enum Task {
    /// Calls a tool with an access token.
    Call(String),
    /// Rotates a refresh token, and calls a tool with what it got.
    Refresh(Tokens),
    /// Obtains a token with a client's secret.
    Obtain(String),
}

impl Load {
    /// `http` makes clients that find the endpoint.
    pub async fn start(endpoint: &Endpoint, http: impl Fn() -> ClientBuilder) -> Self {
        let kept = || http().retry(reqwest::retry::never()).build().unwrap();
        let new = || http().retry(reqwest::retry::never()).pool_max_idle_per_host(0).build().unwrap();
        let mut tasks = Vec::new();
        for turn in 0..CALLERS + STRANGERS + REFRESHERS {
            let tokens = endpoint.sign_in(PEOPLE[turn % 2]).await;
            tasks.push(match turn {
                0..CALLERS => (kept(), Task::Call(tokens.access)),
                turn if turn < CALLERS + STRANGERS => (new(), Task::Call(tokens.access)),
                _ => (kept(), Task::Refresh(tokens)),
            });
        }
        tasks.push((kept(), Task::Obtain(endpoint.secret("robot-oauth", "client-secret").await.unwrap())));
        let mut load = Self { tally: Arc::default(), stop: CancellationToken::new(), workers: JoinSet::new() };
        for (http, task) in tasks {
            let worker = Worker { http, origin: endpoint.origin(), task };
            load.workers.spawn(worker.work(Arc::clone(&load.tally), load.stop.clone()));
        }
        load
    }

    /// Does `what` under the load, and goes on until there were enough requests since it began.
    pub async fn during(&self, what: &str, at_least: u64, event: impl Future<Output = ()>) {
        let (begun, before, failed) = (Instant::now(), self.requests(), self.failures().len());
        event.await;
        while self.requests() - before < at_least && self.failures().len() < 100 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let (requests, seconds) = (self.requests() - before, begun.elapsed().as_secs_f64());
        println!("{what}: {requests} requests in {seconds:.1} s, {} failed", self.failures().len() - failed);
    }

    pub fn requests(&self) -> u64 {
        self.tally.requests.load(Ordering::Relaxed)
    }

    fn failures(&self) -> Vec<String> {
        self.tally.failures.lock().unwrap().clone()
    }

    /// Ends it. None may have failed.
    pub async fn end(mut self) {
        self.stop.cancel();
        while let Some(ended) = self.workers.join_next().await {
            ended.unwrap();
        }
        let (requests, refreshes) = (self.requests(), self.tally.refreshes.load(Ordering::Relaxed));
        println!("together: {requests} requests, {refreshes} of them rotations of refresh tokens");
        let mut calls = self.tally.calls.lock().unwrap().clone();
        calls.sort();
        println!("a tool call: {:?} (p50), {:?} (p99)", calls[calls.len() / 2], calls[calls.len() * 99 / 100]);
        let failures = self.failures();
        assert!(failures.is_empty(), "{} of {requests} failed:\n{}", failures.len(), failures.join("\n"));
    }
}

impl Worker {
    async fn work(mut self, tally: Arc<Tally>, stop: CancellationToken) {
        let begun = Instant::now();
        while !stop.is_cancelled() {
            tally.requests.fetch_add(1, Ordering::Relaxed);
            if let Err(problem) = self.once(&tally).await {
                let seconds = begun.elapsed().as_secs_f64();
                tally.failures.lock().unwrap().push(format!("after {seconds:.1} s: {problem}"));
                // A fault that stays is told a few times, not thousands.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn once(&mut self, tally: &Tally) -> Result<(), String> {
        let token = format!("{}/token", self.origin);
        match &mut self.task {
            Task::Call(access) => {
                let begun = Instant::now();
                tool(&self.http, &self.origin, access).await?;
                tally.calls.lock().unwrap().push(begun.elapsed());
                Ok(())
            }
            Task::Refresh(tokens) => {
                tally.refreshes.fetch_add(1, Ordering::Relaxed);
                let answer = ask("refresh", self.http.post(token).form(&refresh(&tokens.refresh))).await?;
                *tokens = Tokens { access: text(&answer, "access_token")?, refresh: text(&answer, "refresh_token")? };
                tally.requests.fetch_add(1, Ordering::Relaxed);
                tool(&self.http, &self.origin, &tokens.access).await
            }
            Task::Obtain(secret) => {
                let answer = ask("client_credentials", self.http.post(token).form(&credentials(ROBOT, secret))).await?;
                text(&answer, "access_token").map(drop)
            }
        }
    }
}

async fn tool(http: &reqwest::Client, origin: &str, token: &str) -> Result<(), String> {
    let answer = ask("whoami", call(http, &format!("{origin}/mcp"), token, "whoami", &json!({}))).await?;
    match answer.pointer("/result/isError") {
        Some(Value::Bool(false)) | None if answer.get("result").is_some() => Ok(()),
        _ => Err(format!("whoami: {answer}")),
    }
}

async fn ask(what: &str, request: RequestBuilder) -> Result<Value, String> {
    let problem = |error: reqwest::Error| {
        let mut text = format!("{what}: {error}");
        let mut cause = error.source();
        while let Some(error) = cause {
            let _ = write!(text, ": {error}");
            cause = error.source();
        }
        text
    };
    let answer = request.send().await.map_err(problem)?;
    let status = answer.status();
    let body = answer.text().await.map_err(problem)?;
    if status != 200 {
        return Err(format!("{what}: {status} {body}"));
    }
    serde_json::from_str(&body).map_err(|_| format!("{what}: no JSON: {body}"))
}

fn text(answer: &Value, field: &str) -> Result<String, String> {
    answer[field].as_str().map(str::to_owned).ok_or_else(|| format!("no {field}: {answer}"))
}
