//! Child processes that cannot outlive the tests.

use std::{
    ffi::OsStr,
    fs::File,
    io,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
};

/// A child that dies with its handle, and with this process however it ends: the child's guard holds the other end of
/// a pipe, and an end of this process closes it.
pub struct Process {
    child: Child,
    log: PathBuf,
}

/// Becomes the command, and leaves a guard behind that kills it when the pipe on its standard input closes.
const GUARD: &str = r#"exec 3<&0; (read -r _ <&3; kill -KILL $$ 2>/dev/null) & exec 3<&- </dev/null; exec "$@""#;
/// Removes a folder. Processes that are just dying may still write to it: hence the repetition.
const REMOVE: &str = r#"for _ in 1 2 3 4 5; do rm -rf -- "$1" 2>/dev/null && break; sleep 0.2; done"#;

impl Process {
    /// Starts a program with its output in the file `log`.
    pub fn start(program: &Path, args: &[String], env: &[(&str, &str)], log: &Path) -> io::Result<Self> {
        let output = File::create(log)?;
        let child = Command::new("sh")
            .args(["-c", GUARD, "sh"])
            .arg(program)
            .args(args)
            .envs(env.iter().copied())
            .stdin(Stdio::piped())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        Ok(Self { child, log: log.to_owned() })
    }

    /// Asks it to end.
    pub fn terminate(&self) {
        let id = i32::try_from(self.child.id()).expect("process ids are small");
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(id), nix::sys::signal::Signal::SIGTERM);
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Kills it without a warning, as a node that fails would, and waits until it is gone.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// The memory that it has of its own, in KiB. Not what it has read of its program, which grows with what it does.
    pub fn own_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).expect("every process has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number")
    }

    /// All that it printed.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The end of what it printed.
    pub fn log_tail(&self) -> String {
        let text = self.log();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(25)..].join("\n");
        format!("--- {} ---\n{tail}", self.log.display())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Removes `folder` when the returned handle is dropped or this process ends.
pub fn remove_at_end(folder: &Path) -> io::Result<Janitor> {
    run_at_end(&["sh".as_ref(), "-c".as_ref(), REMOVE.as_ref(), "sh".as_ref(), folder.as_os_str()])
}

/// Runs a command when the returned handle is dropped or this process ends.
pub fn run_at_end(command: &[&OsStr]) -> io::Result<Janitor> {
    // It sees the end of its input when the pipe closes.
    let child =
        Command::new("sh").args(["-c", r#"read -r _; exec "$@""#, "sh"]).args(command).stdin(Stdio::piped()).spawn()?;
    Ok(Janitor(child))
}

/// See [`run_at_end`].
pub struct Janitor(Child);

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        let _ = self.0.wait();
    }
}
