//! Converts a request to a job: the working directory, the environment, and the shell command line; or, in an image
//! without a shell, the words of the line (POSIX.1-2024, Shell Command Language §2.2–2.3).

use crate::service::Options;
use crate::{
    Job, OutputFiles, Sinks,
    protocol::{Command, Failure, FailureKind},
};
use std::{
    ffi::{OsStr, OsString},
    io,
    path::PathBuf,
};

/// A job, and a note for its result.
pub(super) struct Prepared {
    pub job: Job,
    pub note: Option<String>,
}

/// Validates a request and converts it to a job.
pub(super) async fn prepare(
    options: &Options,
    id: &str,
    command: &Command,
    files: OutputFiles,
) -> Result<Prepared, Failure> {
    check(command)?;
    let cwd = folder(options, command.cwd.as_deref()).await?;
    let (program, args, note) = if tokio::fs::try_exists(&options.shell).await.unwrap_or(false) {
        (options.shell.clone().into(), vec!["-c".into(), OsString::from(&command.command)], None)
    } else {
        let mut words = words(&command.command)?.into_iter().map(OsString::from);
        let program = words.next().ok_or_else(|| invalid("the command has no program"))?;
        let note = "this image has no shell: the program was run directly, without pipes, variables and other syntax";
        (program, words.collect(), Some(note.to_owned()))
    };
    let job = Job {
        id: id.to_owned(),
        program,
        args,
        cwd,
        env: environment(options, command),
        stdin: command.stdin.clone().map(String::into_bytes),
        keep_stdin: command.background || command.terminal.is_some(),
        terminal: command.terminal,
        timeout: command.timeout,
        continue_for: command.continue_for,
        files,
        sinks: Sinks::default(),
    };
    Ok(Prepared { job, note })
}

/// Explains why a job did not start, and what to do about it.
pub(super) async fn not_started(error: &io::Error, program: &OsStr, options: &Options) -> Failure {
    let has_shell = tokio::fs::try_exists(&options.shell).await.unwrap_or(false);
    let program = program.display();
    let (kind, message) = match error.kind() {
        io::ErrorKind::NotFound if has_shell => {
            (FailureKind::NotFound, format!("{program} was not found, or the working directory was deleted"))
        }
        io::ErrorKind::NotFound => (
            FailureKind::NotFound,
            format!("there is no program {program} in this image, which has no shell either; pass the path of a program"),
        ),
        io::ErrorKind::PermissionDenied => (
            FailureKind::Denied,
            format!("the workspace's user lacks the permission to run {program}, or to enter the working directory"),
        ),
        io::ErrorKind::ArgumentListTooLong => (
            FailureKind::TooLarge,
            "the command line and the environment are too long for the system (128 KiB each); pass long text by stdin, or write a file first".to_owned(),
        ),
        // EAGAIN, ENOMEM, ENFILE, EMFILE
        _ if matches!(error.raw_os_error(), Some(11 | 12 | 23 | 24)) || error.kind() == io::ErrorKind::WouldBlock => (
            FailureKind::Exhausted,
            "the workspace cannot start another process: its limit of processes, memory or open files is reached; end some with stop_process, or restart the workspace".to_owned(),
        ),
        _ => (FailureKind::Internal, format!("{program} could not be started: {error}")),
    };
    kind.because(message)
}

fn invalid(message: impl Into<String>) -> Failure {
    FailureKind::Invalid.because(message)
}

fn check(command: &Command) -> Result<(), Failure> {
    let nul = |text: &String| text.contains('\0');
    if command.command.trim().is_empty() {
        return Err(invalid("command is empty; give a shell command line"));
    }
    if nul(&command.command) || command.cwd.as_ref().is_some_and(nul) {
        return Err(invalid("command and cwd must not contain NUL characters"));
    }
    if command.terminal.is_some_and(|size| size.rows == 0 || size.columns == 0) {
        return Err(invalid("a terminal has at least one row and one column"));
    }
    if command.env.iter().any(|(name, value)| name.is_empty() || name.contains('=') || nul(name) || nul(value)) {
        return Err(invalid(
            "env: names must not be empty or contain =, and neither names nor values may contain NUL characters",
        ));
    }
    Ok(())
}

/// The working directory.
async fn folder(options: &Options, cwd: Option<&str>) -> Result<PathBuf, Failure> {
    let home = &options.home;
    let folder = match cwd {
        None | Some("~") => home.clone(),
        Some(cwd) => home.join(cwd.strip_prefix("~/").unwrap_or(cwd)),
    };
    match tokio::fs::metadata(&folder).await {
        Ok(found) if found.is_dir() => Ok(folder),
        _ => Err(FailureKind::NotFound.because(format!(
            "the working directory {:?} does not exist; relative paths start at the workspace's home {}",
            cwd.unwrap_or("~"),
            home.display()
        ))),
    }
}

fn environment(options: &Options, command: &Command) -> Vec<(OsString, OsString)> {
    let brought = command.env.iter().map(|(name, value)| (name.into(), value.into()));
    // Programs use only the capabilities that the name of the terminal implies.
    let terminal = command.terminal.map(|_| ("TERM".into(), "xterm-256color".into()));
    options.env.iter().cloned().chain(terminal).chain(brought).collect()
}

/// Splits a line into words. Fails if the line needs a shell.
fn words(line: &str) -> Result<Vec<String>, Failure> {
    if let Some(syntax) = shell_syntax(line) {
        return Err(invalid(format!(
            "this image has no shell, so {syntax:?} has no effect: pass one program and its arguments, with quotes around special characters"
        )));
    }
    shlex::split(line).ok_or_else(|| invalid("the quotes in command do not match, and this image has no shell"))
}

/// The first unquoted character with a special meaning in a shell.
fn shell_syntax(line: &str) -> Option<char> {
    let (mut single, mut double, mut escaped, mut word_begins) = (false, false, false, true);
    for character in line.trim().chars() {
        let begins = std::mem::replace(&mut word_begins, false);
        match character {
            _ if escaped => escaped = false,
            '\'' if !double => single = !single,
            _ if single => {}
            '\\' => escaped = true,
            '"' => double = !double,
            '$' | '`' => return Some(character),
            _ if double => {}
            '|' | '&' | ';' | '<' | '>' | '(' | ')' | '*' | '?' | '[' | '\n' => return Some(character),
            '~' | '#' if begins => return Some(character),
            _ => word_begins = character.is_whitespace(),
        }
    }
    None
}

/// The name of the first program of a line, for the workspace's log: without arguments and values of variables, which
/// may be secrets.
pub(super) fn program_name(line: &str) -> Option<&str> {
    let word = line.split_whitespace().find(|word| !word.contains('='))?;
    let name = word.rsplit('/').next()?.trim_end_matches(';');
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (!name.is_empty() && name.len() <= 40 && name.bytes().all(plain)).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_names_programs_and_nothing_else() {
        for (line, name) in [
            ("pip install secret", Some("pip")),
            ("/usr/bin/git clone x", Some("git")),
            ("TOKEN=hunter2 A=b ./deploy.sh --now", Some("deploy.sh")),
            ("sleep 5; echo $X", Some("sleep")),
            ("cd", Some("cd")),
            ("TOKEN=hunter2", None),
            ("TOKEN='a b' ls", None),
            ("\"$(cat key)\"", None),
            ("for i in 1", Some("for")),
            ("", None),
        ] {
            assert_eq!(program_name(line), name, "{line}");
        }
    }

    #[test]
    fn what_only_a_shell_can_do_is_said() {
        for (line, syntax) in [
            ("/app --flag=a~b x#y 'a | b' \"c;d\" e\\&f {} =", None),
            ("a | b", Some('|')),
            ("echo $HOME", Some('$')),
            ("echo \"$HOME\"", Some('$')),
            ("echo '$HOME'", None),
            ("echo \"a'$b'\"", Some('$')),
            ("echo \\$HOME", None),
            ("ls *.rs", Some('*')),
            ("ls ~/x", Some('~')),
            ("ls # all", Some('#')),
            ("a\nb", Some('\n')),
            ("a b\n", None),
        ] {
            assert_eq!(shell_syntax(line), syntax, "{line}");
        }
        assert_eq!(words("a 'b c' d\\ e").unwrap(), ["a", "b c", "d e"]);
        assert_eq!(words("a 'b").unwrap_err().kind, FailureKind::Invalid);
    }
}
