//! `make bench`: an authenticated `tools/call whoami` at the real `portcullis serve`, beside a bare rmcp server with
//! the same tool and no authentication; time from start to ready, memory, size. All in one run, into
//! docs/benchmarks.md. Load is made by wrk.

mod bare;
mod load;
mod report;
mod servers;

use report::{Report, Side};
use servers::Portcullis;
use std::{env, error::Error, fs, path::PathBuf};

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
    let guarded = Portcullis::start().await?;
    let token = guarded.token().await?;
    let unguarded = servers::start_bare().await?;
    for (url, authorization) in [(&guarded.url, Some(&token)), (&unguarded.url, None)] {
        servers::check_answer(url, authorization).await?;
    }
    let mut sides = [
        Side::new("portcullis serve", guarded.process.resident_kib()?),
        Side::new("bare rmcp, no authentication", unguarded.process.resident_kib()?),
    ];
    for round in 0..ROUNDS {
        // Neither always goes first.
        for side in if round % 2 == 0 { [0, 1] } else { [1, 0] } {
            let (url, authorization) = [(&guarded.url, token.as_str()), (&unguarded.url, "")][side];
            sides[side].rounds.push(load::run(url, authorization, seconds)?);
        }
    }
    sides[0].loaded_kib = guarded.process.resident_kib()?;
    sides[1].loaded_kib = unguarded.process.resident_kib()?;

    let report =
        Report { sides, starts, seconds, binary_bytes: fs::metadata(servers::PORTCULLIS)?.len() }.to_markdown()?;
    match output {
        Some(path) => fs::write(&path, report)?,
        None => print!("{report}"),
    }
    Ok(())
}
