//! The command lines of `docs/curl.md` do what the page says, through a port-forward too.

use crate::{
    helpers::{path, quickstart},
    support::{Dev, eventually},
};
use serde_json::Value;
use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Child, Command, Stdio},
};

/// Answers `kubectl get secret` from the files that `dev` has written.
const KUBECTL: &str = "#!/bin/sh
test \"$1 $2 $3 $4\" = 'get secret ci-agent-oauth -o' || { echo \"unexpected: $*\" >&2; exit 1; }
cat \"$SECRET/$(echo \"$5\" | sed -E 's/.*\"([a-z-]+)\".*/\\1/')\"
";

/// The shell commands of the page, block by block.
fn blocks() -> Vec<String> {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/curl.md")).unwrap();
    page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

/// Runs a block as a user does who has this page open, and gives what it prints.
fn run(block: &str, folder: &Path, secret: &Path) -> String {
    let output = Command::new("sh")
        .args(["-ec", block])
        .current_dir(folder)
        .env("SECRET", secret)
        .env("PATH", format!("{}:{}", path(folder), std::env::var("PATH").unwrap()))
        .output()
        .unwrap();
    assert!(output.status.success(), "{block}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| panic!("{text}"))
}

/// A server of the endpoint in a cluster, on the files that `dev` has planned but with the URL of a cluster.
struct Server(Child);

impl Server {
    fn start(mounted: &Path, origin: &str, folder: &Path, port: u16) -> Self {
        let config = folder.join("mounted");
        fs::create_dir(&config).unwrap();
        for file in ["config.json", "clients.json", "signing-keys.json", "login.json"] {
            let text = fs::read_to_string(mounted.join(file)).unwrap();
            fs::write(config.join(file), text.replace(origin, "https://mcp.example.com")).unwrap();
        }
        let child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .args(["serve", "--config-dir", path(&config), "--private-listen", "127.0.0.1:0", "--lame-duck", "0"])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let server = Self(child);
        eventually(|| TcpStream::connect(("127.0.0.1", port)).ok()).expect("the server listens");
        server
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_page_about_curl_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let (state, folder) = (folder.path().join("state"), folder.path());
    let kubectl = folder.join("kubectl");
    fs::write(&kubectl, KUBECTL).unwrap();
    fs::set_permissions(&kubectl, fs::Permissions::from_mode(0o755)).unwrap();
    let dev = Dev::serve(&quickstart(), &state);
    let secret = state.join("secrets/ci-agent-oauth");

    let blocks = blocks();
    let [credentials, token, list, whoami, rest, forwarded] = &*blocks else { panic!("{} blocks", blocks.len()) };
    assert_eq!(run(credentials, folder, &secret), "");
    assert_eq!(fs::metadata(folder.join("credentials/client-secret")).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(run(token, folder, &secret), "");
    assert!(json(&run(list, folder, &secret))["result"]["tools"].is_array());
    let who = json(&run(whoami, folder, &secret));
    assert_eq!(who["result"]["structuredContent"]["client_id"], "ci-agent", "{who}");
    let workspaces = json(&run(rest, folder, &secret));
    assert!(workspaces["workspaces"].is_array(), "{workspaces}");

    // What `kubectl port-forward` leads to.
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let origin = dev.url().strip_suffix("/mcp").unwrap().to_owned();
    let _server = Server::start(&state.join("mounted/agents"), &origin, folder, port);
    let here = forwarded.replace("localhost:8080", &format!("127.0.0.1:{port}"));
    assert!(json(&run(&here, folder, &secret))["result"]["tools"].is_array());
    let without_host = here.replace("-H 'Host: mcp.example.com'", "");
    let refused = json(&run(&without_host, folder, &secret));
    let said = refused["error"]["message"].as_str().unwrap();
    assert!(
        said.contains("https://mcp.example.com/mcp") && said.ends_with("the header Host: mcp.example.com"),
        "{said}"
    );
}
