//! Opens a page in the local browser.

use super::LocalWorkspaces;
use std::process::Stdio;
use tokio::process::Command;

/// The commands that open a URL: that of freedesktop.org, and that of macOS.
const OPENERS: [&str; 2] = ["xdg-open", "open"];

/// Opens `url`, or prints that this is not possible. The browser outlives this process.
pub(super) fn show(url: &str) {
    let opens = |opener: &&str| {
        let mut command = Command::new(opener);
        LocalWorkspaces::exempt(&mut command);
        command
            .arg(url)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .is_ok()
    };
    if !OPENERS.iter().any(opens) {
        super::say(&format!("there is no {} on this machine: open {url} yourself\n", OPENERS.join(" or ")));
    }
}
