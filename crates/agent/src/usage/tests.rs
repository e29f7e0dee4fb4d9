//! Measurements of real control groups of both versions, and of processes that are really busy.

use crate::usage::{Amount, Meter, Sample, Scope, cgroup, disk, router};
use axum::body::Body;
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use std::path::Path;
use tower::ServiceExt as _;

/// A pod on cgroup v1 without a cgroup namespace: containerd mounts the groups of the container.
const POD_V1: (&str, &str) = (
    "11:cpu,cpuacct:/kubepods/burstable/pod8d0f/4f1c\n10:memory:/kubepods/burstable/pod8d0f/4f1c\n\
     1:name=systemd:/kubepods/burstable/pod8d0f/4f1c\n0::/kubepods/burstable/pod8d0f/4f1c\n",
    "683 682 0:58 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime - tmpfs tmpfs rw,mode=755\n\
     684 683 0:30 /kubepods/burstable/pod8d0f/4f1c /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime \
     master:11 - cgroup cgroup rw,cpu,cpuacct\n\
     685 683 0:33 /kubepods/burstable/pod8d0f/4f1c /sys/fs/cgroup/memory ro,nosuid master:14 - cgroup cgroup rw,memory\n",
);
/// A pod on cgroup v2 with its own cgroup namespace.
const POD_V2: (&str, &str) = (
    "0::/\n",
    "1201 1193 0:29 / /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot\n",
);
/// A container on cgroup v2 that sees all groups of the host.
const HOST_V2: (&str, &str) = (
    "0::/system.slice/docker-ab12.scope\n",
    "35 24 0:30 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:9 - cgroup2 cgroup2 rw\n",
);
/// A machine with the controllers on v1, and an empty v2 hierarchy.
const HYBRID: (&str, &str) = (
    "4:memory:/api/ee11\n2:cpuacct:/\n1:cpu:/\n0::/\n",
    "32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu\n\
     33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct\n\
     35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
     41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n",
);
/// A process that entered the namespace from outside: its path leads out of the namespace.
const ELSEWHERE: (&str, &str) = ("0::/../other\n", "35 24 0:30 /.. /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n");

fn sample(
    cpu_seconds: impl Into<Option<f64>>,
    cpu_limit: impl Into<Option<f64>>,
    used: impl Into<Option<f64>>,
    limit: impl Into<Option<f64>>,
) -> Sample {
    let memory = Amount { used: used.into(), limit: limit.into() };
    Sample { cpu_seconds: cpu_seconds.into(), cpu_limit: cpu_limit.into(), memory }
}

#[test]
fn control_groups_are_found_and_read() {
    let v2 = |folder: &str| {
        vec![
            (format!("{folder}/cpu.stat"), "usage_usec 2500000\nuser_usec 2000000\nsystem_usec 500000\n"),
            (format!("{folder}/cpu.max"), "150000 100000\n"),
            (format!("{folder}/memory.current"), "1000000\n"),
            (format!("{folder}/memory.stat"), "anon 5\nfile 9\nactive_file 100\ninactive_file 400000\n"),
            (format!("{folder}/memory.max"), "2147483648\n"),
        ]
    };
    let v1 = |cpu: &str, account: &str, memory: &str, limit: &'static str| {
        vec![
            (format!("{account}/cpuacct.usage"), "3500000000\n"),
            (format!("{cpu}/cpu.cfs_quota_us"), "50000\n"),
            (format!("{cpu}/cpu.cfs_period_us"), "100000\n"),
            (format!("{memory}/memory.usage_in_bytes"), "900000\n"),
            (format!("{memory}/memory.stat"), "inactive_file 7\ntotal_inactive_file 100000\n"),
            (format!("{memory}/memory.limit_in_bytes"), limit),
        ]
    };
    let unlimited = vec![
        ("/sys/fs/cgroup/cpu.stat".to_owned(), "usage_usec 1000000\n"),
        ("/sys/fs/cgroup/cpu.max".to_owned(), "max 100000\n"),
        ("/sys/fs/cgroup/memory.current".to_owned(), "1000\n"),
        ("/sys/fs/cgroup/memory.max".to_owned(), "max\n"),
    ];
    let mut around = v2("/sys/fs/cgroup/system.slice/docker-ab12.scope");
    around.push(("/sys/fs/cgroup/system.slice/memory.max".to_owned(), "1073741824\n"));
    around.push(("/sys/fs/cgroup/system.slice/cpu.max".to_owned(), "max 100000\n"));
    let cpu = "/sys/fs/cgroup/cpu,cpuacct";
    let no_limit = "9223372036854771712\n";
    let rows = [
        (
            "v1 in a pod",
            POD_V1,
            v1(cpu, cpu, "/sys/fs/cgroup/memory", "1073741824\n"),
            sample(3.5, 0.5, 800_000.0, 1_073_741_824.0),
        ),
        (
            "v1 beside v2",
            HYBRID,
            v1("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpuacct", "/sys/fs/cgroup/memory/api/ee11", no_limit),
            sample(3.5, 0.5, 800_000.0, None),
        ),
        ("v2 in a pod", POD_V2, v2("/sys/fs/cgroup"), sample(2.5, 1.5, 600_000.0, 2_147_483_648.0)),
        ("v2 without limits", POD_V2, unlimited, sample(1.0, None, 1000.0, None)),
        ("v2 on the machine, with a limit around", HOST_V2, around, sample(2.5, 1.5, 600_000.0, 1_073_741_824.0)),
        ("a path that leads out", ELSEWHERE, v2("/sys/fs/cgroup"), sample(2.5, 1.5, 600_000.0, 2_147_483_648.0)),
        ("no figures at all", HOST_V2, Vec::new(), Sample::default()),
        ("no control groups", ("", ""), v2("/sys/fs/cgroup"), Sample::default()),
    ];
    for (what, (groups, mounts), files, expected) in rows {
        let read = |path: &Path| {
            files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, content)| (*content).to_owned())
        };
        assert_eq!(cgroup::measure(groups, mounts, &read), expected, "{what}");
    }
}

#[test]
fn what_was_killed_for_its_memory_is_counted() {
    for (what, (groups, mounts), file, content, killed) in [
        (
            "v1",
            POD_V1,
            "/sys/fs/cgroup/memory/memory.oom_control",
            "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
            Some(3.0),
        ),
        (
            "v2",
            POD_V2,
            "/sys/fs/cgroup/memory.events",
            "low 0\nmax 9\noom 2\noom_kill 1\noom_group_kill 0\n",
            Some(1.0),
        ),
        ("an old v1", POD_V1, "/sys/fs/cgroup/memory/memory.oom_control", "oom_kill_disable 0\nunder_oom 0\n", None),
        ("no control groups", ("", ""), "/sys/fs/cgroup/memory.events", "oom_kill 1\n", None),
    ] {
        let read = |path: &Path| (path == Path::new(file)).then(|| content.to_owned());
        let found = cgroup::find_kills(groups, mounts, &read);
        assert_eq!(found.as_deref().map(|found| found.to_str().unwrap()), killed.map(|_| file), "{what}");
        assert_eq!(found.and_then(|_| cgroup::kills_in(content)), killed, "{what}");
    }
}

#[test]
fn the_disk_is_the_one_of_the_folder() {
    let home = tempfile::tempdir().unwrap();
    let amount = disk(home.path());
    assert!(amount.used > Some(0.0) && amount.limit > amount.used, "{amount:?}");
    assert_eq!(disk(&home.path().join("none")), Amount::default());
}

#[cfg(target_os = "linux")]
mod linux {
    use super::*;
    use crate::usage::processes;
    use std::{
        collections::BTreeSet,
        os::unix::process::CommandExt as _,
        process::{Child, Command},
        sync::Arc,
    };

    /// A process that keeps a CPU busy until it is dropped, in its own process group.
    struct Busy(Child);

    impl Busy {
        fn start() -> Self {
            Self(Command::new("sh").args(["-c", "while :; do :; done"]).process_group(0).spawn().unwrap())
        }
    }

    impl Drop for Busy {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[tokio::test]
    async fn what_process_groups_use_is_measured() {
        let busy = Busy::start();
        let id = busy.0.id();
        let home = tempfile::tempdir().unwrap();
        let scope = Scope::Groups(Arc::new(move || BTreeSet::from([id])));
        let app = router(home.path().to_owned(), scope);
        // On a busy machine, the process may not run for a moment.
        loop {
            let request = Request::get("/usage").body(Body::empty()).unwrap();
            let response = app.clone().oneshot(request).await.unwrap();
            assert_eq!(response.status(), StatusCode::OK);
            let body = response.into_body().collect().await.unwrap().to_bytes();
            let usage: crate::protocol::Usage = serde_json::from_slice(&body).unwrap();
            assert!(usage.memory.used > Some(1000.0) && usage.disk.used.is_some(), "{usage:?}");
            assert_eq!((usage.cpu.limit, usage.memory.limit), (None, None));
            if usage.cpu.used > Some(0.05) {
                return;
            }
        }
    }

    #[test]
    fn no_process_uses_nothing() {
        let nothing = sample(0.0, None, 0.0, None);
        assert_eq!(processes::sample(&BTreeSet::new()), nothing);
    }

    #[tokio::test]
    async fn this_machine_can_be_measured() {
        let meter = Meter { home: "/".into(), scope: Scope::Container };
        let sample = meter.sample().await.unwrap();
        assert!(sample.cpu_seconds.is_none_or(|seconds| seconds > 0.0), "{sample:?}");
        assert!(sample.memory.used.is_none_or(|bytes| bytes > 0.0), "{sample:?}");
    }
}
