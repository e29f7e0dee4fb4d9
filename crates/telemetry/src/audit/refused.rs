//! What inner layers tell the server about a response, so that it can sample the events.

/// In a response's extensions: the form that was sent is not accepted, for this reason.
#[derive(Clone, Copy, Debug)]
pub struct FormRefused(pub &'static str);
