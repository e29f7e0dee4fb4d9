//! The steps to connect each well-known agent to this endpoint, which depend on the clients that the endpoint accepts.
//! `docs/clients.md` has the sources.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use portcullis_config::{ClientVerifier, Clients, ServerConfig};
use portcullis_core::{
    agents::{Agent, AgentServer},
    client::{ClientType, Grant},
};
use serde_json::json;
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

/// The agents of the page; `None` is any other.
const AGENTS: [Option<Agent>; 10] = [
    Some(Agent::ClaudeAi),
    Some(Agent::Chatgpt),
    Some(Agent::ClaudeCode),
    Some(Agent::Cursor),
    Some(Agent::Vscode),
    Some(Agent::GeminiCli),
    Some(Agent::Codex),
    Some(Agent::Windsurf),
    Some(Agent::Opencode),
    None,
];

/// The setups of all known agents.
pub(crate) fn setups(config: &ServerConfig, clients: &Clients) -> Vec<AgentSetup> {
    AGENTS.into_iter().map(|agent| setup(agent, config, clients)).collect()
}

fn setup(agent: Option<Agent>, config: &ServerConfig, clients: &Clients) -> AgentSetup {
    let url = config.url.resource();
    let registration = registration(agent, config, clients);
    let client_id = match registration {
        Registration::Client { id, .. } => Some(id),
        Registration::Automatic | Registration::Missing => None,
    };
    let server = AgentServer { name: config.endpoint.as_str(), url: &url, client_id };
    let mut steps = match (agent, &registration) {
        (_, Registration::Missing) => vec![missing(agent)],
        (Some(Agent::ClaudeAi), _) => vec![
            Step::text("Open Settings → Connectors → Add custom connector, in claude.ai or Claude Desktop."),
            Step::code("Paste the URL.", &url),
        ],
        (Some(Agent::Chatgpt), _) => vec![
            Step::text(
                "Turn on developer mode in Settings → Apps & Connectors → Advanced settings, then create a connector.",
            ),
            Step::code("Paste the URL, and choose OAuth.", &url),
        ],
        (Some(agent), _) => local(agent, server),
        (None, _) => {
            vec![Step::code(
                "Add the URL as a remote MCP server (Streamable HTTP). The agent opens a browser to sign in.",
                &url,
            )]
        }
    };
    if let Registration::Client { id, has_secret } = registration {
        let is_set = agent.is_some_and(|agent| agent.entry(server).is_some());
        steps.extend(credentials(is_set, id, has_secret));
    }
    AgentSetup { name: agent.map_or("Another agent", Agent::title), steps }
}

/// The steps for an agent on the user's computer: a link or a command if it has one, else the text for its file.
fn local(agent: Agent, server: AgentServer<'_>) -> Vec<Step> {
    let link = install_link(agent, server).map(|(href, text)| Step {
        link: Some((href, text)),
        ..Step::text(format!("Use this link on the computer where {} is installed, or the next step.", agent.title()))
    });
    // VS Code's own command is not always installed.
    let command = agent.command(server).filter(|_| agent != Agent::Vscode);
    let add = command.map(|command| Step::code("Run in a terminal:", &command)).or_else(|| {
        let text = agent.snippet(server)?;
        Some(Step::code(format!("Add to {}:", agent.file()), &text))
    });
    let sign_in = Step::text(agent.sign_in(server.name));
    link.into_iter().chain(add).chain([sign_in]).collect()
}

/// The step that passes the client id and the secret. `is_set`: an earlier step passes the client id.
fn credentials(is_set: bool, id: &str, has_secret: bool) -> Option<Step> {
    match (is_set, has_secret) {
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

fn missing(agent: Option<Agent>) -> Step {
    let ask = "Ask the administrator of the endpoint";
    Step::text(match agent.and_then(|agent| Some((agent.title(), agent.preset()?.name()))) {
        Some((title, preset)) => {
            format!("This endpoint has no client for {title} yet. {ask} for an OAuthClient with preset: {preset}.")
        }
        None => format!(
            "This endpoint accepts only the clients that its administrator configured. {ask} for an OAuthClient."
        ),
    })
}

/// The link that installs the server, and its text. A link cannot carry a client id.
fn install_link(agent: Agent, server: AgentServer<'_>) -> Option<(String, &'static str)> {
    let AgentServer { name, url, client_id } = server;
    match agent {
        _ if client_id.is_some() => None,
        Agent::Cursor => {
            let config = STANDARD.encode(agent.entry(server)?.to_json().to_string());
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("name", name)
                .append_pair("config", &config)
                .finish();
            Some((format!("cursor://anysphere.cursor-deeplink/mcp/install?{query}"), "Add to Cursor"))
        }
        Agent::Vscode => {
            let install = json!({"name": name, "type": "http", "url": url}).to_string();
            let query: String = form_urlencoded::byte_serialize(install.as_bytes()).collect();
            // VS Code decodes percent-encoding, and keeps a plus sign.
            Some((format!("vscode:mcp/install?{}", query.replace('+', "%20")), "Add to VS Code"))
        }
        _ => None,
    }
}

fn registration<'a>(agent: Option<Agent>, config: &ServerConfig, clients: &'a Clients) -> Registration<'a> {
    let policy = &config.client_policy;
    let document = policy
        .metadata_documents
        .as_ref()
        .is_some_and(|documents| agent.and_then(Agent::document_host).is_some_and(|host| documents.allows(host)));
    if document || policy.dynamic_registration.is_some() {
        return Registration::Automatic;
    }
    let Some(preset) = agent.and_then(Agent::preset) else { return Registration::Missing };
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

impl Step {
    fn text(text: impl Into<String>) -> Self {
        Self { text: text.into(), ..Self::default() }
    }

    fn code(text: impl Into<String>, code: &str) -> Self {
        Self { code: Some(code.to_owned()), ..Self::text(text) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_core::preset::Preset;
    use serde_json::Value;
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
        let only_configured = "only the clients that its administrator configured";
        assert!(nothing["Windsurf"].contains(only_configured) && nothing["Another agent"].contains(only_configured));

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

        assert!(registration["Windsurf"].contains("~/.codeium/windsurf/mcp_config.json"), "{registration:?}");

        let documents = setup_texts(&json!({"metadataDocuments": {"allowedHosts": ["claude.ai"]}}), Vec::new());
        assert!(documents["claude.ai and Claude Desktop"].contains("Paste the URL"), "{documents:?}");
        assert!(documents["VS Code"].contains("has no client for VS Code yet"), "{documents:?}");

        let configured = vec![
            client("web", ClientType::Confidential, Preset::Claude),
            client("cli", ClientType::Public, Preset::ClaudeCode),
            client("editor", ClientType::Public, Preset::Cursor),
            client("vs", ClientType::Public, Preset::Vscode),
        ];
        let configured = setup_texts(&json!({}), configured);
        assert!(configured["claude.ai and Claude Desktop"].contains("client secret"), "{configured:?}");
        assert!(configured["Claude Code"].contains("--client-id cli agents"), "{configured:?}");
        assert!(configured["Cursor"].contains(r#""CLIENT_ID": "editor""#), "{configured:?}");
        assert!(configured["VS Code"].contains(r#""clientId": "vs""#), "{configured:?}");
        assert!(!configured["VS Code"].contains("Where the agent asks"), "{configured:?}");
        assert!(!configured["Cursor"].contains("cursor://"), "a link cannot carry the client id: {configured:?}");
        assert!(configured["ChatGPT"].contains("preset: chatgpt"), "{configured:?}");
    }
}
