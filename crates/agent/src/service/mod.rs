//! The HTTP service (RFC 9110) of a workspace agent: commands, processes, files and usage, over any connection.
//!
//! The routes are those of [`protocol`](super::protocol).

mod commands;
mod follow;
mod job;
mod options;
mod processes;
mod result;

use crate::{
    Live, OutputFolder,
    answer::{Answer, Asked, By},
    command::{Report, Started, start},
    files::{Files, Reach},
    journal::{Recording, on_command, on_process},
    protocol::{
        Actor, Command, CommandEvent, CommandResult, Failure, FailureKind, Hello, Input, JournalPage, JournalRequest,
        OperationKind, Process, ProcessOutput, ProcessOutputRequest, Processes, UNKNOWN_ROUTE,
    },
    usage,
};
use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path, Query, State},
    response::{IntoResponse, Response},
    routing::{get, post, put},
};
use commands::{Commands, Entry};
use http::{StatusCode, header::CONTENT_TYPE};
pub use options::{Log, Options};
use processes::{Running, Table};
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep, sleep_until},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The size limit of requests about commands, in bytes, including the input of a command.
const MOST_INPUT: usize = 33 * 1024 * 1024;

/// A workspace agent. Clones share its state.
#[derive(Clone)]
pub struct Agent(Arc<Inner>);

struct Inner {
    options: Options,
    output: Arc<OutputFolder>,
    commands: Commands,
    processes: Table,
    places: Arc<Semaphore>,
    /// The process groups of running commands.
    groups: Arc<Mutex<BTreeSet<u32>>>,
    /// The counter of OOM kills, if the memory is that of the workspace alone.
    kills: Option<usage::Kills>,
    tasks: TaskTracker,
    /// Ends all commands.
    stop: CancellationToken,
}

impl Agent {
    /// A workspace agent without running commands.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self(Arc::new(Inner {
            kills: if options.confine { None } else { usage::Kills::of_container() },
            output: Arc::new(OutputFolder::new(options.output.clone())),
            places: Arc::new(Semaphore::new(options.most_commands)),
            options,
            groups: Arc::default(),
            commands: Commands::default(),
            processes: Table::default(),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
        }))
    }

    /// The router of its HTTP service.
    pub fn router(&self) -> Router {
        let Options { home, output, confine, own, temporary, journal, .. } = &self.0.options;
        let (own, temporary) = (own.clone(), temporary.clone());
        let reach = Reach { confine: *confine, temporary, own, output: Some(output.clone()) };
        let groups = Arc::clone(&self.0.groups);
        let scope = if *confine {
            usage::Scope::Groups(Arc::new(move || groups.lock().unwrap_or_else(PoisonError::into_inner).clone()))
        } else {
            usage::Scope::Container
        };
        Router::new()
            .route("/hello", get(hello))
            .route("/commands/{id}", put(command).delete(end))
            .route("/processes", get(processes))
            .route("/processes/{id}/output", post(process_output))
            .route("/processes/{id}/input", post(input))
            .route("/processes/{id}/stop", post(stop))
            .route("/journal", post(journal_page))
            .with_state(self.clone())
            .layer(DefaultBodyLimit::max(MOST_INPUT))
            .merge(Files::new(home.clone(), reach, journal.clone()).router())
            .merge(usage::router(home.clone(), scope))
            .fallback(|| async { FailureKind::NotFound.because(UNKNOWN_ROUTE) })
    }

    /// Ends all commands and processes, and waits until they have ended. New ones are refused from now on.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.options.journal.saved().await;
    }

    /// Runs a program in the background without a time limit, and copies its output to that of this process. Returns
    /// the process, and a receiver of its exit code.
    pub async fn start_main(&self, program: Vec<String>) -> Result<(Process, oneshot::Receiver<Option<i32>>), Failure> {
        let mut words = program.iter();
        let name = words.next().ok_or_else(|| FailureKind::Invalid.because("name a program"))?;
        let line = shlex::try_join(program.iter().map(String::as_str));
        let command = Command {
            command: line.map_err(|error| FailureKind::Invalid.because(error.to_string()))?,
            background: true,
            ..Command::default()
        };
        let mut job = job::prepare(&self.0.options, "main", &command, self.0.output.files("main", true)).await?.job;
        (job.program, job.args, job.sinks.echo) = (name.into(), words.map(Into::into).collect(), true);
        let running = self.launch("main", &command, job, self.0.stop.child_token(), self.place()?).await?.0;
        let view = running.view();
        let (sender, ended) = oneshot::channel();
        self.0.tasks.spawn(async move {
            running.record.until_ended().await;
            let exit_code = running.record.condition().exit_code;
            tracing::info!(exit_code, "the workspace's program has ended");
            // The receiver may have been dropped.
            let _ = sender.send(exit_code);
        });
        Ok((view, ended))
    }

    /// Attaches to the command with this id, or starts it for `actor`.
    fn take_up(&self, id: &str, actor: Option<Actor>, command: Command, begun: bool) -> Result<Arc<Entry>, Failure> {
        if self.0.stop.is_cancelled() {
            return Err(stopping());
        }
        self.0.commands.take_up(id, begun, self.0.stop.child_token(), |entry| {
            let (agent, id, entry) = (self.clone(), id.to_owned(), Arc::clone(entry));
            self.0.tasks.spawn(async move {
                let kind = if command.background { OperationKind::StartProcess } else { OperationKind::RunCommand };
                let recording = agent.0.options.journal.begin(actor, on_command(kind, &command.command));
                let outcome = agent.run(&id, &entry, &command).await;
                agent.record_end(&outcome, recording);
                let event = outcome.map_or_else(CommandEvent::Failure, CommandEvent::Result);
                if agent.0.commands.end(&id, &entry, event) {
                    agent.expire();
                }
            });
        })
    }

    /// Records the result of a command, and later the end of the process that it continues as.
    fn record_end(&self, outcome: &Result<CommandResult, Failure>, recording: Recording) {
        if let Ok(CommandResult { exit_code: None, process_id: Some(id), .. }) = *outcome
            && let Ok(running) = self.0.processes.get(id)
        {
            let recording = recording.process(id);
            self.0.tasks.spawn(async move {
                running.record.until_ended().await;
                recording.end_process(running.record.condition().exit_code);
            });
        }
        recording.end_command(outcome);
    }

    /// Removes expired results even if no other command ends, because a workspace agent is idle most of the time.
    /// [`Self::shutdown`] does not wait for this task.
    fn expire(&self) {
        let inner = Arc::downgrade(&self.0);
        tokio::spawn(async move {
            while let Some(next) = inner.upgrade().and_then(|inner| inner.commands.expire(Instant::now())) {
                sleep_until(next).await;
            }
        });
    }

    /// Runs a command: to its end, or until it is started if it is for the background.
    async fn run(&self, id: &str, entry: &Arc<Entry>, command: &Command) -> Result<CommandResult, Failure> {
        let place = self.place()?;
        let files = self.0.output.files(id, command.background);
        let mut prepared = job::prepare(&self.0.options, id, command, files.clone()).await?;
        if command.live {
            let entry = Arc::clone(entry);
            prepared.job.sinks.live = Some(Arc::new(move |text: &str| entry.say(text)) as Live);
        }
        let killed_before = self.killed().await;
        let (running, report) = self.launch(id, command, prepared.job, entry.cancel.clone(), place).await?;
        if command.background {
            return Ok(result::in_background(running.view().process_id, &files, prepared.note));
        }
        let report = self.attend(entry, report).await;
        match report {
            Some(report) if report.continues => {
                self.0.processes.insert(Arc::new(running.with(files)));
                Ok(result::continues(running.view().process_id, report, prepared.note))
            }
            Some(report) if !report.cancelled => {
                if report.lingers {
                    self.0.processes.insert(running.clone());
                }
                let starved = killed_before.zip(self.killed().await).map(|(before, now)| now > before);
                Ok(result::finished(running.view().process_id, report, starved, prepared.note))
            }
            _ if self.0.stop.is_cancelled() => Err(stopping()),
            _ => Err(FailureKind::Interrupted.because("the command was ended because no client waited for it")),
        }
    }

    /// The number of OOM kills in the workspace so far; `None` if it is not known.
    async fn killed(&self) -> Option<f64> {
        self.0.kills.as_ref()?.count().await
    }

    /// Starts a job, and spawns its watch.
    async fn launch(
        &self,
        id: &str,
        command: &Command,
        job: super::Job,
        cancel: CancellationToken,
        place: OwnedSemaphorePermit,
    ) -> Result<(Arc<Running>, tokio::sync::oneshot::Receiver<Report>), Failure> {
        let record = Arc::clone(&job.sinks.record);
        if command.background {
            record.begin();
        }
        let (files, program) = (job.files.clone(), job.program.clone());
        let (Started { process_id, stdin, report }, watch) = match start(job, cancel.clone()).await {
            Ok(started) => started,
            Err(error) => return Err(job::not_started(&error, &program, &self.0.options).await),
        };
        let name = job::program_name(&command.command).map(|name| format!(" ({name})")).unwrap_or_default();
        let held = self.0.output.hold(id);
        let (groups, log, ending) = (Arc::clone(&self.0.groups), Arc::clone(&self.0.options.log), Arc::clone(&record));
        // No panic can leave it half changed.
        groups.lock().unwrap_or_else(PoisonError::into_inner).insert(process_id);
        self.0.tasks.spawn(async move {
            let has_files = watch.await;
            let how = ending
                .condition()
                .exit_code
                .map_or("could not be ended".to_owned(), |code| format!("ended with exit code {code}"));
            log(&format!("process {process_id}{name} {how}"));
            groups.lock().unwrap_or_else(PoisonError::into_inner).remove(&process_id);
            drop(place);
            held.release(has_files).await;
        });
        let started_at = self.0.options.clock.now();
        let line = command.command.clone();
        let files = command.background.then_some(files);
        let terminal = command.terminal.is_some();
        let running = Arc::new(Running { process_id, line, started_at, record, stdin, terminal, files, cancel });
        if command.background {
            self.0.processes.insert(Arc::clone(&running));
        }
        Ok((running, report))
    }

    /// Finds a process for an operation, whose entry in the journal begins.
    fn process_for(
        &self,
        kind: OperationKind,
        id: u32,
        actor: Option<Actor>,
    ) -> (Result<Arc<Running>, Failure>, Recording) {
        let running = self.0.processes.get(id);
        let operation = on_process(kind, id, running.as_ref().ok().map(|running| &*running.line));
        (running, self.0.options.journal.begin(actor, operation))
    }

    /// Waits for the report of a command. Ends the command if it has no follower for too long.
    async fn attend(&self, entry: &Entry, mut report: tokio::sync::oneshot::Receiver<Report>) -> Option<Report> {
        tokio::select! {
            report = &mut report => return report.ok(),
            () = entry.until_alone_for(self.0.options.patience) => entry.cancel.cancel(),
        }
        report.await.ok()
    }

    fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        Arc::clone(&self.0.places).try_acquire_owned().map_err(|_| {
            let most = self.0.options.most_commands;
            let message = format!(
                "the limit of {most} concurrent commands in this workspace is reached; wait until one has ended, or end one from list_processes with stop_process"
            );
            FailureKind::Exhausted.because(message)
        })
    }
}

fn stopping() -> Failure {
    FailureKind::Interrupted.because(
        "the command was ended because the workspace is stopping; unless a user stopped it, it restarts by itself: see get_workspace, and check what the command has done before you run it again",
    )
}

async fn hello(State(agent): State<Agent>) -> Json<Hello> {
    let home = agent.0.options.home.to_string_lossy().into_owned();
    Json(Hello { version: env!("CARGO_PKG_VERSION").to_owned(), home })
}

#[derive(Deserialize)]
struct TakeUp {
    #[serde(default)]
    begun: bool,
}

async fn command(
    State(agent): State<Agent>,
    Path(id): Path<String>,
    Query(TakeUp { begun }): Query<TakeUp>,
    By(actor): By,
    Asked(command): Asked<Command>,
) -> Result<Response, Failure> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if !(1..=64).contains(&id.len()) || !id.bytes().all(fits) {
        let message = "the id of a command is 1 to 64 letters, digits, - and _";
        return Err(FailureKind::Invalid.because(message));
    }
    let live = command.live;
    let entry = agent.take_up(&id, actor, command, begun)?;
    Ok(([(CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(follow::follow(entry, live))).into_response())
}

async fn end(State(agent): State<Agent>, Path(id): Path<String>) -> StatusCode {
    agent.0.commands.abandon(&id);
    StatusCode::NO_CONTENT
}

async fn processes(State(agent): State<Agent>) -> Json<Processes> {
    Json(agent.0.processes.list())
}

async fn process_output(
    State(agent): State<Agent>,
    Path(id): Path<u32>,
    Asked(request): Asked<ProcessOutputRequest>,
) -> Answer<ProcessOutput> {
    let running = agent.0.processes.get(id)?;
    let pattern = request.wait_for.as_deref().map(processes::pattern).transpose()?;
    // Shutdown does not wait for requests that wait for output.
    let part = tokio::select! {
        part = running.record.read(request.offset, request.wait, pattern.as_ref()) => part,
        () = agent.0.stop.cancelled() => running.record.read(request.offset, Duration::ZERO, None).await,
    };
    let matched = pattern.map(|pattern| running.record.matches(request.offset, &pattern));
    Ok(Json(running.output_of(part, matched)))
}

async fn input(
    State(agent): State<Agent>,
    Path(id): Path<u32>,
    By(actor): By,
    Asked(input): Asked<Input>,
) -> Answer<Process> {
    let (running, recording) = agent.process_for(OperationKind::SendInput, id, actor);
    let written = async {
        let running = running?;
        running.write(&input).await?;
        Ok(Json(running.view()))
    };
    let answer: Answer<Process> = written.await;
    recording.end(&answer);
    answer
}

async fn stop(State(agent): State<Agent>, Path(id): Path<u32>, By(actor): By) -> Answer<Process> {
    let (running, recording) = agent.process_for(OperationKind::StopProcess, id, actor);
    let stopped = async {
        let running = running?;
        running.cancel.cancel();
        tokio::select! {
            () = running.record.until_ended() => Ok(Json(running.view())),
            // By then, the grace periods of SIGTERM and SIGKILL are over.
            () = sleep(Duration::from_secs(6)) => Err(FailureKind::Internal.because(format!("process {id} could not be ended: it waits for the kernel; restart the workspace if this persists"),
            )),
        }
    };
    let answer: Answer<Process> = stopped.await;
    recording.end(&answer);
    answer
}

async fn journal_page(State(agent): State<Agent>, Asked(request): Asked<JournalRequest>) -> Json<JournalPage> {
    Json(agent.0.options.journal.page(&request))
}

#[cfg(test)]
mod tests;
