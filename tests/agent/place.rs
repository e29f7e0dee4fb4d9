//! Where the agent may be: installed into any folder, as any user.

use crate::stage::{BINARY, Setup, Stage, is_root};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

#[test]
fn installing_makes_a_whole_program_also_over_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, installed) = (folder.path().join("run/portcullis"), folder.path().join("run/portcullis/portcullis"));
    for _ in 0..2 {
        let status = Command::new(BINARY).args(["agent", "install"]).arg(&folder).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o755);
        let said = Command::new(&installed).arg("--version").output().unwrap();
        assert_eq!(String::from_utf8(said.stdout).unwrap(), format!("portcullis {}\n", env!("CARGO_PKG_VERSION")));
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::write(&installed, "an older one").unwrap();
    }
    let said = Command::new(BINARY).args(["agent", "install", "/dev/null/x"]).output().unwrap();
    assert!(!said.status.success() && String::from_utf8(said.stderr).unwrap().contains("/dev/null/x"));
}

#[test]
fn no_agent_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let said = Command::new(BINARY).args(["agent", "connect", "--socket"]).arg(&socket).output().unwrap();
    let error = String::from_utf8(said.stderr).unwrap();
    assert!(!said.status.success() && error.contains(socket.to_str().unwrap()), "{error}");
}

#[tokio::test]
async fn any_user_will_do() {
    if !is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    let stage = Stage::with(&Setup {
        wrapper: &["setpriv", "--reuid", "54322", "--regid", "54322", "--clear-groups"],
        ..Setup::default()
    });
    let result = stage.run("id -u; echo $USER; cd; pwd; head -c 100000 /dev/zero | tr '\\0' x").await;
    let home = stage.folder.path().display();
    assert!(result.stdout.starts_with(&format!("54322\n54322\n{home}\nxxx")), "{result:?}");
    assert!(result.stdout_file.is_some());
}
