//! Condition types and reasons, by kstatus: `Ready=True` is done, anything else says why not.

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Everything below holds.
pub const READY: &str = "Ready";
/// Enough server pods are ready.
pub const AVAILABLE: &str = "Available";
/// The way in from outside the cluster exists.
pub const EXPOSED: &str = "Exposed";
/// Every server pod has loaded the newest configuration and credentials.
pub const CREDENTIALS_LOADED: &str = "CredentialsLoaded";
/// The operator went through a client's first steps and every server answered as it should.
pub const VERIFIED: &str = "Verified";
/// An admission policy confines the servers' exec to workspaces; where it is false they have no right to exec, and so is
/// `Ready`.
pub const EXEC_CONFINED: &str = "ExecConfined";
/// An admission policy confines the writes of the servers to the objects of their own endpoint. `Ready` does not follow it.
pub const WRITES_CONFINED: &str = "WritesConfined";
/// No forwarding headers come from addresses that are not in `spec.network.trustedProxies`. `Ready` does not follow it: a
/// client may have made the headers up.
pub const CLIENT_ADDRESSES_KNOWN: &str = "ClientAddressesKnown";
/// Every way to sign in of `spec.login` can be used. Only there where there are any. Where it is false, so is `Ready`, as
/// the manifest asks for more than there is; logins that can be used, connected agents and unattended ones go on.
pub const LOGINS_READY: &str = "LoginsReady";
/// What the manifest asks for is on its way. By the rules of kstatus it is there only while it is true.
pub const RECONCILING: &str = "Reconciling";
/// What the manifest asks for is not reached without help. There only while it is true, and `Reconciling` is not then.
pub const STALLED: &str = "Stalled";

/// `spec.limits` fit the memory limit of the servers. Only there where they do not: large requests are refused then.
pub const LIMITS_FIT: &str = "LimitsFit";

/// Every pattern of `spec.tools` matches a tool. Only there where one does not: one with `*`, or one that was stored
/// before admission refused it.
pub const TOOLS_KNOWN: &str = "ToolsKnown";

/// The endpoint has the pages below `/console`. Only there where it has not: its own URL, or an alias, uses that path.
pub const CONSOLE_SERVED: &str = "ConsoleServed";

/// Of an `OAuthUser`: every grant that it ends is revoked.
pub const ENDED: &str = "Ended";

/// What a reconcile found about one condition type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// One of the condition types of this module.
    pub kind: &'static str,
    /// True or false; `None` is `Unknown`.
    pub holds: Option<bool>,
    /// `CamelCase` word for machines.
    pub reason: &'static str,
    /// A sentence for people: what was found and, unless it holds, what to do.
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
