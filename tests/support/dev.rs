//! `portcullis dev` as a child process that ends with its handle, and what it said so far.

use std::{
    io::{Read, Write as _},
    path::Path,
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

/// Far beyond what any step takes; only a hang gets there.
const PATIENCE: Duration = Duration::from_mins(1);
/// The end of what it says once it serves.
pub const SERVED: &str = "Edits of the manifests are live.";

/// A running `portcullis dev`.
pub struct Dev {
    pub child: Child,
    said: Arc<Mutex<String>>,
}

impl Dev {
    pub fn start(args: &[&str], stdin: &str) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_portcullis"))
            .arg("dev")
            .args(args)
            // As servers have it in pods.
            .env("MIMALLOC_PURGE_DELAY", "0")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        let said = Arc::new(Mutex::new(String::new()));
        let collect = |mut pipe: Box<dyn Read + Send>| {
            let said = Arc::clone(&said);
            thread::spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                    said.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..count]));
                }
            });
        };
        collect(Box::new(child.stdout.take().unwrap()));
        collect(Box::new(child.stderr.take().unwrap()));
        Self { child, said }
    }

    /// Serves `manifests` with the state in `state`.
    pub fn serve(manifests: &Path, state: &Path) -> Self {
        let (manifests, state) = (manifests.to_str().unwrap(), state.to_str().unwrap());
        let dev = Self::start(&[manifests, "--listen", "127.0.0.1:0", "--state-dir", state], "");
        dev.wait_for(SERVED);
        dev
    }

    /// Waits until it has said `text`, and gives all that it said.
    pub fn wait_for(&self, text: &str) -> String {
        let said = || self.said.lock().unwrap().clone();
        eventually(|| Some(said()).filter(|said| said.contains(text)))
            .unwrap_or_else(|| panic!("it never said {text:?}, but:\n{}", said()))
    }

    /// The endpoint's URL.
    pub fn url(&self) -> String {
        let said = self.wait_for(SERVED);
        said.split("URL").nth(1).unwrap().split_whitespace().next().unwrap().to_owned()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What `check` finds; `None` if it never finds anything.
pub fn eventually<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let start = tokio::time::Instant::now();
    loop {
        if let Some(found) = check() {
            return Some(found);
        }
        if start.elapsed() > PATIENCE {
            return None;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
