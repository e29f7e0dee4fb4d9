//! `imagePullSecrets` of planned pods: Secrets with registry credentials, of the namespace of the pod.

use k8s_openapi::api::core::v1::LocalObjectReference;

/// References to the Secrets, in this order, each once: for the API server, the list is a map.
pub(super) fn references<'a>(names: impl IntoIterator<Item = &'a String>) -> Option<Vec<LocalObjectReference>> {
    let mut references: Vec<LocalObjectReference> = Vec::new();
    for name in names {
        if references.iter().all(|reference| reference.name != *name) {
            references.push(LocalObjectReference { name: name.clone() });
        }
    }
    (!references.is_empty()).then_some(references)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_secret_is_referenced_once_and_the_order_stays() {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let referenced = |given: &[&str]| {
            let references = references(&names(given))?;
            Some(references.into_iter().map(|reference| reference.name).collect::<Vec<_>>())
        };
        assert_eq!(referenced(&[]), None);
        assert_eq!(referenced(&["b", "a", "b"]), Some(names(&["b", "a"])));
    }
}
