//! `portcullis htpasswd`: the password comes from standard input or from a terminal that does not show it.

use nix::pty::openpty;
use std::{
    fs::File,
    io::{Read as _, Write as _},
    process::{Command, Output, Stdio},
    thread,
};

fn htpasswd(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_portcullis"));
    command.arg("htpasswd").args(args).args(["--cost", "4"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn with_input(args: &[&str], input: &str) -> Output {
    let mut child = htpasswd(args).stdin(Stdio::piped()).spawn().unwrap();
    // A command that refuses its arguments reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

#[test]
fn a_line_has_the_hash_of_the_password() {
    let output = with_input(&["alice"], "open sesame\nmore\n");
    let line = String::from_utf8(output.stdout).unwrap();
    let (name, hash) = line.trim_end().split_once(':').unwrap();
    assert!(name == "alice" && hash.starts_with("$2y$04$") && bcrypt::verify("open sesame", hash).unwrap(), "{line}");
    let again = with_input(&["alice"], "open sesame\n");
    assert_ne!(String::from_utf8(again.stdout).unwrap(), line, "each hash has a salt of its own");
}

#[test]
fn what_cannot_be_a_user_is_refused_with_the_remedy() {
    for (args, input, said) in [
        (&["alice"][..], "", "the password is empty; enter one, or pass it on standard input"),
        (&["alice"], &*format!("{}\n", "x".repeat(73)), "more than 72 bytes, and bcrypt ignores the rest"),
        (&["a:b"], "x\n", "must be printable ASCII without spaces and colons"),
        (&["alice", "--secret", "users"], "x\n", "--endpoint <NAME>"),
        (&["alice", "--secret", "a\nb", "--endpoint", "agents"], "x\n", "must be the name of a Kubernetes object"),
        (&["alice", "secret"], "", "unexpected argument"),
    ] {
        let output = with_input(args, input);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && output.stdout.is_empty() && errors.contains(said), "{args:?}: {errors}");
    }
}

/// Types into a terminal once it is asked, and gives the exit status, standard output, and what the terminal showed.
fn typed(answers: [&str; 2]) -> (bool, String, String) {
    let terminal = openpty(None, None).unwrap();
    let mut child = htpasswd(&["alice"]).stdin(Stdio::from(terminal.slave)).spawn().unwrap();
    let mut errors = child.stderr.take().unwrap();
    let mut keyboard = File::from(terminal.master);
    let mut prompts = String::new();
    for (prompt, answer) in ["Password for alice: ", "Repeat the password: "].into_iter().zip(answers) {
        while !prompts.ends_with(prompt) {
            let mut byte = [0];
            errors.read_exact(&mut byte).unwrap_or_else(|_| panic!("it did not ask: {prompts}"));
            prompts.push(char::from(byte[0]));
        }
        keyboard.write_all(format!("{answer}\n").as_bytes()).unwrap();
    }
    // Reading from it ends with an error once the program has closed its side.
    let screen = thread::spawn(move || {
        let (mut shown, mut bytes) = (Vec::new(), [0; 256]);
        while let Ok(count @ 1..) = keyboard.read(&mut bytes) {
            shown.extend_from_slice(&bytes[..count]);
        }
        String::from_utf8(shown).unwrap()
    });
    let output = child.wait_with_output().unwrap();
    (output.status.success(), String::from_utf8(output.stdout).unwrap(), screen.join().unwrap())
}

#[test]
fn a_terminal_does_not_show_the_password() {
    let (success, line, shown) = typed(["open sesame", "open sesame"]);
    let hash = line.trim_end().strip_prefix("alice:").unwrap();
    assert!(success && bcrypt::verify("open sesame", hash).unwrap(), "{line}");
    assert!(!shown.contains("sesame"), "{shown}");
    let (success, line, _) = typed(["open sesame", "open sesam"]);
    assert!(!success && line.is_empty(), "{line}");
}
