//! What the suite wants to find behind a server: tools, prompts and resources of its names, as rmcp's own handler.
//! Nothing here is the product's; everything in front of it is.

#![expect(deprecated, reason = "the suite asks for what the protocol is giving up")]

use crate::conformance::{
    rounds,
    tables::{self, IMAGE},
};
use portcullis_core::Scope;
use portcullis_mcp::{PROTOCOL_VERSIONS, ScopeGate, Target};
use portcullis_oauth::Caller;
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::*,
    service::{RequestContext, SubscriptionContext, SubscriptionSink},
};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::{
    borrow::Cow,
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
    time::Duration,
};

/// Between two messages of a tool that sends several.
const PAUSE: Duration = Duration::from_millis(30);

/// What the suite needs. Its state is shared by all requests.
#[derive(Clone, Default)]
pub struct Fixture {
    listeners: Arc<Mutex<HashMap<RequestId, SubscriptionSink>>>,
    watched: Arc<Mutex<BTreeSet<String>>>,
}

impl ScopeGate for Fixture {
    fn missing_scope(&self, _target: Target<'_>, _caller: &Caller) -> Option<Scope> {
        None
    }
}

/// A message of the protocol, written as JSON.
pub fn message<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

pub fn text(text: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(text)]).into()
}

impl Fixture {
    fn listeners(&self) -> Vec<SubscriptionSink> {
        self.listeners.lock().unwrap().values().cloned().collect()
    }

    /// The tools that send something while they work, or depend on what the client said of itself.
    async fn lively(
        &self,
        name: &str,
        context: &RequestContext<RoleServer>,
    ) -> Option<Result<CallToolResponse, ErrorData>> {
        Some(Ok(match name {
            "test_tool_with_logging" => {
                for line in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                    log(context, LoggingLevel::Info, line).await;
                    tokio::time::sleep(PAUSE).await;
                }
                text("logged")
            }
            "test_logging_tool" => {
                if let Some(level) = context.meta.log_level() {
                    log(context, level, "you asked for this").await;
                }
                text("logged")
            }
            "test_tool_with_progress" => {
                if let Some(token) = context.meta.get_progress_token() {
                    for done in [0.0, 50.0, 100.0] {
                        let progress = ProgressNotificationParam::new(token.clone(), done).with_total(100.0);
                        let _ = context.peer.notify_progress(progress).await;
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                text("done")
            }
            "test_trigger_tool_change" => {
                for listener in self.listeners() {
                    let _ = listener.notify_tool_list_changed().await;
                }
                text("told")
            }
            "test_trigger_prompt_change" => {
                for listener in self.listeners() {
                    let _ = listener.notify_prompt_list_changed().await;
                }
                text("told")
            }
            "test_missing_capability" => {
                if context.meta.client_capabilities().is_none_or(|can| can.sampling.is_none()) {
                    let needed = ClientCapabilities::builder().enable_sampling().build();
                    return Some(Err(ErrorData::missing_required_client_capability(needed)));
                }
                text("declared")
            }
            _ => return None,
        }))
    }
}

async fn log(context: &RequestContext<RoleServer>, level: LoggingLevel, line: &str) {
    let _ = context.peer.notify_logging_message(LoggingMessageNotificationParam::new(level, json!(line))).await;
}

impl ServerHandler for Fixture {
    fn get_info(&self) -> InitializeResult {
        let capabilities = message(json!({
            "tools": {"listChanged": true}, "prompts": {"listChanged": true},
            "resources": {"listChanged": true, "subscribe": true}, "logging": {}, "completions": {},
        }));
        InitializeResult::new(capabilities).with_server_info(Implementation::new("conformance", "0"))
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        PROTOCOL_VERSIONS.iter().map(|version| message(json!(version))).collect()
    }

    /// Where rmcp looks for the headers that a tool's arguments are mirrored in.
    fn get_tool(&self, name: &str) -> Option<Tool> {
        tables::tools().into_iter().find(|tool| tool.name == name)
    }

    async fn list_tools(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        Ok(ListToolsResult::with_all_items(tables::tools()).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(result) = tables::content_of(&request.name) {
            return Ok(message::<CallToolResult>(result).into());
        }
        if let Some(answer) = self.lively(&request.name, &context).await {
            return answer;
        }
        if let Some(answer) = rounds::tool(&request, &context.meta) {
            return answer;
        }
        let argument = |name: &str| request.arguments.as_ref()?.get(name)?.as_str().map(ToOwned::to_owned);
        match &*request.name {
            "json_schema_2020_12_tool" => Ok(text(argument("name").unwrap_or_default())),
            "test_custom_header" => Ok(text(argument("value").unwrap_or_default())),
            name => Err(ErrorData::invalid_params(format!("Unknown tool: {name}"), None)),
        }
    }

    async fn list_resources(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let resources = message(json!([
            {"uri": "test://static-text", "name": "text", "description": "A text", "mimeType": "text/plain"},
            {"uri": "test://static-binary", "name": "binary", "description": "An image", "mimeType": "image/png"},
        ]));
        Ok(ListResourcesResult::with_all_items(resources).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let templates = message(json!([
            {"uriTemplate": "test://template/{id}/data", "name": "data", "mimeType": "application/json"},
        ]));
        Ok(ListResourceTemplatesResult::with_all_items(templates)
            .with_ttl_ms(1000)
            .with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let uri = &request.uri;
        let id = uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let content = match (uri.as_str(), id) {
            ("test://static-text", _) => json!({"uri": uri, "mimeType": "text/plain", "text": "A static text."}),
            ("test://static-binary", _) => json!({"uri": uri, "mimeType": "image/png", "blob": IMAGE}),
            (_, Some(id)) => {
                json!({"uri": uri, "mimeType": "application/json", "text": json!({"id": id, "data": id}).to_string()})
            }
            _ => return Err(ErrorData::resource_not_found("there is no such resource", Some(json!({"uri": uri})))),
        };
        let result = ReadResourceResult::new(vec![message(content)]);
        Ok(result.with_ttl_ms(1000).with_cache_scope(CacheScope::Private).into())
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        let id = context.sink().id().clone();
        self.listeners.lock().unwrap().insert(id.clone(), context.sink().clone());
        context.cancelled().await;
        self.listeners.lock().unwrap().remove(&id);
        Ok(())
    }

    async fn subscribe(
        &self,
        request: SubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.lock().unwrap().insert(request.uri);
        Ok(())
    }

    async fn unsubscribe(
        &self,
        request: UnsubscribeRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        self.watched.lock().unwrap().remove(&request.uri);
        Ok(())
    }

    async fn list_prompts(
        &self,
        _request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let prompts = tables::prompts();
        Ok(ListPromptsResult::with_all_items(prompts).with_ttl_ms(1000).with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        if let Some(answer) = rounds::prompt(&request) {
            return Ok(answer);
        }
        let arguments = serde_json::to_value(&request.arguments).unwrap_or_default();
        match tables::prompt_of(&request.name, &arguments) {
            Some(messages) => {
                Ok(message::<GetPromptResult>(json!({"resultType": "complete", "messages": messages})).into())
            }
            None => Err(ErrorData::invalid_params(format!("Unknown prompt: {}", request.name), None)),
        }
    }

    async fn complete(
        &self,
        _request: CompleteRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let completion = json!({"values": ["one", "two"], "total": 2, "hasMore": false});
        Ok(message(json!({"resultType": "complete", "completion": completion})))
    }

    async fn set_level(
        &self,
        _request: SetLevelRequestParams,
        _context: RequestContext<RoleServer>,
    ) -> Result<(), ErrorData> {
        Ok(())
    }
}
