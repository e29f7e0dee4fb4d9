//! What the agent costs its workspace: little at rest, and little again after large files and many commands.

use crate::stage::{BINARY, Setup, Stage, memory, until};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use futures::future::join_all;
use portcullis_agent::protocol::{Encoding, ReadFile, WriteFile};
use std::{env, fs, path::Path, process::Command};

/// 8 MB in KiB: the goal for what the first process and the service together have of their own.
const GOAL: u64 = 8_000_000 / 1024;
/// The same with what they have read of the program, which the system takes away where memory is short.
const ALL: u64 = 20_000_000 / 1024;
/// How much more than at rest there may be after work: what the service's threads keep for the next, which is 5 MiB,
/// or 7 without optimisation. Where nothing is given back, the files alone leave 95.
const GIVEN_BACK: u64 = 16 * 1024;
/// The goal for what every node pulls.
const IMAGE: u64 = 25_000_000;
const LARGE: usize = 16 * 1024 * 1024;

/// What both processes of an agent of this program have in memory, at rest and after work, in KiB: what is no file, and all,
/// in which pages of the program count once. From `/proc/ID/status`: nobody may read more of these processes.
async fn used(program: &Path) -> [(u64, u64); 2] {
    let stage = Stage::with(&Setup { program, ..Setup::default() });
    stage.run("true").await;
    let of = |name: &str| [stage.init_id(), stage.service_id()].map(|id| memory(id, name));
    let now = || {
        let own: u64 = of("RssAnon").iter().sum();
        (own, own + of("RssFile").into_iter().max().unwrap_or_default())
    };
    let rest = now();

    let bytes: Vec<u8> = (0..=250).cycle().take(LARGE).collect();
    let (path, content) = ("large".to_owned(), STANDARD.encode(bytes));
    let request = WriteFile { path: path.clone(), content, encoding: Encoding::Base64, mode: None };
    stage.client.write_file(&request).await.unwrap();
    let request = ReadFile { path, max_bytes: Some(LARGE as u64), ..ReadFile::default() };
    assert_eq!(stage.client.read_file(&request).await.unwrap().size, LARGE as u64);
    let commands = (0..64).map(|_| stage.run("head -c 100000 /dev/zero | tr '\\0' x"));
    assert!(join_all(commands).await.iter().all(|result| result.exit_code == Some(0)));
    let at_the_end = now();
    until("the memory's return", || now().0 <= rest.0 + GIVEN_BACK).await;
    let after = now();
    eprintln!("(of its own, all) in KiB: {rest:?} at rest, {at_the_end:?} at the end of work, {after:?} after it");
    assert_eq!(stage.run("env | grep -c MIMALLOC; true").await.stdout, "0\n", "that is the service's own affair");
    [rest, after]
}

#[tokio::test]
async fn what_large_files_and_many_commands_took_is_given_back() {
    used(Path::new(BINARY)).await;
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
    let program = String::from_utf8(built.stdout).unwrap();
    let size = fs::metadata(program.trim()).unwrap().len();
    assert!(size <= IMAGE, "the image has nothing but this program, of {size} bytes");
    for (own, all) in used(Path::new(program.trim())).await {
        assert!(own <= GOAL && all <= ALL, "{own} KiB of its own, {all} KiB in all");
    }
}
