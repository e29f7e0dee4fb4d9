//! Which requests are sent again after a failure, and when.

use std::time::Duration;

/// The time for which a request is repeated. A restart of a server takes seconds.
const RETRY_FOR: Duration = Duration::from_mins(1);
/// The first pause.
const FIRST: Duration = Duration::from_millis(200);
/// The longest pause.
const LONGEST: Duration = Duration::from_secs(5);

/// The failure of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// The server did not see the request: there was no connection, or it answered 429 or 503. With the server's
    /// `Retry-After`.
    NotStarted(Option<Duration>),
    /// The connection ended, or a proxy answered for the server. The server may have carried the request out.
    Unknown,
    /// The server refused the request, or its answer cannot be used.
    Final,
}

/// The pauses of one request.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
    waited: Duration,
}

impl Backoff {
    /// The pause before the next attempt; `None` if the request is given up.
    pub(super) fn pause(&mut self, failure: Failure, method: &str) -> Option<Duration> {
        let asked = match failure {
            Failure::NotStarted(asked) => asked,
            Failure::Unknown if is_repeatable(method) => None,
            Failure::Unknown | Failure::Final => return None,
        };
        let usual = FIRST.saturating_mul(1 << self.attempts.min(10)).min(LONGEST);
        let pause = asked.map_or(usual, |asked| asked.max(usual));
        self.attempts += 1;
        self.waited = self.waited.saturating_add(pause);
        (self.waited <= RETRY_FOR).then_some(pause)
    }

    /// Begins anew, after a success.
    pub(super) fn reset(&mut self) {
        *self = Self::default();
    }
}

/// Whether a request may be carried out twice. A tool call may not: it can run a command.
fn is_repeatable(method: &str) -> bool {
    let families = ["tools/", "resources/", "prompts/", "completion/", "logging/", "subscriptions/", "server/"];
    matches!(method, "initialize" | "ping")
        || (families.iter().any(|family| method.starts_with(family)) && method != "tools/call")
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: &str = "tools/call";

    #[test]
    fn a_request_is_repeated_if_it_cannot_run_twice() {
        for (failure, method, again) in [
            (Failure::NotStarted(None), CALL, true),
            (Failure::NotStarted(None), "tools/list", true),
            (Failure::Unknown, CALL, false),
            (Failure::Unknown, "tools/list", true),
            (Failure::Unknown, "initialize", true),
            (Failure::Unknown, "subscriptions/listen", true),
            (Failure::Unknown, "vendor/method", false),
            (Failure::Final, "tools/list", false),
        ] {
            assert_eq!(Backoff::default().pause(failure, method).is_some(), again, "{failure:?} {method}");
        }
    }

    #[test]
    fn pauses_grow_and_end() {
        let mut backoff = Backoff::default();
        let pauses: Vec<_> = std::iter::from_fn(|| backoff.pause(Failure::NotStarted(None), CALL)).collect();
        assert_eq!(pauses[..3], [200, 400, 800].map(Duration::from_millis));
        assert_eq!(pauses.last(), Some(&LONGEST));
        assert!(pauses.iter().sum::<Duration>() <= RETRY_FOR && pauses.len() > 10);
        backoff.reset();
        assert_eq!(backoff.pause(Failure::NotStarted(None), CALL), Some(FIRST));
    }

    #[test]
    fn the_server_can_ask_for_a_longer_pause_within_limits() {
        let asked = |seconds| Failure::NotStarted(Some(Duration::from_secs(seconds)));
        assert_eq!(Backoff::default().pause(asked(30), CALL), Some(Duration::from_secs(30)));
        assert_eq!(Backoff::default().pause(asked(0), CALL), Some(FIRST));
        assert_eq!(Backoff::default().pause(asked(3600), CALL), None);
    }
}
