//! A custom resource of which the cluster may have something that this version cannot read.
//!
//! What `kube::core::DeserializeGuard` is, over `serde_json::Value`: that one brings a second intermediate form, with code
//! for each type that is read.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::core::Resource;
use serde::{Deserialize, Deserializer, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;

/// An object that cannot be read.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{error}")]
pub struct InvalidObject {
    /// What is wrong.
    pub error: String,
    /// Its metadata.
    pub metadata: ObjectMeta,
}

/// An object, or why it cannot be read. Reading a list succeeds either way.
#[derive(Clone, Debug)]
pub struct Guarded<K>(pub Result<K, InvalidObject>);

impl<'de, K: DeserializeOwned> Deserialize<'de> for Guarded<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = Value::deserialize(deserializer)?;
        let metadata = object.get("metadata").cloned().unwrap_or_default();
        let invalid = match serde_json::from_value(object) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let metadata: Option<ObjectMeta> = serde_json::from_value(metadata).map_err(serde::de::Error::custom)?;
        Ok(Self(Err(InvalidObject { error: invalid, metadata: metadata.unwrap_or_default() })))
    }
}

impl<K: Resource> Resource for Guarded<K> {
    type DynamicType = K::DynamicType;
    type Scope = K::Scope;

    fn kind(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::kind(kind)
    }

    fn group(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::group(kind)
    }

    fn version(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::version(kind)
    }

    fn plural(kind: &Self::DynamicType) -> Cow<'_, str> {
        K::plural(kind)
    }

    fn meta(&self) -> &ObjectMeta {
        self.0.as_ref().map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0.as_mut().map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OAuthUser;
    use serde_json::json;

    fn read(object: Value) -> Result<Guarded<OAuthUser>, serde_json::Error> {
        serde_json::from_value(object)
    }

    #[test]
    fn an_object_that_cannot_be_read_keeps_its_name() {
        let metadata = json!({"name": "ann", "namespace": "dev", "resourceVersion": "7"});
        for (spec, said) in [(json!("no spec"), "invalid type"), (json!({}), "missing field")] {
            let read = read(json!({"metadata": metadata, "spec": spec})).unwrap();
            assert_eq!(read.meta().name.as_deref(), Some("ann"));
            assert_eq!(read.meta().resource_version.as_deref(), Some("7"));
            let invalid = read.0.unwrap_err();
            assert!(invalid.error.contains(said), "{invalid}");
        }
        for object in [json!({}), json!({"metadata": null})] {
            assert_eq!(read(object).unwrap().meta(), &ObjectMeta::default());
        }
        assert!(read(json!({"metadata": "none"})).is_err(), "without metadata there is no object");
    }

    #[test]
    fn an_object_in_a_list_is_read() {
        let users = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": [
            {"metadata": {"name": "ann"}, "spec": {"endpointRef": {"name": "agents"}, "user": {"id": "sso:1", "name": "ann"}}},
            {"metadata": {"name": "bob"}, "spec": 7},
        ]});
        let users: kube::core::ObjectList<Guarded<OAuthUser>> = serde_json::from_value(users).unwrap();
        let names: Vec<_> = users.items.iter().map(|user| (user.meta().name.as_deref(), user.0.is_ok())).collect();
        assert_eq!(names, [(Some("ann"), true), (Some("bob"), false)]);
    }
}
