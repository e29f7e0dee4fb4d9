//! All that is logged by all tests of this program, at the finest level and from every crate; and the secrets that must
//! not be found in it.

use portcullis_telemetry::audit::{Event, Source};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    io,
    sync::{Arc, Mutex, OnceLock},
};
use tracing_subscriber::fmt::MakeWriter;
use url::form_urlencoded;

static LOG: OnceLock<Log> = OnceLock::new();

/// What was logged, as lines of JSON.
#[derive(Clone, Default)]
pub struct Log(Arc<Mutex<Vec<u8>>>);

/// The log of this program.
pub fn log() -> &'static Log {
    LOG.get_or_init(|| {
        // For the tests' own HTTP client.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let log = Log::default();
        // What `RUST_LOG=trace` makes of it.
        let filter = portcullis_telemetry::logs::filter("trace").unwrap();
        tracing_subscriber::fmt().json().with_env_filter(filter).with_writer(log.clone()).init();
        log
    })
}

impl Log {
    /// How long it is.
    pub fn mark(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// What was logged since.
    pub fn since(&self, mark: usize) -> String {
        String::from_utf8(self.0.lock().unwrap()[mark..].to_vec()).unwrap()
    }

    /// The fields of the audit events of this name since.
    pub fn audit(&self, mark: usize, event: &str) -> Vec<Value> {
        self.events(mark).into_iter().filter(|fields| fields["event"] == event).collect()
    }

    /// The fields of all audit events since.
    fn events(&self, mark: usize) -> Vec<Value> {
        let lines = self.since(mark);
        let lines = lines.lines().filter(|line| line.contains("\"audit\""));
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        events.filter(|line| line["target"] == "audit").map(|mut line| line["fields"].take()).collect()
    }

    /// Holds each audit event since against the schema that `docs/audit.md` is made from.
    pub fn check_audit(&self, mark: usize) {
        for event in self.events(mark) {
            let schema = Event::SCHEMA.iter().find(|schema| event["event"] == schema.name);
            let schema = schema.unwrap_or_else(|| panic!("{event} is documented nowhere"));
            let mut unknown: BTreeSet<&str> = event.as_object().unwrap().keys().map(String::as_str).collect();
            for field in schema.fields {
                assert!(unknown.remove(field.name) || field.optional, "{event} lacks {}", field.name);
            }
            assert!(schema.source == Source::Background || unknown.remove("request_id"), "{event} names no request");
            unknown.remove("address");
            assert_eq!(unknown, BTreeSet::from(["event"]), "{event}");
        }
    }
}

impl io::Write for &Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;
    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

/// What was presented or handed out while a server ran.
pub struct Secrets {
    since: usize,
    known: Mutex<BTreeSet<String>>,
}

impl Secrets {
    pub fn new() -> Self {
        Self { since: log().mark(), known: Mutex::default() }
    }

    /// Remembers one, as it is and as a form has it. Shorter ones would be found by chance.
    pub fn keep(&self, secret: &str) {
        if secret.len() >= 12 {
            let mut known = self.known.lock().unwrap();
            known.insert(form_urlencoded::byte_serialize(secret.as_bytes()).collect());
            known.insert(secret.to_owned());
        }
    }

    /// Where the log of now begins.
    pub fn since(&self) -> usize {
        self.since
    }

    /// A secret that is in the log, with its line.
    pub fn find(&self) -> Option<(String, String)> {
        let text = log().since(self.since);
        let known = self.known.lock().unwrap();
        let mut found = known.iter().filter(|secret| text.contains(secret.as_str()));
        let secret = found.next()?;
        text.lines().find(|line| line.contains(secret.as_str())).map(|line| (secret.clone(), line.to_owned()))
    }
}
