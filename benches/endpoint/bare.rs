//! What rmcp alone does: the same tool on the same stateless transport, without anything in front of it.

use axum::Router;
use rmcp::{
    Json, ServerHandler,
    handler::server::router::tool::ToolRouter,
    tool, tool_handler, tool_router,
    transport::streamable_http_server::{
        StreamableHttpServerConfig, StreamableHttpService, session::never::NeverSessionManager,
    },
};
use schemars::JsonSchema;
use serde::Serialize;
use std::{error::Error, sync::Arc};

#[derive(Serialize, JsonSchema)]
struct Identity {
    subject: String,
    client_id: String,
    scopes: Vec<String>,
    endpoint: String,
    expires_at: String,
}

#[derive(Clone)]
struct Bare {
    tool_router: ToolRouter<Self>,
}

#[tool_router]
impl Bare {
    #[tool(name = "whoami", description = "Tells on whose behalf you act here")]
    async fn whoami(&self) -> Json<Identity> {
        Json(Identity {
            subject: "client:ci-agent".to_owned(),
            client_id: "ci-agent".to_owned(),
            scopes: ["workspaces:read", "workspaces:write", "workspaces:exec", "templates:read"]
                .map(str::to_owned)
                .into(),
            endpoint: "http://127.0.0.1:12345/mcp".to_owned(),
            expires_at: "2026-11-22T09:27:49Z".to_owned(),
        })
    }
}

#[tool_handler(router = self.tool_router)]
impl ServerHandler for Bare {}

/// Serves until killed.
pub async fn serve(address: &str) -> Result<(), Box<dyn Error>> {
    let bare = Bare { tool_router: Bare::tool_router() };
    let service = StreamableHttpService::new(
        move || Ok(bare.clone()),
        Arc::new(NeverSessionManager::default()),
        StreamableHttpServerConfig::default().with_legacy_session_mode(false).with_json_response(true),
    );
    let listener = tokio::net::TcpListener::bind(address).await?;
    Ok(axum::serve(listener, Router::new().route_service("/mcp", service)).await?)
}
