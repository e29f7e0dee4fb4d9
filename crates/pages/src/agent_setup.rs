//! The steps to connect each well-known agent to this endpoint, which depend on the clients that the endpoint accepts.
//! `docs/clients.md` has the sources.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_config::{ClientVerifier, Clients, ServerConfig};
use portcullis_core::{
    client::{ClientType, Grant},
    preset::Preset,
};
use serde_json::{Value, json};
use url::form_urlencoded;

/// The steps to connect one agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSetup {
    /// The name of the agent.
    pub name: &'static str,
    /// The steps, in this order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Step {
    /// The instruction.
    pub text: String,
    /// The text to type or to paste.
    pub code: Option<String>,
    /// A link that performs the step: its target and its text.
    pub link: Option<(String, &'static str)>,
}

/// The method by which an agent becomes a client of the endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Registration<'a> {
    /// It describes itself by a metadata document, or registers itself: the URL is enough.
    Automatic,
    /// The administrator configured a client for it.
    Client { id: &'a str, has_secret: bool },
    /// The endpoint accepts no client for it.
    Missing,
}

/// An agent that the page knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Agent {
    Known(Preset),
    Codex,
    Other,
}

const AGENTS: [Agent; 8] = [
    Agent::Known(Preset::Claude),
    Agent::Known(Preset::Chatgpt),
    Agent::Known(Preset::ClaudeCode),
    Agent::Known(Preset::Cursor),
    Agent::Known(Preset::Vscode),
    Agent::Known(Preset::GeminiCli),
    Agent::Codex,
    Agent::Other,
];

/// The setups of all known agents.
pub(crate) fn setups(config: &ServerConfig, clients: &Clients) -> Vec<AgentSetup> {
    AGENTS.into_iter().map(|agent| setup(agent, config, clients)).collect()
}

fn setup(agent: Agent, config: &ServerConfig, clients: &Clients) -> AgentSetup {
    let url = config.url.resource();
    let name = config.endpoint.as_str();
    let registration = registration(agent, config, clients);
    let id = match registration {
        Registration::Client { id, .. } => Some(id),
        Registration::Automatic | Registration::Missing => None,
    };
    let mut steps = match (agent, &registration) {
        (_, Registration::Missing) => vec![missing(agent)],
        (Agent::Known(Preset::Claude), _) => vec![
            Step::text("Open Settings → Connectors → Add custom connector, in claude.ai or Claude Desktop."),
            Step::code("Paste the URL.", &url),
        ],
        (Agent::Known(Preset::Chatgpt), _) => vec![
            Step::text(
                "Turn on developer mode in Settings → Apps & Connectors → Advanced settings, then create a connector.",
            ),
            Step::code("Paste the URL, and choose OAuth.", &url),
        ],
        (Agent::Known(Preset::ClaudeCode), _) => {
            let client = id.map(|id| format!("--client-id {id} ")).unwrap_or_default();
            vec![
                Step::code("Run in a terminal:", &format!("claude mcp add --transport http {client}{name} {url}")),
                Step::text("Then type /mcp in Claude Code, and sign in."),
            ]
        }
        (Agent::Known(Preset::Cursor), _) => cursor(name, &url, id),
        (Agent::Known(Preset::Vscode), _) => vscode(name, &url, id),
        (Agent::Known(Preset::GeminiCli), _) => gemini(name, &url, id),
        (Agent::Codex, _) => {
            vec![Step::code("Run in a terminal:", &format!("codex mcp add {name} --url {url}\ncodex mcp login {name}"))]
        }
        (Agent::Known(Preset::Custom) | Agent::Other, _) => {
            vec![Step::code(
                "Add the URL as a remote MCP server (Streamable HTTP). The agent opens a browser to sign in.",
                &url,
            )]
        }
    };
    if let Registration::Client { id, has_secret } = registration {
        steps.extend(credentials(agent, id, has_secret));
    }
    AgentSetup { name: agent.name(), steps }
}

/// The step that passes the client id and the secret, unless an earlier step already did.
fn credentials(agent: Agent, id: &str, has_secret: bool) -> Option<Step> {
    let in_command = matches!(agent, Agent::Known(Preset::ClaudeCode | Preset::Cursor | Preset::GeminiCli));
    match (in_command, has_secret) {
        (true, false) => None,
        (_, true) => Some(Step::code(
            "Enter the client id below, and the client secret that you get from the administrator of the endpoint.",
            id,
        )),
        (false, false) => {
            Some(Step::code("Where the agent asks for a client id, enter this one, without a secret.", id))
        }
    }
}

fn missing(agent: Agent) -> Step {
    let ask = "Ask the administrator of the endpoint";
    Step::text(match agent.preset() {
        Some((_, preset)) => format!(
            "This endpoint has no client for {} yet. {ask} for an OAuthClient with preset: {preset}.",
            agent.name()
        ),
        None => format!(
            "This endpoint accepts only the clients that its administrator configured. {ask} for an OAuthClient."
        ),
    })
}

fn cursor(name: &str, url: &str, id: Option<&str>) -> Vec<Step> {
    let mut server = json!({"url": url});
    if let Some(id) = id {
        server["auth"] = json!({"CLIENT_ID": id});
    }
    let mut steps = Vec::new();
    if id.is_none() {
        let config = STANDARD.encode(server.to_string());
        let query: String = form_urlencoded::Serializer::new(String::new())
            .append_pair("name", name)
            .append_pair("config", &config)
            .finish();
        steps.push(Step {
            link: Some((format!("cursor://anysphere.cursor-deeplink/mcp/install?{query}"), "Add to Cursor")),
            ..Step::text("Use this link on the computer where Cursor is installed, or the next step.")
        });
    }
    steps.push(Step::code("Add to ~/.cursor/mcp.json:", &pretty(&json!({"mcpServers": {name: server}}))));
    steps
}

fn vscode(name: &str, url: &str, id: Option<&str>) -> Vec<Step> {
    let server = json!({"type": "http", "url": url});
    let mut steps = Vec::new();
    if id.is_none() {
        let install = json!({"name": name, "type": "http", "url": url}).to_string();
        let query: String = form_urlencoded::byte_serialize(install.as_bytes()).collect();
        // VS Code decodes percent-encoding, and keeps a plus sign.
        let link = format!("vscode:mcp/install?{}", query.replace('+', "%20"));
        steps.push(Step {
            link: Some((link, "Add to VS Code")),
            ..Step::text("Use this link on the computer where VS Code is installed, or the next step.")
        });
    }
    steps.push(Step::code("Add to .vscode/mcp.json of a project:", &pretty(&json!({"servers": {name: server}}))));
    steps
}

fn gemini(name: &str, url: &str, id: Option<&str>) -> Vec<Step> {
    let add = match id {
        None => Step::code("Run in a terminal:", &format!("gemini mcp add --transport http {name} {url}")),
        Some(id) => {
            let server = json!({"httpUrl": url, "oauth": {"enabled": true, "clientId": id}});
            Step::code("Add to ~/.gemini/settings.json:", &pretty(&json!({"mcpServers": {name: server}})))
        }
    };
    vec![add, Step::text(format!("Then type /mcp auth {name} in Gemini CLI, and sign in."))]
}

fn registration<'a>(agent: Agent, config: &ServerConfig, clients: &'a Clients) -> Registration<'a> {
    let policy = &config.client_policy;
    let document = policy
        .metadata_documents
        .as_ref()
        .is_some_and(|documents| agent.document_host().is_some_and(|host| documents.allows(host)));
    if document || policy.dynamic_registration.is_some() {
        return Registration::Automatic;
    }
    let Some((preset, _)) = agent.preset() else { return Registration::Missing };
    // Some agents share a loopback callback. The client that has the callbacks of this agent, and the fewest others.
    let fits = |client: &&ClientVerifier| {
        client.grants.contains(&Grant::AuthorizationCode)
            && preset.redirect_uris().iter().all(|uri| client.redirect_uris.iter().any(|own| own == uri))
    };
    let configured = clients.clients.iter().filter(fits).min_by_key(|client| client.redirect_uris.len());
    configured.map_or(Registration::Missing, |client| Registration::Client {
        id: &client.client_id,
        has_secret: client.client_type == ClientType::Confidential,
    })
}

impl Agent {
    const fn name(self) -> &'static str {
        match self {
            Self::Known(Preset::Claude) => "claude.ai and Claude Desktop",
            Self::Known(Preset::Chatgpt) => "ChatGPT",
            Self::Known(Preset::ClaudeCode) => "Claude Code",
            Self::Known(Preset::Cursor) => "Cursor",
            Self::Known(Preset::Vscode) => "VS Code",
            Self::Known(Preset::GeminiCli) => "Gemini CLI",
            Self::Codex => "Codex",
            Self::Known(Preset::Custom) | Self::Other => "Another agent",
        }
    }

    /// The preset of an `OAuthClient` for it, and the preset's name in a manifest.
    const fn preset(self) -> Option<(Preset, &'static str)> {
        let Self::Known(preset) = self else { return None };
        let name = match preset {
            Preset::Claude => "claude",
            Preset::Chatgpt => "chatgpt",
            Preset::ClaudeCode => "claude-code",
            Preset::Cursor => "cursor",
            Preset::Vscode => "vscode",
            Preset::GeminiCli => "gemini-cli",
            Preset::Custom => return None,
        };
        Some((preset, name))
    }

    /// The host of its client metadata document, if it has one.
    const fn document_host(self) -> Option<&'static str> {
        match self {
            Self::Known(Preset::Claude | Preset::ClaudeCode) => Some("claude.ai"),
            Self::Known(Preset::Vscode) => Some("vscode.dev"),
            _ => None,
        }
    }
}

impl Step {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn code(text: impl Into<String>, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..Self::text(text) }
    }
}

fn pretty(value: &Value) -> String {
    format!("{value:#}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn config(policy: &Value) -> ServerConfig {
        serde_json::from_value(json!({
            "endpoint": "agents", "url": "https://h.example.com/mcp", "accessTokenLifetime": "15m",
            "refreshTokenLifetime": "720h", "refreshTokenIdle": "336h",
            "clientPolicy": policy,
            "tools": {"allow": ["*"], "deny": []},
            "cors": {"allowedOrigins": [], "maxAge": "10m", "answeredHere": true},
            "limits": {"requestTimeout": "60s", "maxConcurrentRequests": 10, "requestsPerSecond": 10, "burst": 10, "maxBodySize": "1Mi"},
            "access": {"allowedCidrs": [], "trustedProxies": [], "proxyProtocol": false},
        }))
        .unwrap()
    }

    fn client(id: &str, kind: ClientType, preset: Preset) -> ClientVerifier {
        ClientVerifier {
            client_id: id.to_owned(),
            client_type: kind,
            grants: preset.grants().to_vec(),
            redirect_uris: preset.redirect_uris().iter().map(|&uri| uri.to_owned()).collect(),
            ..ClientVerifier::operator()
        }
    }

    /// The text and the code of each agent's steps, by name.
    fn setup_texts(policy: &Value, clients: Vec<ClientVerifier>) -> BTreeMap<&'static str, String> {
        let setups = setups(&config(policy), &Clients { clients });
        let text = |step: &Step| {
            let link = step.link.as_ref().map(|(href, _)| href.as_str()).unwrap_or_default();
            format!("{} {} {link}", step.text, step.code.as_deref().unwrap_or_default())
        };
        setups.iter().map(|setup| (setup.name, setup.steps.iter().map(text).collect())).collect()
    }

    #[test]
    fn the_steps_say_what_works_at_this_endpoint() {
        let nothing = setup_texts(&json!({}), Vec::new());
        assert!(
            nothing["Cursor"].contains("has no client for Cursor yet") && nothing["Cursor"].contains("preset: cursor")
        );
        assert!(nothing["Codex"].contains("only the clients that its administrator configured"));

        let registration = setup_texts(&json!({"dynamicRegistration": {}}), Vec::new());
        let command = "claude mcp add --transport http agents https://h.example.com/mcp";
        assert!(registration["Claude Code"].contains(command), "{registration:?}");
        assert!(registration["Codex"].contains("codex mcp login agents"), "{registration:?}");
        // {"url":"https://h.example.com/mcp"}
        let link = "install?name=agents&config=eyJ1cmwiOiJodHRwczovL2guZXhhbXBsZS5jb20vbWNwIn0%3D";
        assert!(registration["Cursor"].contains(link), "{registration:?}");
        assert!(
            registration["VS Code"].contains("vscode:mcp/install?%7B%22name%22%3A%22agents%22"),
            "{registration:?}"
        );

        let documents = setup_texts(&json!({"metadataDocuments": {"allowedHosts": ["claude.ai"]}}), Vec::new());
        assert!(documents["claude.ai and Claude Desktop"].contains("Paste the URL"), "{documents:?}");
        assert!(documents["VS Code"].contains("has no client for VS Code yet"), "{documents:?}");

        let configured = vec![
            client("web", ClientType::Confidential, Preset::Claude),
            client("cli", ClientType::Public, Preset::ClaudeCode),
            client("editor", ClientType::Public, Preset::Cursor),
        ];
        let configured = setup_texts(&json!({}), configured);
        assert!(configured["claude.ai and Claude Desktop"].contains("client secret"), "{configured:?}");
        assert!(configured["Claude Code"].contains("--client-id cli agents"), "{configured:?}");
        assert!(configured["Cursor"].contains(r#""CLIENT_ID": "editor""#), "{configured:?}");
        assert!(!configured["Cursor"].contains("cursor://"), "a link cannot carry the client id: {configured:?}");
        assert!(configured["ChatGPT"].contains("preset: chatgpt"), "{configured:?}");
    }

    #[test]
    fn the_names_of_presets_are_those_of_manifests() {
        for agent in AGENTS {
            if let Some((preset, name)) = agent.preset() {
                assert_eq!(serde_json::to_value(preset).unwrap(), name);
            }
        }
    }
}
