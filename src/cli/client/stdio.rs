//! `portcullis stdio`: an MCP server on standard input and output, for agents without OAuth.

use super::{ClientCommandError, ClientOptions, ConnectionOptions, login::sign_in, store};
use crate::cli::signals::until_signal;
use clap::Args;
use portcullis_client::{access::AccessError, stdio::Relay};
use portcullis_core::PublicUrl;

/// Forward MCP between standard input and output and an endpoint, for agents without OAuth.
///
/// Configure it in the agent as a local server: command "portcullis", arguments "stdio" and the URL. It uses the tokens
/// of "portcullis login"; if there are none, it signs in by the browser first. It survives restarts of the endpoint.
/// Logs go to standard error.
#[derive(Args, Debug)]
pub struct StdioArgs {
    /// The URL of the endpoint, such as https://mcp.example.com/mcp.
    #[arg(env = "PORTCULLIS_URL")]
    url: PublicUrl,
    #[command(flatten)]
    client: ClientOptions,
    /// Do not sign in: answer with an error that has the remedy, until "portcullis login" has been run.
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// Runs the command.
pub async fn run(args: StdioArgs) -> Result<(), ClientCommandError> {
    let (access, http) = args.connection.access(&args.url)?;
    match access.token(None).await {
        Err(error) if error.needs_sign_in() && !args.no_browser => {
            // Agents start several of these processes at once. The user signs in once.
            let _lock = store(args.client.store)?.lock_prompt(&args.url).await?;
            if access.token(None).await.is_err() {
                sign_in(&args.url, &args.client, true, false, &http).await?;
            }
        }
        // The agent gets other errors as answers to its requests. They may be temporary.
        Err(error @ (AccessError::NotSignedIn(_) | AccessError::Ended(_) | AccessError::Refresh(_))) => {
            tracing::warn!(error = portcullis_core::report::chain(&error), "there is no access token yet");
        }
        Err(error) => return Err(error.into()),
        Ok(_) => {}
    }
    let relay = Relay::new(access, http);
    let relayed = until_signal(|stop| relay.run(tokio::io::stdin(), tokio::io::stdout(), stop)).await;
    match relayed.map_err(ClientCommandError::Run)? {
        Some(ended) => Ok(ended?),
        None => Ok(()),
    }
}
