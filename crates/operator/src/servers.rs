//! The endpoint's server pods: which revision each has loaded, and the annotation that makes outdated ones reload.
//!
//! A kubelet refreshes a mounted Secret after up to 80 s, but at once when an annotation of the pod changes. So a pod
//! that does not report the planned revision gets it as an annotation, once.

use crate::{
    apply::FIELD_MANAGER,
    metrics::{Metrics, Verb},
    probe::{Probe, ProbeError},
    stores::Stores,
};
use futures::future::join_all;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use jiff::{SignedDuration, Timestamp};
use kube::{
    Api, Client, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DynamicObject,
};
use portcullis_config::{LoadedRevision, PRIVATE_PORT, Revision};
use portcullis_core::report::chain;
use portcullis_plan::{ENDPOINT_LABEL, REVISION_ANNOTATION};
use serde_json::json;
use std::{
    collections::HashMap,
    net::{IpAddr, SocketAddr},
};

/// A running server pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The pod's name.
    pub name: String,
    /// The pod's uid and restarts: after either changes, the files were loaded again.
    pub incarnation: Incarnation,
    /// The pod's address.
    pub address: IpAddr,
    /// Whether the pod is ready.
    pub ready: bool,
    /// The revision in the pod's annotation.
    pub told: Option<String>,
}

/// One run of a server in a pod.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Incarnation {
    uid: String,
    restarts: i64,
}

/// How long the report of a server with the planned revision is reused. A later report may differ: a renewed certificate
/// is not part of the revision, and may be refused.
const REPORT_VALID_FOR: SignedDuration = SignedDuration::from_secs(30);

/// The last reports of servers, with their times.
pub type LastReports = HashMap<Incarnation, (Timestamp, LoadedRevision)>;

/// The report of a server, or why it could not be read.
pub type Report = Result<LoadedRevision, String>;

/// The running servers of an endpoint, by name.
#[must_use]
pub fn running(stores: &Stores, namespace: &str, endpoint: &str) -> Vec<Server> {
    let mut servers: Vec<Server> =
        stores.pods.labelled(namespace, (ENDPOINT_LABEL, endpoint)).iter().filter_map(|pod| server(pod)).collect();
    servers.sort_by(|a, b| a.name.cmp(&b.name));
    servers
}

fn server(pod: &DynamicObject) -> Option<Server> {
    let runs = pod.data["phase"] == "Running" && pod.metadata.deletion_timestamp.is_none();
    runs.then_some(())?;
    Some(Server {
        name: pod.name_any(),
        incarnation: Incarnation { uid: pod.uid()?, restarts: pod.data["restarts"].as_i64().unwrap_or_default() },
        address: pod.data["podIP"].as_str()?.parse().ok()?,
        ready: pod.data["ready"] == true,
        told: pod.annotations().get(REVISION_ANNOTATION).cloned(),
    })
}

/// Reads the report of every server, except those that recently reported `revision` without a refusal. Keeps only the
/// reports of these servers in `known`.
pub async fn ask(
    probe: &Probe,
    servers: &[Server],
    revision: &Revision,
    known: &mut LastReports,
    now: Timestamp,
) -> Vec<Report> {
    let reports = join_all(servers.iter().map(async |server| match known.get(&server.incarnation) {
        Some((at, report)) if is_valid(*at, report, revision, now) => Ok((*at, report.clone())),
        _ => loaded(probe, server.address).await.map(|report| (now, report)).map_err(|error| chain(&error)),
    }))
    .await;
    *known = servers
        .iter()
        .zip(&reports)
        .filter_map(|(server, report)| Some((server.incarnation.clone(), report.as_ref().ok()?.clone())))
        .collect();
    reports.into_iter().map(|report| report.map(|(_, report)| report)).collect()
}

/// Whether an earlier report can be reused.
fn is_valid(at: Timestamp, report: &LoadedRevision, revision: &Revision, now: Timestamp) -> bool {
    report.revision == *revision && report.rejected.is_none() && now.duration_since(at) < REPORT_VALID_FOR
}

#[derive(Debug, thiserror::Error)]
enum AskError {
    #[error("http://{0}/revision")]
    Probe(SocketAddr, #[source] ProbeError),
    #[error("http://{0}/revision answered {1}")]
    Status(SocketAddr, StatusCode),
    #[error("http://{0}/revision returned an unexpected response")]
    Malformed(SocketAddr, #[source] serde_json::Error),
    #[error("the request could not be made")]
    Request(#[source] http::Error),
}

async fn loaded(probe: &Probe, address: IpAddr) -> Result<LoadedRevision, AskError> {
    let address = SocketAddr::new(address, PRIVATE_PORT);
    let request = Request::get("/revision")
        .header(header::HOST, address.to_string())
        .body(Full::default())
        .map_err(AskError::Request)?;
    let answer = probe.send(address, None, request).await.map_err(|error| AskError::Probe(address, error))?;
    if answer.status != StatusCode::OK {
        return Err(AskError::Status(address, answer.status));
    }
    serde_json::from_slice(&answer.body).map_err(|error| AskError::Malformed(address, error))
}

/// Annotates a pod with `revision`, unless it has that annotation, so that its kubelet refreshes the files.
pub async fn annotate(
    client: &Client,
    metrics: &Metrics,
    stores: &Stores,
    namespace: &str,
    server: &Server,
    revision: &Revision,
) -> Result<(), kube::Error> {
    if server.told.as_deref() == Some(revision.as_str()) {
        return Ok(());
    }
    let pods: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, stores.pods.kind());
    // With the uid, so that a later pod of the same name is not annotated.
    let patch = json!({"metadata": {
        "uid": server.incarnation.uid,
        "annotations": {REVISION_ANNOTATION: revision.as_str()},
    }});
    let params = PatchParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PatchParams::default() };
    match pods.patch(&server.name, &params, &Patch::Merge(&patch)).await {
        Ok(pod) => {
            metrics.wrote("Pod", Verb::Annotate);
            stores.pods.learn(pod);
            Ok(())
        }
        // It was deleted or replaced: its successor mounts the newest files.
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_used_again_while_it_is_recent_and_refuses_nothing() {
        let (new, old) = (Revision::of(b"new", b"", b"", b""), Revision::of(b"old", b"", b"", b""));
        let report = |revision: &Revision, rejected: Option<&str>| LoadedRevision {
            revision: revision.clone(),
            version: "1".to_owned(),
            rejected: rejected.map(ToOwned::to_owned),
            untrusted_forwarders: Vec::new(),
        };
        let now = Timestamp::from_second(1000).unwrap();
        for (report, age, valid) in [
            (report(&new, None), 0, true),
            (report(&new, None), 29, true),
            (report(&new, None), 30, false),
            (report(&old, None), 0, false),
            (report(&new, Some("tls.crt is missing")), 0, false),
        ] {
            let at = now - SignedDuration::from_secs(age);
            assert_eq!(is_valid(at, &report, &new, now), valid, "{report:?} after {age} s");
        }
    }
}
