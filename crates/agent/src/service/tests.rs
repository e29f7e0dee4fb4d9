use crate::service::*;
use crate::{
    AgentError, Client, InProcess,
    protocol::{ReadFile, TerminalSize},
};
use portcullis_core::clock::SystemClock;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
    time::Instant,
};

const SECOND: Duration = Duration::from_secs(1);

struct Fixture {
    agent: Agent,
    client: Client,
    folder: tempfile::TempDir,
}

fn fixture(change: impl FnOnce(&mut Options)) -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into()), ("KIND".into(), "own".into())];
    let mut options = Options::new(folder.path().into(), folder.path().join(".output"), env, Arc::new(SystemClock));
    change(&mut options);
    let agent = Agent::new(options);
    let client = Client::new(Arc::new(InProcess::new(agent.router())));
    Fixture { agent, client, folder }
}

fn shell(line: &str) -> Command {
    Command { command: line.to_owned(), timeout: Some(10 * SECOND), ..Command::default() }
}

fn failure(result: Result<CommandResult, AgentError>) -> Failure {
    match result {
        Err(AgentError::Failed(failure)) => failure,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_command_says_all_about_itself() {
    let fixture = fixture(|_| {});
    std::fs::create_dir(fixture.folder.path().join("sub")).unwrap();
    let command = Command {
        command: "cat; pwd; echo $KIND $OTHER; echo bad >&2; exit 3".to_owned(),
        cwd: Some("sub".to_owned()),
        env: [("OTHER", "brought")].map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        stdin: Some("in\n".to_owned()),
        timeout: Some(10 * SECOND),
        ..Command::default()
    };
    let result = fixture.client.run("a", &command, None).await.unwrap();
    let sub = fixture.folder.path().join("sub").canonicalize().unwrap();
    assert_eq!(result.stdout, format!("in\n{}\nown brought\n", sub.display()));
    assert_eq!((result.stderr.as_str(), result.exit_code), ("bad\n", Some(3)));
    assert_eq!((result.note, result.process_id), (None, None));
    let home = fixture.folder.path().to_string_lossy().into_owned();
    assert_eq!(fixture.client.hello().await.unwrap().home, home);
}

#[tokio::test]
async fn what_cannot_run_is_refused_in_words_that_help() {
    let fixture = fixture(|options| options.most_commands = 1);
    let cwd = |cwd: &str| Command { cwd: Some(cwd.to_owned()), ..shell("true") };
    let env = |name: &str| Command { env: [(name.to_owned(), String::new())].into(), ..shell("true") };
    let long = shell(&format!("true {}", "x".repeat(200_000)));
    for (number, (command, kind, word)) in [
        (shell(" "), FailureKind::Invalid, "empty"),
        (shell("a\0b"), FailureKind::Invalid, "NUL"),
        (env("a=b"), FailureKind::Invalid, "="),
        (cwd("nowhere"), FailureKind::NotFound, "nowhere"),
        (long, FailureKind::TooLarge, "stdin"),
    ]
    .into_iter()
    .enumerate()
    {
        let failure = failure(fixture.client.run(&format!("c{number}"), &command, None).await);
        assert_eq!(failure.kind, kind, "{failure}");
        assert!(failure.message.contains(word), "{failure}");
    }
    let started = fixture.client.run("b", &Command { background: true, ..shell("sleep 60") }, None).await.unwrap();
    let refused = failure(fixture.client.run("c", &shell("true"), None).await);
    assert_eq!(refused.kind, FailureKind::Exhausted);
    fixture.client.stop_process(started.process_id.unwrap()).await.unwrap();
    assert_eq!(fixture.client.run("d", &shell("true"), None).await.unwrap().exit_code, Some(0));
    assert_eq!(failure(fixture.client.run("../x", &shell("true"), None).await).kind, FailureKind::NotFound);
    assert_eq!(failure(fixture.client.run("a.b", &shell("true"), None).await).kind, FailureKind::Invalid);
}

#[tokio::test]
async fn a_command_that_ignores_sigterm_ends_all_the_same() {
    let fixture = fixture(|_| {});
    let started = Instant::now();
    let command = Command { timeout: Some(SECOND / 5), ..shell("trap '' TERM; echo on; while :; do sleep 1; done") };
    let result = fixture.client.run("a", &command, None).await.unwrap();
    assert!(result.timed_out && started.elapsed() < 5 * SECOND, "{result:?}");
    assert_eq!((result.stdout.as_str(), result.exit_code), ("on\n", Some(137)));
}

#[tokio::test]
async fn the_same_id_is_the_same_command() {
    let fixture = fixture(|_| {});
    let once = shell("echo x >> ran; sleep 0.3; wc -l < ran");
    let (first, second) = tokio::join!(fixture.client.run("a", &once, None), fixture.client.run("a", &once, None));
    let third = fixture.client.run("a", &once, None).await;
    for result in [first, second, third] {
        assert_eq!(result.unwrap().stdout.trim(), "1");
    }
}

#[tokio::test]
async fn an_abandoned_command_is_ended() {
    let fixture = fixture(|_| {});
    let command = Command { live: true, ..shell("echo on; sleep 0.6; touch late") };
    let (live, mut said) = mpsc::channel(4);
    let run = fixture.client.run("a", &command, Some(live));
    tokio::select! {
        result = run => panic!("{result:?}"),
        said = said.recv() => assert_eq!(said.as_deref(), Some("on\n")),
    }
    let failure = failure(fixture.client.run("a", &command, None).await);
    assert_eq!(failure.kind, FailureKind::Interrupted);
    tokio::time::sleep(SECOND).await;
    assert!(!fixture.folder.path().join("late").exists());
}

#[tokio::test]
async fn a_command_is_ended_when_its_stream_was_lost_for_too_long() {
    for (patience, ended) in [(SECOND / 10, true), (20 * SECOND, false)] {
        let fixture = fixture(|options| options.patience = patience);
        let entry = fixture.agent.take_up("a", None, shell("sleep 0.8; echo done"), false).unwrap();
        drop(follow::follow(Arc::clone(&entry), false));
        tokio::time::sleep(SECOND / 2).await;
        let result = fixture.client.run("a", &shell("never"), None).await;
        if ended {
            assert_eq!(failure(result).kind, FailureKind::Interrupted);
        } else {
            assert_eq!(result.unwrap().stdout, "done\n");
        }
    }
}

#[tokio::test]
async fn what_never_began_here_is_not_begun_again() {
    let fixture = fixture(|_| {});
    assert_eq!(fixture.agent.take_up("a", None, shell("true"), true).err().unwrap().kind, FailureKind::Interrupted);
    fixture.agent.0.commands.abandon("b");
    assert_eq!(failure(fixture.client.run("b", &shell("touch ran"), None).await).kind, FailureKind::Interrupted);
    assert!(!fixture.folder.path().join("ran").exists());
}

#[test]
fn ended_commands_are_forgotten_by_age_number_and_size() {
    let commands = Commands::default();
    let result = |bytes: usize| {
        CommandEvent::Result(CommandResult {
            exit_code: Some(7),
            stdout: "x".repeat(bytes),
            ..CommandResult::default()
        })
    };
    let add = |id: &str, bytes: usize| {
        let entry = commands.take_up(id, false, CancellationToken::new(), |_| {}).unwrap();
        commands.end(id, &entry, result(bytes));
    };
    let known = |id: &str| match commands.take_up(id, true, CancellationToken::new(), |_| {}) {
        Ok(entry) => entry.outcome.borrow().clone(),
        Err(_) => None,
    };
    add("large", 1_900_000);
    add("second", 400_000);
    // The output of the first command was dropped, but its result was kept.
    let Some(CommandEvent::Result(stripped)) = known("large") else { panic!("forgotten") };
    assert!(stripped.exit_code == Some(7) && stripped.stdout.is_empty() && stripped.note.is_some());
    assert_eq!(known("second"), Some(result(400_000)));
    for number in 0..4095 {
        add(&number.to_string(), 1);
    }
    assert_eq!((known("large"), known("second").is_some()), (None, true));
    commands.lock().forget(Instant::now() + 121 * SECOND);
    assert_eq!((known("second"), known("4094")), (None, None));
}

#[test]
fn outcomes_are_forgotten_in_time_though_no_command_follows() {
    let commands = Commands::default();
    let end = |id: &str| {
        let entry = commands.take_up(id, false, CancellationToken::new(), |_| ()).unwrap();
        commands.end(id, &entry, CommandEvent::Failure(FailureKind::Interrupted.because("it was ended")))
    };
    let begun = Instant::now();
    assert!(end("first") && !end("second"), "one task waits for all of them");
    let next = commands.expire(begun + 60 * SECOND).unwrap();
    assert!((begun + 120 * SECOND..Instant::now() + 120 * SECOND).contains(&next));
    assert!(!end("third"), "it still waits");
    assert_eq!(commands.expire(Instant::now() + 120 * SECOND), None);
    assert!(end("fourth"), "it has ended");
}

#[tokio::test]
async fn a_background_process_is_heard_fed_and_stopped() {
    let fixture = fixture(|_| {});
    let command = Command {
        background: true,
        stdin: Some("first\n".to_owned()),
        ..shell("while read line; do echo got $line; done; echo end >&2; sleep 60")
    };
    let started = fixture.client.run("a", &command, None).await.unwrap();
    let id = started.process_id.unwrap();
    let ask = |offset| ProcessOutputRequest { wait: 10 * SECOND, offset, wait_for: None };
    let said = fixture.client.process_output(id, ask(None)).await.unwrap();
    assert_eq!((said.output.as_str(), said.next_offset, said.running), ("got first\n", 10, true));
    let input = |text: &str, close| Input { text: text.to_owned(), close, key: false };
    fixture.client.send_input(id, &input("second\n", false)).await.unwrap();
    let said = fixture.client.process_output(id, ask(Some(10))).await.unwrap();
    assert_eq!((said.output.as_str(), said.next_offset), ("got second\n", 21));
    fixture.client.send_input(id, &input("", true)).await.unwrap();
    assert_eq!(fixture.client.process_output(id, ask(Some(21))).await.unwrap().output, "end\n");
    let closed = fixture.client.send_input(id, &input("more", false)).await;
    assert!(matches!(closed, Err(AgentError::Failed(Failure { kind: FailureKind::Conflict, .. }))), "{closed:?}");
    assert_eq!(fixture.client.processes().await.unwrap().processes.len(), 1);
    let stopped = fixture.client.stop_process(id).await.unwrap();
    assert_eq!((stopped.running, stopped.exit_code), (false, Some(143)));
    let said = fixture.client.process_output(id, ask(Some(0))).await.unwrap();
    assert_eq!((said.output.as_str(), said.running), ("got first\ngot second\nend\n", false));
    assert_eq!(std::fs::read_to_string(said.stdout_file.unwrap()).unwrap(), "got first\ngot second\n");
    assert_eq!(std::fs::read_to_string(said.stderr_file.unwrap()).unwrap(), "end\n");
    let unknown = fixture.client.stop_process(id + 1).await;
    assert!(matches!(unknown, Err(AgentError::Failed(Failure { kind: FailureKind::NotFound, .. }))), "{unknown:?}");
}

#[tokio::test]
async fn input_that_is_not_read_is_said_to_be_left() {
    let fixture = fixture(|_| {});
    let started = fixture.client.run("a", &Command { background: true, ..shell("sleep 60") }, None).await.unwrap();
    let text = "x".repeat(100_000);
    let refused =
        fixture.client.send_input(started.process_id.unwrap(), &Input { text, close: false, key: false }).await;
    let Err(AgentError::Failed(failure)) = refused else { panic!("{refused:?}") };
    assert!(failure.message.contains("read 65536 of 100000 bytes"), "{failure}");
}

#[tokio::test]
async fn what_a_command_leaves_running_becomes_a_process() {
    let fixture = fixture(|_| {});
    let result = fixture.client.run("a", &shell("(sleep 0.5; echo late; sleep 60) & echo now"), None).await.unwrap();
    assert_eq!((result.stdout.as_str(), result.exit_code), ("now\n", Some(0)));
    let id = result.process_id.unwrap();
    let ask = ProcessOutputRequest { wait: 10 * SECOND, ..ProcessOutputRequest::default() };
    let said = fixture.client.process_output(id, ask).await.unwrap();
    assert_eq!((said.output.as_str(), said.running, said.exit_code), ("late\n", true, Some(0)));
    assert!(!fixture.client.stop_process(id).await.unwrap().running);
}

#[tokio::test]
async fn shutting_down_ends_everything() {
    let fixture = fixture(|_| {});
    let background = fixture.client.run("a", &Command { background: true, ..shell("sleep 60") }, None).await.unwrap();
    let command = shell("sleep 60");
    let foreground = fixture.client.run("b", &command, None);
    let shutdown = async {
        tokio::time::sleep(SECOND / 5).await;
        fixture.agent.shutdown().await;
    };
    let (result, ()) = tokio::join!(foreground, shutdown);
    assert!(failure(result).message.contains("the workspace is stopping"));
    let said = fixture.client.processes().await.unwrap().processes;
    assert_eq!((said[0].process_id, said[0].running), (background.process_id.unwrap(), false));
    assert_eq!(failure(fixture.client.run("c", &shell("true"), None).await).kind, FailureKind::Interrupted);
}

#[tokio::test]
async fn without_a_shell_programs_run_directly() {
    let fixture = fixture(|options| options.shell = "/nowhere/sh".into());
    let result = fixture.client.run("a", &shell("echo 'a  b' c\\ d"), None).await.unwrap();
    assert_eq!(result.stdout, "a  b c d\n");
    assert!(result.note.unwrap().contains("no shell"));
    let syntax = failure(fixture.client.run("b", &shell("echo a | cat"), None).await);
    assert!(syntax.kind == FailureKind::Invalid && syntax.message.contains("no shell"), "{syntax}");
    let missing = failure(fixture.client.run("c", &shell("cd /"), None).await);
    assert!(missing.kind == FailureKind::NotFound && missing.message.contains("no program cd"), "{missing}");
}

#[tokio::test]
async fn output_that_cannot_be_kept_is_said_to_be_lost() {
    let fixture = fixture(|options| options.output = "/dev/full/x".into());
    let result = fixture.client.run("a", &shell("head -c 100000 /dev/zero; echo fine >&2"), None).await.unwrap();
    assert_eq!((result.exit_code, result.stderr.as_str(), result.stdout_file), (Some(0), "fine\n", None));
    assert!(result.truncated && result.note.unwrap().contains("stdout could not be kept completely"));
}

#[tokio::test]
async fn files_and_usage_are_served_beside() {
    let fixture = fixture(|options| options.confine = true);
    let started = fixture.client.run("a", &Command { background: true, ..shell("sleep 60") }, None).await.unwrap();
    let file = ReadFile { path: started.stdout_file.unwrap(), ..ReadFile::default() };
    assert_eq!(fixture.client.read_file(&file).await.unwrap().content, "");
    let outside = ReadFile { path: "/etc/hostname".to_owned(), ..ReadFile::default() };
    let refused = fixture.client.read_file(&outside).await;
    assert!(matches!(refused, Err(AgentError::Failed(Failure { kind: FailureKind::Denied, .. }))), "{refused:?}");
    let usage = fixture.client.usage().await.unwrap();
    assert!(usage.memory.used.is_some_and(|bytes| bytes > 0.0) && usage.memory.limit.is_none(), "{usage:?}");
    fixture.client.stop_process(started.process_id.unwrap()).await.unwrap();
    assert!(fixture.agent.0.groups.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_terminal_has_its_size_shows_what_is_typed_and_knows_keys() {
    // As in the workspace agent and in `portcullis dev`: children inherit an ignored signal, as in tests that run in
    // the background, but not a handled one.
    let _handled = signal(SignalKind::interrupt()).unwrap();
    let fixture = fixture(|_| {});
    let terminal = Some(TerminalSize { rows: 33, columns: 101 });
    let command =
        Command { background: true, terminal, ..shell("stty size; echo $TERM; test -t 2 && echo ready; cat") };
    let started = fixture.client.run("a", &command, None).await.unwrap();
    let id = started.process_id.unwrap();
    let wait_for =
        |text: &str| ProcessOutputRequest { wait: 10 * SECOND, offset: None, wait_for: Some(text.to_owned()) };
    let said = fixture.client.process_output(id, wait_for("ready")).await.unwrap();
    assert_eq!((said.output.as_str(), said.matched), ("33 101\r\nxterm-256color\r\nready\r\n", Some(true)));
    let input = |text: &str, key| Input { text: text.to_owned(), close: false, key };
    fixture.client.send_input(id, &input("typed\n", false)).await.unwrap();
    // The echo of the terminal, and the output of `cat`.
    let said = fixture.client.process_output(id, wait_for("typed\r\ntyped")).await.unwrap();
    assert_eq!(said.matched, Some(true), "{}", said.output);
    fixture.client.send_input(id, &input("\u{3}", true)).await.unwrap();
    let said = fixture.client.process_output(id, wait_for("never")).await.unwrap();
    assert_eq!((said.running, said.exit_code, said.matched), (false, Some(130), Some(false)));

    let started = fixture.client.run("b", &Command { background: true, ..shell("cat") }, None).await.unwrap();
    let refused = fixture.client.send_input(started.process_id.unwrap(), &input("\u{3}", true)).await;
    let Err(AgentError::Failed(failure)) = refused else { panic!("{refused:?}") };
    assert!(failure.message.contains("has no terminal"), "{failure}");
    for (pattern, said) in [("(", "is not a valid regular expression"), (&*"a".repeat(1001), "may have at most 1000")] {
        let refused = fixture.client.process_output(id, wait_for(pattern)).await;
        let Err(AgentError::Failed(failure)) = refused else { panic!("{refused:?}") };
        assert!(failure.kind == FailureKind::Invalid && failure.message.contains(said), "{failure}");
    }
    fixture.agent.shutdown().await;
}

#[tokio::test]
async fn a_command_that_runs_on_is_nobodys_to_wait_for_and_ends_at_last() {
    let fixture = fixture(|options| options.patience = Duration::ZERO);
    let continue_for = Some(2 * SECOND);
    let line = "echo begun; sleep 1; echo later; sleep 60";
    let command = Command { timeout: Some(SECOND / 2), continue_for, ..shell(line) };
    let begun = Instant::now();
    let result = fixture.client.run("a", &command, None).await.unwrap();
    assert!(begun.elapsed() < 2 * SECOND, "{:?}", begun.elapsed());
    assert_eq!((result.exit_code, result.stdout.as_str(), result.timed_out), (None, "begun\n", false));
    let id = result.process_id.unwrap();
    assert!(result.note.unwrap().contains(&format!("still running as process {id}, for")));
    let wait = ProcessOutputRequest { wait: 10 * SECOND, offset: None, wait_for: Some("never".to_owned()) };
    let said = fixture.client.process_output(id, wait).await.unwrap();
    assert_eq!((said.output.as_str(), said.running, said.exit_code), ("later\n", false, Some(143)));
    assert_eq!(std::fs::read_to_string(said.stdout_file.unwrap()).unwrap(), "begun\nlater\n");

    // A command that ends before its timeout is reported as usual.
    let command = Command { timeout: Some(10 * SECOND), continue_for, ..shell("exit 4") };
    let result = fixture.client.run("b", &command, None).await.unwrap();
    assert_eq!((result.exit_code, result.process_id, result.note), (Some(4), None, None));
}
