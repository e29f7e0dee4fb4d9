//! `portcullis connect`: adds an endpoint to the configuration of an MCP client.

use clap::{
    Args,
    builder::{PossibleValuesParser, TypedValueParser as _},
};
use portcullis_connect::{
    Change, Client, EditError, FileClient, Folders, Server, ServerName, System, Unreachable, WebClient,
    file::{ConfigFile, FileError},
};
use portcullis_core::{
    PublicUrl,
    clock::{Clock as _, SystemClock},
};
use std::{
    env, io,
    io::Write as _,
    path::{Path, PathBuf},
};

/// Connect an MCP client on this computer to an endpoint.
///
/// Adds the endpoint to the client's configuration file. Comments and everything else in the file are preserved, and a
/// backup of the file is written beside it. For claude-ai and chatgpt, which have no file, prints the values to enter
/// there.
#[derive(Args, Debug)]
pub struct ConnectArgs {
    /// The client
    #[arg(value_name = "CLIENT", value_parser = client_parser())]
    client: Client,
    /// The endpoint, such as https://mcp.example.com/mcp
    #[arg(value_name = "URL", required_unless_present_all = ["remove", "name"])]
    url: Option<PublicUrl>,
    /// The name of the server in the client [default: from the host of URL]
    #[arg(long, value_name = "NAME")]
    name: Option<ServerName>,
    /// The client id of a client that is registered at the endpoint
    #[arg(long, value_name = "ID", conflicts_with = "remove")]
    client_id: Option<String>,
    /// The configuration file [default: the user's own]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Change the configuration of the project in the current folder instead of the user's own
    #[arg(long, conflicts_with = "file")]
    project: bool,
    /// Remove the endpoint from the configuration
    #[arg(long)]
    remove: bool,
    /// Show the changes without making them
    #[arg(long)]
    dry_run: bool,
}

/// The client is not connected.
#[derive(Debug, thiserror::Error)]
pub enum ConnectCommandError {
    /// The home folder is unknown.
    #[error("the home folder is unknown; set HOME, or pass the client's configuration file with --file")]
    Home,
    /// The current folder is unknown.
    #[error("the current folder cannot be determined; pass the client's configuration file with --file")]
    CurrentFolder(#[source] io::Error),
    /// The client has no configuration for a project.
    #[error("{0} has no configuration file for a project; omit --project")]
    NoProject(&'static str),
    /// The options are for clients with a file.
    #[error("{0} has no configuration file; omit --file, --project, --remove and --dry-run")]
    NoFile(&'static str),
    /// The URL is missing.
    #[error("the endpoint is missing; add its URL, such as https://mcp.example.com/mcp")]
    UrlMissing,
    /// The web application cannot reach the endpoint.
    #[error("{client} cannot reach {url}")]
    Unreachable {
        /// The name of the client.
        client: &'static str,
        /// The endpoint.
        url: String,
        /// Why.
        source: Unreachable,
    },
    /// The configuration cannot be edited.
    #[error("{path} was not changed", path = path.display())]
    Edit {
        /// The file.
        path: PathBuf,
        /// Why.
        source: EditError,
    },
    /// The file cannot be read or written.
    #[error(transparent)]
    File(#[from] FileError),
    /// Standard output was closed, or is full.
    #[error("standard output cannot be written")]
    Print(#[source] io::Error),
}

fn client_parser() -> impl clap::builder::TypedValueParser<Value = Client> {
    PossibleValuesParser::new(Client::ALL.map(Client::name)).try_map(|name| name.parse::<Client>())
}

/// Runs the command.
pub fn run(args: ConnectArgs) -> Result<(), ConnectCommandError> {
    let report = match args.client {
        Client::Web(client) => enter(client, args)?,
        Client::File(client) => edit(client, args)?,
    };
    io::stdout().lock().write_all(report.as_bytes()).map_err(ConnectCommandError::Print)
}

/// What to enter in a web application.
fn enter(client: WebClient, args: ConnectArgs) -> Result<String, ConnectCommandError> {
    let name = args.client.name();
    if args.file.is_some() || args.project || args.remove || args.dry_run {
        return Err(ConnectCommandError::NoFile(name));
    }
    let server = server(args)?;
    let unreachable = |source| ConnectCommandError::Unreachable { client: name, url: server.url.resource(), source };
    portcullis_connect::paste(client, &server).map_err(unreachable)
}

fn edit(client: FileClient, args: ConnectArgs) -> Result<String, ConnectCommandError> {
    let (dry_run, remove) = (args.dry_run, args.remove);
    let path = path(client, &args)?;
    let shown = path.display();
    let file = ConfigFile::read(&path)?;
    let failed = |source| ConnectCommandError::Edit { path: path.clone(), source };
    let (title, text) = (client.title(), file.text());
    if remove {
        let name = args.name.clone().or_else(|| args.url.as_ref().map(ServerName::of));
        let name = name.ok_or(ConnectCommandError::UrlMissing)?;
        return match portcullis_connect::remove(client, text, &name).map_err(failed)? {
            None => Ok(format!("{shown} has no server {name}; nothing was changed\n")),
            Some(new) => write(&file, &path, &new, dry_run, &format!("Removed {name} from {title}"), ""),
        };
    }
    let server = server(args)?;
    let name = &server.name;
    let next = portcullis_connect::next_step(client, &server);
    match portcullis_connect::add(client, text, &server).map_err(failed)? {
        Change::AlreadyConnected => {
            Ok(format!("{title} is already connected: {shown} has the server {name}; nothing was changed\n{next}\n"))
        }
        Change::Added(new) => write(&file, &path, &new, dry_run, &format!("Added {name} to {title}"), &next),
        Change::Replaced(new) => {
            write(&file, &path, &new, dry_run, &format!("Replaced another entry {name} of {title}"), &next)
        }
    }
}

fn server(args: ConnectArgs) -> Result<Server, ConnectCommandError> {
    let url = args.url.ok_or(ConnectCommandError::UrlMissing)?;
    let name = args.name.unwrap_or_else(|| ServerName::of(&url));
    Ok(Server { name, url, client_id: args.client_id, program: program() })
}

/// The path of this program, so that a client finds it without the `PATH` of a shell.
fn program() -> String {
    let path = env::current_exe().ok().and_then(|path| path.into_os_string().into_string().ok());
    path.unwrap_or_else(|| env!("CARGO_PKG_NAME").to_owned())
}

/// Writes the file, or shows the change.
fn write(
    file: &ConfigFile,
    path: &Path,
    new: &str,
    dry_run: bool,
    done: &str,
    next: &str,
) -> Result<String, ConnectCommandError> {
    let shown = path.display();
    if dry_run {
        let diff = portcullis_connect::unified(file.text(), new, &shown.to_string());
        return Ok(format!("Nothing was changed. Without --dry-run: {done}\n{diff}"));
    }
    let backup = file.replace(new, SystemClock.now())?;
    let backup = backup.map_or_else(String::new, |backup| format!("\nThe backup is {}", backup.display()));
    let next = if next.is_empty() { String::new() } else { format!("\n{next}") };
    Ok(format!("{done}: {shown}{backup}{next}\n"))
}

/// The file to change: of several, the first that exists, else the first.
fn path(client: FileClient, args: &ConnectArgs) -> Result<PathBuf, ConnectCommandError> {
    if let Some(file) = &args.file {
        return Ok(file.clone());
    }
    let paths = if args.project {
        let folder = env::current_dir().map_err(ConnectCommandError::CurrentFolder)?;
        portcullis_connect::project_files(client, &folder)
    } else {
        let system = if cfg!(target_os = "macos") { System::MacOs } else { System::Linux };
        portcullis_connect::user_files(client, system, &folders()?)
    };
    let existing = paths.iter().find(|path| path.symlink_metadata().is_ok());
    existing.or(paths.first()).cloned().ok_or(ConnectCommandError::NoProject(client.title()))
}

/// The folders of this user. An empty variable is as good as none.
fn folders() -> Result<Folders, ConnectCommandError> {
    let variable = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    Ok(Folders {
        home: env::home_dir().filter(|home| !home.as_os_str().is_empty()).ok_or(ConnectCommandError::Home)?,
        xdg_config_home: variable("XDG_CONFIG_HOME"),
        app_data: variable("APPDATA"),
        claude_config_dir: variable("CLAUDE_CONFIG_DIR"),
        codex_home: variable("CODEX_HOME"),
    })
}
