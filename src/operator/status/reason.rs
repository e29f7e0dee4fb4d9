//! Words for machines. Each is one condition's `reason`.

/// All is as it should be.
pub const READY: &str = "Ready";
/// Enough servers are ready.
pub const SERVERS_READY: &str = "ServersReady";
/// Some servers are not ready yet.
pub const SERVERS_STARTING: &str = "ServersStarting";
/// No server was asked for.
pub const SCALED_TO_ZERO: &str = "ScaledToZero";
/// An Ingress leads to the endpoint.
pub const INGRESS_APPLIED: &str = "IngressApplied";
/// Nothing leads to the endpoint from outside, as the manifest says.
pub const CLUSTER_ONLY: &str = "ClusterOnly";
/// The Ingress is not there yet.
pub const INGRESS_MISSING: &str = "IngressMissing";
/// Every Gateway has accepted the HTTPRoute.
pub const ROUTE_ACCEPTED: &str = "RouteAccepted";
/// The HTTPRoute is not there yet, or a Gateway has not answered for it.
pub const ROUTE_PENDING: &str = "RoutePending";
/// A Gateway does not take the HTTPRoute.
pub const ROUTE_REFUSED: &str = "RouteRefused";
/// The cluster has no HTTPRoutes.
pub const GATEWAY_API_MISSING: &str = "GatewayApiMissing";
/// An older endpoint of the namespace has one of the URLs.
pub const URL_TAKEN: &str = "UrlTaken";
/// Every server has loaded the newest files.
pub const LOADED: &str = "Loaded";
/// Some servers have not.
pub const LOADING: &str = "Loading";
/// A server refused the newest files.
pub const REJECTED: &str = "Rejected";
/// No server runs.
pub const NO_SERVERS: &str = "NoServers";
/// A client's first steps succeeded.
pub const STEPS_SUCCEEDED: &str = "StepsSucceeded";
/// One of them did not.
pub const STEP_FAILED: &str = "StepFailed";
/// No server is ready to be asked.
pub const NO_READY_SERVER: &str = "NoReadyServer";
/// The servers do not accept the operator's address.
pub const ADDRESS_NOT_ALLOWED: &str = "AddressNotAllowed";
/// A planned name belongs to something else.
pub const NAME_TAKEN: &str = "NameTaken";
/// The API server refused what was planned.
pub const APPLY_FAILED: &str = "ApplyFailed";
/// The manifest cannot be planned.
pub const INVALID: &str = "Invalid";
/// The client's endpoint does not exist.
pub const ENDPOINT_NOT_FOUND: &str = "EndpointNotFound";
/// The endpoint has no login of this name.
pub const LOGIN_NOT_FOUND: &str = "LoginNotFound";
/// Grants of a user that must end are not revoked yet.
pub const GRANTS_LEFT: &str = "GrantsLeft";
/// Every grant of a user that had to end is revoked.
pub const GRANTS_REVOKED: &str = "GrantsRevoked";
/// No grant of a user has to end.
pub const NO_GRANTS: &str = "NoGrants";
/// The client registered itself.
pub const REGISTERED: &str = "Registered";
/// Every login can be used.
pub const LOGINS_USABLE: &str = "LoginsUsable";
/// The Secret of a login, or a client's `existingSecret`, is not there.
pub const SECRET_NOT_FOUND: &str = "SecretNotFound";
/// It lacks a key.
pub const SECRET_KEY_MISSING: &str = "SecretKeyMissing";
/// A line of an htpasswd file cannot be used.
pub const USER_MALFORMED: &str = "UserMalformed";
/// A password's hash in an htpasswd file asks for more than a server has to give.
pub const USER_TOO_COSTLY: &str = "UserTooCostly";
/// A client's `existingSecret` could be guessed.
pub const SECRET_TOO_SHORT: &str = "SecretTooShort";
/// A client of an endpoint whose tokens come from an authorization server elsewhere.
pub const EXTERNAL_ISSUER: &str = "ExternalIssuer";
