//! The OAuth client: discovery, registration, the authorization code flow of a native app (RFC 8252), tokens.

pub mod callback;
mod challenge;
mod client_choice;
pub mod discovery;
mod listener;
pub mod login;
mod metadata;
mod pkce;
mod token;

pub use client_choice::{ClientChoiceError, GivenClient};
pub use token::{TokenError, client_credentials};

pub(crate) use token::refresh;
