//! The condition `Exposed`: how the endpoint is reached from outside the cluster, and who enforces CORS and TLS.

use crate::status::{Blocker, finding, reason};
use kube::core::DynamicObject;
use portcullis_api::{
    condition::{EXPOSED, Finding},
    exposure::ParentRef,
};
use portcullis_plan::{CorsEnforcer, RouteProblem};
use serde_json::Value;

/// How the endpoint is exposed.
#[derive(Clone, Copy, Debug)]
pub enum ExposedBy<'a> {
    /// Not at all, according to the manifest.
    None,
    /// An Ingress.
    Ingress(Option<&'a DynamicObject>),
    /// An Ingress on which no controller acts.
    NoIngressClass(&'a Blocker),
    /// An HTTPRoute.
    HttpRoute {
        /// The Gateways that the manifest names.
        parents: &'a [ParentRef],
        /// The live HTTPRoute.
        live: Option<&'a DynamicObject>,
    },
    /// An HTTPRoute, in a cluster without that kind.
    NoGatewayApi,
    /// Not at all, since it is not permitted.
    Refused(&'a RouteProblem),
}

/// Notes on the exposure.
#[derive(Clone, Copy, Debug)]
pub struct Notes<'a> {
    /// Who enforces CORS.
    pub cors: CorsEnforcer,
    /// Why.
    pub cors_note: Option<&'a str>,
    /// A note on TLS to the servers.
    pub backend_note: Option<&'a str>,
    /// The omitted annotations.
    pub annotations_note: Option<&'a str>,
}

/// The condition. `namespace` is the endpoint's.
pub(super) fn exposed(exposed_by: ExposedBy<'_>, notes: Notes<'_>, namespace: &str) -> Finding {
    let (holds, reason, what) = match exposed_by {
        ExposedBy::None => (true, reason::CLUSTER_ONLY, "spec.exposure is none: only reachable inside the cluster".to_owned()),
        ExposedBy::Ingress(None) => (false, reason::INGRESS_MISSING, "the Ingress does not exist yet".to_owned()),
        ExposedBy::Ingress(Some(live)) => {
            let address = live.data.pointer("/status/loadBalancer/ingress/0");
            let address = address.and_then(|at| at["hostname"].as_str().or_else(|| at["ip"].as_str()));
            let at = address.map_or("no controller has given it an address yet".to_owned(), |at| format!("at {at}"));
            (true, reason::INGRESS_APPLIED, format!("the Ingress exists, {at}"))
        }
        ExposedBy::NoIngressClass(why) => (false, why.reason, why.message.clone()),
        ExposedBy::HttpRoute { live: None, .. } => {
            (false, reason::ROUTE_PENDING, "the HTTPRoute does not exist yet".to_owned())
        }
        ExposedBy::HttpRoute { parents, live: Some(live) } => route(parents, live, namespace),
        ExposedBy::NoGatewayApi => (
            false,
            reason::GATEWAY_API_MISSING,
            "the cluster has no HTTPRoute (gateway.networking.k8s.io/v1): install the Gateway API, which is noticed within five minutes, or use spec.exposure.ingress".to_owned(),
        ),
        ExposedBy::Refused(problem) => (false, reason_of(problem), problem.to_string()),
    };
    // Some requested settings have no effect.
    let (holds, reason, what) = match notes.annotations_note {
        Some(note) if holds => (false, reason::ANNOTATIONS_REFUSED, format!("{what}; {note}")),
        _ => (holds, reason, what),
    };
    finding(EXPOSED, Some(holds), reason, [what, cors_note(notes)].concat())
}

fn reason_of(problem: &RouteProblem) -> &'static str {
    match problem {
        RouteProblem::UrlTaken { .. } => reason::URL_TAKEN,
        RouteProblem::HostTaken { .. } | RouteProblem::UrlTakenElsewhere { .. } => reason::HOST_TAKEN,
        RouteProblem::HostNotPermitted { .. } => reason::HOST_NOT_PERMITTED,
        RouteProblem::ClassNotPermitted { .. } => reason::CLASS_NOT_PERMITTED,
    }
}

fn cors_note(notes: Notes<'_>) -> String {
    let cors = match (notes.cors, notes.cors_note) {
        (CorsEnforcer::Server, None) => String::new(),
        (enforcer, note) => {
            let note = note.map(|note| format!(" ({note})")).unwrap_or_default();
            format!("; CORS is enforced by {}{note}", enforcer_name(enforcer))
        }
    };
    let backend = notes.backend_note.map(|note| format!("; {note}")).unwrap_or_default();
    cors + &backend
}

/// The condition from the route's `status.parents`.
fn route(parents: &[ParentRef], live: &DynamicObject, namespace: &str) -> (bool, &'static str, String) {
    for parent in parents {
        let name = gateway_name(parent);
        let answers = answers(parent, live, namespace);
        let condition = |kind: &str| {
            let mut all = answers.iter().filter_map(|answer| answer["conditions"].as_array()).flatten();
            all.find(|condition| condition["type"] == kind && is_current(condition, live))
        };
        for kind in ["Accepted", "ResolvedRefs"] {
            match condition(kind) {
                Some(condition) if condition["status"] == "True" => {}
                Some(condition) => {
                    let word = condition["reason"].as_str().unwrap_or("no reason");
                    let message = condition["message"].as_str().unwrap_or_default();
                    return (
                        false,
                        reason::ROUTE_REFUSED,
                        format!("{name} does not accept the HTTPRoute: {word}: {message}"),
                    );
                }
                None => {
                    let message = format!(
                        "{name} has not reported on the HTTPRoute yet: it must exist, and one of its listeners must match the host and allow routes of this namespace"
                    );
                    return (false, reason::ROUTE_PENDING, message);
                }
            }
        }
    }
    let names: Vec<String> = parents.iter().map(gateway_name).collect();
    (true, reason::ROUTE_ACCEPTED, format!("the HTTPRoute is accepted by {}", names.join(" and ")))
}

fn gateway_name(parent: &ParentRef) -> String {
    let namespace =
        parent.namespace.as_ref().map(|namespace| format!(" of namespace {namespace:?}")).unwrap_or_default();
    let listener = parent.section_name.as_ref().map(|name| format!(", listener {name:?}")).unwrap_or_default();
    format!("Gateway {:?}{namespace}{listener}", parent.name)
}

/// The statuses of controllers for one parent.
fn answers<'a>(parent: &ParentRef, live: &'a DynamicObject, namespace: &str) -> Vec<&'a Value> {
    let wanted_namespace = parent.namespace.as_deref().unwrap_or(namespace);
    let is_its = |answer: &&Value| {
        let about = &answer["parentRef"];
        about["name"] == *parent.name
            && about["namespace"].as_str().unwrap_or(namespace) == wanted_namespace
            && about["sectionName"].as_str() == parent.section_name.as_deref()
    };
    live.data.pointer("/status/parents").and_then(Value::as_array).into_iter().flatten().filter(is_its).collect()
}

/// Whether a condition is about the current generation of the route.
fn is_current(condition: &Value, live: &DynamicObject) -> bool {
    let generation = live.metadata.generation.unwrap_or_default();
    condition["observedGeneration"].as_i64().is_none_or(|observed| observed >= generation)
}

pub(super) fn enforcer_name(enforcer: CorsEnforcer) -> &'static str {
    match enforcer {
        CorsEnforcer::Server => "Server",
        CorsEnforcer::Traefik => "Traefik",
        CorsEnforcer::IngressNginx => "IngressNginx",
        CorsEnforcer::Gateway => "Gateway",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const QUIET: Notes<'_> =
        Notes { cors: CorsEnforcer::Server, cors_note: None, backend_note: None, annotations_note: None };

    fn live(parents: &Value) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
            "metadata": {"name": "agents", "generation": 2}, "status": {"parents": parents},
        }))
        .unwrap()
    }

    fn condition(kind: &str, status: &str) -> Value {
        json!({"type": kind, "status": status, "reason": "Word", "message": "because", "observedGeneration": 2})
    }

    fn parents(refs: Value) -> Vec<ParentRef> {
        serde_json::from_value(refs).unwrap()
    }

    #[test]
    fn a_route_is_exposed_once_every_gateway_takes_it() {
        let good = json!([condition("Accepted", "True"), condition("ResolvedRefs", "True")]);
        let answer = |parent: Value, conditions: &Value| json!({"parentRef": parent, "controllerName": "example.com/c", "conditions": conditions});
        let edge = || answer(json!({"name": "edge"}), &good);
        let stale = json!([{"type": "Accepted", "status": "True", "observedGeneration": 1}]);
        let not_allowed = json!([condition("Accepted", "False"), condition("ResolvedRefs", "True")]);
        let unresolved = json!([condition("Accepted", "True"), condition("ResolvedRefs", "False")]);
        let one = json!([{"name": "edge"}]);
        let two = json!([{"name": "edge"}, {"name": "inner", "namespace": "net", "sectionName": "https"}]);
        let inner = |section: &str| answer(json!({"name": "inner", "namespace": "net", "sectionName": section}), &good);
        for (refs, status, holds, reason, said) in [
            (&one, json!([edge()]), true, reason::ROUTE_ACCEPTED, "accepted by Gateway \"edge\""),
            (
                &one,
                json!([answer(json!({"name": "edge", "namespace": "dev"}), &good)]),
                true,
                reason::ROUTE_ACCEPTED,
                "",
            ),
            (&one, json!([]), false, reason::ROUTE_PENDING, "\"edge\" has not reported"),
            (
                &one,
                json!([answer(json!({"name": "edge", "namespace": "net"}), &good)]),
                false,
                reason::ROUTE_PENDING,
                "",
            ),
            (&one, json!([answer(json!({"name": "edge"}), &stale)]), false, reason::ROUTE_PENDING, ""),
            (
                &one,
                json!([answer(json!({"name": "edge"}), &not_allowed)]),
                false,
                reason::ROUTE_REFUSED,
                "Word: because",
            ),
            (
                &one,
                json!([answer(json!({"name": "edge"}), &unresolved)]),
                false,
                reason::ROUTE_REFUSED,
                "Word: because",
            ),
            (&two, json!([edge(), inner("https")]), true, reason::ROUTE_ACCEPTED, "and Gateway \"inner\" of namespace"),
            (&two, json!([edge()]), false, reason::ROUTE_PENDING, "\"inner\""),
            (&two, json!([edge(), inner("http")]), false, reason::ROUTE_PENDING, "listener \"https\""),
        ] {
            let (route, parents) = (live(&status), parents(refs.clone()));
            let found = exposed(ExposedBy::HttpRoute { parents: &parents, live: Some(&route) }, QUIET, "dev");
            assert_eq!((found.holds, found.reason), (Some(holds), reason), "{}", found.message);
            assert!(found.message.contains(said), "{}", found.message);
        }
        let none = exposed(ExposedBy::HttpRoute { parents: &[], live: None }, QUIET, "dev");
        assert_eq!((none.holds, none.reason), (Some(false), reason::ROUTE_PENDING));
    }

    #[test]
    fn what_is_to_be_known_follows_what_is() {
        let notes = Notes { cors: CorsEnforcer::Gateway, cors_note: Some("why"), backend_note: Some("how"), ..QUIET };
        let found = exposed(ExposedBy::None, notes, "dev");
        assert!(found.message.ends_with("; CORS is enforced by Gateway (why); how"), "{}", found.message);
        assert!(exposed(ExposedBy::None, QUIET, "dev").message.ends_with("inside the cluster"));
        let problem = RouteProblem::UrlTaken { by: "first".to_owned(), url: "https://h/token".to_owned() };
        let taken = exposed(ExposedBy::Refused(&problem), QUIET, "dev");
        assert_eq!((taken.holds, taken.reason), (Some(false), reason::URL_TAKEN));
        assert!(taken.message.contains("\"first\"") && taken.message.contains("https://h/token"));
        let problem = RouteProblem::HostTaken { host: "h".to_owned() };
        let taken = exposed(ExposedBy::Refused(&problem), QUIET, "dev");
        assert_eq!((taken.holds, taken.reason), (Some(false), reason::HOST_TAKEN));
        let left_out = exposed(ExposedBy::None, Notes { annotations_note: Some("left out"), ..QUIET }, "dev");
        assert_eq!((left_out.holds, left_out.reason), (Some(false), reason::ANNOTATIONS_REFUSED));
        assert!(left_out.message.ends_with("; left out"), "{}", left_out.message);
        let missing = exposed(ExposedBy::NoGatewayApi, QUIET, "dev");
        assert_eq!((missing.holds, missing.reason), (Some(false), reason::GATEWAY_API_MISSING));
    }
}
