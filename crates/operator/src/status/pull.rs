//! Why a kubelet cannot pull an image, in a message that stays the same over its retries: it reports alternately the
//! registry's answer and that it waits.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

/// The cause, from the kubelet's message.
#[must_use]
pub fn cause(reason: &str, message: &str) -> Option<&'static str> {
    let message = message.to_ascii_lowercase();
    let says = |words: &[&str]| words.iter().any(|word| message.contains(word));
    if reason == "InvalidImageName" {
        Some("the name of the image is invalid")
    } else if reason == "ErrImageNeverPull" {
        Some("the node does not have the image, and imagePullPolicy is Never")
    } else if says(&["unauthorized", "authentication required", "denied", "forbidden", "no basic auth"]) {
        Some("the registry does not have the image, or denies this cluster access (imagePullSecrets)")
    } else if says(&["not found", "manifest unknown", "does not exist", "name unknown"]) {
        Some("the registry does not have the image")
    } else if says(&["no such host", "timeout", "connection refused", "i/o", "unreachable", "tls", "x509"]) {
        Some("the registry cannot be reached")
    } else {
        None
    }
}

/// The message about a failed pull: `begin`, the cause, `remedy`. Where the kubelet does not repeat the cause, what the
/// condition with this reason says already stays.
#[must_use]
pub fn message(begin: &str, remedy: &str, cause: Option<&str>, previous: Option<&Condition>, reason: &str) -> String {
    let previous = previous.filter(|previous| previous.reason == reason && previous.message.starts_with(begin));
    match (cause, previous) {
        (None, Some(previous)) => previous.message.clone(),
        (cause, _) => {
            let cause = cause.map(|cause| format!(": {cause}")).unwrap_or_default();
            format!("{begin}{cause}; {remedy}")
        }
    }
}
