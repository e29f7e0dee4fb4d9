//! The reasons of conditions, for programs.

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
/// An endpoint of another namespace has the host, or one of the URLs.
pub const HOST_TAKEN: &str = "HostTaken";
/// The operator's settings do not permit the host.
pub const HOST_NOT_PERMITTED: &str = "HostNotPermitted";
/// The operator's settings do not permit the IngressClass.
pub const CLASS_NOT_PERMITTED: &str = "ClassNotPermitted";
/// The operator's settings do not permit some annotations.
pub const ANNOTATIONS_REFUSED: &str = "AnnotationsRefused";
/// The admission policy on exec is in force.
pub const EXEC_POLICY_IN_FORCE: &str = "ExecPolicyInForce";
/// There is no admission policy on exec, or nothing puts it in force.
pub const EXEC_POLICY_MISSING: &str = "ExecPolicyMissing";
/// The admission policy on exec is not the one that is delivered.
pub const EXEC_POLICY_CHANGED: &str = "ExecPolicyChanged";
/// The admission policy on writes is in force.
pub const WRITES_POLICY_IN_FORCE: &str = "WritesPolicyInForce";
/// There is no admission policy on writes, or nothing puts it in force.
pub const WRITES_POLICY_MISSING: &str = "WritesPolicyMissing";
/// The admission policy on writes is not the one that is delivered.
pub const WRITES_POLICY_CHANGED: &str = "WritesPolicyChanged";
/// No forwarding headers come from addresses that are not trusted.
pub const NO_UNTRUSTED_FORWARDING: &str = "NoUntrustedForwarding";
/// Forwarding headers come from addresses that are not trusted.
pub const UNTRUSTED_FORWARDING: &str = "UntrustedForwarding";
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
/// A line of the groups of a login is malformed.
pub const GROUP_MALFORMED: &str = "GroupMalformed";
/// A client's `existingSecret` could be guessed.
pub const SECRET_TOO_SHORT: &str = "SecretTooShort";
/// A client of an endpoint whose tokens come from an authorization server elsewhere.
pub const EXTERNAL_ISSUER: &str = "ExternalIssuer";
/// The class of the Ingress does not exist.
pub const INGRESS_CLASS_NOT_FOUND: &str = "IngressClassNotFound";
/// The Ingress has no class, and the cluster has no default.
pub const NO_DEFAULT_INGRESS_CLASS: &str = "NoDefaultIngressClass";
/// Servers of a new version are on their way.
pub const ROLLOUT_IN_PROGRESS: &str = "RolloutInProgress";
/// They do not become ready.
pub const ROLLOUT_STALLED: &str = "RolloutStalled";
/// An image cannot be pulled.
pub const IMAGE_PULL_FAILED: &str = "ImagePullFailed";
/// Something that a pod names is not there.
pub const CONFIG_MISSING: &str = "ConfigMissing";
/// What runs ends again and again.
pub const CRASH_LOOPING: &str = "CrashLooping";
/// A server was killed for want of memory.
pub const OUT_OF_MEMORY: &str = "OutOfMemory";
/// No node takes a pod.
pub const UNSCHEDULABLE: &str = "Unschedulable";
/// The cluster refuses a pod.
pub const POD_REFUSED: &str = "PodRefused";
/// The custom resource definitions are older than the operator.
pub const DEFINITIONS_OUTDATED: &str = "DefinitionsOutdated";
/// The limits of the endpoint need more memory than its servers may use.
pub const MEMORY_LIMIT_TOO_LOW: &str = "MemoryLimitTooLow";
/// The endpoint's own URL is at the path of the landing page.
pub const PATH_IN_USE: &str = "PathInUse";
/// An entry of `spec.tools` matches no tool.
pub const UNKNOWN_TOOL: &str = "UnknownTool";
