//! Resource usage and limits of control groups, v2 and v1 (Linux, Documentation/admin-guide/cgroup-v2.rst and
//! cgroup-v1/).

use crate::protocol::Amount;
use crate::usage::Sample;
use std::{
    fs,
    path::{Path, PathBuf},
};

/// A memory limit from this value on means "no limit": v1 reports the largest number of whole pages.
const NO_LIMIT: f64 = 4_611_686_018_427_387_904.0; // 2 to the 62

/// Measures the control group of this process.
pub(super) fn sample() -> Sample {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    measure(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), &|path| fs::read_to_string(path).ok())
}

/// The file with the number of OOM kills in the control group of this process: see [`kills_in`].
pub(super) fn kills() -> Option<PathBuf> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    find_kills(&read("/proc/self/cgroup"), &read("/proc/self/mountinfo"), &|path| fs::read_to_string(path).ok())
}

/// Like [`kills`], for the given content of the system's files.
pub(super) fn find_kills(cgroup: &str, mountinfo: &str, read: &dyn Fn(&Path) -> Option<String>) -> Option<PathBuf> {
    let (mounts, places) = (mounts(mountinfo), memberships(cgroup));
    [("memory", "memory.oom_control"), ("", "memory.events")].into_iter().find_map(|(controller, file)| {
        let group = Group::find(controller, file, &mounts, &places, read)?;
        kills_in(&group.text(file)?)?;
        Some(group.folder.join(file))
    })
}

/// The number of OOM kills.
pub(super) fn kills_in(text: &str) -> Option<f64> {
    field(text, "oom_kill")
}

/// The number in a line `NAME NUMBER`.
fn field(text: &str, name: &str) -> Option<f64> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok())
}

/// Like [`sample`], for the given content of the system's files.
pub(super) fn measure(cgroup: &str, mountinfo: &str, read: &dyn Fn(&Path) -> Option<String>) -> Sample {
    let (mounts, places) = (mounts(mountinfo), memberships(cgroup));
    let group = |controller: &'static str, file: &str| Group::find(controller, file, &mounts, &places, read);
    let mut sample = Sample::default();
    if let Some(cpu) = group("cpuacct", "cpuacct.usage") {
        sample.cpu_seconds = cpu.number("cpuacct.usage").map(|nanoseconds| nanoseconds / 1e9);
    } else if let Some(cpu) = group("", "cpu.stat") {
        sample.cpu_seconds = cpu.field("cpu.stat", "usage_usec").map(|microseconds| microseconds / 1e6);
    }
    if let Some(cpu) = group("cpu", "cpu.cfs_quota_us") {
        sample.cpu_limit = cpu.smallest(|group| {
            let quota = group.number("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)?;
            Some(quota / group.number("cpu.cfs_period_us")?)
        });
    } else if let Some(cpu) = group("", "cpu.max") {
        sample.cpu_limit = cpu.smallest(|group| {
            let text = group.text("cpu.max")?;
            let (quota, period) = text.trim().split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
    }
    if let Some(memory) = group("memory", "memory.usage_in_bytes") {
        sample.memory = Amount {
            used: memory.without_cache("memory.usage_in_bytes", "total_inactive_file"),
            limit: memory.smallest(|group| group.number("memory.limit_in_bytes").filter(|limit| *limit < NO_LIMIT)),
        };
    } else if let Some(memory) = group("", "memory.current") {
        sample.memory = Amount {
            used: memory.without_cache("memory.current", "inactive_file"),
            limit: memory.smallest(|group| group.number("memory.max")),
        };
    }
    sample
}

/// A mount of a control group hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Mount {
    /// The controllers of v1; empty for v2.
    controllers: Vec<String>,
    /// The control group at the root of the mount.
    root: PathBuf,
    /// The mount point.
    point: PathBuf,
}

/// The control group mounts in `/proc/self/mountinfo` (proc_pid_mountinfo(5)).
fn mounts(mountinfo: &str) -> Vec<Mount> {
    let mount = |line: &str| {
        let (left, right) = line.split_once(" - ")?;
        let mut left = left.split(' ').skip(3);
        let (root, point) = (unescaped(left.next()?), unescaped(left.next()?));
        let mut right = right.split(' ');
        let (kind, options) = (right.next()?, right.nth(1)?);
        let controllers = match kind {
            "cgroup" => options.split(',').map(str::to_owned).collect(),
            "cgroup2" => Vec::new(),
            _ => return None,
        };
        Some(Mount { controllers, root, point })
    };
    mountinfo.lines().filter_map(mount).collect()
}

/// Decodes a path of mountinfo, in which spaces, tabs, line feeds and backslashes are octal escapes.
fn unescaped(text: &str) -> PathBuf {
    let characters = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    characters.iter().fold(text.to_owned(), |text, (octal, plain)| text.replace(octal, plain)).into()
}

/// The control group of a process in one hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct Membership {
    /// The controllers of v1; empty for v2.
    controllers: Vec<String>,
    path: PathBuf,
}

/// The lines of `/proc/self/cgroup` (cgroups(7)).
fn memberships(cgroup: &str) -> Vec<Membership> {
    let membership = |line: &str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next()?.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Some(Membership { controllers, path: fields.next()?.into() })
    };
    cgroup.lines().filter_map(membership).collect()
}

/// A control group's folder, and the mount point that bounds its visible ancestors.
struct Group<'a> {
    folder: PathBuf,
    top: &'a Path,
    read: &'a dyn Fn(&Path) -> Option<String>,
}

impl<'a> Group<'a> {
    /// The group of a v1 controller, or of v2 if `controller` is empty, if it has the file.
    fn find(
        controller: &str,
        file: &str,
        mounts: &'a [Mount],
        places: &[Membership],
        read: &'a dyn Fn(&Path) -> Option<String>,
    ) -> Option<Self> {
        let has = |controllers: &[String]| {
            if controller.is_empty() { controllers.is_empty() } else { controllers.iter().any(|it| it == controller) }
        };
        let place = places.iter().find(|place| has(&place.controllers))?;
        let folders = mounts.iter().filter(|mount| has(&mount.controllers)).flat_map(|mount| {
            // Without a cgroup namespace, a container sees its group at the root of the mount, but its path is that of
            // the host. A path that leads out of the mount cannot be used.
            let below = place.path.strip_prefix(&mount.root).ok().map(|below| mount.point.join(below));
            let inside = place.path.strip_prefix("/").ok().map(|path| mount.point.join(path));
            let candidates = [below, inside, Some(mount.point.clone())].into_iter().flatten();
            candidates.map(|folder| (folder, mount.point.as_path()))
        });
        folders
            .map(|(folder, top)| Self { folder, top, read })
            .find(|group| !group.folder.components().any(|part| part.as_os_str() == "..") && group.text(file).is_some())
    }

    fn text(&self, file: &str) -> Option<String> {
        (self.read)(&self.folder.join(file))
    }

    fn number(&self, file: &str) -> Option<f64> {
        self.text(file)?.trim().parse().ok()
    }

    /// The number in a line `NAME NUMBER` of a file.
    fn field(&self, file: &str, name: &str) -> Option<f64> {
        field(&self.text(file)?, name)
    }

    /// Memory without the inactive file cache, as in `kubectl top`.
    fn without_cache(&self, used: &str, cache: &str) -> Option<f64> {
        Some((self.number(used)? - self.field("memory.stat", cache).unwrap_or(0.0)).max(0.0))
    }

    /// The smallest limit of the group and its visible ancestors.
    fn smallest(&self, limit: impl Fn(&Group<'_>) -> Option<f64>) -> Option<f64> {
        let around = self.folder.ancestors().take_while(|folder| folder.starts_with(self.top));
        around
            .filter_map(|folder| limit(&Group { folder: folder.to_owned(), top: self.top, read: self.read }))
            .min_by(f64::total_cmp)
    }
}
