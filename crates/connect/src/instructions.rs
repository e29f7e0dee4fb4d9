//! The steps for a user in a client: after its file was changed, or instead of a file.

use crate::{FileClient, Server, WebClient};

/// A web application cannot reach an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    /// The endpoint is on this computer.
    #[error(
        "it connects from its provider's network, which cannot reach a loopback address: give the endpoint a public https \
         URL, or connect a client on this computer, such as claude-code"
    )]
    Loopback,
    /// The port is not the usual one.
    #[error("it connects to port 443 only: serve the endpoint there, or connect a client on this computer")]
    Port,
}

/// The steps that start the sign-in, once the file has the entry.
#[must_use]
pub fn next_step(client: FileClient, server: &Server) -> String {
    client.agent().sign_in(server.name.as_str())
}

/// The values to enter in a web application.
pub fn paste(client: WebClient, server: &Server) -> Result<String, Unreachable> {
    if !server.url.is_https() {
        return Err(Unreachable::Loopback);
    }
    // An IPv6 address has colons too, in brackets.
    let has_port = server.url.authority().rsplit(']').next().is_some_and(|rest| rest.contains(':'));
    let (name, url) = (&server.name, server.url.resource());
    let id = server.client_id.as_deref();
    Ok(match client {
        WebClient::ClaudeAi if has_port => return Err(Unreachable::Port),
        WebClient::ClaudeAi => {
            let id = id.map_or_else(
                || "leave Advanced settings as they are".to_owned(),
                |id| format!("Advanced settings, OAuth Client ID: {id}\n  OAuth Client Secret: the one of this client"),
            );
            format!(
                "Open https://claude.ai/customize/connectors and add a custom connector. On a Team or Enterprise plan, an owner \
                 does this in the organization's settings.\n  Name: {name}\n  Remote MCP server URL: {url}\n  {id}\nThen choose \
                 Connect and sign in. Claude Desktop and the mobile applications use the same connector.\n"
            )
        }
        WebClient::Chatgpt => {
            let id = id.map_or_else(String::new, |id| {
                format!("\n  OAuth Client ID: {id}\n  OAuth Client Secret: the one of this client")
            });
            format!(
                "In ChatGPT's settings, under Apps & Connectors, turn on Developer mode in Advanced settings; in a workspace, an \
                 administrator allows it first. Then choose Create.\n  Name: {name}\n  MCP Server URL: {url}\n  Authentication: \
                 OAuth{id}\nThen sign in.\n"
            )
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ServerName;

    fn server(url: &str, id: Option<&str>) -> Server {
        let url = url.parse().unwrap();
        let (client_id, program) = (id.map(str::to_owned), "portcullis".to_owned());
        Server { name: ServerName::of(&url), url, client_id, program }
    }

    #[test]
    fn web_applications_get_name_url_and_client_id() {
        for client in [WebClient::ClaudeAi, WebClient::Chatgpt] {
            let plain = paste(client, &server("https://agents.example.com/mcp", None)).unwrap();
            assert!(plain.contains("Name: agents-example-com\n"), "{plain}");
            assert!(plain.contains(" URL: https://agents.example.com/mcp\n"), "{plain}");
            assert!(!plain.contains("Client ID"), "{plain}");
            let with_id = paste(client, &server("https://agents.example.com/mcp", Some("team-claude"))).unwrap();
            assert!(with_id.contains("OAuth Client ID: team-claude\n  OAuth Client Secret: "), "{with_id}");
        }
    }

    #[test]
    fn endpoints_that_web_applications_cannot_reach_are_refused() {
        let local = server("http://127.0.0.1:8080/mcp", None);
        let port = server("https://agents.example.com:8443/mcp", None);
        assert_eq!(paste(WebClient::ClaudeAi, &local), Err(Unreachable::Loopback));
        assert_eq!(paste(WebClient::Chatgpt, &local), Err(Unreachable::Loopback));
        assert_eq!(paste(WebClient::ClaudeAi, &port), Err(Unreachable::Port));
        assert!(paste(WebClient::Chatgpt, &port).is_ok());
        assert!(paste(WebClient::ClaudeAi, &server("https://[2001:db8::1]/mcp", None)).is_ok());
    }
}
