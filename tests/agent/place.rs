//! Where the agent may be: installed into any folder, as any user.

use crate::{
    agent_program::agent_program,
    stage::{Setup, Stage, is_root},
};
use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

#[test]
fn installing_makes_a_whole_program_also_over_an_older_one() {
    let folder = tempfile::tempdir().unwrap();
    let (folder, installed) = (folder.path().join("run/portcullis"), folder.path().join("run/portcullis/portcullis"));
    for _ in 0..2 {
        let status = Command::new(agent_program()).args(["agent", "install"]).arg(&folder).status().unwrap();
        assert!(status.success());
        assert_eq!(fs::metadata(&installed).unwrap().permissions().mode() & 0o7777, 0o755);
        let said = Command::new(&installed).arg("--version").output().unwrap();
        assert_eq!(
            String::from_utf8(said.stdout).unwrap(),
            format!("portcullis-agent {}\n", env!("CARGO_PKG_VERSION"))
        );
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
        fs::write(&installed, "an older one").unwrap();
    }
    let said = Command::new(agent_program()).args(["agent", "install", "/dev/null/x"]).output().unwrap();
    assert!(!said.status.success() && String::from_utf8(said.stderr).unwrap().contains("/dev/null/x"));
}

#[test]
fn no_agent_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("agent.sock");
    let said = Command::new(agent_program()).args(["agent", "connect", "--socket"]).arg(&socket).output().unwrap();
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

/// An init container runs the entry point of its image, which is the main program where the image has both.
#[test]
fn the_main_program_hands_over_to_the_agent_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let (image, pod) = (folder.path().join("image"), folder.path().join("pod"));
    fs::create_dir(&image).unwrap();
    let main = image.join("portcullis");
    fs::copy(env!("CARGO_BIN_EXE_portcullis"), &main).unwrap();
    let install = || Command::new(&main).args(["agent", "install"]).arg(&pod).output().unwrap();

    let said = install();
    let error = String::from_utf8(said.stderr).unwrap();
    let agent = image.join("portcullis-agent");
    assert!(!said.status.success() && error.contains(agent.to_str().unwrap()), "{error}");

    fs::copy(agent_program(), &agent).unwrap();
    let said = install();
    assert!(said.status.success(), "{said:?}");
    assert!(fs::read(pod.join("portcullis")).unwrap() == fs::read(agent).unwrap(), "it is the agent that is installed");
    let said = Command::new(&main).args(["agent", "run", "--help"]).output().unwrap();
    assert!(String::from_utf8(said.stdout).unwrap().contains("--patience SECONDS"));
}
