//! The tool that shows the identity of the caller.

use crate::{Call, Effect, NoArguments, Text, Tool, ToolError};
use jiff::Timestamp;
use portcullis_core::{PublicUrl, Scope};
use schemars::JsonSchema;
use serde::Serialize;

/// `whoami`.
pub(super) struct WhoAmI {
    endpoint: String,
}

impl WhoAmI {
    pub(crate) fn new(url: &PublicUrl) -> Self {
        Self { endpoint: url.resource() }
    }
}

/// The content of the access token.
#[derive(Debug, Serialize, JsonSchema)]
pub(super) struct Identity {
    /// The user or client on whose behalf you act.
    subject: String,
    /// The name of the user; omitted if you act on your own behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    /// Your OAuth client.
    client_id: String,
    /// Your scopes. If a tool needs another one, its error names it.
    #[schemars(with = "Vec<String>")]
    scopes: Vec<Scope>,
    /// The endpoint's URL.
    endpoint: String,
    /// When the access token expires.
    #[schemars(with = "String", extend("format" = "date-time"))]
    expires_at: Timestamp,
}

impl Tool for WhoAmI {
    type Arguments = NoArguments;
    type Output = Identity;
    const NAME: &'static str = "whoami";
    const TITLE: &'static str = "Who am I";
    const DESCRIPTION: &'static str =
        "Shows the user and client on whose behalf you act, your scopes, and the expiry of the token.";
    const SCOPE: Option<Scope> = None;
    const EFFECT: Effect = Effect::Reads;

    fn text(output: &Identity) -> Text {
        let Identity { subject, user, client_id, scopes, endpoint, expires_at } = output;
        let scopes: Vec<String> = scopes.iter().map(ToString::to_string).collect();
        let user = user.as_ref().map(|user| format!(" ({user})")).unwrap_or_default();
        let scopes = scopes.join(" ");
        format!("{subject}{user}, by client {client_id}, at {endpoint} until {expires_at}\nscopes: {scopes}").into()
    }

    async fn call(&self, _arguments: NoArguments, call: Call) -> Result<Identity, ToolError> {
        Ok(Identity {
            subject: call.caller.subject.clone(),
            user: call.caller.user_name.clone(),
            client_id: call.caller.client_id.clone(),
            scopes: call.caller.scopes.iter().copied().collect(),
            endpoint: self.endpoint.clone(),
            expires_at: call.caller.expires_at,
        })
    }
}
