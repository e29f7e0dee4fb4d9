//! The revision of MCP that a request names in its header.

use http::{HeaderMap, HeaderName};

/// The first revision without `initialize`.
pub(super) const STATELESS: &str = "2026-07-28";
/// The header that names the revision.
pub(super) const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");

/// Whether a request uses a revision with `initialize`.
pub(super) fn is_older(headers: &HeaderMap) -> bool {
    headers.get(PROTOCOL_VERSION).is_none_or(|version| version.as_bytes() < STATELESS.as_bytes())
}
