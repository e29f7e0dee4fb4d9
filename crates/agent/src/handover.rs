//! The environment of commands, handed from one process of the agent to the next in memory. None has it in its own
//! environment, which every process of the same user, and with a permission to read files an agent too, could read from
//! `/proc` (proc_pid_environ(5), PR_SET_DUMPABLE(2const)).

use rustix::fs::MemfdFlags;
use std::{
    ffi::{OsStr, OsString},
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
};

/// Variables by name.
pub type Variables = Vec<(OsString, OsString)>;

/// Keeps other processes of this user from looking into this one: its memory, open files and environment. An `exec`
/// undoes it.
pub fn hide() -> io::Result<()> {
    #[cfg(target_os = "linux")]
    nix::sys::prctl::set_dumpable(false)?;
    Ok(())
}

/// These variables, in a file that has no name, to be the standard input of the next process.
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
        // Some sandboxes do not have it.
        Err(_) => tempfile::tempfile()?,
    };
    file.write_all(&bytes)?;
    file.rewind()?;
    Ok(file)
}

/// The variables that the process before has offered. Standard input is empty from now on.
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
