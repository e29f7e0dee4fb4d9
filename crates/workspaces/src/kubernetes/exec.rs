//! A `pods/exec` stream to a workspace agent, with explanations of failures.

use k8s_openapi::{api::core::v1::Pod, apimachinery::pkg::apis::meta::v1::Status};
use kube::{
    Api,
    api::{AttachParams, AttachedProcess},
    client::UpgradeConnectionError,
};
use portcullis_core::agent_paths;
use portcullis_core::report::chain;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

/// The container of the workspace agent.
pub(super) const CONTAINER: &str = "workspace";
/// The timeout for opening a connection, including the five seconds that `agent connect` waits for a workspace agent
/// that is starting.
const OPENED_WITHIN: Duration = Duration::from_secs(8);
/// Larger than the amount of data that the workspace agent may have in flight (the connection window in `http2`), so
/// that reads never wait for writes: kube copies both directions in one loop. Only buffered data uses memory.
const OUTPUT_BUFFER: usize = 5 << 20;
const INPUT_BUFFER: usize = 256 << 10;
/// The maximum length of cluster messages in errors, in characters.
const LONGEST: usize = 300;

/// The reason why there is no stream to the workspace agent.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub(super) struct ExecError {
    /// The message, for AI agents.
    pub why: String,
    /// Whether a retry may succeed.
    pub passing: bool,
}

/// Runs `agent connect` in a pod. Returns the process, and a stream to the workspace agent.
pub(super) async fn connect(
    pods: &Api<Pod>,
    pod: &str,
) -> Result<(AttachedProcess, impl AsyncRead + AsyncWrite + Send + Unpin + 'static), ExecError> {
    let params = AttachParams {
        container: Some(CONTAINER.to_owned()),
        stdin: true,
        stdout: true,
        stderr: false,
        tty: false,
        max_stdin_buf_size: Some(INPUT_BUFFER),
        max_stdout_buf_size: Some(OUTPUT_BUFFER),
        max_stderr_buf_size: None,
    };
    let mut process =
        match tokio::time::timeout(OPENED_WITHIN, pods.exec(pod, agent_paths::CONNECT_COMMAND, &params)).await {
            Ok(Ok(process)) => process,
            Ok(Err(error)) => return Err(not_opened(&error)),
            Err(_) => {
                let why = format!("the API server did not open a connection within {} s", OPENED_WITHIN.as_secs());
                return Err(ExecError { why, passing: true });
            }
        };
    match (process.stdout(), process.stdin()) {
        (Some(output), Some(input)) => Ok((process, tokio::io::join(output, input))),
        _ => Err(ExecError { why: "the API server opened no streams".to_owned(), passing: false }),
    }
}

fn not_opened(error: &kube::Error) -> ExecError {
    let status = match error {
        kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status)) => status.as_u16(),
        kube::Error::Api(status) => status.code,
        _ => {
            tracing::debug!(error = chain(error), "no connection to an agent");
            return ExecError { why: "the API server could not be reached".to_owned(), passing: true };
        }
    };
    let why = match status {
        404 => "its pod does not exist at the moment".to_owned(),
        // RBAC responds with 403, an admission policy with 422.
        401 | 403 | 422 => {
            let why =
                format!("the cluster does not let this server connect to it ({status}): tell the platform's engineers");
            return ExecError { why, passing: false };
        }
        _ => format!("the API server answered with status {status}"),
    };
    ExecError { why, passing: true }
}

/// The reason for the end of `agent connect`, from the exit status of the exec stream.
pub(super) fn ended(status: Option<Status>) -> ExecError {
    let Some(status) = status.filter(|status| status.status.as_deref() != Some("Success")) else {
        return ExecError { why: "the connection to it was closed".to_owned(), passing: true };
    };
    let message = status.message.unwrap_or_default();
    let gone = ["container not found", "is not running", "not found in pod", "task not found"];
    let why = if gone.iter().any(|words| message.contains(words)) {
        "its pod is not running at the moment".to_owned()
    } else if status.reason.as_deref() == Some("NonZeroExitCode") {
        format!("its agent does not answer ({message})")
    } else {
        format!("the node reports: {}", message.chars().take(LONGEST).collect::<String>())
    };
    ExecError { why, passing: true }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    #[test]
    fn refusals_are_explained() {
        for (status, said, passing) in [
            (StatusCode::FORBIDDEN, "does not let this server connect", false),
            (StatusCode::UNPROCESSABLE_ENTITY, "does not let this server connect", false),
            (StatusCode::NOT_FOUND, "its pod does not exist", true),
            (StatusCode::BAD_GATEWAY, "status 502", true),
        ] {
            let error = kube::Error::UpgradeConnection(UpgradeConnectionError::ProtocolSwitch(status));
            let told = not_opened(&error);
            assert!(told.why.contains(said) && told.passing == passing, "{told:?}");
        }
    }

    #[test]
    fn an_end_is_explained() {
        let status = |reason: &str, message: &str| Status {
            status: Some("Failure".to_owned()),
            reason: Some(reason.to_owned()),
            message: Some(message.to_owned()),
            ..Status::default()
        };
        for (status, said) in [
            (None, "was closed"),
            (Some(status("InternalError", "container not found (\"workspace\")")), "its pod is not running"),
            (Some(status("NonZeroExitCode", "command terminated with exit code 1")), "its agent does not answer"),
            (Some(status("InternalError", "dial tcp 10.0.0.1:10250: connection refused")), "connection refused"),
        ] {
            let told = ended(status).why;
            assert!(told.contains(said), "{told}");
        }
    }
}
