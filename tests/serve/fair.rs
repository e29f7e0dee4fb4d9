//! One caller and one address take all they can get, in each of the ways that the attacks know. How long another caller
//! waits for small answers is compared with how long it waits while they rest, in the same run.
//!
//! Machines are noisy: quiet and loaded samples take turns, and a way may be tried three times, as only what the server
//! does to a caller shows every time. Rates are as they are by default, so the other caller is five, one after the other.
//! Processors are not what is divided here, and a debug build is slow with what is large: so few large reads run at once.

use crate::serve::{
    hoarding::{ELSEWHERE, call_and_never_read, connect, head, tool, withhold_the_last_byte},
    stage::{OTHERS, Server, Setup, builder},
};
use portcullis_core::quantity::{ByteSize, Span};
use reqwest::Client;
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{io::AsyncWriteExt as _, net::TcpStream, task::JoinSet, time::Instant};

/// How often quiet and loaded samples take turns.
const ROUNDS: usize = 3;
/// How many samples each turn has.
const SAMPLES: usize = 30;
/// Within the rate of each of the five.
const PACE: Duration = Duration::from_millis(22);
/// How often a way is tried.
const TRIES: usize = 3;
/// How many times slower another caller may be served.
const MOST: u32 = 5;
/// What a machine makes of an answer that takes next to no time.
const NOISE: Duration = Duration::from_millis(2);

/// The one who misbehaves.
#[derive(Clone)]
struct Hoarder {
    server: SocketAddr,
    token: String,
    http: Client,
}

/// What it does, until it is dropped.
#[derive(Default)]
struct Hoard {
    tasks: JoinSet<()>,
    connections: Vec<TcpStream>,
}

#[derive(Clone, Copy, Debug)]
enum Way {
    CommandsThatWait,
    LargestReads,
    BodiesWithoutTheirLastByte,
    ReadersThatDoNotRead,
    AnswersWithoutEnd,
    IdleConnections,
    FormsThatNeverCome,
    RequestsWithoutAToken,
}

const WAYS: [Way; 8] = [
    Way::CommandsThatWait,
    Way::LargestReads,
    Way::BodiesWithoutTheirLastByte,
    Way::ReadersThatDoNotRead,
    Way::AnswersWithoutEnd,
    Way::IdleConnections,
    Way::FormsThatNeverCome,
    Way::RequestsWithoutAToken,
];

impl Hoarder {
    /// Sends this again and again, from so many tasks.
    fn again(&self, hoard: &mut Hoard, tasks: usize, token: &str, body: &str) {
        for _ in 0..tasks {
            let (http, url) = (self.http.clone(), format!("http://{}/mcp", self.server));
            let (token, body) = (token.to_owned(), body.to_owned());
            hoard.tasks.spawn(async move {
                loop {
                    let request = http.post(&url).bearer_auth(&token).header("content-type", "application/json");
                    let answer = request.header("accept", "application/json").body(body.clone()).send().await;
                    if let Ok(answer) = answer {
                        let _ = answer.bytes().await;
                    }
                    // It shares the processors with the server.
                    tokio::time::sleep(Duration::from_millis(250)).await;
                }
            });
        }
    }

    async fn begin(&self, way: Way) -> Hoard {
        let mut hoard = Hoard::default();
        let read = |bytes| tool("read_file", &json!({"workspace": "web", "path": "large", "max_bytes": bytes}));
        match way {
            Way::CommandsThatWait => {
                let wait = tool("run_command", &json!({"workspace": "web", "command": "sleep 5"}));
                self.again(&mut hoard, 70, &self.token, &wait);
            }
            Way::LargestReads => self.again(&mut hoard, 2, &self.token, &read(1 << 20)),
            Way::BodiesWithoutTheirLastByte => {
                for _ in 0..60 {
                    let (server, token) = (self.server, self.token.clone());
                    hoard.tasks.spawn(async move {
                        let _withheld = withhold_the_last_byte(server, ELSEWHERE, &token, 4 << 20).await;
                        std::future::pending::<()>().await;
                    });
                }
            }
            Way::ReadersThatDoNotRead => {
                // More than the systems keep of it.
                let read = read(400_000);
                for _ in 0..60 {
                    let reader = call_and_never_read(self.server, ELSEWHERE, &self.token, &read).await;
                    hoard.connections.push(reader);
                }
            }
            Way::AnswersWithoutEnd => {
                let list = tool("list_files", &json!({"workspace": "evil-endless"}));
                self.again(&mut hoard, 20, &self.token, &list);
            }
            Way::IdleConnections => {
                for _ in 0..250 {
                    hoard.connections.push(connect(self.server, ELSEWHERE).await);
                }
            }
            Way::FormsThatNeverCome => {
                for path in ["/token", "/register", "/revoke", "/login"].iter().cycle().take(150) {
                    let mut stream = connect(self.server, ELSEWHERE).await;
                    let request = head("", 1000).replace("/mcp", path).replace("json", "x-www-form-urlencoded");
                    stream.write_all(request.as_bytes()).await.unwrap();
                    hoard.connections.push(stream);
                }
            }
            Way::RequestsWithoutAToken => self.again(&mut hoard, 20, "made up", &tool("whoami", &json!({}))),
        }
        // It takes a moment until it has all that it can get.
        tokio::time::sleep(Duration::from_secs(1)).await;
        hoard
    }
}

/// How long each of some small calls takes. None may fail.
async fn samples(clients: &[Client; 2], server: &Server, tokens: &[String], times: &mut Vec<Duration>) {
    let url = format!("http://{}/mcp", server.address);
    for (sample, token) in tokens.iter().cycle().take(SAMPLES).enumerate() {
        tokio::time::sleep(PACE).await;
        let begun = Instant::now();
        let request = clients[sample % 2].post(&url).bearer_auth(token).header("accept", "application/json");
        let request = request.header("content-type", "application/json").body(tool("whoami", &json!({})));
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "another caller is refused");
        let answer: Value = answer.json().await.unwrap();
        times.push(begun.elapsed());
        assert_eq!(answer["result"]["isError"], false, "{answer}");
    }
}

/// The time that all but a twentieth take at most.
fn p95(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() * 95 / 100]
}

fn set(setup: &mut Setup) {
    setup.memory = 128 << 20;
    let limits = &mut setup.config.limits;
    limits.request_timeout = Span::from_secs(20);
    limits.max_body_size = ByteSize::from_mebibytes(4);
    limits.max_connections = 300;
    limits.requests_per_second = 10;
    limits.burst = 20;
}

// More threads than processors: a debug build is slow to parse what is large, which holds up a thread.
#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn one_caller_and_one_address_do_not_slow_down_another_caller() {
    let server = Server::set(set).await;
    let token = server.token().await;
    let mut others = Vec::new();
    for client in OTHERS {
        others.push(server.token_of(client).await);
    }
    server.tool(&token, "create_workspace", &json!({"template": "blank", "name": "web"})).await;
    let line = "head -c 1048576 /dev/zero | tr '\\0' x | fold -w 99 > large";
    server.tool(&token, "run_command", &json!({"workspace": "web", "command": line})).await;
    let elsewhere = builder().local_address(Some(ELSEWHERE.parse().unwrap())).build().unwrap();
    let hoarder = Hoarder { server: server.address, token, http: elsewhere };
    // Every other sample is over a connection of its own.
    let clients = [builder().build().unwrap(), builder().pool_max_idle_per_host(0).build().unwrap()];
    let mut slow = Vec::new();
    for way in WAYS {
        let mut tries = Vec::new();
        for _ in 0..TRIES {
            let (mut quiet, mut loaded) = (Vec::new(), Vec::new());
            for _ in 0..ROUNDS {
                samples(&clients, &server, &others, &mut quiet).await;
                let hoard = hoarder.begin(way).await;
                samples(&clients, &server, &others, &mut loaded).await;
                drop(hoard);
                // What it began ends.
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            let (quiet, loaded) = (p95(&mut quiet), p95(&mut loaded));
            eprintln!("{way:?}: p95 {loaded:.1?} beside {quiet:.1?} when it is quiet");
            tries.push((quiet, loaded));
            if loaded < MOST * quiet.max(NOISE) {
                break;
            }
        }
        if tries.len() == TRIES && tries.iter().all(|(quiet, loaded)| *loaded >= MOST * (*quiet).max(NOISE)) {
            slow.push(format!("{way:?}: {tries:?}"));
        }
    }
    assert!(slow.is_empty(), "another caller waits {MOST} times as long: {slow:?}");
    server.stop().await;
}
