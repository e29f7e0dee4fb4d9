//! What the tests against a real control plane share.

pub mod api_server;
pub mod audit;
pub mod clock;
pub mod controlplane;
pub mod form_browser;
pub mod github;
pub mod grants;
pub mod kubelet;
pub mod mounted;
pub mod operator;
pub mod process;
pub mod proxy;
pub mod volume;
pub mod wire;
