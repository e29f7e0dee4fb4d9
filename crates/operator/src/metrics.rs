//! The operator's metrics. Every label has a bounded set of values.

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};
use std::{fmt, time::Duration};

/// What the operator counts, and the registry that prints it.
pub struct Metrics {
    registry: Registry,
    reconciles: Family<OutcomeLabels, Counter>,
    duration: Histogram,
    writes: Family<WriteLabels, Counter>,
    leader: Gauge,
}

/// What was reconciled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Subject {
    /// An endpoint with its clients.
    McpEndpoint,
    /// A workspace.
    Workspace,
}

/// How a reconcile ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum ReconcileOutcome {
    /// Everything is as planned.
    Done,
    /// Something is still on its way, such as a pod that loads its files.
    Waiting,
    /// The cluster changed meanwhile; planned anew.
    Stale,
    /// The API server refused a request.
    Refused,
    /// The API server could not be reached, or failed.
    Unreachable,
    /// The manifest cannot be planned.
    Unplannable,
}

/// How something was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
pub enum Verb {
    /// An object was applied.
    Apply,
    /// An object was deleted.
    Delete,
    /// A pod was annotated.
    Annotate,
    /// A status was written.
    Status,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    kind: Subject,
    outcome: ReconcileOutcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WriteLabels {
    kind: String,
    verb: Verb,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("portcullis_operator");
        let reconciles = Family::default();
        let duration = Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0]);
        let writes = Family::default();
        let leader = Gauge::default();
        registry.register("reconciles", "Reconciles by outcome", reconciles.clone());
        registry.register("reconcile_duration_seconds", "Duration of reconciles", duration.clone());
        registry.register("writes", "Successful writes to the API server", writes.clone());
        registry.register("leader", "1 while this replica leads", leader.clone());
        Self { registry, reconciles, duration, writes, leader }
    }
}

impl Metrics {
    /// Counts a reconcile.
    pub fn reconciled(&self, kind: Subject, outcome: ReconcileOutcome, took: Duration) {
        self.reconciles.get_or_create(&OutcomeLabels { kind, outcome }).inc();
        self.duration.observe(took.as_secs_f64());
    }

    /// Counts a write. `kind` is one of the kinds that a plan may hold, of a pod or of a custom resource.
    pub fn wrote(&self, kind: &str, verb: Verb) {
        self.writes.get_or_create(&WriteLabels { kind: kind.to_owned(), verb }).inc();
    }

    /// Says whether this replica leads.
    pub fn set_leader(&self, leads: bool) {
        self.leader.set(i64::from(leads));
    }

    /// The OpenMetrics text.
    pub fn render(&self) -> Result<String, fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_happened_is_in_the_text() {
        let metrics = Metrics::default();
        metrics.reconciled(Subject::McpEndpoint, ReconcileOutcome::Done, Duration::from_millis(3));
        metrics.wrote("Secret", Verb::Apply);
        metrics.set_leader(true);
        let text = metrics.render().unwrap();
        for line in [
            r#"portcullis_operator_reconciles_total{kind="McpEndpoint",outcome="Done"} 1"#,
            r#"portcullis_operator_writes_total{kind="Secret",verb="Apply"} 1"#,
            "portcullis_operator_reconcile_duration_seconds_count 1",
            "portcullis_operator_leader 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
    }
}
