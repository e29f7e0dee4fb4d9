//! Keeps the file tools out of the kernel's file systems, devices and the workspace agent's own folders, whatever path
//! leads there. The check uses the device, inode and file system of the opened file or folder (fstat(2), fstatfs(2)),
//! so that links, bind mounts and `..` cannot bypass it.
//!
//! The permission to read files does not include the permission to run commands. The kernel's files reveal information
//! about processes that only their user should have, such as their environment; a server reaches the workspace through
//! the agent's files.

use crate::files::{fail, folder::Id};
use crate::protocol::{Failure, FailureKind};
use rustix::fs::fstatfs;
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// The standard mount points of the kernel's file systems.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
const DEVICES: &str = "/dev";

/// The magic numbers of the kernel's file systems, wherever they are mounted (`linux/magic.h`).
const KERNEL_FILE_SYSTEMS: [u64; 20] = [
    0x9fa0,      // proc
    0x6265_6572, // sysfs
    0x0027_e0eb, // cgroup
    0x6367_7270, // cgroup2
    0x1cd1,      // devpts
    0x6462_6720, // debugfs
    0x7472_6163, // tracefs
    0x7363_6673, // securityfs
    0xf97c_ff8c, // selinuxfs
    0x4341_5d53, // smackfs
    0x5a3c_69f0, // apparmorfs
    0xcafe_4a11, // bpf
    0x6265_6570, // configfs
    0x6165_676c, // pstore
    0xde5e_81e4, // efivarfs
    0x1980_0202, // mqueue
    0x6e73_6673, // nsfs
    0x4249_4e4d, // binfmt_misc
    0x6573_5543, // fusectl
    0x0765_5821, // resctrl
];

/// The restrictions on the paths of the file tools.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whether paths outside of the home folder are refused.
    pub confine: bool,
    /// The folder for temporary files, which confined paths may also lead to.
    pub temporary: Option<PathBuf>,
    /// The workspace agent's own folders, such as that of its socket.
    pub own: Vec<PathBuf>,
    /// The folder with the output of commands, which is readable but not writable, wherever it is.
    pub output: Option<PathBuf>,
}

/// The owner of a folder and its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// The workspace.
    Open,
    /// The workspace agent, but readable: the output of commands.
    Output,
    /// The workspace agent.
    Own,
    /// The kernel.
    Kernel,
}

/// The zones at the time of one request.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    home: Option<Id>,
    output: Option<Id>,
    output_path: Option<PathBuf>,
    own: Vec<Id>,
    kernel: Vec<Id>,
    /// The device of `/dev`, if it is a separate file system.
    devices: Option<u64>,
}

impl Guard {
    /// Finds the roots of the zones.
    pub(super) fn new(home: &Path, reach: &Reach) -> Self {
        let id = |path: &Path| rustix::fs::stat(path).ok().map(|stat| Id::of(&stat));
        let root = id(Path::new("/"));
        let devices = id(Path::new(DEVICES)).map(|id| id.device);
        Self {
            home: id(home),
            // A link of that name was not created by the workspace agent.
            output: reach.output.as_deref().and_then(|path| Some(Id::of(&rustix::fs::lstat(path).ok()?))),
            output_path: reach.output.clone(),
            own: reach.own.iter().filter_map(|path| id(path)).collect(),
            kernel: KERNEL.iter().filter_map(|path| id(Path::new(path))).collect(),
            devices: devices.filter(|device| root.is_none_or(|root| root.device != *device)),
        }
    }

    /// The zone of an open file or folder, derived from that of its parent folder.
    pub(super) fn zone(&self, open: impl AsFd, id: Id, folder: Id, zone: Zone) -> io::Result<Zone> {
        if self.kernel.contains(&id) || self.devices == Some(id.device) {
            return Ok(Zone::Kernel);
        }
        // A different device means a different file system.
        if id.device != folder.device {
            let kind = u64::try_from(fstatfs(open)?.f_type).unwrap_or_default();
            if KERNEL_FILE_SYSTEMS.contains(&kind) {
                return Ok(Zone::Kernel);
            }
        }
        // Checked last: these names may have been changed to lead to the kernel's files.
        Ok(match () {
            () if self.home == Some(id) => Zone::Open,
            () if self.output == Some(id) => Zone::Output,
            () if self.own.contains(&id) => Zone::Own,
            () => zone,
        })
    }

    /// Fails if files in this zone must not be read.
    pub(super) fn check_read(&self, zone: Zone, path: &Path) -> Result<(), Failure> {
        match zone {
            Zone::Open | Zone::Output => Ok(()),
            Zone::Own | Zone::Kernel => Err(self.refusal(zone, path)),
        }
    }

    /// Fails if files in this zone must not be changed.
    pub(super) fn check_change(&self, zone: Zone, path: &Path) -> Result<(), Failure> {
        match zone {
            Zone::Open => Ok(()),
            Zone::Output | Zone::Own | Zone::Kernel => Err(self.refusal(zone, path)),
        }
    }

    fn refusal(&self, zone: Zone, path: &Path) -> Failure {
        let path = path.display();
        let why = match (zone, &self.output_path) {
            (Zone::Kernel, _) => "is in /proc, /sys, /dev or another file system of the kernel's".to_owned(),
            (_, Some(output)) => format!(
                "belongs to the workspace's agent, of which only the output of commands in {} can be read",
                output.display()
            ),
            (_, None) => "belongs to the workspace's agent".to_owned(),
        };
        FailureKind::Denied.because(format!("{path} {why}: the file tools cannot access it; use run_command instead"))
    }
}

/// Fails if a path is longer than the system accepts.
pub(super) fn check_length(path: &str) -> Result<(), Failure> {
    /// `PATH_MAX` of Linux.
    const LONGEST: usize = 4096;
    if path.len() < LONGEST {
        return Ok(());
    }
    Err(fail::invalid(format!("the path has {} bytes; it may have at most {}", path.len(), LONGEST - 1)))
}
