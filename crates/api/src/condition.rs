//! Condition types and reasons, by kstatus: `Ready=True` is done, anything else says why not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Every other condition that affects readiness is true.
pub const READY: &str = "Ready";
/// Enough server pods are ready.
pub const AVAILABLE: &str = "Available";
/// The Ingress or HTTPRoute exists and is accepted.
pub const EXPOSED: &str = "Exposed";
/// Every server pod has loaded the newest configuration and credentials.
pub const CREDENTIALS_LOADED: &str = "CredentialsLoaded";
/// The operator performed a client's first requests, and every server responded correctly.
pub const VERIFIED: &str = "Verified";
/// An admission policy confines the servers' exec to workspaces. While it is false, the servers have no permission to
/// exec, and `Ready` is false too.
pub const EXEC_CONFINED: &str = "ExecConfined";
/// An admission policy confines the writes of the servers to the objects of their own endpoint. It does not affect
/// `Ready`.
pub const WRITES_CONFINED: &str = "WritesConfined";
/// No forwarding headers come from addresses that are not in `spec.network.trustedProxies`. It does not affect `Ready`,
/// since a client can forge the headers.
pub const CLIENT_ADDRESSES_KNOWN: &str = "ClientAddressesKnown";
/// Every login of `spec.login` can be used. Present only if there are logins. If it is false, `Ready` is false too;
/// usable logins, connected agents and unattended agents continue to work.
pub const LOGINS_READY: &str = "LoginsReady";
/// The operator is applying the manifest. By the rules of kstatus, it is present only while it is true.
pub const RECONCILING: &str = "Reconciling";
/// The operator cannot apply the manifest without a change by a person. Present only while it is true, and never
/// together with `Reconciling`.
pub const STALLED: &str = "Stalled";

/// `spec.limits` fit the memory limit of the servers. Present only while false: large requests are rejected then.
pub const LIMITS_FIT: &str = "LimitsFit";

/// Every pattern of `spec.tools` matches a tool. Present only while false: for a pattern with `*`, or one that was
/// stored before admission rejected it.
pub const TOOLS_KNOWN: &str = "ToolsKnown";

/// The endpoint has the pages below `/console`. Present only while false: its own URL, or an alias, uses that path.
pub const CONSOLE_SERVED: &str = "ConsoleServed";

/// For an `OAuthUser`: every grant that it ends is revoked.
pub const ENDED: &str = "Ended";

/// The observed state of one condition type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One of the condition types of this module.
    pub kind: &'static str,
    /// True or false; `None` is `Unknown`.
    pub holds: Option<bool>,
    /// The `CamelCase` reason, for programs.
    pub reason: &'static str,
    /// A sentence for people: the observed state and, unless it holds, the remedy.
    pub message: String,
}

/// Turns findings into conditions, keeping `lastTransitionTime` where the status did not change.
#[must_use]
pub fn conditions(
    findings: &[Finding],
    previous: &[Condition],
    generation: Option<i64>,
    now: Timestamp,
) -> Vec<Condition> {
    findings
        .iter()
        .map(|finding| {
            let status = match finding.holds {
                Some(true) => "True",
                Some(false) => "False",
                None => "Unknown",
            };
            let since = previous
                .iter()
                .find(|old| old.type_ == finding.kind && old.status == status)
                .map_or_else(|| whole_seconds(now), |old| old.last_transition_time.clone());
            Condition {
                type_: finding.kind.to_owned(),
                status: status.to_owned(),
                reason: finding.reason.to_owned(),
                message: finding.message.clone(),
                observed_generation: generation,
                last_transition_time: since,
            }
        })
        .collect()
}

/// `metav1.Time` has whole seconds: more would come back changed, and look like a difference.
#[must_use]
pub fn whole_seconds(time: Timestamp) -> Time {
    Time(Timestamp::from_second(time.as_second()).unwrap_or(time))
}
