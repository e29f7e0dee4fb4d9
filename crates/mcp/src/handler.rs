//! The handler for rmcp: the server's information, the lists for a caller, and tool calls.

use crate::{
    PROTOCOL_VERSIONS,
    accept::AcceptsEvents,
    completion,
    progress::Notifications,
    prompts, refused, resources,
    scope_gate::{Requested, ScopeGate, Target},
    splice::Slot,
    subscriptions::Subscriptions,
};
use futures::future::BoxFuture;
use portcullis_budget::Account;
use portcullis_config::ServerLimits;
use portcullis_core::{Scope, report::chain};
use portcullis_oauth::Caller;
use portcullis_telemetry::audit;
use portcullis_tools::{Call, Definition, Effect, Registry, ToolAnswer, ToolError, ToolLookup};
use rmcp::{
    ErrorData, RoleServer, ServerHandler,
    model::{
        CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
        ContentBlock, CustomRequest, CustomResult, DiscoverResult, ErrorCode, GetPromptRequestParams,
        GetPromptResponse, Implementation, InitializeRequestParams, InitializeResult, JsonObject, ListPromptsResult,
        ListResourceTemplatesResult, ListResourcesResult, ListToolsResult, PaginatedRequestParams, PromptsCapability,
        ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ResourcesCapability, ServerCapabilities,
        SubscriptionFilter, Tool, ToolAnnotations,
    },
    service::{RequestContext, SubscriptionContext},
};
use std::{
    borrow::Cow,
    sync::{Arc, LazyLock},
};

/// The instructions for agents.
const INSTRUCTIONS: &str = "Workspaces are development environments: list_workspaces shows yours, create_workspace creates \
one from a template of list_templates, run_command runs a shell command in it. Name a workspace by its name or id. \
Files are kept when a workspace stops. Error messages contain the remedy.";

/// The supported methods.
const SERVED: [&str; 12] = [
    "initialize",
    "ping",
    "server/discover",
    "tools/list",
    "tools/call",
    "prompts/list",
    "prompts/get",
    "resources/list",
    "resources/templates/list",
    "resources/read",
    "completion/complete",
    "subscriptions/listen",
];

/// How long clients may cache lists that change only with the endpoint's manifest, in milliseconds.
const TTL_MS: u64 = 60_000;
/// How long clients may cache file contents and lists of workspaces, in milliseconds: they can change at any time.
const NOW_MS: u64 = 0;

static VERSIONS: LazyLock<[ProtocolVersion; 4]> = LazyLock::new(|| {
    let versions = [
        ProtocolVersion::V_2025_03_26,
        ProtocolVersion::V_2025_06_18,
        ProtocolVersion::V_2025_11_25,
        ProtocolVersion::V_2026_07_28,
    ];
    debug_assert!(versions.iter().zip(PROTOCOL_VERSIONS).all(|(version, name)| version.as_str() == name));
    versions
});

/// The default handler. Created for each endpoint, and cloned for each request.
#[derive(Clone)]
pub struct Handler {
    tools: Arc<Registry>,
    info: Arc<InitializeResult>,
    subscriptions: Arc<Subscriptions>,
}

impl Handler {
    pub(super) fn new(tools: Arc<Registry>, limits: &ServerLimits) -> Self {
        let mut capabilities = ServerCapabilities::builder().enable_tools().enable_tool_list_changed().build();
        if tools.has_workspaces() {
            let mut prompts = PromptsCapability::default();
            prompts.list_changed = Some(true);
            capabilities.prompts = Some(prompts);
            capabilities.completions = Some(JsonObject::new());
        }
        if resources::are_served(&tools) {
            capabilities.resources = Some(ResourcesCapability::default());
        }
        let mut info = InitializeResult::new(capabilities)
            .with_server_info(Implementation::new("portcullis", env!("CARGO_PKG_VERSION")));
        if tools.has_workspaces() {
            info = info.with_instructions(INSTRUCTIONS);
        }
        Self { tools, info: Arc::new(info), subscriptions: Arc::new(Subscriptions::new(limits)) }
    }

    /// Ends the subscriptions. `next` is the successor, if there is one.
    pub(super) fn retire(&self, next: Option<&Self>) {
        let same = |next: &Self| self.tools.definitions().eq(next.tools.definitions());
        self.subscriptions.retire(next.is_some_and(|next| !same(next)));
    }
}

impl ScopeGate for Handler {
    fn missing_scope(&self, target: Target<'_>, caller: &Caller) -> Option<Scope> {
        match target {
            Target::Tool(name) => match self.tools.lookup(name, caller) {
                ToolLookup::NeedsScope(needed) => Some(needed),
                ToolLookup::Found(_) | ToolLookup::Unknown => None,
            },
            Target::Prompt(name) => prompts::missing_scope(name, &self.tools, caller),
            Target::Resource(uri) => resources::missing_scope(uri, &self.tools, caller),
        }
    }

    fn call(&self, requested: Requested<'_>) -> Option<BoxFuture<'static, CallToolResult>> {
        let Requested { name, arguments, caller, from, account, slot } = requested;
        let ToolLookup::Found(tool) = self.tools.lookup(name, &caller) else { return None };
        slot.started.notify();
        let call = Call { caller, from, progress: None, shows_pictures: true, account, started: None };
        let outcome = tool.call(arguments, call);
        Some(Box::pin(async move { result(outcome.await, Some(&slot)) }))
    }
}

/// The verified caller, which the edge guarantees, and whether the client accepts event streams.
fn caller(context: &RequestContext<RoleServer>) -> Result<(Arc<Caller>, bool), ErrorData> {
    let parts = context.extensions.get::<http::request::Parts>();
    let extensions = parts.map(|parts| &parts.extensions);
    let caller = extensions.and_then(|extensions| extensions.get::<Arc<Caller>>()).cloned();
    let events = extensions.and_then(|extensions| extensions.get::<AcceptsEvents>());
    let caller = caller.ok_or_else(|| ErrorData::internal_error("the request has no verified caller", None))?;
    Ok((caller, events.is_some_and(|events| events.0)))
}

/// The id and the client address of the HTTP request.
fn from(context: &RequestContext<RoleServer>) -> audit::RequestContext {
    let parts = context.extensions.get::<http::request::Parts>();
    parts.map_or(audit::RequestContext::UNKNOWN, |parts| audit::RequestContext::of(&parts.extensions))
}

/// A tool in the form of `tools/list`.
fn listed(definition: &Definition) -> Tool {
    Tool::new(definition.name, definition.description, Arc::clone(&definition.published_input))
        .with_title(definition.title)
        .with_raw_output_schema(Arc::clone(&definition.published_output))
        .with_annotations(annotations(definition.effect))
}

fn annotations(effect: Effect) -> ToolAnnotations {
    let hints = effect.hints();
    ToolAnnotations::new()
        .read_only(hints.read_only)
        .destructive(hints.destructive)
        .idempotent(hints.idempotent)
        .open_world(hints.open_world)
}

/// The memory account of the request, and the slot for its result.
fn memory(context: &RequestContext<RoleServer>) -> (Account, Option<Arc<Slot>>) {
    let extensions = context.extensions.get::<http::request::Parts>().map(|parts| &parts.extensions);
    let account = extensions.and_then(|extensions| extensions.get::<Account>().cloned());
    let slot = extensions.and_then(|extensions| extensions.get::<Arc<Slot>>().cloned());
    (account.unwrap_or_else(Account::unlimited), slot)
}

/// The result of a call. Failures are results too, so that agents read them.
fn result(outcome: Result<ToolAnswer, ToolError>, slot: Option<&Slot>) -> CallToolResult {
    match (outcome, slot) {
        (Ok(answer), Some(slot)) => slot.fill(answer),
        // The request did not come through the edge.
        (Ok(answer), None) => {
            let text = ContentBlock::text(answer.text());
            let mut result = CallToolResult::structured(answer.into_json());
            result.content = vec![text];
            result
        }
        (Err(error), _) => CallToolResult::error(vec![ContentBlock::text(chain(&error))]),
    }
}

/// Rejects a cursor. All lists except resources have a single page.
fn one_page(request: Option<PaginatedRequestParams>) -> Result<(), ErrorData> {
    match request.and_then(|request| request.cursor) {
        Some(_) => Err(refused("there is only one page: omit cursor")),
        None => Ok(()),
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> InitializeResult {
        InitializeResult::clone(&self.info)
    }

    /// Announces no change notifications: revisions with `initialize` send them on a stream, which stateless mode does
    /// not have.
    fn negotiate_initialize(&self, request: &InitializeRequestParams) -> Result<InitializeResult, ErrorData> {
        let mut info = self.get_info();
        let supported = self.supported_protocol_versions();
        let asked = &request.protocol_version;
        // The newest revision with `initialize`, if the client's revision is unknown.
        let with_initialize = |version: &&ProtocolVersion| **version != ProtocolVersion::V_2026_07_28;
        let known = supported.iter().filter(with_initialize).find(|version| *version == asked);
        info.protocol_version = known.unwrap_or(&ProtocolVersion::V_2025_11_25).clone();
        if let Some(tools) = &mut info.capabilities.tools {
            tools.list_changed = None;
        }
        if let Some(prompts) = &mut info.capabilities.prompts {
            prompts.list_changed = None;
        }
        Ok(info)
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&*VERSIONS)
    }

    async fn discover(&self, _context: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        let versions = self.supported_protocol_versions().into_owned();
        Ok(DiscoverResult::from_server_info(versions, self.get_info())
            .with_ttl_ms(TTL_MS)
            .with_cache_scope(CacheScope::Private))
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        one_page(request)?;
        let (caller, _) = caller(&context)?;
        let visible = self.tools.visible_to(&caller).map(listed).collect();
        Ok(ListToolsResult::with_all_items(visible).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let (caller, events) = caller(&context)?;
        // The edge has rejected calls that lack a scope. Here, a tool without its scope is an unknown tool.
        let ToolLookup::Found(tool) = self.tools.lookup(&request.name, &caller) else {
            return Err(ErrorData::invalid_params(self.tools.unknown(&request.name, &caller), None));
        };
        let token = events.then(|| context.meta.get_progress_token()).flatten();
        let (account, slot) = memory(&context);
        if let Some(slot) = &slot {
            slot.started.notify();
        }
        let progress = token.map(|token| Notifications::to(context.peer.clone(), token));
        let call =
            Call { caller, from: from(&context), progress, shows_pictures: slot.is_some(), account, started: None };
        tokio::select! {
            outcome = tool.call(request.arguments.unwrap_or_default(), call) => {
                Ok(result(outcome, slot.as_deref()).into())
            }
            // The client has disconnected. Dropping the call ends everything that it started.
            () = context.ct.cancelled() => Err(ErrorData::internal_error("the call was cancelled", None)),
        }
    }

    async fn list_prompts(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        one_page(request)?;
        let (caller, _) = caller(&context)?;
        let visible = prompts::visible_to(&self.tools, &caller);
        Ok(ListPromptsResult::with_all_items(visible).with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (caller, _) = caller(&context)?;
        let arguments = request.arguments.unwrap_or_default();
        Ok(prompts::get(&request.name, &arguments, &self.tools, &caller)?.into())
    }

    async fn list_resources(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let (caller, _) = caller(&context)?;
        let cursor = request.and_then(|request| request.cursor);
        let page = resources::list(cursor, &self.tools, &caller, from(&context)).await?;
        Ok(page.with_ttl_ms(NOW_MS).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        request: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        one_page(request)?;
        let (caller, _) = caller(&context)?;
        let templates = resources::templates(&self.tools, &caller);
        let result = ListResourceTemplatesResult::with_all_items(templates);
        Ok(result.with_ttl_ms(TTL_MS).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let (caller, _) = caller(&context)?;
        let (account, _) = memory(&context);
        tokio::select! {
            result = resources::read(&request.uri, &self.tools, &caller, (from(&context), account)) => {
                Ok(result?.with_ttl_ms(NOW_MS).with_cache_scope(CacheScope::Private).into())
            }
            () = context.ct.cancelled() => Err(ErrorData::internal_error("the call was cancelled", None)),
        }
    }

    async fn complete(
        &self,
        request: CompleteRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let (caller, _) = caller(&context)?;
        Ok(CompleteResult::new(completion::complete(&request, &self.tools, &caller, from(&context)).await))
    }

    fn accepted_subscription_filter(&self, requested: &SubscriptionFilter) -> Option<SubscriptionFilter> {
        // rmcp removes everything that the capabilities do not include.
        Some(requested.clone())
    }

    async fn listen(&self, context: SubscriptionContext) -> Result<(), ErrorData> {
        self.subscriptions.listen(&context).await
    }

    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        // A request with a supported method arrives here if its params cannot be deserialized.
        if SERVED.contains(&request.method.as_str()) {
            let message = format!("the params of {} do not match the MCP schema", request.method);
            return Err(ErrorData::invalid_params(message, None));
        }
        Err(ErrorData::new(ErrorCode::METHOD_NOT_FOUND, format!("there is no method {}", request.method), None))
    }
}
