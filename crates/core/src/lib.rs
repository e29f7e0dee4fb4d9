//! Basics for all other crates: types that custom resources, configuration and servers share, the clock, randomness,
//! and pure helpers. This crate depends on neither Kubernetes nor HTTP.

pub mod account;
pub mod agent_paths;
pub mod agents;
pub mod atomic_file;
pub mod authorization;
pub mod client;
pub mod clock;
pub mod console;
pub mod endpoint_paths;
pub mod grant;
mod hex;
pub mod image_pull;
pub mod ip_ranges;
pub mod json;
pub mod limits;
pub mod login;
pub mod loopback;
pub mod media_type;
pub mod names;
pub mod nearest;
pub mod preset;
pub mod public_url;
pub mod quantity;
pub mod redirect_uri;
pub mod report;
pub mod rng;
pub mod schema;
pub mod scope;
pub mod terminal;
pub mod workspace;

pub use hex::hex;
pub use public_url::PublicUrl;
pub use scope::Scope;
