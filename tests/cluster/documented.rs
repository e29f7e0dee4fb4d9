//! The commands of README.md and docs/*.md that need a cluster, run to the letter on a real API server with an operator and
//! its servers. `tests/docs/commands.toml` has them.

use crate::{
    operator::stage::{operator, own_plane},
    support::kubelet::Kubelet,
};
use std::{path::Path, process::Command};

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_need_a_cluster_succeed() {
    let plane = own_plane().await;
    let program = env!("CARGO_BIN_EXE_portcullis");
    let kubelet = Kubelet::start(&plane, "default", Path::new(program)).await;
    let operator = operator(&plane, "documented").await;
    let mut script = Command::new("python3");
    script.args(["-B", concat!(env!("CARGO_MANIFEST_DIR"), "/tests/docs/commands.py"), "run", "cluster", program]);
    script.env("KUBECONFIG", plane.admin_kubeconfig()).env("KUBECTL", plane.kubectl_command(&[]).get_program());
    script.env("POD_LOGS", kubelet.folder());
    let output = tokio::task::block_in_place(|| script.output().unwrap());
    assert!(output.status.success(), "{}\n{}", String::from_utf8_lossy(&output.stderr), operator.log());
}
