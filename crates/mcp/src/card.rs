//! The server card (SEP-2127) and the AI catalog that refers to it: what programs can know of the endpoint before they
//! connect. Both are public, and the same for every client.

use crate::PROTOCOL_VERSIONS;
use portcullis_config::ServerConfig;
use portcullis_core::PublicUrl;
use serde_json::{Value, json};

/// The path of the server card, after the endpoint's URL.
pub const SERVER_CARD_PATH: &str = "/server-card";
/// The media type of the server card.
pub const SERVER_CARD: &str = "application/mcp-server-card+json";
/// The media type of the catalog.
pub const AI_CATALOG: &str = "application/ai-catalog+json";

const SCHEMA: &str = "https://static.modelcontextprotocol.io/schemas/v1/server-card.schema.json";
const DESCRIPTION: &str = "Development workspaces for AI agents: commands, processes and files, behind OAuth 2.1";

/// The server card of an endpoint.
#[must_use]
pub fn server_card(config: &ServerConfig) -> Value {
    let host = config.url.domain().unwrap_or("localhost");
    let reversed: Vec<&str> = host.rsplit('.').collect();
    json!({
        "$schema": SCHEMA,
        "name": format!("{}/{}", reversed.join("."), config.endpoint),
        "title": config.endpoint,
        "description": DESCRIPTION,
        "version": env!("CARGO_PKG_VERSION"),
        "remotes": [{
            "type": "streamable-http",
            "url": config.url.resource(),
            "supportedProtocolVersions": PROTOCOL_VERSIONS,
        }],
    })
}

/// The AI catalog of the endpoint's host, with this endpoint.
///
/// The media type of an entry is its `type` in MCP's discovery document, and its `mediaType` in the specification of
/// the catalog, both of which are drafts.
#[must_use]
pub fn ai_catalog(config: &ServerConfig) -> Value {
    let publisher = config.url.domain().unwrap_or("localhost");
    json!({
        "specVersion": "1.0",
        "entries": [{
            "identifier": format!("urn:air:{publisher}:mcp:{}", config.endpoint),
            "displayName": config.endpoint,
            "type": SERVER_CARD,
            "mediaType": SERVER_CARD,
            "url": server_card_url(&config.url),
        }],
    })
}

fn server_card_url(url: &PublicUrl) -> String {
    format!("{}{SERVER_CARD_PATH}", url.resource())
}
