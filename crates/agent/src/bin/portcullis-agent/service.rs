//! The service: the process of the workspace agent that runs commands.

use crate::{
    arguments::RunOptions,
    passwd::{User, user},
    run::{AgentError, report, runtime},
};
use nix::unistd::getuid;
use portcullis_agent::{
    Journal, environment,
    failed_program::{AT_ONCE, Report},
    handover::Variables,
    listen,
    service::{Agent, Options},
};
use portcullis_core::clock::SystemClock;
use std::{
    ffi::{OsStr, OsString},
    future,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

/// The time that file operations in progress have when the service ends.
const LEAVE: Duration = Duration::from_secs(1);

/// The file of the journal, in the folder of the socket.
const JOURNAL: &str = "journal.jsonl";

/// Serves requests until SIGTERM or SIGINT.
pub(crate) fn serve(args: RunOptions, given: Variables) -> Result<(), AgentError> {
    // The service must not outlive the first process.
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGTERM)
        .map_err(|error| AgentError::Init(error.into()))?;
    let report = report(&args);
    let home = home(args.home, &given);
    let mut options = Options::new(home.clone(), args.output, variables(&home, given), Arc::new(SystemClock));
    // The folder of the socket, which in a pod is also the folder of the binary.
    options.own = args.socket.parent().filter(|folder| !home.starts_with(folder)).map(Into::into).into_iter().collect();
    if let Some(folder) = args.socket.parent() {
        options.journal = Journal::open(folder.join(JOURNAL), Arc::new(SystemClock));
    }
    options.shell = args.shell;
    options.log = Arc::new(|line| tracing::info!("{line}"));
    options.patience = args.patience;
    let runtime = runtime()?;
    // Start one blocking thread now: later, other processes may have used up all threads.
    runtime.spawn_blocking(|| ());
    let served = runtime.block_on(async {
        let socket = args.socket;
        let listener = listen::bind(&socket).map_err(|source| AgentError::Listen { socket, source })?;
        let agent = Agent::new(options);
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "the workspace runs");
        let program = async {
            if args.program.is_empty() {
                future::pending().await
            } else {
                main_program(&agent, args.program, &report).await
            }
        };
        let mut terminate = signal(SignalKind::terminate()).map_err(AgentError::Init)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(AgentError::Init)?;
        let stop = CancellationToken::new();
        let asked_to_end = async {
            let failed = tokio::select! {
                _ = terminate.recv() => None,
                _ = interrupt.recv() => None,
                why = program => Some(why),
            };
            stop.cancel();
            failed
        };
        let ((), failed) = tokio::join!(listen::serve(listener, &agent, stop.clone()), asked_to_end);
        failed.map_or(Ok(()), |why| Err(AgentError::Program(why)))
    });
    // Blocking work on a disk that does not respond is not awaited.
    runtime.shutdown_timeout(LEAVE);
    served
}

/// Runs the workspace's own program. The workspace stays available if it fails, so that users can find the cause.
/// Completes only if a failure was reported that must end the container.
async fn main_program(agent: &Agent, program: Vec<String>, report: &Report) -> String {
    let started = Instant::now();
    let failed = match agent.start_main(program).await {
        Ok((process, ended)) => {
            tracing::info!(process_id = process.process_id, command = process.command, "started");
            match ended.await {
                Ok(Some(code)) if code != 0 && started.elapsed() < AT_ONCE => {
                    Some(format!("ended at once (exit code {code})"))
                }
                Ok(_) | Err(_) => None,
            }
        }
        Err(failure) => {
            tracing::error!(%failure, "the workspace's program did not start");
            Some(format!("did not start: {failure}"))
        }
    };
    if let Some(why) = failed.filter(|_| report.is_due()) {
        match report.write(&why) {
            Ok(()) => return why,
            Err(error) => tracing::error!(%error, "the failure of the workspace's program cannot be reported"),
        }
    }
    future::pending().await
}

fn home(chosen: Option<PathBuf>, given: &[(OsString, OsString)]) -> PathBuf {
    let variable = || given.iter().find(|(name, _)| name == "HOME").map(|(_, value)| PathBuf::from(value));
    chosen.or_else(variable).unwrap_or_else(|| "/".into())
}

/// The environment of commands: all variables of the container, without those for the service alone.
fn variables(home: &Path, given: Variables) -> Variables {
    let user = user(Path::new("/etc/passwd"), getuid().as_raw());
    let name = user.as_ref().map_or_else(|| getuid().to_string(), |user| user.name.clone());
    let is_chosen = |(name, value): &(OsString, OsString)| name != "HOME" || is_chosen(value, user.as_ref());
    environment(home, name.into(), given.into_iter().filter(is_chosen))
}

/// Whether this `HOME` was chosen. Container runtimes set it to the home folder of the image's user, or to `/` if there
/// is none; the workspace's home is different.
fn is_chosen(home: &OsStr, user: Option<&User>) -> bool {
    home != "/" && user.is_none_or(|user| user.home != Path::new(home))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_home_that_only_the_runtime_chose_does_not_count() {
        let root = Some(User { name: "root".to_owned(), home: "/root".into() });
        for (home, user, expected) in [
            ("/", None, false),
            ("/", root.as_ref(), false),
            ("/root", root.as_ref(), false),
            ("/root", None, true),
            ("/elsewhere", root.as_ref(), true),
        ] {
            assert_eq!(is_chosen(home.as_ref(), user), expected, "{home}");
        }
    }
}
