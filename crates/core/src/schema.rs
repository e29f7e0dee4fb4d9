//! Additions to JSON Schema in the schemas of custom resources: CEL rules of admission, and times. Types that are in
//! custom resources and in the configuration of servers use them instead of the derive macro of kube.

use crate::loopback;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use std::borrow::Cow;

/// A CEL rule of admission (`x-kubernetes-validations`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Rule {
    /// The expression that must be true.
    pub rule: String,
    /// The error message if the expression is false.
    pub message: String,
}

impl Rule {
    /// A rule with its error message.
    pub fn new(rule: impl Into<String>, message: impl Into<String>) -> Self {
        Self { rule: rule.into(), message: message.into() }
    }
}

/// The rule for the URL of an identity provider or authorization server.
#[must_use]
pub fn provider_url() -> Rule {
    Rule::new(
        format!("self.matches('^(https://[^/?#@]+|http://{}(:[0-9]{{1,5}})?)(/[^?#@]*)?$')", loopback::pattern()),
        "must be an https:// URL without query, fragment or user information (plain http is for localhost, 127.0.0.1 and [::1] only)",
    )
}

/// The rule for certificates in PEM.
#[must_use]
pub fn certificates() -> Rule {
    Rule::new(
        "self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')",
        "must be certificates in PEM, and no private key",
    )
}

/// The rule for the name of a Kubernetes object (RFC 1123 subdomain).
#[must_use]
pub fn object_name() -> Rule {
    Rule::new(
        "self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')",
        "must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit",
    )
}

/// The schema of a time in Kubernetes.
#[derive(Debug)]
pub struct Time;

impl JsonSchema for Time {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "format": "date-time"})
    }
}
