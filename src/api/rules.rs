//! CEL rules that several fields share.

use kube::core::Rule;

/// A name as nearly every Kubernetes object has it (RFC 1123 subdomain).
pub(super) fn object_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')")
        .message("must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit")
}

/// The URL of an identity provider or authorization server.
pub(super) fn provider_url() -> Rule {
    Rule::new("self.matches('^(https://[^/?#@]+|http://(localhost|127[.]0[.]0[.]1|\\\\[::1\\\\])(:[0-9]{1,5})?)(/[^?#@]*)?$')")
        .message("must be an https:// URL without query, fragment or user information (plain http is for localhost, 127.0.0.1 and [::1] only)")
}

/// Certificates in PEM.
pub(super) fn certificates() -> Rule {
    Rule::new("self.contains('-----BEGIN CERTIFICATE-----') && !self.contains('PRIVATE KEY')")
        .message("must be certificates in PEM, and no private key")
}
