//! Reads a new password: from a terminal twice, without showing it, or else from standard input.

use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};
use std::io::{self, BufRead, IsTerminal as _, Read as _, Stdin, Write as _};

/// bcrypt uses no more.
const MAX_BYTES: usize = 72;

/// Why there is no password.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// The terminal or standard input cannot be read.
    #[error("the password cannot be read")]
    Read(#[from] io::Error),
    /// The terminal shows what is typed, and cannot be told not to.
    #[error("the terminal cannot hide the password; pass it on standard input instead")]
    Terminal(#[source] nix::Error),
    /// Nothing was entered.
    #[error("the password is empty; enter one, or pass it on standard input")]
    Empty,
    /// bcrypt would ignore the rest.
    #[error("the password has more than {MAX_BYTES} bytes, and bcrypt ignores the rest; choose a shorter one")]
    TooLong,
    /// The second entry differs from the first one.
    #[error("the two passwords differ; try again")]
    Different,
}

/// The password for `user`.
pub(super) fn read(user: &str) -> Result<String, PasswordError> {
    let stdin = io::stdin();
    if !stdin.is_terminal() {
        return line(&mut stdin.lock());
    }
    let _hidden = HiddenInput::of(&stdin).map_err(PasswordError::Terminal)?;
    let enter = |prompt: String| {
        let mut stderr = io::stderr();
        stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush())?;
        line(&mut stdin.lock())
    };
    let password = enter(format!("Password for {user}: "))?;
    if enter("Repeat the password: ".to_owned())? == password { Ok(password) } else { Err(PasswordError::Different) }
}

/// The first line, without its end.
fn line(input: &mut impl BufRead) -> Result<String, PasswordError> {
    let mut bytes = Vec::new();
    // One byte more than allowed, and the line's end.
    input.take(MAX_BYTES as u64 + 3).read_until(b'\n', &mut bytes)?;
    while matches!(bytes.last(), Some(b'\r' | b'\n')) {
        bytes.pop();
    }
    match bytes.len() {
        0 => Err(PasswordError::Empty),
        1..=MAX_BYTES => {
            String::from_utf8(bytes).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error).into())
        }
        _ => Err(PasswordError::TooLong),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct HiddenInput<'a> {
    terminal: &'a Stdin,
    before: Termios,
}

impl<'a> HiddenInput<'a> {
    fn of(terminal: &'a Stdin) -> Result<Self, nix::Error> {
        let before = tcgetattr(terminal)?;
        let mut hidden = before.clone();
        hidden.local_flags.remove(LocalFlags::ECHO);
        // The end of the line is shown, so that the next prompt has a line of its own.
        hidden.local_flags.insert(LocalFlags::ECHONL);
        tcsetattr(terminal, SetArg::TCSAFLUSH, &hidden)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for HiddenInput<'_> {
    fn drop(&mut self) {
        // A terminal that was closed needs no repair.
        let _ = tcsetattr(self.terminal, SetArg::TCSAFLUSH, &self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_the_first_line() {
        let read = |text: &str| line(&mut text.as_bytes());
        for (text, expected) in [("open sesame\n", "open sesame"), ("a\r\nb\n", "a"), (" a ", " a ")] {
            assert_eq!(read(text).unwrap(), expected);
        }
        let longest = "x".repeat(MAX_BYTES);
        assert_eq!(read(&format!("{longest}\r\n")).unwrap(), longest);
        assert!(matches!(read(&format!("{longest}x\n")), Err(PasswordError::TooLong)));
        assert!(matches!(read(&"x".repeat(10_000)), Err(PasswordError::TooLong)));
        assert!(matches!(read("\n"), Err(PasswordError::Empty)));
        assert!(matches!(read(""), Err(PasswordError::Empty)));
    }
}
