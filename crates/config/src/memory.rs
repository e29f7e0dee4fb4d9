//! The division of a server's memory limit, which ensures that the other limits fit.
//!
//! The fixed parts are the program, the permits for requests, and the connections. The rest, less a tenth for the
//! allocator, is the budget for large bodies, responses of workspace agents and unsent responses.

use crate::ServerLimits;
use portcullis_core::limits::BODY_COPIES;

/// The memory of the program before the first request, in bytes: code, caches, watched objects.
pub const BASE: u64 = 40 << 20;
/// The maximum memory in bytes of a request without a charge to the budget: all copies of a small body and a small
/// response.
pub const PER_REQUEST: u64 = 192 << 10;
/// The same for a request that does not require a token: pages, documents, the token endpoint.
pub const PER_OPEN_REQUEST: u64 = 32 << 10;
/// The memory of an idle connection, in bytes.
pub const PER_CONNECTION: u64 = 16 << 10;
/// The maximum budget, in bytes.
pub const MOST: u64 = 512 << 20;
/// The assumed memory in bytes of a process without a memory limit.
pub const WITHOUT_LIMIT: u64 = 512 << 20;
/// The maximum number of concurrent requests without a token.
#[must_use]
pub fn open_requests(limits: &ServerLimits) -> u32 {
    limits.max_concurrent_requests.saturating_mul(4).max(64)
}

/// The parts of a memory limit, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Division {
    /// The memory limit.
    pub memory: u64,
    /// The memory for the program, requests and connections.
    pub fixed: u64,
    /// The budget for large bodies, responses of workspace agents and unsent responses.
    pub budget: u64,
    /// The part of the budget for a body of `maxBodySize`.
    pub largest_body: u64,
}

impl Division {
    /// Divides `memory` bytes.
    #[must_use]
    pub fn of(limits: &ServerLimits, memory: u64) -> Self {
        let requests = u64::from(limits.max_concurrent_requests) * PER_REQUEST;
        let open = u64::from(open_requests(limits)) * PER_OPEN_REQUEST;
        let connections = u64::from(limits.max_connections) * PER_CONNECTION;
        let fixed = BASE + requests + open + connections;
        let budget = (memory - memory / 10).saturating_sub(fixed).min(MOST);
        let largest_body = limits.max_body_size.bytes().saturating_mul(BODY_COPIES);
        Self { memory, fixed, budget, largest_body }
    }

    /// Why the limits do not fit, and which values to change. `None` if they fit.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        if self.largest_body <= self.budget {
            return None;
        }
        let mebibytes = |bytes: u64| bytes.div_ceil(1 << 20);
        let needed = (self.fixed + self.largest_body).saturating_mul(10).div_ceil(9);
        Some(format!(
            "spec.limits need more than the memory limit of {} MiB: {} MiB are reserved for maxConcurrentRequests and \
             maxConnections, which leaves {} MiB for bodies, and one of maxBodySize needs {} MiB; raise \
             spec.deployment.resources.limits.memory to {}Mi, or lower maxConcurrentRequests, maxConnections or \
             maxBodySize in spec.limits",
            mebibytes(self.memory),
            mebibytes(self.fixed),
            self.budget >> 20,
            mebibytes(self.largest_body),
            mebibytes(needed),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::quantity::ByteSize;

    fn limits(requests: u32, body: u64) -> ServerLimits {
        ServerLimits {
            max_concurrent_requests: requests,
            max_body_size: ByteSize::from_mebibytes(body),
            ..ServerLimits::default()
        }
    }

    #[test]
    fn the_defaults_fit_the_default_memory_limit() {
        let division = Division::of(&limits(100, 4), 128 << 20);
        assert_eq!(division.problem(), None);
        assert!(division.fixed + division.budget <= 128 << 20, "{division:?}");
        assert!(division.budget >= 2 * division.largest_body, "two callers can send the largest body: {division:?}");
    }

    #[test]
    fn limits_that_do_not_fit_say_which_values_to_change() {
        for (requests, body) in [(1000, 4), (100, 64)] {
            let division = Division::of(&limits(requests, body), 128 << 20);
            let problem = division.problem().unwrap();
            assert!(problem.contains("memory limit of 128 MiB") && problem.contains("maxBodySize"), "{problem}");
            let raised = problem.split("limits.memory to ").nth(1).unwrap().split("Mi").next().unwrap();
            let memory = raised.parse::<u64>().unwrap() << 20;
            assert_eq!(Division::of(&limits(requests, body), memory).problem(), None, "{problem}");
        }
    }
}
