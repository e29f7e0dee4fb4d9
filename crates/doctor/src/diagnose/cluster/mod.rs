//! The endpoint in its cluster. These checks come first: what is wrong in the cluster is the cause of what clients see.

mod exposure;
mod installation;
mod policies;
mod references;
mod reports;
mod servers;

#[cfg(test)]
mod tests;

use super::not_examined;
use crate::{
    Check, Code, Finding,
    cluster::{ClusterObservations, ReadFailure, Reading},
    observation::Observations,
};
use serde_json::Value;

/// The findings of a check of the cluster.
pub(super) fn examine(check: Check, cluster: &ClusterObservations, observed: &Observations) -> Vec<Finding> {
    let one = match check {
        Check::Cluster => installation::api(cluster),
        Check::Definitions => installation::definitions(cluster),
        Check::Resource => installation::resource(cluster),
        _ => {
            let Some(endpoint) = cluster.found() else { return vec![not_examined(check)] };
            let subject = Subject { cluster, endpoint };
            match check {
                Check::Operator => installation::operator(&subject),
                Check::References => return references::references(&subject),
                Check::Pods => servers::pods(&subject),
                Check::Quota => return policies::quotas(&subject),
                Check::Service => servers::service(&subject),
                Check::Exposure => exposure::exposure(&subject, observed),
                Check::Certificate => return references::certificates(&subject),
                Check::NetworkPolicy => policies::network_policies(&subject),
                Check::Conditions => return reports::conditions(&subject),
                Check::Events => return reports::events(&subject),
                Check::Clients => return reports::clients(&subject),
                Check::Grants => reports::grants(&subject),
                _ => not_examined(check),
            }
        }
    };
    vec![one]
}

/// An endpoint that was found, and what was read about it.
struct Subject<'a> {
    cluster: &'a ClusterObservations,
    endpoint: &'a Value,
}

/// What was read, or the finding that says why it was not.
fn read<T>(check: Check, reading: &Reading<T>) -> Result<&T, Finding> {
    reading.as_ref().map_err(|failure| unavailable(check, failure))
}

fn unavailable(check: Check, failure: &ReadFailure) -> Finding {
    match failure {
        ReadFailure::NotRead => not_examined(check),
        ReadFailure::Unavailable(why) => Finding::problem(check, Code::ClusterUnavailable, why),
        ReadFailure::Forbidden(permission) => {
            let (verb, resource) = (permission.verb, &permission.resource);
            let within = permission.namespace.as_ref().map_or_else(|| "-A".to_owned(), |name| format!("-n {name}"));
            let seen =
                format!("no permission to {verb} {resource}; check: kubectl auth can-i {verb} {resource} {within}");
            Finding::problem(check, Code::ClusterForbidden, seen)
        }
    }
}
