//! The Ingress or HTTPRoute of the endpoint.

use super::{Subject, read};
use crate::{
    Check, Code, Finding,
    cluster::value::{condition_is, list, name, namespace, reason_and_message, text},
    observation::{Observations, clipped},
};
use serde_json::Value;
use std::collections::BTreeSet;

const CHECK: Check = Check::Exposure;
/// The annotations that select a class and mark the default one.
const OLD_CLASS: &str = "kubernetes.io/ingress.class";
const DEFAULT_CLASS: &str = "ingressclass.kubernetes.io/is-default-class";

/// `observed` says whether the endpoint can be reached nevertheless.
pub(super) fn exposure(subject: &Subject<'_>, observed: &Observations) -> Finding {
    let exposure = &subject.endpoint["spec"]["exposure"];
    if !exposure["none"].is_null() {
        return Finding::ok(CHECK, "spec.exposure is none");
    }
    if !exposure["gateway"].is_null() {
        return http_route(subject);
    }
    if let Some(finding) = refused(subject) {
        return finding;
    }
    let ingress = match read(CHECK, &subject.cluster.ingress) {
        Ok(ingress) => ingress,
        Err(finding) => return finding,
    };
    let Some(ingress) = ingress else {
        let seen = format!("there is no Ingress {:?}", name(subject.endpoint));
        return Finding::problem(CHECK, Code::IngressMissing, seen);
    };
    if let Some(seen) = without_class(subject, ingress) {
        return Finding::problem(CHECK, Code::IngressClassMissing, clipped(&seen));
    }
    if let Some(seen) = taken(subject, ingress) {
        return Finding::problem(CHECK, Code::HostTaken, clipped(&seen));
    }
    let addresses: Vec<&str> = list(ingress, "/status/loadBalancer/ingress")
        .iter()
        .filter_map(|address| text(address, "/hostname").or_else(|| text(address, "/ip")))
        .collect();
    if addresses.is_empty() {
        let reached = observed
            .unauthenticated
            .as_ref()
            .is_some_and(|exchange| exchange.as_ref().is_ok_and(|reply| reply.status == 401));
        let code = if reached { Code::IngressAddressUnset } else { Code::IngressWithoutAddress };
        return Finding::problem(CHECK, code, "status.loadBalancer of the Ingress is empty");
    }
    Finding::ok(CHECK, format!("the Ingress has {}", addresses.join(", ")))
}

/// The condition `Exposed`, if the operator does not create a route or a controller does not accept it.
fn refused(subject: &Subject<'_>) -> Option<Finding> {
    let condition = condition_is(subject.endpoint, "Exposed", "False")?;
    let code = match text(condition, "/reason")? {
        "IngressClassNotFound" | "NoDefaultIngressClass" => Code::IngressClassMissing,
        "UrlTaken" | "HostTaken" => Code::HostTaken,
        "RouteRefused" | "RoutePending" | "GatewayApiMissing" => Code::RouteNotAccepted,
        "IngressMissing" => return None,
        _ => Code::NotExposed,
    };
    Some(Finding::problem(CHECK, code, clipped(&reason_and_message(condition))))
}

/// Why no controller is responsible for the Ingress.
fn without_class(subject: &Subject<'_>, ingress: &Value) -> Option<String> {
    let classes = subject.cluster.ingress_classes.as_ref().ok()?;
    let names: Vec<&str> = classes.iter().map(name).collect();
    let existing =
        if names.is_empty() { "there is none".to_owned() } else { format!("there are: {}", names.join(", ")) };
    if let Some(class) = text(ingress, "/spec/ingressClassName") {
        return (!names.contains(&class)).then(|| format!("there is no IngressClass {class:?}; {existing}"));
    }
    let annotated = ingress["metadata"]["annotations"].get(OLD_CLASS).is_some();
    let default = classes.iter().any(|class| class["metadata"]["annotations"][DEFAULT_CLASS] == "true");
    (!annotated && !default)
        .then(|| format!("the Ingress has no class, and no IngressClass is the default; {existing}"))
}

/// Another Ingress with the same host and path.
fn taken(subject: &Subject<'_>, ingress: &Value) -> Option<String> {
    let own = routes(ingress);
    let others = subject.cluster.ingresses.as_ref().ok()?.iter().filter(|other| {
        (name(other), namespace(other)) != (name(ingress), namespace(ingress)) && class(other) == class(ingress)
    });
    for other in others {
        if let Some((host, path)) = routes(other).intersection(&own).next() {
            return Some(format!("the Ingress {}/{} also has {host}{path}", namespace(other), name(other)));
        }
    }
    None
}

fn class(ingress: &Value) -> Option<&str> {
    text(ingress, "/spec/ingressClassName")
}

/// The hosts and paths of an Ingress.
fn routes(ingress: &Value) -> BTreeSet<(&str, &str)> {
    let rules = list(ingress, "/spec/rules").iter();
    rules
        .flat_map(|rule| {
            let host = text(rule, "/host").unwrap_or("*");
            list(rule, "/http/paths").iter().map(move |path| (host, text(path, "/path").unwrap_or("/")))
        })
        .collect()
}

fn http_route(subject: &Subject<'_>) -> Finding {
    if let Some(finding) = refused(subject) {
        return finding;
    }
    let route = match read(CHECK, &subject.cluster.http_route) {
        Ok(route) => route,
        Err(finding) => return finding,
    };
    let Some(route) = route else {
        let seen = format!("there is no HTTPRoute {:?}", name(subject.endpoint));
        return Finding::problem(CHECK, Code::IngressMissing, seen);
    };
    let parents = list(route, "/status/parents");
    if parents.is_empty() {
        return Finding::problem(CHECK, Code::RouteNotAccepted, "no Gateway has reported on the HTTPRoute");
    }
    for parent in parents {
        let gateway = text(parent, "/parentRef/name").unwrap_or_default();
        let conditions = list(parent, "/conditions").iter();
        let failed = conditions
            .filter(|condition| condition["status"] == "False")
            .find(|condition| condition["type"] == "Accepted" || condition["type"] == "ResolvedRefs");
        if let Some(condition) = failed {
            let seen = format!("Gateway {gateway:?}: {}", reason_and_message(condition));
            return Finding::problem(CHECK, Code::RouteNotAccepted, clipped(&seen));
        }
    }
    Finding::ok(CHECK, "the HTTPRoute is accepted")
}
