//! CEL rules that several fields share, for the derive macro of kube.

use kube::core::Rule;
use portcullis_core::{quantity::Span, redirect_uri, schema};

fn rule(rule: schema::Rule) -> Rule {
    Rule::new(rule.rule).message(&*rule.message)
}

/// A name as nearly every Kubernetes object has it (RFC 1123 subdomain).
pub(super) fn object_name() -> Rule {
    rule(schema::object_name())
}

/// One of the rules for redirect URIs.
pub(super) fn redirect_uris(of: redirect_uri::Rule) -> Rule {
    rule(of.cel())
}

/// A duration from `min` to `max`.
pub(super) fn span(min: &str, max: &str) -> Rule {
    rule(Span::rule(min, max))
}

/// That the duration `shorter` of an object is at most, or less than, its duration `longer`.
pub(super) fn two_spans(shorter: &str, comparison: &str, longer: &str, least: &str) -> Rule {
    Rule::new(Span::comparison(shorter, comparison, longer, least))
}
