//! `portcullis login`, `token` and `logout`: a user's sign-in at an endpoint.

use super::{ClientCommandError, ClientOptions, ConnectionOptions, open_browser, store};
use clap::Args;
use portcullis_client::{
    Credentials,
    oauth::{
        self,
        discovery::discover,
        login::{self, LoginOptions, Logout},
    },
    store::{StoreChoice, StoredIn},
};
use portcullis_core::{
    PublicUrl,
    clock::{Clock as _, SystemClock},
    rng,
};
use portcullis_outbound::HttpClient;
use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    path::PathBuf,
    thread,
};
use tokio::sync::mpsc;

/// Sign in at an endpoint in the browser, and store the tokens for the other commands.
///
/// The tokens are in the keyring of this computer, or in a file below $XDG_STATE_HOME/portcullis that only you can read.
/// They are refreshed when necessary. "portcullis logout" revokes them.
#[derive(Args, Debug)]
pub struct LoginArgs {
    /// The URL of the endpoint, such as https://mcp.example.com/mcp.
    #[arg(env = "PORTCULLIS_URL")]
    url: PublicUrl,
    #[command(flatten)]
    client: ClientOptions,
    /// Print the URL of the sign-in page, and do not open a browser.
    #[arg(long)]
    no_browser: bool,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// Print an access token for the endpoint, for curl and scripts.
///
/// It is the token of "portcullis login", refreshed if necessary. With --client-id and --client-secret-file, it is a
/// new token of that client, without any user.
#[derive(Args, Debug)]
pub struct TokenArgs {
    /// The URL of the endpoint, such as https://mcp.example.com/mcp.
    #[arg(env = "PORTCULLIS_URL")]
    url: PublicUrl,
    /// The id of a confidential OAuthClient with the grant client_credentials.
    #[arg(long, value_name = "ID", requires = "client_secret_file")]
    client_id: Option<String>,
    /// The file with the secret of that client.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// The scopes to request for that client, separated by spaces [default: all that it has].
    #[arg(long, value_name = "SCOPES", requires = "client_id")]
    scope: Option<String>,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// End the sign-in at an endpoint: revoke the tokens, and delete them.
#[derive(Args, Debug)]
pub struct LogoutArgs {
    /// The URL of the endpoint.
    #[arg(env = "PORTCULLIS_URL")]
    url: PublicUrl,
    #[command(flatten)]
    connection: ConnectionOptions,
}

/// Runs `portcullis login`.
pub async fn login(args: LoginArgs) -> Result<(), ClientCommandError> {
    let http = args.connection.http()?;
    let (browser, paste) = (!args.no_browser, io::stdin().is_terminal());
    let (credentials, stored_in) = sign_in(&args.url, &args.client, browser, paste, &http).await?;
    let scope = credentials.tokens.as_ref().and_then(|tokens| tokens.scope.as_deref());
    eprintln!("You are signed in at {} as the client {}.", args.url.resource(), credentials.client.id);
    eprintln!("Scopes: {}", scope.unwrap_or("as requested"));
    match stored_in {
        StoredIn::Keyring => eprintln!("The tokens are in the keyring of this computer."),
        StoredIn::File(path) => eprintln!("The tokens are in {}, which only you can read.", path.display()),
    }
    Ok(())
}

/// Signs a user in. `paste`: whether standard input may have the URL of the last page.
pub(super) async fn sign_in(
    url: &PublicUrl,
    client: &ClientOptions,
    browser: bool,
    paste: bool,
    http: &HttpClient,
) -> Result<(Credentials, StoredIn), ClientCommandError> {
    let options = LoginOptions { url: url.clone(), client: client.given()?, scope: client.scope.clone() };
    let (lines, pasted) = mpsc::channel(1);
    let show = |page: &str| {
        eprintln!("Open this page to sign in:\n\n  {page}\n");
        if browser {
            open_browser(page);
        }
        eprintln!("Waiting for the browser.");
        if paste {
            eprintln!("If it is on another machine, paste the URL of its last page here.");
            thread::spawn(move || {
                for line in io::stdin().lock().lines().map_while(Result::ok) {
                    if lines.blocking_send(line).is_err() {
                        break;
                    }
                }
            });
        }
    };
    let store = store(client.store)?;
    Ok(login::login(&options, http, &store, &SystemClock, &mut rng::rng(), show, pasted).await?)
}

/// Signs a user in by the browser, as `portcullis login` does without options.
#[cfg(feature = "doctor")]
pub(in crate::cli) async fn sign_in_by_browser(url: &PublicUrl, http: &HttpClient) -> Result<(), ClientCommandError> {
    sign_in(url, &ClientOptions::default(), true, io::stdin().is_terminal(), http).await.map(drop)
}

/// Runs `portcullis token`.
pub async fn token(args: TokenArgs) -> Result<(), ClientCommandError> {
    let token = match (&args.client_id, &args.client_secret_file) {
        (Some(id), Some(file)) => {
            let http = args.connection.http()?;
            let secret = super::secret(file)?;
            let found = discover(&http, &args.url).await?;
            let (endpoint, scope) = (found.server.token.as_str(), args.scope.as_deref());
            let client = (id.as_str(), secret.as_str());
            oauth::client_credentials(&http, endpoint, client, scope, &found.resource, SystemClock.now()).await?
        }
        _ => args.connection.access(&args.url)?.0.token(None).await?,
    };
    writeln!(io::stdout(), "{token}").map_err(ClientCommandError::Output)
}

/// Runs `portcullis logout`.
pub async fn logout(args: LogoutArgs) -> Result<(), ClientCommandError> {
    let url = args.url.resource();
    match login::logout(&args.url, &args.connection.http()?, &store(StoreChoice::default())?).await? {
        Logout::Revoked => eprintln!("The sign-in at {url} is revoked and deleted."),
        Logout::DeletedOnly => eprintln!(
            "The sign-in at {url} is deleted, but it could not be revoked. End it on the page of connected agents."
        ),
        Logout::NotSignedIn => eprintln!("There is no sign-in at {url}."),
    }
    Ok(())
}
