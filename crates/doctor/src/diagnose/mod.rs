//! From observations to findings. Pure: the same observations always lead to the same findings.
//!
//! The checks run in dependency order. If a check failed or was skipped, the checks that require it are skipped, so
//! the first failure is the cause.

mod cluster;
mod cors;
mod mcp;
mod metadata;
mod network;
mod response;
mod sign_in;
mod token;

#[cfg(test)]
mod tests;

use crate::{Check, Finding, Outcome, observation::Observations};
use std::collections::BTreeMap;

/// The reason of a check that has no observations although everything that it requires succeeded. It is not seen in a
/// complete examination.
const NOT_EXAMINED: Outcome = Outcome::Skipped("not examined");

/// All findings, in dependency order.
#[must_use]
pub fn diagnose(observed: &Observations) -> Vec<Finding> {
    run(observed).0
}

/// Whether a check has nothing to say, because an earlier one failed or was skipped.
pub(crate) fn is_blocked(check: Check, observed: &Observations) -> bool {
    let (_, blocked) = run(observed);
    check.requires().iter().any(|required| blocked.contains_key(required))
}

/// The findings, and why checks did not succeed.
fn run(observed: &Observations) -> (Vec<Finding>, BTreeMap<Check, Outcome>) {
    let mut findings = Vec::new();
    let mut blocked: BTreeMap<Check, Outcome> = BTreeMap::new();
    for check in Check::ALL {
        if check.is_of_cluster() && observed.cluster.is_none() {
            continue;
        }
        if let Some(reason) = check.requires().iter().find_map(|required| blocked.get(required)) {
            let reason = reason.clone();
            findings.push(Finding::skipped(check, reason.clone()));
            blocked.insert(check, reason);
            continue;
        }
        let found = examine(check, observed);
        if found.iter().any(Finding::is_failure) {
            blocked.insert(check, Outcome::SkippedAfter(check));
        } else if let Some(skipped) = found.iter().find(|finding| matches!(finding.outcome, Outcome::Skipped(_))) {
            blocked.insert(check, skipped.outcome.clone());
        }
        findings.extend(found);
    }
    (findings, blocked)
}

fn examine(check: Check, observed: &Observations) -> Vec<Finding> {
    if let Some(cluster) = observed.cluster.as_deref().filter(|_| check.is_of_cluster()) {
        return cluster::examine(check, cluster, observed);
    }
    let finding = match check {
        Check::Url => network::url(observed),
        Check::Dns => network::dns(observed),
        Check::Tcp => network::tcp(observed),
        Check::Tls => network::tls(observed),
        Check::Http => response::http(observed),
        Check::Clock => response::clock(observed),
        Check::Challenge => response::challenge(observed),
        Check::ResourceMetadata => metadata::resource(observed),
        Check::IssuerMetadata => metadata::issuer(observed),
        Check::Jwks => metadata::jwks(observed),
        Check::ClientMetadata => return sign_in::client_metadata(observed),
        Check::Logins => return sign_in::logins(observed),
        Check::Cors => return cors::pages(observed),
        Check::Token => token::token(observed),
        Check::Authorization => token::authorization(observed),
        Check::Revisions => return mcp::revisions(observed),
        Check::Tools => mcp::tools(observed),
        Check::Call => mcp::call(observed),
        Check::Latency => mcp::latency(observed),
        Check::RateLimits => mcp::rate_limits(observed),
        // Those of the cluster are examined above, or left out without a kubeconfig.
        _ => not_examined(check),
    };
    vec![finding]
}

fn not_examined(check: Check) -> Finding {
    Finding::skipped(check, NOT_EXAMINED)
}
