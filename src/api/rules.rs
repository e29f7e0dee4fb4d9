//! CEL rules that several fields share.

use kube::core::Rule;

/// A name as nearly every Kubernetes object has it (RFC 1123 subdomain).
pub(super) fn object_name() -> Rule {
    Rule::new("self.matches('^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$')")
        .message("must be made of a-z, 0-9, - and ., beginning and ending with a letter or digit")
}
