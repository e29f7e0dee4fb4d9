//! Load by wrk: one thread, 32 connections.

use super::servers::Server;
use std::{error::Error, path::Path, process::Command};

/// What one round of load found.
pub struct Round {
    pub requests_per_second: f64,
    /// What the server's process used.
    pub cpu_us_per_request: f64,
    pub p50_ms: f64,
    pub p99_ms: f64,
}

/// Says what to do where wrk is missing.
pub fn check_wrk() -> Result<(), Box<dyn Error>> {
    let found = Command::new("wrk").arg("--version").output();
    found.map(drop).map_err(|_| "the benchmark needs wrk; install it, as root: apt-get install wrk".into())
}

/// Loads the server for a moment, to warm up, and then for `seconds`.
pub fn run(server: &Server, seconds: u32) -> Result<Round, Box<dyn Error>> {
    wrk(server, 1)?;
    wrk(server, seconds)
}

fn wrk(server: &Server, seconds: u32) -> Result<Round, Box<dyn Error>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/endpoint/call.lua");
    let before = server.process.cpu_seconds()?;
    let output = Command::new("wrk")
        .args(["--threads", "1", "--connections", "32", "--duration", &format!("{seconds}s"), "--script"])
        .arg(script)
        .arg(&server.url)
        .env("AUTHORIZATION", server.authorization.as_deref().unwrap_or_default())
        .output()?;
    let cpu = server.process.cpu_seconds()? - before;
    let text = String::from_utf8(output.stdout)?;
    let result =
        text.lines().find_map(|line| line.strip_prefix("RESULT ")).ok_or_else(|| format!("wrk said: {text}"))?;
    let numbers: Vec<f64> = result.split_whitespace().map(str::parse).collect::<Result<_, _>>()?;
    // Microseconds, all of them.
    let [requests, duration, p50, p99, errors] = numbers[..] else { return Err(result.into()) };
    if errors > 0.0 {
        return Err(format!("{errors} of {requests} requests failed").into());
    }
    Ok(Round {
        requests_per_second: requests / (duration / 1e6),
        cpu_us_per_request: cpu * 1e6 / requests,
        p50_ms: p50 / 1e3,
        p99_ms: p99 / 1e3,
    })
}
