//! docs/benchmarks.md.

use super::load::Round;
use std::{error::Error, fmt::Write as _, fs, process::Command};

/// One of the servers.
pub struct Side {
    pub name: &'static str,
    pub rounds: Vec<Round>,
    pub idle_kib: u64,
    pub loaded_kib: u64,
}

impl Side {
    pub fn new(name: &'static str, idle_kib: u64) -> Self {
        Self { name, rounds: Vec::new(), idle_kib, loaded_kib: 0 }
    }

    fn median(&self, of: impl Fn(&Round) -> f64) -> f64 {
        median(self.rounds.iter().map(of).collect())
    }
}

/// Everything that was measured.
pub struct Report {
    /// Portcullis, the bare server, and the baseline build if there is one.
    pub sides: Vec<Side>,
    pub starts: Vec<f64>,
    pub seconds: u32,
    pub binary_bytes: u64,
}

impl Report {
    pub fn to_markdown(&self) -> Result<String, Box<dyn Error>> {
        let [guarded, bare, baseline @ ..] = &self.sides[..] else { return Err("two servers are compared".into()) };
        let ratio = guarded.median(|round| round.requests_per_second) / bare.median(|round| round.requests_per_second);
        let (start, slowest) = (median(self.starts.clone()), self.starts.iter().copied().fold(0.0, f64::max));
        let idle = mebibytes(guarded.idle_kib);
        let mut text =
            String::from("# Benchmarks\n\nWritten by `make bench`; each part is of one run on one machine.\n\n");
        writeln!(text, "{}\n", machine()?)?;
        writeln!(text, "| what | measured | goal | |\n|---|---|---|---|")?;
        for (what, measured, goal, met) in [
            ("authenticated `tools/call whoami` against bare rmcp", format!("{ratio:.2}×"), "≥ 0.9×", ratio >= 0.9),
            ("start to ready, median", format!("{start:.0} ms (slowest {slowest:.0} ms)"), "≤ 100 ms", start <= 100.0),
            ("memory at rest", format!("{idle:.1} MiB"), "≤ 20 MB", idle <= 19.07),
        ] {
            writeln!(text, "| {what} | {measured} | {goal} | {} |", if met { "met" } else { "**missed**" })?;
        }
        if let [baseline] = baseline {
            let cpu = |side: &Side| side.median(|round| round.cpu_us_per_request);
            let ratio = cpu(guarded) / cpu(baseline);
            writeln!(text, "| server CPU per request against the baseline build | {ratio:.2}× | | |")?;
        }
        writeln!(text, "| stripped binary | {:.1} MiB | | |", mebibytes(self.binary_bytes / 1024))?;

        writeln!(
            text,
            "\n| | requests/s | CPU per request | p50 | p99 | memory at rest | after the load |\n|---|---|---|---|---|---|---|"
        )?;
        for side in &self.sides {
            writeln!(
                text,
                "| {} | {:.0} | {:.1} µs | {:.2} ms | {:.2} ms | {:.1} MiB | {:.1} MiB |",
                side.name,
                side.median(|round| round.requests_per_second),
                side.median(|round| round.cpu_us_per_request),
                side.median(|round| round.p50_ms),
                side.median(|round| round.p99_ms),
                mebibytes(side.idle_kib),
                mebibytes(side.loaded_kib),
            )?;
        }
        writeln!(
            text,
            "\n{} rounds of {} s for each side, taken in turns; medians. Load: wrk on the same machine, one thread, 32 \
             connections, MCP 2025-11-25, answers in JSON. The bare server is rmcp with a tool that gives the same answer, \
             on the same runtime and allocator, with no token, limit or check. Rate limits are set out of the way; \
             everything else of `serve` is as shipped. Memory is `VmRSS`.",
            guarded.rounds.len(),
            self.seconds,
        )?;
        Ok(text)
    }
}

fn machine() -> Result<String, Box<dyn Error>> {
    let cpu = fs::read_to_string("/proc/cpuinfo")?;
    let models: Vec<&str> = cpu.lines().filter_map(|line| line.strip_prefix("model name\t: ")).collect();
    let said = |program: &str, arguments: &[&str]| -> Result<String, Box<dyn Error>> {
        Ok(String::from_utf8(Command::new(program).args(arguments).output()?.stdout)?.trim().to_owned())
    };
    Ok(format!(
        "Portcullis {} (commit {}) on {} × {}, Linux {}, {}.",
        env!("CARGO_PKG_VERSION"),
        said("git", &["describe", "--always", "--dirty"])?,
        models.len(),
        models.first().unwrap_or(&"unknown processor"),
        said("uname", &["-r"])?,
        said("rustc", &["--version"])?,
    ))
}

#[expect(clippy::cast_precision_loss, reason = "sizes far below 2^53")]
fn mebibytes(kib: u64) -> f64 {
    kib as f64 / 1024.0
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}
