//! The limits of the journal, its file, and what the workspace agent records.

use super::{Journal, MOST_BYTES, MOST_ENTRIES, MOST_FILE, on_command, on_path};
use crate::{
    Client, InProcess,
    protocol::{
        Actor, Command, EditFile, FailureKind, Input, JournalEntry, JournalPage, JournalRequest, MovePath,
        OperationKind, Outcome, ReadFile, RemovePath, WriteFile,
    },
    service::{Agent, Options},
};
use portcullis_core::clock::{Clock, SystemClock};
use std::{
    fs,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    sync::Arc,
    time::Duration,
};
use tempfile::TempDir;

const SECRET: &str = "hunter2";

fn clock() -> Arc<dyn Clock> {
    Arc::new(SystemClock)
}

fn actor(client_id: &str) -> Actor {
    Actor { client_id: client_id.to_owned(), user: "local:ann".to_owned(), grant: Some("g-1".to_owned()) }
}

/// Adds the entry of a written file.
fn wrote(journal: &Journal, client_id: &str, path: &str) {
    journal.begin(Some(actor(client_id)), on_path(OperationKind::WriteFile, path)).end(&Ok(()));
}

fn paths(page: &JournalPage) -> Vec<&str> {
    page.entries.iter().map(|entry| entry.operation.path.as_deref().unwrap()).collect()
}

/// The paths in the largest page.
fn all(journal: &Journal) -> Vec<String> {
    let page = journal.page(&JournalRequest { limit: Some(200), ..JournalRequest::default() });
    paths(&page).into_iter().map(str::to_owned).collect()
}

#[test]
fn pages_have_the_newest_first_and_lead_to_the_oldest() {
    let journal = Journal::in_memory(clock());
    for number in 0..10 {
        wrote(&journal, if number % 2 == 0 { "even" } else { "odd" }, &number.to_string());
    }
    let page = journal.page(&JournalRequest { limit: Some(4), ..JournalRequest::default() });
    assert_eq!((paths(&page), page.next_before), (vec!["9", "8", "7", "6"], Some(7)));
    assert_eq!(page.clients, ["even", "odd"]);
    // An entry that is added meanwhile is not on the next page.
    wrote(&journal, "even", "10");
    let page = journal.page(&JournalRequest { limit: Some(7), before: page.next_before, client_id: None });
    assert_eq!((paths(&page), page.next_before), (vec!["5", "4", "3", "2", "1", "0"], None));

    let odd = JournalRequest { limit: Some(3), before: None, client_id: Some("odd".to_owned()) };
    let page = journal.page(&odd);
    assert_eq!((paths(&page), page.next_before), (vec!["9", "7", "5"], Some(6)));
    let page = journal.page(&JournalRequest { before: page.next_before, ..odd });
    assert_eq!((paths(&page), page.next_before), (vec!["3", "1"], None));
    assert_eq!(page.clients, ["even", "odd"], "also those that the page has no entry of");

    let none = JournalRequest { client_id: Some("other".to_owned()), ..JournalRequest::default() };
    assert!(journal.page(&none).entries.is_empty());
    let least = JournalRequest { limit: Some(0), ..JournalRequest::default() };
    assert_eq!(journal.page(&least).entries.len(), 1);
}

#[test]
fn the_oldest_entries_are_removed_by_number_and_by_size() {
    let journal = Journal::in_memory(clock());
    for number in 0..MOST_ENTRIES + 3 {
        wrote(&journal, "claude", &number.to_string());
    }
    assert_eq!(journal.0.lock().lines.len(), MOST_ENTRIES);
    let newest = journal.page(&JournalRequest { limit: Some(1), ..JournalRequest::default() });
    assert_eq!((paths(&newest), newest.entries[0].id), (vec!["502"], 503));
    let oldest = journal.page(&JournalRequest { before: Some(5), ..JournalRequest::default() });
    assert_eq!((paths(&oldest), oldest.entries[0].id), (vec!["3"], 4), "ids do not change");

    let large = "\u{1}".repeat(1000);
    for _ in 0..MOST_ENTRIES {
        wrote(&journal, &large, &large);
    }
    let state = journal.0.lock();
    let bytes: usize = state.lines.iter().map(|line| line.len()).sum();
    assert!(bytes == state.bytes && bytes <= MOST_BYTES && bytes > MOST_BYTES * 9 / 10, "{bytes} {}", state.bytes);
    assert!(state.lines.iter().all(|line| line.len() < super::MOST_LINE));
}

#[test]
fn long_texts_are_cut() {
    let text = |length: usize| on_command(OperationKind::RunCommand, &"ä".repeat(length)).command.unwrap();
    assert_eq!(text(200), "ä".repeat(200));
    assert_eq!(text(201), "ä".repeat(199) + "…");
}

#[tokio::test]
async fn entries_survive_a_restart_and_the_file_stays_small() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let journal = Journal::open(file.clone(), clock());
    assert_eq!(all(&journal), [""; 0]);
    wrote(&journal, "claude", "first");
    wrote(&journal, "claude", "second");
    journal.saved().await;
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let before = journal.page(&JournalRequest::default());
    let journal = Journal::open(file.clone(), clock());
    assert_eq!(journal.page(&JournalRequest::default()), before);

    let long = "x".repeat(200);
    for number in 0..3000 {
        wrote(&journal, &long, &format!("{number:0>200}"));
    }
    journal.saved().await;
    let size = fs::metadata(&file).unwrap().len();
    assert!(size <= MOST_FILE, "{size}");
    let again = Journal::open(file, clock());
    let newest = JournalRequest { limit: Some(200), ..JournalRequest::default() };
    assert_eq!(paths(&again.page(&newest)), paths(&journal.page(&newest)));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing else is left");
}

#[tokio::test]
async fn a_file_that_was_changed_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("journal");
    let journal = Journal::open(file.clone(), clock());
    wrote(&journal, "claude", "first");
    journal.saved().await;
    // An incomplete line, as after a crash.
    let mut text = fs::read_to_string(&file).unwrap();
    let line = text.clone();
    text += &line[..line.len() / 2];
    fs::write(&file, text).unwrap();
    let journal = Journal::open(file.clone(), clock());
    wrote(&journal, "claude", "second");
    journal.saved().await;
    assert_eq!(all(&Journal::open(file.clone(), clock())), ["second", "first"]);

    // Whatever a process of the workspace writes there.
    let long = line.replace("first", &"x".repeat(super::MOST_LINE));
    let many = line.replace("first", "forged").repeat(5000);
    for (content, expected) in [
        (b"\xff\x00\n{}\n[]\n".to_vec(), 0),
        (long.into_bytes(), 0),
        (vec![b'x'; 3 * 1024 * 1024], 0),
        (many.into_bytes(), 200),
    ] {
        fs::write(&file, content).unwrap();
        let journal = Journal::open(file.clone(), clock());
        assert_eq!(all(&journal).len(), expected);
        assert!(journal.0.lock().bytes <= MOST_BYTES);
    }

    // A link, a folder or a pipe is not followed, read or waited for; the journal goes on in memory.
    let target = folder.path().join("target");
    for replaced in ["link", "folder", "pipe"] {
        fs::remove_file(&file).or_else(|_| fs::remove_dir(&file)).unwrap();
        match replaced {
            "link" => symlink(&target, &file).unwrap(),
            "folder" => fs::create_dir(&file).unwrap(),
            _ => nix::unistd::mkfifo(&file, nix::sys::stat::Mode::S_IRUSR | nix::sys::stat::Mode::S_IWUSR).unwrap(),
        }
        let journal = Journal::open(file.clone(), clock());
        wrote(&journal, "claude", replaced);
        journal.saved().await;
        assert_eq!((all(&journal), target.exists()), (vec![replaced.to_owned()], false));
    }
}

#[tokio::test]
async fn entries_that_could_not_be_saved_are_saved_later() {
    let folder = tempfile::tempdir().unwrap();
    let parent = folder.path().join("later");
    let file = parent.join("journal");
    let journal = Journal::open(file.clone(), clock());
    wrote(&journal, "claude", "first");
    journal.saved().await;
    fs::create_dir(&parent).unwrap();
    wrote(&journal, "claude", "second");
    journal.saved().await;
    assert_eq!(all(&Journal::open(file, clock())), ["second", "first"]);
}

/// An agent in a folder, and a client of it that names its actor.
struct Fixture {
    agent: Agent,
    client: Client,
    folder: TempDir,
}

impl Fixture {
    fn new() -> Self {
        Self::within(tempfile::tempdir().unwrap())
    }

    fn within(folder: TempDir) -> Self {
        let env = vec![("PATH".into(), "/usr/local/bin:/usr/bin:/bin".into())];
        let home = folder.path().join("home");
        fs::create_dir_all(&home).unwrap();
        let mut options = Options::new(home, folder.path().join("output"), env, clock());
        options.journal = Journal::open(folder.path().join("journal"), clock());
        let agent = Agent::new(options);
        let client = Client::new(Arc::new(InProcess::new(agent.router()))).acting_as(&actor("claude"));
        Self { agent, client, folder }
    }

    /// All entries, the oldest first.
    async fn entries(&self) -> Vec<JournalEntry> {
        let mut entries = self.client.journal(&JournalRequest::default()).await.unwrap().entries;
        entries.reverse();
        entries
    }
}

fn shell(line: &str) -> Command {
    Command { command: line.to_owned(), timeout: Some(Duration::from_secs(10)), ..Command::default() }
}

type Short<'a> = (OperationKind, Option<&'a str>, Outcome, Option<i32>, Option<FailureKind>);

fn short(entry: &JournalEntry) -> Short<'_> {
    let operation = &entry.operation;
    let text = operation.path.as_deref().or(operation.command.as_deref());
    (operation.kind, text, entry.outcome, entry.exit_code, entry.failure)
}

#[tokio::test]
async fn commands_and_changes_are_recorded_with_their_outcomes() {
    let fixture = Fixture::new();
    let client = &fixture.client;
    let command = Command {
        env: [("TOKEN".to_owned(), SECRET.to_owned())].into(),
        stdin: Some(SECRET.to_owned()),
        ..shell("cat; exit 3")
    };
    client.run("a", &command, None).await.unwrap();
    let slow = Command { timeout: Some(Duration::from_millis(100)), ..shell("sleep 60") };
    client.run("b", &slow, None).await.unwrap();
    client.run("c", &Command { cwd: Some("nowhere".to_owned()), ..shell("true") }, None).await.unwrap_err();
    let process = Command { background: true, ..shell("cat") };
    let id = client.run("d", &process, None).await.unwrap().process_id.unwrap();
    client.send_input(id, &Input { text: SECRET.to_owned(), ..Input::default() }).await.unwrap();
    client.stop_process(id).await.unwrap();
    client.stop_process(999_999).await.unwrap_err();

    let (path, content) = ("a.txt".to_owned(), SECRET.to_owned());
    client
        .write_file(&WriteFile { path: path.clone(), content: content.clone(), ..WriteFile::default() })
        .await
        .unwrap();
    client.append_file(&WriteFile { path: path.clone(), content, ..WriteFile::default() }).await.unwrap();
    let edit = |old: &str| EditFile {
        path: path.clone(),
        old_text: old.to_owned(),
        new_text: format!("{SECRET}!"),
        replace_all: true,
    };
    client.edit_file(&edit(SECRET)).await.unwrap();
    client.edit_file(&edit("missing")).await.unwrap_err();
    client.read_file(&ReadFile { path: path.clone(), ..ReadFile::default() }).await.unwrap();
    client.move_path(&MovePath { from: path.clone(), to: "b.txt".to_owned(), overwrite: false }).await.unwrap();
    client.remove_path(&RemovePath { path: "b.txt".to_owned(), recursive: false }).await.unwrap();

    let entries = fixture.entries().await;
    let done = |kind, text| (kind, Some(text), Outcome::Done, None, None);
    let mut recorded: Vec<Short<'_>> = entries.iter().map(short).collect();
    // The end of the process is recorded beside the answer.
    let ended = (OperationKind::ProcessEnded, Some("cat"), Outcome::Done, Some(143), None);
    let position = recorded.iter().position(|entry| *entry == ended).expect("it ended");
    recorded.remove(position);
    assert_eq!(
        recorded,
        [
            (OperationKind::RunCommand, Some("cat; exit 3"), Outcome::Done, Some(3), None),
            (OperationKind::RunCommand, Some("sleep 60"), Outcome::TimedOut, Some(143), None),
            (OperationKind::RunCommand, Some("true"), Outcome::Failed, None, Some(FailureKind::NotFound)),
            (OperationKind::StartProcess, Some("cat"), Outcome::Running, None, None),
            done(OperationKind::SendInput, "cat"),
            done(OperationKind::StopProcess, "cat"),
            (OperationKind::StopProcess, None, Outcome::Failed, None, Some(FailureKind::NotFound)),
            done(OperationKind::WriteFile, "a.txt"),
            done(OperationKind::AppendFile, "a.txt"),
            done(OperationKind::EditFile, "a.txt"),
            (OperationKind::EditFile, Some("a.txt"), Outcome::Failed, None, Some(FailureKind::Conflict)),
            done(OperationKind::MovePath, "a.txt"),
            done(OperationKind::RemovePath, "b.txt"),
        ]
    );
    assert_eq!(entries[3].operation.process_id, Some(id));
    assert!(entries.iter().any(|entry| entry.operation.to.as_deref() == Some("b.txt")));
    assert!(entries.iter().all(|entry| entry.actor == Some(actor("claude"))));
    assert!(entries[1].duration_ms >= 100 && entries[0].at <= entries[1].at, "{entries:?}");

    fixture.agent.shutdown().await;
    let file = fs::read_to_string(fixture.folder.path().join("journal")).unwrap();
    assert!(file.contains("cat; exit 3") && !file.contains(SECRET), "{file}");
    // Another agent in the same folder, as after a restart of the container.
    let again = Fixture::within(fixture.folder);
    assert_eq!(again.entries().await, entries);
}

#[tokio::test]
async fn a_cancelled_command_and_one_that_runs_on_are_recorded_at_their_end() {
    let fixture = Fixture::new();
    let path = |name: &str| fixture.folder.path().join("home").join(name);
    let begun = async |path: &Path| {
        while !path.exists() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (command, ran) = (shell("touch a; sleep 60"), path("a"));
    tokio::select! {
        result = fixture.client.run("a", &command, None) => panic!("{result:?}"),
        () = begun(&ran) => {}
    }
    let command = Command {
        timeout: Some(Duration::from_millis(100)),
        continue_for: Some(Duration::from_mins(1)),
        ..shell("until test -e go; do sleep 0.01; done; exit 4")
    };
    let id = fixture.client.run("b", &command, None).await.unwrap().process_id;
    fs::write(path("go"), "").unwrap();
    let entries = loop {
        let entries = fixture.entries().await;
        if entries.len() == 3 {
            break entries;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    };
    let find = |kind, outcome| entries.iter().find(|entry| (entry.operation.kind, entry.outcome) == (kind, outcome));
    assert!(find(OperationKind::RunCommand, Outcome::Interrupted).is_some(), "{entries:?}");
    let running = find(OperationKind::RunCommand, Outcome::Running).unwrap();
    let ended = find(OperationKind::ProcessEnded, Outcome::Done).unwrap();
    assert_eq!((running.operation.process_id, ended.operation.process_id, ended.exit_code), (id, id, Some(4)));
    assert!(ended.duration_ms >= running.duration_ms && ended.actor == Some(actor("claude")));
}

#[tokio::test]
async fn servers_of_earlier_versions_name_no_actor() {
    let fixture = Fixture::new();
    let earlier = Client::new(Arc::new(InProcess::new(fixture.agent.router())));
    earlier.run("a", &shell("true"), None).await.unwrap();
    let entries = fixture.entries().await;
    assert_eq!((entries.len(), entries[0].outcome, &entries[0].actor), (1, Outcome::Done, &None));
    let unknown =
        earlier.journal(&JournalRequest { client_id: Some(String::new()), ..JournalRequest::default() }).await;
    assert!(matches!(unknown, Ok(JournalPage { entries, .. }) if entries.is_empty()));
}
