//! The same thing done through the endpoint, and without it.

use crate::stage::{Person, Stage};
use k8s_openapi::api::core::v1::Pod;
use kube::{
    Api, Config,
    api::{AttachParams, ListParams},
    config::{KubeConfigOptions, Kubeconfig},
};
use portcullis::cli::cluster;
use portcullis_api::Workspace;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::{copy, sink};

/// The workspace that is measured.
pub const WORKSPACE: &str = "bench";

/// Both ways to one workspace.
pub struct Sides<'s> {
    stage: &'s Stage<'s>,
    person: &'s Person,
    pods: Api<Pod>,
    workspaces: Api<Workspace>,
    pod: String,
}

impl<'s> Sides<'s> {
    pub async fn new(stage: &'s Stage<'s>, person: &'s Person) -> Self {
        // The servers' own client, nodelay and all: the partner is to be no worse than it could be.
        let kubeconfig = Kubeconfig::read_from(stage.node.admin_kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = cluster::client(config, || {}).unwrap();
        let made = person.call("get_workspace", &json!({"workspace": WORKSPACE})).await.unwrap();
        let pod = format!("workspace-{}-0", made["id"].as_str().unwrap());
        let pods = Api::namespaced(client.clone(), &stage.namespace);
        Self { stage, person, pods, workspaces: Api::namespaced(client, &stage.namespace), pod }
    }

    /// Runs a command through the endpoint.
    pub async fn command(&self, line: &str) -> Value {
        let arguments = json!({"workspace": WORKSPACE, "command": line});
        let result = self.person.call("run_command", &arguments).await.unwrap();
        assert_eq!(result["exit_code"], 0, "{result}");
        result
    }

    /// Runs a program by an exec of its own, and reads its output to the end.
    pub async fn exec(&self, command: &[&str]) {
        let params = AttachParams::default().container("workspace").stderr(false);
        let mut process = self.pods.exec(&self.pod, command.iter().copied(), &params).await.unwrap();
        let status = process.take_status().unwrap();
        copy(&mut process.stdout().unwrap(), &mut sink()).await.unwrap();
        assert_eq!(status.await.unwrap().status.as_deref(), Some("Success"));
    }

    pub fn kubectl_exec(&self) {
        self.stage.kubectl(&["exec", &self.pod, "-c", "workspace", "--", "true"]);
    }

    pub async fn write(&self, path: &str, content: &str) {
        let arguments = json!({"workspace": WORKSPACE, "path": path, "content": content});
        self.person.call("write_file", &arguments).await.unwrap();
    }

    /// Reads a file in pages of 1 MiB, the most that one call gives.
    pub async fn read(&self, path: &str, size: usize) {
        let (mut start, mut read) = (json!(1), 0);
        while !start.is_null() {
            let arguments = json!({"workspace": WORKSPACE, "path": path, "start_line": start, "max_bytes": 1 << 20});
            let mut file = self.person.call("read_file", &arguments).await.unwrap();
            read += file["content"].as_str().map_or(0, str::len);
            start = file["next_start_line"].take();
        }
        assert_eq!(read, size);
    }

    pub async fn list(&self) {
        let page = self.person.call("list_workspaces", &json!({})).await.unwrap();
        assert_eq!(page["workspaces"].as_array().map(Vec::len), Some(50));
    }

    pub async fn list_by_api(&self) {
        let page = self.workspaces.list(&ListParams::default().limit(50)).await.unwrap();
        assert_eq!(page.items.len(), 50);
    }

    pub async fn until_listed(&self, name: &str) {
        while self.person.call("get_workspace", &json!({"workspace": name})).await.is_err() {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        // The operator has them to look at too.
        tokio::time::sleep(Duration::from_secs(10)).await;
    }

    /// What the agent's processes take, each as `NAME RSS PSS` in KiB.
    pub async fn memory(&self) -> Vec<(String, u64, u64)> {
        let line = "for p in /proc/[0-9]*; do \
            case $(tr '\\0' ' ' < $p/cmdline) in \
            *\\ agent\\ connect*) n=connect;; \
            *\\ agent\\ run*--service*) n=service;; \
            *\\ agent\\ run*) n=init;; *) continue;; esac; \
            echo $n $(sed -n 's/^Rss: *\\([0-9]*\\).*/\\1/p;s/^Pss: *\\([0-9]*\\).*/\\1/p' $p/smaps_rollup); done";
        let result = self.command(line).await;
        let lines = result["stdout"].as_str().unwrap().lines();
        let parsed = lines.map(|line| {
            let words: Vec<&str> = line.split(' ').collect();
            (words[0].to_owned(), words[1].parse().unwrap(), words[2].parse().unwrap())
        });
        parsed.collect()
    }
}
