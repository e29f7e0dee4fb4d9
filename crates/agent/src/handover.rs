//! Passes the environment of commands in memory from one process of the workspace agent to the next. No process of the
//! agent keeps it in its own environment, which every process of the same user could read from `/proc`, and so could an
//! AI agent that may only read files (proc_pid_environ(5), PR_SET_DUMPABLE(2const)).

use rustix::fs::MemfdFlags;
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

/// Environment variables: names and values.
pub type Variables = Vec<(OsString, OsString)>;

/// Protects the memory, open files and environment of this process from other processes of the same user. An `exec`
/// reverts it.
pub fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// Writes the variables to an anonymous file, for the standard input of the next process.
pub fn offer(variables: &[(OsString, OsString)]) -> io::Result<File> {
    let mut bytes = Vec::new();
    for (name, value) in variables {
        bytes.extend_from_slice(name.as_bytes());
        bytes.push(b'=');
        bytes.extend_from_slice(value.as_bytes());
        bytes.push(0);
    }
    let mut file = match rustix::fs::memfd_create("environment", MemfdFlags::CLOEXEC) {
        Ok(file) => File::from(file),
        // Some sandboxes do not support memfd_create.
        Err(_) => tempfile::tempfile()?,
    };
    file.write_all(&bytes)?;
    file.rewind()?;
    Ok(file)
}

/// Reads the variables that the previous process passed on standard input, and replaces standard input with
/// `/dev/null`.
pub fn take() -> io::Result<Variables> {
    let mut bytes = Vec::new();
    io::stdin().read_to_end(&mut bytes)?;
    nix::unistd::dup2_stdin(fs::File::open("/dev/null")?)?;
    Ok(read(&bytes))
}

fn read(bytes: &[u8]) -> Variables {
    let owned = |part: &[u8]| OsStr::from_bytes(part).to_owned();
    let variable = |bytes: &[u8]| {
        let end = bytes.iter().position(|byte| *byte == b'=')?;
        Some((owned(bytes.get(..end)?), OsString::from_vec(bytes.get(end + 1..)?.to_vec())))
    };
    bytes.split(|byte| *byte == 0).filter_map(variable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_variable_arrives_as_it_was() {
        let given: Variables =
            [(&b"A"[..], &b"1"[..]), (b"EMPTY", b""), (b"EQUALS", b"a=b=\n"), (b"BYTES", b"\xff\xfe")]
                .map(|(name, value)| (OsStr::from_bytes(name).to_owned(), OsStr::from_bytes(value).to_owned()))
                .into();
        let mut bytes = Vec::new();
        offer(&given).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(read(&bytes), given);
        assert_eq!(read(b""), []);
    }
}
