//! `make bench`: an authenticated `tools/call whoami` at the real `portcullis serve`, beside a bare rmcp server with
//! the same tool and no authentication; server CPU per request, time from start to ready, memory, size. All in one run,
//! into docs/benchmarks.md. Load is made by wrk. `--baseline PROGRAM` adds another build of Portcullis to the same run.

#![expect(unreachable_pub, reason = "a benchmark is a crate of its own, of which nothing is reachable")]

mod bare;
mod load;
mod report;
mod servers;

use report::{Report, Side};
use servers::Server;
use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
};

/// The one of the program, so that both sides have the same.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often each side is loaded, and how often a server is started.
const ROUNDS: usize = 5;
const STARTS: usize = 20;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let value = |option: &str| arguments.iter().skip_while(|word| *word != option).nth(1);
    if let Some(address) = value("--bare") {
        return bare::serve(address).await;
    }
    let output = value("--output").map(PathBuf::from);
    let seconds = value("--seconds").map_or(Ok(10), |text| text.parse())?;
    load::check_wrk()?;
    // A process has one; the client that makes the requests needs it.
    let _ = rustls::crypto::ring::default_provider().install_default();

    let starts = servers::starts(STARTS).await?;
    let mut sides = Vec::new();
    for (name, server) in [
        ("portcullis serve", Some(servers::start(Path::new(servers::PORTCULLIS)).await?)),
        ("bare rmcp, no authentication", Some(servers::start_bare().await?)),
        ("the baseline build of portcullis serve", start_baseline(value("--baseline")).await?),
    ] {
        let Some(server) = server else { continue };
        servers::check_answer(&server.url, server.authorization.as_deref()).await?;
        let side = Side::new(name, server.process.resident_kib()?);
        sides.push((side, server));
    }
    for round in 0..ROUNDS {
        // The order alternates, so that no side always goes first.
        let mut order: Vec<usize> = (0..sides.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for side in order {
            let (side, server) = &mut sides[side];
            side.rounds.push(load::run(server, seconds)?);
        }
    }
    for (side, server) in &mut sides {
        side.loaded_kib = server.process.resident_kib()?;
    }

    let sides = sides.into_iter().map(|(side, _)| side).collect();
    let binary_bytes = fs::metadata(servers::PORTCULLIS)?.len();
    let report = Report { sides, starts, seconds, binary_bytes }.to_markdown()?;
    match output {
        Some(path) => fs::write(&path, report)?,
        None => print!("{report}"),
    }
    Ok(())
}

/// Another build of the program, if one is named.
async fn start_baseline(program: Option<&String>) -> Result<Option<Server>, Box<dyn Error>> {
    Ok(match program {
        Some(program) => Some(servers::start(Path::new(program)).await?),
        None => None,
    })
}
