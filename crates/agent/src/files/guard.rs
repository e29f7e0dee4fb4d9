//! Where the file tools do not go, whatever path leads there: the kernel's file systems, devices, and the folders of
//! the agent itself. What counts is the file or folder that was opened, by its device, inode and file system
//! (fstat(2), fstatfs(2)), so that links, bind mounts and `..` are no way around.
//!
//! Reading files is another permission than running commands. The kernel's files tell of processes what only their
//! user should know, such as the environment; the agent's are how a server reaches the workspace.

use crate::files::{fail, folder::Id};
use crate::protocol::{Failure, FailureKind};
use rustix::fs::fstatfs;
use std::{
    io,
    os::fd::AsFd,
    path::{Path, PathBuf},
};

/// Where kernels have their own file systems.
const KERNEL: [&str; 3] = ["/proc", "/sys", "/dev"];
const DEVICES: &str = "/dev";

/// The file systems of the kernel's own, wherever they are mounted (`linux/magic.h`).
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

/// What the agent keeps from the file tools.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Whether paths outside of the home folder are refused.
    pub confine: bool,
    /// Where paths may lead too where they are confined: the folder for temporary files.
    pub temporary: Option<PathBuf>,
    /// The agent's own folders, such as that of its socket.
    pub own: Vec<PathBuf>,
    /// The folder with the output of commands, which can be read but not changed, wherever it is.
    pub output: Option<PathBuf>,
}

/// To whom a folder and what is in it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Zone {
    /// The workspace.
    Open,
    /// The agent, but it may be looked at.
    Output,
    /// The agent.
    Own,
    /// The kernel.
    Kernel,
}

/// The zones as they are at the time of one request.
#[derive(Clone, Debug)]
pub(super) struct Guard {
    home: Option<Id>,
    output: Option<Id>,
    output_path: Option<PathBuf>,
    own: Vec<Id>,
    kernel: Vec<Id>,
    /// The file system of devices, if it is one of its own.
    devices: Option<u64>,
}

impl Guard {
    /// Looks at where the zones begin.
    pub(super) fn new(home: &Path, reach: &Reach) -> Self {
        let id = |path: &Path| rustix::fs::stat(path).ok().map(|stat| Id::of(&stat));
        let root = id(Path::new("/"));
        let devices = id(Path::new(DEVICES)).map(|id| id.device);
        Self {
            home: id(home),
            // A link of that name was not made by the agent.
            output: reach.output.as_deref().and_then(|path| Some(Id::of(&rustix::fs::lstat(path).ok()?))),
            output_path: reach.output.clone(),
            own: reach.own.iter().filter_map(|path| id(path)).collect(),
            kernel: KERNEL.iter().filter_map(|path| id(Path::new(path))).collect(),
            devices: devices.filter(|device| root.is_none_or(|root| root.device != *device)),
        }
    }

    /// The zone of something that is open, by that of the folder it is in.
    pub(super) fn zone(&self, open: impl AsFd, id: Id, folder: Id, zone: Zone) -> io::Result<Zone> {
        if self.kernel.contains(&id) || self.devices == Some(id.device) {
            return Ok(Zone::Kernel);
        }
        // Another device is another file system.
        if id.device != folder.device {
            let kind = u64::try_from(fstatfs(open)?.f_type).unwrap_or_default();
            if KERNEL_FILE_SYSTEMS.contains(&kind) {
                return Ok(Zone::Kernel);
            }
        }
        // Only now: what these names lead to may have been changed to the kernel's.
        Ok(match () {
            () if self.home == Some(id) => Zone::Open,
            () if self.output == Some(id) => Zone::Output,
            () if self.own.contains(&id) => Zone::Own,
            () => zone,
        })
    }

    /// Refuses to look at what is in this zone.
    pub(super) fn check_look(&self, zone: Zone, path: &Path) -> Result<(), Failure> {
        match zone {
            Zone::Open | Zone::Output => Ok(()),
            Zone::Own | Zone::Kernel => Err(self.refusal(zone, path)),
        }
    }

    /// Refuses to change what is in this zone.
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
        FailureKind::Denied.because(format!("{path} {why}: the file tools do not go there; use run_command instead"))
    }
}

/// Refuses a path that is longer than the system takes, or has so many parts that it is no use to anybody.
pub(super) fn check_length(path: &str) -> Result<(), Failure> {
    /// `PATH_MAX` of Linux.
    const LONGEST: usize = 4096;
    if path.len() < LONGEST {
        return Ok(());
    }
    Err(fail::invalid(format!("the path has {} bytes; it may have at most {}", path.len(), LONGEST - 1)))
}
