//! Diagnoses an endpoint from outside, as a client sees it: from DNS to a call of a tool; and in its cluster, if there is a
//! kubeconfig.
//!
//! [`probe`] does the I/O and records plain data. [`diagnose`] is pure: from the data to [`Finding`]s, in the order of
//! causes. [`report`] renders the findings for users and for programs.

mod check;
pub mod cluster;
mod code;
pub mod diagnose;
mod documents;
mod finding;
mod html;
pub mod observation;
pub mod probe;
pub mod redact;
pub mod report;

pub use check::Check;
pub use code::{Code, reference};
pub use finding::{Finding, Outcome, Severity};
pub use probe::{Credentials, Origin, OriginError, Target, UserToken, UserTokenError, UserTokenFuture};
pub use report::Report;

use portcullis_core::clock::Clock;
use portcullis_outbound::OutboundError;

/// Examines an endpoint. Fails only if the client itself cannot be set up, for example because of an unreadable CA bundle.
pub async fn examine(target: &Target, clock: &dyn Clock) -> Result<Report, OutboundError> {
    let observations = probe::probe(target, clock).await?;
    let findings = diagnose::diagnose(&observations);
    let subject = match &target.cluster {
        Some(cluster) if target.url.is_empty() => match &cluster.target {
            cluster::EndpointTarget::Name(name) => name.to_string(),
            cluster::EndpointTarget::Url(url) => observation::shown_url(url),
        },
        _ => observation::shown_url(&target.url),
    };
    Ok(Report::new(subject, observations.time, findings))
}
