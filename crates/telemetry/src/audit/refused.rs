//! Response extensions by which inner layers report refusals to the server, which samples the audit events.

/// Response extension: the submitted form was refused, for this reason.
#[derive(Clone, Copy, Debug)]
pub struct FormRefused(pub &'static str);
