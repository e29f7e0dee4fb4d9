//! CEL rules that several fields share, for the derive macro of kube.

use kube::core::Rule;
use portcullis_core::{
    endpoint_paths::{RESERVED, ReservedPath, WELL_KNOWN},
    quantity::Span,
    redirect_uri, schema,
};

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

/// That the path of an endpoint's URL is not reserved.
pub(super) fn path_of_url() -> Rule {
    let (end, below) = reserved_patterns();
    let rule = format!("!self.matches('{end}') && !self.matches('{below}') && !self.contains('{WELL_KNOWN}/')");
    Rule::new(rule).message(&*format!("must not {}", reserved_message()))
}

/// That no alias of an endpoint's path is reserved.
pub(super) fn path_aliases() -> Rule {
    let (end, below) = reserved_patterns();
    let rule = format!("self.all(p, !p.matches('{end}') && !p.matches('{below}') && !p.startsWith('{WELL_KNOWN}/'))");
    Rule::new(rule).message(&*format!("none may {}", reserved_message()))
}

fn names(reserved: impl Iterator<Item = ReservedPath>) -> Vec<&'static str> {
    reserved.map(|path| path.name()).collect()
}

/// Regular expressions for paths that end in a reserved one, and for those that are below one.
fn reserved_patterns() -> (String, String) {
    let end = names(RESERVED.into_iter()).join("|").replace('.', "[.]");
    let below = names(RESERVED.into_iter().filter(|path| path.below)).join("|");
    (format!("/({end})$"), format!("/({below})/"))
}

fn reserved_message() -> String {
    let list = |names: &[&str]| match names {
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
        [] => String::new(),
    };
    let mut below = names(RESERVED.into_iter().filter(|path| path.below));
    below.push(WELL_KNOWN.trim_start_matches('/'));
    format!(
        "end in {}, nor lie below {}: the authorization server answers there",
        list(&names(RESERVED.into_iter())),
        list(&below)
    )
}
