//! Every event of the audit trail, and the schema that documents them.

use crate::audit::{field::Field, request::RequestContext};
use portcullis_core::{Scope, grant::RevocationReason};
use std::collections::BTreeSet;

/// The origin of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A request to a server: the event has `request_id`, and `address` if it is known.
    Request,
    /// The operator or a background task of a server.
    Background,
}

/// One field of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FieldSchema {
    /// The name.
    pub name: &'static str,
    /// The type in JSON.
    pub kind: &'static str,
    /// Whether the field can be absent.
    pub optional: bool,
}

/// The documentation of one event.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// The name.
    pub name: &'static str,
    /// The variant of [`Event`].
    pub variant: &'static str,
    /// The description of the event: the lines of its doc comment.
    pub doc: &'static [&'static str],
    /// The origin of the event.
    pub source: Source,
    /// The fields of the event, without `request_id` and `address`.
    pub fields: &'static [FieldSchema],
}

/// The meaning of each field name, which is the same in all events.
pub const FIELDS: &[(&str, &str)] = &[
    ("address", "Address of the client; absent if a trusted proxy names no valid address."),
    ("administrator", "Id of the administrator who acts in the console, `LOGIN:NAME`."),
    ("client_id", "Id of the OAuth client. Ids that do not exist are not recorded: they may be misplaced secrets."),
    ("count", "Number of refusals that the event represents; more than 1 only if it is sampled."),
    ("duration_ms", "Duration in milliseconds."),
    ("grant", "Name of the `OAuthGrant`."),
    ("grant_type", "The `grant_type` of the token request, if it is a known one."),
    ("login", "Name of the entry of `spec.login`."),
    ("outcome", "Outcome, in one word."),
    ("reason", "Reason, in one word."),
    ("redirect_uris", "Redirect URIs of the client."),
    ("request_id", "Id of the request; the response has it in the header `X-Request-Id`."),
    ("route", "Route of the request, as in the metrics."),
    ("scope", "The OAuth scope that is missing."),
    ("scopes", "OAuth scopes."),
    ("status", "HTTP status of the response."),
    ("tool", "Name of the tool."),
    ("user", "Id of the user, `LOGIN:NAME`."),
    ("workspace", "Name or id of the workspace."),
];

macro_rules! events {
    (
        request { $( $(#[doc = $doc:literal])+ $variant:ident = $name:literal { $($field:ident: $kind:ty),* $(,)? } )+ }
        background {
            $( $(#[doc = $bg_doc:literal])+ $bg_variant:ident = $bg_name:literal {
                $($bg_field:ident: $bg_kind:ty),* $(,)?
            } )+
        }
    ) => {
        /// An event of the audit trail. [`FIELDS`] documents the fields.
        #[derive(Clone, Copy, Debug)]
        #[expect(missing_docs, reason = "FIELDS documents the fields")]
        pub enum Event<'a> {
            $( $(#[doc = $doc])+ $variant { from: &'a RequestContext, $($field: $kind),* }, )+
            $( $(#[doc = $bg_doc])+ $bg_variant { $($bg_field: $bg_kind),* }, )+
        }

        impl<'a> Event<'a> {
            /// The documentation of every event, for `docs/audit.md`.
            pub const SCHEMA: &'static [Schema] = &[
                $( Schema {
                    name: $name,
                    variant: stringify!($variant),
                    doc: &[$($doc),+],
                    source: Source::Request,
                    fields: &[$( FieldSchema {
                        name: stringify!($field),
                        kind: <$kind as Field>::KIND,
                        optional: <$kind as Field>::OPTIONAL,
                    } ),*],
                }, )+
                $( Schema {
                    name: $bg_name,
                    variant: stringify!($bg_variant),
                    doc: &[$($bg_doc),+],
                    source: Source::Background,
                    fields: &[$( FieldSchema {
                        name: stringify!($bg_field),
                        kind: <$bg_kind as Field>::KIND,
                        optional: <$bg_kind as Field>::OPTIONAL,
                    } ),*],
                }, )+
            ];

            /// Writes the event to the log. The only function that writes to the target `audit`.
            pub fn emit(&self) {
                match self {
                    $( Self::$variant { from, $($field),* } => tracing::info!(
                        target: "audit",
                        event = $name,
                        $($field = Field::value($field),)*
                        request_id = from.id.as_str(),
                        address = from.address.map(tracing::field::display),
                    ), )+
                    $( Self::$bg_variant { $($bg_field),* } => tracing::info!(
                        target: "audit",
                        event = $bg_name,
                        $($bg_field = Field::value($bg_field),)*
                    ), )+
                }
            }
        }
    };
}

events! {
    request {
        /// A user signed in.
        UserSignedIn = "user.signed_in" { login: &'a str, user: &'a str }
        /// A sign-in failed. `user` is present only if such a user exists.
        SignInRefused = "sign_in.refused" { login: Option<&'a str>, user: Option<&'a str>, reason: &'a str }
        /// A user signed out.
        UserSignedOut = "user.signed_out" { user: &'a str }
        /// A user ended all own browser sessions. The user's grants are revoked, each with an event of its own.
        UserSignedOutEverywhere = "user.all_sessions_ended" { user: &'a str }
        /// The identity provider was asked again about a user whose agent refreshes: `allowed`, `refused`, `unavailable`,
        /// `unsupported`, or `superseded` where the user had signed in again when the provider refused the older token.
        UserRechecked = "user.rechecked" { user: &'a str, outcome: &'a str }
        /// The identity provider ended sessions of a user (OpenID Connect Back-Channel Logout). Browser sessions end; grants
        /// are checked at their next refresh.
        UserLoggedOut = "user.logged_out" { login: &'a str, user: &'a str }
        /// A back-channel logout was refused.
        LogoutRefused = "logout.refused" { login: Option<&'a str>, reason: &'a str }
        /// A user approved an agent.
        ConsentGiven = "consent.given" { client_id: &'a str, user: &'a str, scopes: &'a BTreeSet<Scope> }
        /// A user did not approve an agent.
        ConsentDenied = "consent.denied" { client_id: &'a str, user: &'a str, scopes: &'a BTreeSet<Scope> }
        /// An authorization code was presented by a client that may not redeem it.
        CodeRefused = "code.refused" { client_id: &'a str, user: &'a str, grant: &'a str, reason: &'a str }
        /// A refresh token was presented whose user an administrator ended or disabled.
        RefreshTokenRefused = "refresh_token.refused" { client_id: &'a str, user: &'a str, grant: &'a str, reason: &'a str }
        /// A form was sent with a session that an administrator ended, or whose user is disabled.
        SessionRefused = "session.refused" { user: &'a str, reason: &'a str }
        /// An authorization code was presented again. Its grant is revoked.
        CodeReplayed = "code.replayed" { client_id: &'a str, user: &'a str, grant: &'a str }
        /// A refresh token was presented again. Its grant is revoked.
        RefreshTokenReplayed = "refresh_token.replayed" { client_id: &'a str, user: &'a str, grant: &'a str }
        /// An authorization code was redeemed.
        GrantCreated = "grant.created" {
            client_id: &'a str, user: &'a str, grant: &'a str, scopes: &'a BTreeSet<Scope>,
        }
        /// A refresh token was used: `rotated`, or `repeated` for a client that did not receive the response.
        GrantRefreshed = "grant.refreshed" { client_id: &'a str, user: &'a str, grant: &'a str, outcome: &'a str }
        /// A grant ended. `reason` is the one in `spec.revoked` of the `OAuthGrant`.
        GrantRevoked = "grant.revoked" {
            client_id: &'a str, user: Option<&'a str>, grant: &'a str, reason: RevocationReason,
        }
        /// An access token was issued. `user` and `grant` are absent if no user stands behind it.
        TokenIssued = "token.issued" {
            grant_type: Option<&'a str>,
            client_id: &'a str,
            user: Option<&'a str>,
            grant: Option<&'a str>,
            scopes: &'a BTreeSet<Scope>,
        }
        /// A client did not authenticate at the token, revocation or introspection endpoint.
        ClientRefused = "client.refused" { client_id: Option<&'a str>, reason: &'a str }
        /// The token endpoint did not issue a token to a client that had authenticated.
        TokenRefused = "token.refused" { grant_type: Option<&'a str>, client_id: &'a str, reason: &'a str }
        /// An access token was presented that does not count. Sampled.
        AccessTokenRefused = "access_token.refused" { route: &'a str, reason: &'a str, count: u64 }
        /// An access token did not have the scope that a tool, prompt or resource needs.
        ScopeRefused = "scope.refused" {
            tool: Option<&'a str>, scope: Scope, client_id: &'a str, user: &'a str, grant: Option<&'a str>,
        }
        /// A request was refused: its address, its origin, plain http, a rate, too many at once, its size or its
        /// duration. `client_id`, `user` and `grant` are present if it was authenticated. Sampled.
        RequestRefused = "request.refused" {
            route: &'a str,
            reason: &'a str,
            status: u64,
            client_id: Option<&'a str>,
            user: Option<&'a str>,
            grant: Option<&'a str>,
            count: u64,
        }
        /// A form of a page was sent by another site or for another session. Sampled.
        FormRefused = "form.refused" { route: &'a str, reason: &'a str, count: u64 }
        /// A registration was refused.
        RegistrationRefused = "registration.refused" { reason: &'a str }
        /// A client registered itself.
        ClientRegistered = "client.registered" { client_id: &'a str, redirect_uris: &'a [String] }
        /// A registration that no user had approved was deleted: the limit was reached, and another client registered.
        ClientEvicted = "client.evicted" { client_id: &'a str }
        /// A service account's token was not exchanged for an access token.
        WorkloadRefused = "workload.refused" { client_id: Option<&'a str>, reason: &'a str }
        /// A user started, stopped, restarted or deleted a workspace in the console. `tool` is the tool that does the same.
        WorkspaceChanged = "workspace.changed" { tool: &'a str, workspace: Option<&'a str>, outcome: &'a str, user: &'a str }
        /// An administrator ended the access of one agent of a user in the console. `grant.revoked` has the reason.
        AdministrationAgentRevoked = "administration.agent_revoked" {
            administrator: &'a str, user: &'a str, client_id: &'a str, grant: &'a str,
        }
        /// An administrator ended the access of a user in the console. Each grant that ends has an event of its own.
        AdministrationUserEnded = "administration.user_ended" { administrator: &'a str, user: &'a str }
        /// An administrator stopped or deleted a workspace of `user` in the console. `tool` is the tool that does the same.
        AdministrationWorkspaceChanged = "administration.workspace_changed" {
            administrator: &'a str, user: &'a str, tool: &'a str, workspace: Option<&'a str>, outcome: &'a str,
        }
        /// A tool was called. `cancelled` is the outcome of a call whose client went away.
        ToolCalled = "tool.called" {
            tool: &'a str,
            workspace: Option<&'a str>,
            outcome: &'a str,
            user: &'a str,
            client_id: &'a str,
            grant: Option<&'a str>,
            duration_ms: u64,
        }
    }
    background {
        /// The operator deleted a grant that had ended.
        GrantCollected = "grant.collected" { grant: &'a str, client_id: &'a str, user: &'a str, reason: &'a str }
        /// The operator deleted a client that had registered itself.
        RegistrationCollected = "registration.collected" { client_id: &'a str, reason: &'a str }
        /// A grant ended because an `OAuthUser` ended or disabled its user. `reason` is the one in `spec.revoked` of the
        /// `OAuthGrant`.
        GrantEnded = "grant.ended" { client_id: &'a str, user: &'a str, grant: &'a str, reason: RevocationReason }
        /// A grant's file was deleted (`portcullis dev`).
        GrantDeleted = "grant.deleted" { grant: &'a str }
    }
}

#[cfg(test)]
mod tests;
