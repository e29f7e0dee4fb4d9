//! The last log lines of a workspace's container, or of the previous container after a crash.

use crate::kubernetes::{entry::WorkspaceEntry, exec::CONTAINER};
use crate::{Error, Status, WorkspaceLogs};
use futures::AsyncReadExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, api::LogParams};
use std::time::Duration;

/// The maximum size of a log, in bytes. The kubelet truncates a longer log at its end, so fewer lines are requested
/// then.
const MOST_BYTES: usize = 1 << 20;
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Reads the last log lines of the container of `entry`.
pub(super) async fn read(pods: &Api<Pod>, entry: &WorkspaceEntry, lines: u32) -> Result<WorkspaceLogs, Error> {
    let mut text = tail(pods, &entry.pod, lines, false).await.map_err(|error| explained(entry, error))?;
    if text.is_empty() && entry.view.status != Status::Running {
        // The container crashed, and its successor has not logged anything yet.
        text = tail(pods, &entry.pod, lines, true).await.unwrap_or_default();
    }
    let mut said: Vec<String> = text.lines().map(ToOwned::to_owned).collect();
    let truncated = said.len() > lines as usize;
    said.drain(..said.len().saturating_sub(lines as usize));
    Ok(WorkspaceLogs { lines: said, truncated })
}

/// Requests one line more than `lines`, which shows whether there are earlier ones.
async fn tail(pods: &Api<Pod>, pod: &str, lines: u32, previous: bool) -> Result<String, kube::Error> {
    let mut lines = i64::from(lines) + 1;
    loop {
        let params = LogParams {
            container: Some(CONTAINER.to_owned()),
            tail_lines: Some(lines),
            limit_bytes: i64::try_from(MOST_BYTES).ok(),
            previous,
            ..LogParams::default()
        };
        let mut text = Vec::new();
        let read = async {
            pods.log_stream(pod, &params).await?.read_to_end(&mut text).await.map_err(kube::Error::ReadEvents)
        };
        tokio::time::timeout(ANSWERED_WITHIN, read).await.map_err(|_| {
            kube::Error::ReadEvents(std::io::Error::new(std::io::ErrorKind::TimedOut, "the node did not answer"))
        })??;
        if text.len() < MOST_BYTES || lines == 1 {
            return Ok(String::from_utf8_lossy(&text).into_owned());
        }
        lines = (lines / 4).max(1);
    }
}

fn explained(entry: &WorkspaceEntry, error: kube::Error) -> Error {
    let view = &entry.view;
    let known = view.problem.clone().unwrap_or_else(|| "try again in a few seconds".to_owned());
    let problem = match &error {
        kube::Error::Api(status) if status.code == 404 => format!("there is no pod, so there are no logs; {known}"),
        kube::Error::Api(status) if status.code == 400 => format!("there are no logs yet; {known}"),
        _ => {
            let doing = format!("read the logs of workspace {:?}", view.name);
            return Error::Cluster { doing, source: Box::new(error) };
        }
    };
    Error::NotRunning { workspace: view.name.clone(), status: super::word(view.status).to_owned(), problem }
}
