//! Whether a controller can act on the endpoint's Ingress: its class must exist.

use crate::status::{Blocker, reason};
use kube::core::DynamicObject;
use portcullis_api::exposure::IngressExposure;
use portcullis_plan::ClusterFacts;

/// The annotation that named the class before `spec.ingressClassName` (Kubernetes 1.18). Some controllers read only it.
const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
/// The maximum number of classes in a message.
const SHOWN_CLASSES: usize = 10;

/// Why no controller acts on the Ingress. If it has an address, a controller does, whatever its class.
#[must_use]
pub fn missing_class(
    exposure: Option<&IngressExposure>,
    facts: &ClusterFacts,
    live: Option<&DynamicObject>,
) -> Option<Blocker> {
    let address = live.and_then(|live| live.data.pointer("/status/loadBalancer/ingress/0"));
    if address.is_some() {
        return None;
    }
    let given = exposure.and_then(|ingress| ingress.class_name.as_deref());
    let existing = existing(facts);
    match given {
        Some(class) if facts.ingress_classes.contains_key(class) => None,
        Some(class) => Some(Blocker {
            reason: reason::INGRESS_CLASS_NOT_FOUND,
            message: format!(
                "the cluster has no IngressClass {class:?}, so no controller acts on the Ingress; {existing}; set \
                 spec.exposure.ingress.className to one of them, or install the controller"
            ),
        }),
        None if facts.default_ingress_class.is_some() => None,
        None if exposure.is_some_and(|ingress| ingress.annotations.contains_key(CLASS_ANNOTATION)) => None,
        None => Some(Blocker {
            reason: reason::NO_DEFAULT_INGRESS_CLASS,
            message: format!(
                "spec.exposure.ingress.className is not set and no IngressClass is the cluster's default, so no controller \
                 acts on the Ingress; {existing}; set className to one of them, annotate one with \
                 ingressclass.kubernetes.io/is-default-class=true, or use spec.exposure.gateway or none"
            ),
        }),
    }
}

fn existing(facts: &ClusterFacts) -> String {
    if facts.ingress_classes.is_empty() {
        return "the cluster has no IngressClass at all".to_owned();
    }
    let names: Vec<&str> = facts.ingress_classes.keys().take(SHOWN_CLASSES).map(String::as_str).collect();
    let more = facts.ingress_classes.len().saturating_sub(SHOWN_CLASSES);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("there are: {}{more}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn an_ingress_needs_a_class_that_exists() {
        let facts = |classes: &[&str], default: Option<&str>| ClusterFacts {
            ingress_classes: classes.iter().map(|class| ((*class).to_owned(), "c".to_owned())).collect(),
            default_ingress_class: default.map(ToOwned::to_owned),
            ..ClusterFacts::default()
        };
        let live = |status: Value| -> DynamicObject {
            serde_json::from_value(json!({"metadata": {"name": "agents"}, "status": status})).unwrap()
        };
        let (pending, served) = (live(json!({})), live(json!({"loadBalancer": {"ingress": [{"ip": "192.0.2.1"}]}})));
        let ingress = |value: Value| serde_json::from_value::<IngressExposure>(value).unwrap();
        let named = |class: &str| Some(ingress(json!({"className": class})));
        let annotated = Some(ingress(json!({"annotations": {"kubernetes.io/ingress.class": "gce"}})));
        let (not_found, no_default) = (reason::INGRESS_CLASS_NOT_FOUND, reason::NO_DEFAULT_INGRESS_CLASS);
        let several = facts(&["nginx", "traefik"], None);
        let many: Vec<String> = (0..12).map(|number| format!("class-{number:02}")).collect();
        let many = facts(&many.iter().map(String::as_str).collect::<Vec<_>>(), None);
        for (exposure, facts, live, expected) in [
            (named("nginx"), &several, &pending, None),
            (named("ngnix"), &several, &pending, Some((not_found, "no IngressClass \"ngnix\""))),
            (named("ngnix"), &several, &pending, Some((not_found, "there are: nginx, traefik; set"))),
            (named("ngnix"), &facts(&[], None), &pending, Some((not_found, "no IngressClass at all"))),
            (named("x"), &many, &pending, Some((not_found, "class-09 and 2 more; set"))),
            (named("ngnix"), &several, &served, None),
            (None, &facts(&["nginx"], Some("nginx")), &pending, None),
            (None, &several, &pending, Some((no_default, "there are: nginx, traefik"))),
            (Some(ingress(json!({}))), &several, &pending, Some((no_default, "is-default-class=true"))),
            (None, &several, &served, None),
            (annotated, &several, &pending, None),
        ] {
            let found = missing_class(exposure.as_ref(), facts, Some(live));
            assert_eq!(found.as_ref().map(|found| found.reason), expected.map(|(reason, _)| reason), "{exposure:?}");
            if let (Some(found), Some((_, words))) = (found, expected) {
                assert!(found.message.contains(words), "{}", found.message);
            }
        }
    }
}
