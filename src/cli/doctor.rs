//! `portcullis doctor`: examines an endpoint from outside, as a client sees it, and in its cluster.

mod sign_in;

use clap::Args;
use portcullis_core::{clock::SystemClock, report::chain};
use portcullis_doctor::{
    self as doctor, Credentials, Origin, Report, Target, UserToken,
    cluster::{ClusterError, ClusterObservations, ClusterTarget, EndpointName, EndpointTarget},
};
use portcullis_outbound::OutboundError;
use sign_in::StoredSignIn;
use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
};

/// The largest file with a secret or with certificates.
const MAX_FILE: u64 = 1 << 20;
/// The exit code for wrong arguments, the same as clap's.
const USAGE: u8 = 2;

const EXAMPLES: &str = "\
Examples:
  portcullis doctor https://mcp.example.com/mcp                         from outside, as agents see it
  portcullis doctor https://mcp.example.com/mcp --browser               with the token of your sign-in
  portcullis doctor https://mcp.example.com/mcp --context production    also in the cluster
  portcullis doctor --endpoint agents/main                              with the URL from the McpEndpoint";

/// Diagnose an endpoint as a client and in its cluster, and report the cause of each failure.
///
/// The checks range from DNS to a tool call. With a kubeconfig, the resources, pods, routes and events in the cluster are
/// checked too: they are the causes and come first. Every problem has a code, which docs/doctor.md explains. The exit code is
/// 0 if no check failed, 1 if a check failed, and 2 if the arguments are invalid.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct DoctorArgs {
    /// The URL of the endpoint, such as https://mcp.example.com/mcp.
    #[arg(required_unless_present = "endpoint", conflicts_with = "endpoint")]
    url: Option<String>,
    /// The McpEndpoint whose spec.url is checked: NAMESPACE/NAME.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    endpoint: Option<EndpointName>,
    /// Check the cluster too, with this kubeconfig [default with --endpoint, --context or --namespace: as kubectl].
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// Check the cluster of this context of the kubeconfig too.
    #[arg(long, value_name = "NAME")]
    context: Option<String>,
    /// Check the cluster too, and search the McpEndpoint in this namespace only.
    #[arg(long, value_name = "NAMESPACE", conflicts_with = "endpoint")]
    namespace: Option<String>,
    /// A client that may use client credentials, for the checks that need a token.
    #[arg(long, value_name = "ID", requires = "client_secret_file")]
    client_id: Option<String>,
    /// The file with the client's secret.
    #[arg(long, value_name = "FILE", requires = "client_id")]
    client_secret_file: Option<PathBuf>,
    /// Sign in with the browser, as "portcullis login" does, for the checks that need a token. Without it, the stored
    /// sign-in of "portcullis login" is used if there is one.
    #[arg(long, conflicts_with = "client_id")]
    browser: bool,
    /// The id of a client, which is the URL of its metadata document: the endpoint must be able to fetch it. Repeatable.
    /// That of claude.ai is always checked, if the endpoint allows it.
    #[arg(long = "client-metadata", value_name = "URL")]
    client_metadata: Vec<String>,
    /// The origin of web pages that must be able to use the endpoint. Repeatable. The origins of claude.ai and
    /// chatgpt.com are always checked, but may be refused: these agents connect from their own servers.
    #[arg(long = "origin", value_name = "ORIGIN")]
    origins: Vec<Origin>,
    /// Certificates (PEM) of CAs to trust in addition to the public ones.
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Why nothing was examined.
#[derive(Debug, thiserror::Error)]
enum DoctorCommandError {
    /// A file cannot be read.
    #[error("{path} cannot be read; pass a file with {content} to {option}", path = path.display())]
    File { path: PathBuf, option: &'static str, content: &'static str, source: io::Error },
    /// A file is too large.
    #[error("{path} is larger than 1 MiB; pass a file with {content} to {option}", path = path.display())]
    FileTooLarge { path: PathBuf, option: &'static str, content: &'static str },
    /// The file with the secret has none.
    #[error("{path} is empty; it must contain the client's secret", path = path.display())]
    SecretEmpty { path: PathBuf },
    /// The client cannot be set up.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// There is no access to a cluster.
    #[error(transparent)]
    Cluster(#[from] Box<ClusterError>),
    /// The runtime cannot be started.
    #[error("the runtime could not be started")]
    Runtime(#[source] io::Error),
}

/// Runs the command.
#[must_use]
pub fn run(args: DoctorArgs) -> ExitCode {
    let json = args.json;
    match super::block_on(examine(args)).map_err(DoctorCommandError::Runtime).flatten() {
        Ok(report) => print(&report, json),
        Err(error) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::from(USAGE)
        }
    }
}

async fn examine(args: DoctorArgs) -> Result<Report, DoctorCommandError> {
    let cluster = cluster(&args).await?;
    let url = args.url.or_else(|| cluster.as_ref().and_then(ClusterObservations::url)).unwrap_or_default();
    let credentials = match (args.client_id, args.client_secret_file) {
        (Some(client_id), Some(path)) => Some(Credentials { client_id, client_secret: secret(path)? }),
        _ => None,
    };
    let stored = url.parse().ok().map(|url| StoredSignIn::new(url, args.browser, args.ca.clone()));
    let user_token = stored.map(|stored| Arc::new(stored) as Arc<dyn UserToken>);
    let ca = args.ca.map(|path| read(&path, "--ca", "certificates in PEM")).transpose()?;
    let (origins, client_metadata) = (args.origins, args.client_metadata);
    let target = Target { url, credentials, user_token, client_metadata, cluster, origins, ca };
    Ok(doctor::examine(&target, &SystemClock).await?)
}

/// What is read from the cluster, if an option asks for it.
async fn cluster(args: &DoctorArgs) -> Result<Option<ClusterObservations>, DoctorCommandError> {
    let endpoint = match (&args.endpoint, &args.url) {
        (Some(name), _) => EndpointTarget::Name(name.clone()),
        (None, Some(url)) if args.kubeconfig.is_some() || args.context.is_some() || args.namespace.is_some() => {
            EndpointTarget::Url(url.clone())
        }
        (None, _) => return Ok(None),
    };
    let (kubeconfig, context) = (args.kubeconfig.clone(), args.context.clone());
    let target = ClusterTarget { kubeconfig, context, namespace: args.namespace.clone(), endpoint };
    Ok(Some(doctor::cluster::read(&target, &SystemClock).await.map_err(Box::new)?))
}

/// The secret without the line break that editors append.
fn secret(path: PathBuf) -> Result<String, DoctorCommandError> {
    let text = read(&path, "--client-secret-file", "the client's secret")?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() {
        return Err(DoctorCommandError::SecretEmpty { path });
    }
    Ok(secret.to_owned())
}

fn read(path: &Path, option: &'static str, content: &'static str) -> Result<String, DoctorCommandError> {
    let failed = |source| DoctorCommandError::File { path: path.to_owned(), option, content, source };
    let mut text = String::new();
    let size = File::open(path).map_err(failed)?.take(MAX_FILE + 1).read_to_string(&mut text).map_err(failed)?;
    if size as u64 > MAX_FILE {
        return Err(DoctorCommandError::FileTooLarge { path: path.to_owned(), option, content });
    }
    Ok(text)
}

fn print(report: &Report, json: bool) -> ExitCode {
    let text = if json { report.json().map(|text| format!("{text}\n")) } else { Ok(report.to_string()) };
    // A reader that closed the pipe, such as `head`, has seen enough. The exit code still tells the result.
    let written = text.map(|text| io::stdout().lock().write_all(text.as_bytes()));
    match (written, report.cause()) {
        (Err(error), _) => {
            eprintln!("error: {}", chain(&error));
            ExitCode::FAILURE
        }
        (Ok(_), Some(_)) => ExitCode::FAILURE,
        (Ok(_), None) => ExitCode::SUCCESS,
    }
}
