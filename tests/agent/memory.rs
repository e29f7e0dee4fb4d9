//! What the agent costs its workspace: little at rest, and little again after large files and many commands; and how large
//! the programs are that nodes pull.

use crate::{
    agent_program::agent_program,
    stage::{Setup, Stage, memory, until},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::join_all;
use portcullis_agent::protocol::{Encoding, ReadFile, WriteFile};
use std::{env, fs, path::Path, process::Command, time::Duration};
use tokio::time::{Instant, sleep};

/// 8 MB in KiB: the goal for both processes together, at rest and right after work. Measured: about 4 and 7 MB. Answers to
/// commands are remembered for two minutes, up to 2 MiB. Pages of the program count, although the system takes them away
/// where memory is short.
const GOAL: u64 = 8_000_000 / 1024;
/// 6 MB in KiB: the limit once the answers are forgotten. Measured: 5 to 6 MB.
const SETTLED: u64 = 6_000_000 / 1024;
/// Longer than answers are remembered.
const FORGOTTEN: Duration = Duration::from_mins(3);
/// How much more than at rest there may be after work, whatever the profile: the remembered answers, and free memory between
/// blocks in use. It is 3 MiB in the program that ships. The bound finds a service that keeps the content of files.
const GIVEN_BACK: u64 = 16 * 1024;
/// The limit of what every node pulls: both programs, in bytes. The goal of 25 MB is missed: 25.63 MB, of which 0.5 MB are for
/// the speed of calls, and 0.7 MB for the console, the journal and newer cryptography.
const IMAGE: u64 = 26_000_000;
const LARGE: usize = 16 * 1024 * 1024;

/// The memory of both processes of an agent, in KiB.
#[derive(Clone, Copy, Debug)]
struct Used {
    /// Anonymous memory.
    own: u64,
    /// All memory. Pages of both processes count once (PSS, proc_pid_smaps(5)).
    all: u64,
}

impl Used {
    fn of(stage: &Stage) -> Self {
        let ids = [stage.init_id(), stage.service_id()];
        let sum = |name: &str| ids.iter().map(|id| memory(*id, name)).sum::<u64>();
        let own = sum("RssAnon");
        // Only root may read it of these processes. Anybody else counts shared pages twice, which is more.
        let shares = ids.map(proportional);
        let all = shares.into_iter().sum::<Option<u64>>();
        Self { own, all: all.unwrap_or_else(|| own + sum("RssFile") + sum("RssShmem")) }
    }
}

/// The proportional set size of a process, where it may be read.
fn proportional(id: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{id}/smaps_rollup")).ok()?;
    text.lines().find_map(|line| line.strip_prefix("Pss:"))?.trim().trim_end_matches(" kB").parse().ok()
}

/// Starts an agent of this program and gives it work. Returns it with its memory at rest and right after work.
async fn worked(program: &Path) -> (Stage, Used, Used) {
    let stage = Stage::with(&Setup { program, ..Setup::default() });
    stage.run("true").await;
    let rest = Used::of(&stage);

    let bytes: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    let (path, content) = ("large".to_owned(), STANDARD.encode(bytes));
    let request = WriteFile { path: path.clone(), content, encoding: Encoding::Base64, mode: None };
    stage.client.write_file(&request).await.unwrap();
    let request = ReadFile { path, max_bytes: Some(LARGE as u64), ..ReadFile::default() };
    assert_eq!(stage.client.read_file(&request).await.unwrap().size, LARGE as u64);
    let commands = (0..64).map(|_| stage.run("head -c 100000 /dev/zero | tr '\\0' x"));
    assert!(join_all(commands).await.iter().all(|result| result.exit_code == Some(0)));
    let at_the_end = Used::of(&stage);
    until("the memory's return", || Used::of(&stage).own <= rest.own + GIVEN_BACK).await;
    let after = Used::of(&stage);
    eprintln!("in KiB: {rest:?} at rest, {at_the_end:?} at the end of work, {after:?} after it");
    assert_eq!(stage.run("env | grep -c -E 'MALLOC|TUNABLES'; true").await.stdout, "0\n", "that is the service's own");
    (stage, rest, after)
}

#[tokio::test]
async fn what_large_files_and_many_commands_took_is_given_back() {
    worked(agent_program()).await;
}

#[tokio::test]
async fn what_ships_is_small() {
    // Elsewhere it would cost minutes to build.
    if env::var("CI").as_deref() != Ok("true") {
        eprintln!("skipped: only CI builds what ships");
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/node/static.sh");
    let built = Command::new("bash").args([script, "image"]).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let paths = String::from_utf8(built.stdout).unwrap();
    let paths: Vec<&Path> = paths.lines().map(Path::new).collect();
    let [portcullis, agent] = paths[..] else { panic!("two programs are built, not {paths:?}") };
    let size = |program: &Path| fs::metadata(program).unwrap().len();
    let sizes = [size(portcullis), size(agent)];
    eprintln!("portcullis and portcullis-agent have {sizes:?} bytes");
    assert!(sizes.iter().sum::<u64>() <= IMAGE, "the image has nothing but these programs, of {sizes:?} bytes");
    // A copy, of which no other process has pages.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("portcullis");
    fs::copy(agent, &copy).unwrap();
    let (stage, rest, after) = worked(&copy).await;
    assert!(rest.all <= GOAL && after.all <= GOAL, "in KiB: {rest:?} at rest, {after:?} after work");
    let started = Instant::now();
    let mut forgotten = after;
    while forgotten.all > SETTLED {
        assert!(started.elapsed() < FORGOTTEN, "in KiB: {forgotten:?} long after work");
        sleep(Duration::from_secs(1)).await;
        forgotten = Used::of(&stage);
    }
    eprintln!("in KiB: {forgotten:?} {} s after work", started.elapsed().as_secs());
}
