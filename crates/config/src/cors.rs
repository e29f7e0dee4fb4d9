//! The methods and headers for the CORS protocol of the Fetch standard, which a server or the ingress controller in
//! front of it answers.

/// The methods that a page may use.
pub const ALLOWED_METHODS: [&str; 6] = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// The request headers that a page may set.
pub const ALLOWED_HEADERS: [&str; 8] = [
    "Authorization",
    "Content-Type",
    "Accept",
    "Mcp-Protocol-Version",
    "Mcp-Method",
    "Mcp-Name",
    "Mcp-Session-Id",
    "Last-Event-ID",
];

/// The response headers that a page may read.
pub const EXPOSED_HEADERS: [&str; 5] =
    ["WWW-Authenticate", "Retry-After", "Location", "Mcp-Session-Id", "X-Request-Id"];
