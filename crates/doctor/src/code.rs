//! The codes of problems. A code, once released, keeps its meaning. `docs/doctor.md` lists all of them.

use crate::Severity;
use std::fmt::Write as _;

macro_rules! codes {
    ($($variant:ident $name:literal $severity:ident $meaning:literal $remedy:literal)*) => {
        /// A problem with a documented meaning and remedy.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $(#[doc = $meaning] $variant,)*
        }

        impl Code {
            /// Every code, in dependency order.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// Its stable name, in kebab-case.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The severity.
            #[must_use]
            pub const fn severity(self) -> Severity {
                match self { $(Self::$variant => Severity::$severity,)* }
            }

            /// The meaning of the finding.
            #[must_use]
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$variant => $meaning,)* }
            }

            /// The remedy.
            #[must_use]
            pub const fn remedy(self) -> &'static str {
                match self { $(Self::$variant => $remedy,)* }
            }
        }
    };
}

codes! {
    ClusterUnavailable "cluster-unavailable" Warning
        "The Kubernetes API does not answer, so nothing in the cluster was examined."
        "Check the context and the network of this machine: `kubectl get mcp` must work with the same kubeconfig."
    ClusterForbidden "cluster-forbidden" Warning
        "The user of the kubeconfig may not read this, so a cause there is not found."
        "As an administrator, allow it as docs/doctor.md describes (ClusterRole `portcullis-doctor`), or let a user examine who may read it."
    DefinitionsMissing "definitions-missing" Failure
        "Custom resource definitions of Portcullis are not installed in the cluster."
        "Install the chart, or apply the files that `portcullis crds` writes with `kubectl apply --server-side`. Check that the context is the right cluster."
    EndpointNotFound "endpoint-not-found" Failure
        "The cluster has no such McpEndpoint, so no server answers for the URL."
        "Create the McpEndpoint, set its `spec.url` to the URL exactly, or select the right cluster and namespace by --context and --namespace."
    OperatorMissing "operator-missing" Failure
        "The operator does not run: it never processed the newest McpEndpoint, and it has no Deployment."
        "Install the chart of the operator (docs/operations.md)."
    OperatorNotFound "operator-not-found" Warning
        "The Deployment of the operator was not found by the labels of the chart. Its work was seen, so it may run in another form."
        "Nothing, if the operator runs outside the cluster or was installed without the chart."
    OperatorNotReady "operator-not-ready" Failure
        "The operator is installed, but none of its pods is ready: changes of resources have no effect."
        "Correct what the pod reports: `kubectl describe pods` and `kubectl logs` in the namespace of the operator."
    NotReconciled "not-reconciled" Failure
        "The operator runs, but did not process the newest McpEndpoint."
        "Read the log of the operator, and check that the namespace is one of those that it watches (`namespaces` of the chart)."
    ReferenceMissing "reference-missing" Failure
        "The endpoint refers to a Secret or ConfigMap that does not exist."
        "Create it in the namespace of the endpoint, or correct the name in the field."
    ReferenceIncomplete "reference-incomplete" Failure
        "The endpoint refers to a Secret or ConfigMap that lacks a key."
        "Add the key, or name another key in the field."
    SecretNotLabelled "secret-not-labelled" Failure
        "The operator does not see the Secret, because it lacks the label `portcullis.dev/endpoint`."
        "Set it: `kubectl label secret NAME portcullis.dev/endpoint=ENDPOINT`."
    DeploymentMissing "deployment-missing" Failure
        "The Deployment of the servers does not exist."
        "Read the conditions of the McpEndpoint and the log of the operator."
    ScaledToZero "scaled-to-zero" Failure
        "The endpoint has no servers, because replicas is 0."
        "Set `spec.deployment.replicas` of the McpEndpoint."
    PodsRefused "pods-refused" Failure
        "A quota or an admission policy refuses the pods of the servers."
        "Do what the message says: raise the quota, set `spec.deployment.resources`, or change the policy."
    PodsMissing "pods-missing" Failure
        "The Deployment has no pods."
        "`kubectl describe deployment` and `kubectl describe replicaset` say why; the controller manager must run."
    ImagePullFailed "image-pull-failed" Failure
        "A node cannot pull the image of the servers."
        "Correct the image of the operator (`image` or `serverImage` of the chart), or name a pull secret by `endpointImagePullSecrets`."
    ContainerConfigError "container-config-error" Failure
        "The container cannot be created, usually because something that the pod names is missing."
        "Create what the message names."
    OutOfMemory "out-of-memory" Failure
        "A server was killed because it exceeded its memory limit, and is not ready again."
        "Raise `spec.deployment.resources.limits.memory`."
    CrashLoop "crash-loop" Failure
        "A server keeps crashing."
        "Read its last message above and `kubectl logs POD --previous`."
    PodUnschedulable "pod-unschedulable" Failure
        "No node accepts the pod of a server."
        "Add nodes, or lower `spec.deployment.resources.requests`; the message is that of the scheduler."
    PodNotReady "pod-not-ready" Failure
        "No server is ready, although none reports a failure."
        "`kubectl describe pod` and `kubectl logs`: the readiness probe says what the server waits for."
    RolloutStalled "rollout-stalled" Warning
        "Some servers answer, but others cannot start, so the newest version or configuration is not in force everywhere."
        "Correct what the message says; the code in it is explained in this table."
    QuotaReached "quota-reached" Warning
        "A ResourceQuota of the namespace is used up: new pods are refused, such as those of servers and workspaces."
        "Raise the quota, or delete what is not needed."
    ServiceMissing "service-missing" Failure
        "The Service of the servers does not exist, so nothing leads to them."
        "Read the conditions of the McpEndpoint and the log of the operator."
    ServiceWithoutEndpoints "service-without-endpoints" Failure
        "Servers are ready, but the Service leads to none of them."
        "Compare `spec.selector` of the Service with the labels of the pods. The operator restores a Service that was changed."
    IngressMissing "ingress-missing" Failure
        "The Ingress of the endpoint does not exist."
        "Read the condition Exposed and the log of the operator."
    IngressClassMissing "ingress-class-missing" Failure
        "No ingress controller is responsible for the Ingress, because its class does not exist or none is the default."
        "Set `spec.exposure.ingress.className` to an existing class (`kubectl get ingressclass`), or install an ingress controller."
    HostTaken "host-taken" Failure
        "Another resource claims the same host and path: requests may go there."
        "Remove the host and path from the other resource, or give the endpoint another `spec.url`."
    IngressWithoutAddress "ingress-without-address" Failure
        "No ingress controller has given the Ingress an address, and the endpoint cannot be reached: the controller does not run, or its Service has no load balancer."
        "Check that the controller of the class runs, and that its Service of type LoadBalancer has an external address."
    IngressAddressUnset "ingress-address-unset" Warning
        "The ingress controller publishes no address in the Ingress, although the endpoint can be reached. Tools such as external-dns need the address."
        "Configure the controller to publish its Service, if such tools are used."
    RouteNotAccepted "route-not-accepted" Failure
        "A Gateway does not accept the HTTPRoute of the endpoint."
        "Correct `spec.exposure.gateway.parentRefs`: the Gateway must exist, and a listener must match the host and allow routes of this namespace."
    NotExposed "not-exposed" Failure
        "The operator does not expose the endpoint."
        "Do what the message of the condition Exposed says."
    TlsSecretMissing "tls-secret-missing" Failure
        "The Secret with the certificate does not exist, so the proxy or the servers have no certificate for the host."
        "Create it. With cert-manager, `kubectl describe certificate` says why it was not issued."
    TlsSecretExpired "tls-secret-expired" Failure
        "The certificate in the Secret is not valid at this time."
        "Renew it. With cert-manager, `kubectl describe certificate` says why it was not renewed."
    TlsSecretOtherHost "tls-secret-other-host" Failure
        "The certificate in the Secret is for another host than that of `spec.url`."
        "Issue a certificate for the host of `spec.url`."
    TlsSecretInvalid "tls-secret-invalid" Failure
        "The Secret has no certificate that can be read."
        "Store the certificate in PEM in `tls.crt`, and its key in `tls.key`."
    NetworkPolicyDenies "network-policy-denies" Failure
        "A NetworkPolicy denies all traffic of the servers in one direction, and no other policy allows any."
        "Allow it: requests from the ingress controller and the operator, and DNS, the API server and providers outwards (docs/edge.md)."
    ConditionFalse "condition-false" Failure
        "The operator reports that this does not hold."
        "Do what the message of the condition says; docs/troubleshooting.md explains the reasons."
    ConditionWarning "condition-warning" Warning
        "The operator reports that this does not hold. The endpoint works without it."
        "Do what the message of the condition says."
    WarningEvents "warning-events" Warning
        "Kubernetes reported a problem with an object of the endpoint in the last hour. It may be over."
        "If it persists, do what the message says."
    UrlInvalid "url-invalid" Failure
        "The URL cannot be the URL of an endpoint."
        "Use `spec.url` of the McpEndpoint exactly, such as https://mcp.example.com/mcp."
    EndpointNotRead "endpoint-not-read" Failure
        "The McpEndpoint was not read, so its URL is not known and nothing was examined from outside."
        "Pass the URL instead of --endpoint, or correct the access to the cluster."
    DnsFailed "dns-failed" Failure
        "The host has no address, so no client finds the endpoint."
        "Create the DNS record of the host in `spec.url`, pointing to the ingress controller or Gateway. If it is new, wait for the TTL of the old answer."
    DnsPrivate "dns-private" Warning
        "The host has addresses that are reachable only from this network: agents in the cloud, such as claude.ai and ChatGPT, cannot connect."
        "Nothing, if only agents in this network use the endpoint. Otherwise point the record to a public address."
    TcpRefused "tcp-refused" Failure
        "The host is reachable, but nothing listens on the port."
        "Check that the DNS record points to the ingress controller or Gateway, that its Service has the port, and that it runs."
    TcpTimeout "tcp-timeout" Failure
        "Packets to the address are dropped, usually by a firewall, or the address is not in use."
        "Check the DNS record, and let firewalls and security groups allow the port."
    TcpUnreachable "tcp-unreachable" Failure
        "This machine has no route to the address."
        "Check this machine's network and the DNS record. An IPv6 address needs IPv6 on both sides."
    TcpPartial "tcp-partial" Warning
        "Some addresses of the host accept no connection: clients that try those first wait or fail."
        "Remove the DNS records of addresses that are not served, often those of IPv6, or serve them."
    TlsNotSpoken "tls-not-spoken" Failure
        "Something answers on the port, but it does not use TLS."
        "Let the listener on this port terminate TLS, or use the port that does. With `spec.tls`, the servers themselves use TLS."
    TlsRefused "tls-refused" Failure
        "The TLS handshake is refused or ends early: the proxy often has no certificate for this host name."
        "Set `spec.exposure.ingress.tls` or the certificate of the Gateway's listener, for this host. Check the proxy's log for the handshake."
    TlsExpired "tls-expired" Failure
        "The certificate has expired: every client refuses the connection."
        "Renew the certificate; with cert-manager, `kubectl describe certificate` says why it was not renewed. If the date is in the future, correct the clock of this machine."
    TlsNotYetValid "tls-not-yet-valid" Failure
        "The certificate is not valid yet: every client refuses the connection."
        "Correct the clock of this machine, or of the certificate's issuer."
    TlsWrongName "tls-wrong-name" Failure
        "The certificate is for another host, often the default certificate of the ingress controller."
        "Issue a certificate for the host of `spec.url`, and name its Secret in `spec.exposure.ingress.tls`."
    TlsSelfSigned "tls-self-signed" Failure
        "The certificate is self-signed, often the default certificate of the ingress controller: clients do not trust it."
        "Use a certificate of a public authority, for example by cert-manager. If all clients trust it, pass it as --ca."
    TlsUnknownAuthority "tls-unknown-authority" Failure
        "No trusted authority issued the certificate, or the server does not send the intermediate certificates."
        "Put the full chain into `tls.crt`: the certificate first, then the intermediates. Pass a private authority's certificate as --ca."
    TlsInvalid "tls-invalid" Failure
        "The certificate cannot be used for TLS servers."
        "Issue a new certificate for server authentication, with a signature algorithm in common use."
    TlsExpiresSoon "tls-expires-soon" Warning
        "The certificate expires soon, and should have been renewed already."
        "Renew it; with cert-manager, `kubectl describe certificate` says why it was not renewed."
    HttpTimeout "http-timeout" Failure
        "The connection is open, but no response arrives in time."
        "Check that the servers are Ready (`kubectl get mcp`), and that the proxy's route leads to their Service."
    HttpBroken "http-broken" Failure
        "The connection ends without an HTTP response that can be read."
        "Check that both sides use the same protocol: TLS to servers with `spec.tls`, plain http to the others, the PROXY protocol only with `spec.network.proxyProtocol`."
    RedirectToHttp "redirect-to-http" Failure
        "The proxy redirects to plain http, where a token would be exposed: clients do not follow."
        "Let the proxy keep https in redirects: pass X-Forwarded-Proto on, and remove the rule that redirects."
    RedirectToOtherHost "redirect-to-other-host" Failure
        "The proxy redirects to another host, often the page of a single sign-on. Agents do not follow."
        "Exclude the paths of the endpoint from the rule, or use the URL that is redirected to in `spec.url` and in agents."
    RedirectToOtherPath "redirect-to-other-path" Failure
        "The proxy redirects to another path. Agents do not repeat a POST there."
        "Remove the rule that redirects, such as one that appends a slash, or use the other path in `spec.url`."
    AddressNotAllowed "address-not-allowed" Failure
        "The endpoint does not accept the address of this machine, as the servers see it."
        "Add the network to `spec.network.allowedCidrs`. If every client is refused, the servers see the proxy's address: set `spec.network.trustedProxies`."
    HttpsNotForwarded "https-not-forwarded" Failure
        "The servers believe that the request came over plain http: a proxy overwrites X-Forwarded-Proto with http."
        "Let the proxy that terminates TLS set X-Forwarded-Proto: https, and the proxies behind it keep the header."
    ForbiddenByProxy "forbidden-by-proxy" Failure
        "Something in front of the servers refuses the request, such as a web application firewall or a source range."
        "Allow POST requests with JSON to the path, from the addresses of the agents, in the component that answers 403."
    PathNotRouted "path-not-routed" Failure
        "The request does not reach Portcullis: the proxy has no route for the path."
        "Check the condition Exposed, the Ingress or HTTPRoute, its class, and that no rule changes or removes the path."
    PathUnknown "path-unknown" Failure
        "Portcullis answers, but not for this path."
        "Use `spec.url` exactly. If it is the same, a proxy changes the path on its way: remove the rewrite rule."
    NoServer "no-server" Failure
        "The proxy has no server to pass the request to."
        "`kubectl get mcp` and `kubectl describe mcp`: the conditions say why no server is ready, such as a missing Secret or an image that cannot be pulled."
    ServerError "server-error" Failure
        "The proxy or the server failed while it answered."
        "Read the log of the servers and of the proxy. A Gateway that does not know the CORS filter answers 500: set `spec.cors.enforcedBy: Auto`."
    ServerBusy "server-busy" Failure
        "The servers have no capacity for the request at the moment."
        "Try again. If it persists, raise `spec.limits` or the number of replicas."
    RateLimited "rate-limited" Failure
        "Too many requests came from this address or client, or from a proxy that the servers take for the client."
        "Wait for the time in Retry-After. Behind a proxy set `spec.network.trustedProxies`; otherwise raise `spec.limits`."
    NotProtected "not-protected" Failure
        "The request was answered without a token: the endpoint is open to everyone, or another program answers."
        "Take the endpoint off the network, and check which program serves the path."
    NotAnMcpEndpoint "not-an-mcp-endpoint" Failure
        "Another program answers at the URL, such as a default page."
        "Check that the route of the host and path leads to the Service of the endpoint."
    ClockSkew "clock-skew" Failure
        "The clocks of this machine and of the server differ by more than a minute: tokens and assertions expire early or are not valid yet."
        "Synchronize both clocks (NTP). Compare `date -u` here and on the nodes."
    ChallengeMissing "challenge-missing" Failure
        "The 401 response has no WWW-Authenticate header: agents do not start to authorize."
        "Let the proxy pass WWW-Authenticate on."
    ChallengeNotBearer "challenge-not-bearer" Failure
        "Something in front of the servers asks for another kind of authentication, such as a password."
        "Remove the proxy's own authentication from the paths of the endpoint."
    ChallengeWithoutMetadata "challenge-without-metadata" Failure
        "The challenge does not name the resource metadata, where agents read how to authorize."
        "Let the proxy pass WWW-Authenticate on unchanged."
    ChallengeOtherUrl "challenge-other-url" Failure
        "The endpoint has another URL than the one that was examined."
        "Set `spec.url` to the URL that clients use, or use the endpoint's own URL."
    ResourceMetadataNotRouted "resource-metadata-not-routed" Failure
        "The resource metadata (RFC 9728) does not reach Portcullis: the proxy has no route for /.well-known of this host."
        "Route /.well-known/oauth-protected-resource and the path below it to the same Service as the endpoint."
    ResourceMetadataInvalid "resource-metadata-invalid" Failure
        "The resource metadata (RFC 9728) cannot be read."
        "Check which program answers at the URL, and that no proxy changes the response."
    ResourceMismatch "resource-mismatch" Failure
        "The resource metadata is about another URL: clients refuse it, and tokens are for the wrong audience."
        "Set `spec.url` to the URL that clients use, exactly."
    IssuerMetadataNotRouted "issuer-metadata-not-routed" Failure
        "The authorization server metadata (RFC 8414) does not reach Portcullis or the external authorization server."
        "Route /.well-known/oauth-authorization-server and the path below it to the same Service as the endpoint."
    IssuerMetadataInvalid "issuer-metadata-invalid" Failure
        "The authorization server metadata (RFC 8414) cannot be read."
        "Check which program answers at the URL, and that no proxy changes the response."
    IssuerMismatch "issuer-mismatch" Failure
        "The metadata names another issuer than the one that it was requested for: clients refuse it (RFC 8414 §3.3)."
        "Set `spec.url` to the URL that clients use. For an external authorization server write `issuerUrl` exactly as its metadata does."
    EndpointElsewhere "endpoint-elsewhere" Failure
        "The metadata names endpoints at another origin than the issuer's: clients send codes and secrets there."
        "Set `spec.url` to the URL that clients use, and let no proxy change the document."
    PkceMissing "pkce-missing" Failure
        "The authorization server does not announce PKCE with S256: MCP clients refuse to sign users in."
        "Enable PKCE with S256 at the authorization server."
    JwksUnavailable "jwks-unavailable" Failure
        "The public keys cannot be read: clients and gateways cannot verify tokens."
        "Route the path of jwks_uri to the same Service as the endpoint, and check the condition CredentialsLoaded."
    ClientMetadataUnreadable "client-metadata-unreadable" Failure
        "The endpoint cannot read the metadata document of a client, so this agent cannot connect."
        "Allow the servers to connect to the host (egress rules of `spec.network` and NetworkPolicies, firewall), and check the document if the message names an error in it."
    ClientMetadataNotAllowed "client-metadata-not-allowed" Failure
        "The endpoint does not accept metadata documents of the host."
        "Add the host to `spec.clients.metadataDocuments.allowedHosts`."
    PageUnexpected "page-unexpected" Warning
        "A page for users does not answer as a page of Portcullis, so the sign-in could not be examined."
        "Route the paths of the authorization server, such as /login and /authorize, to the same Service as the endpoint."
    ProviderUnreachable "provider-unreachable" Failure
        "The identity provider of a login does not answer the endpoint, so its users cannot sign in."
        "Check that the provider runs and that the servers can reach it: `issuerUrl`, DNS in the cluster, egress rules, `caBundle`."
    ProviderFailed "provider-failed" Failure
        "The identity provider of a login answers, but the sign-in by it cannot begin."
        "Correct the login: `issuerUrl` exactly as in the discovery document of the provider, and the Secret with the client id."
    ProviderPageUnreachable "provider-page-unreachable" Warning
        "The page of the identity provider does not answer this machine: users in this network cannot sign in."
        "Check the name server, the firewall and the VPN of this machine, and whether the provider's certificate is public."
    OriginNotAllowed "origin-not-allowed" Failure
        "The servers refuse pages of this origin."
        "Add the origin to `spec.cors.allowedOrigins`."
    CorsPreflightRefused "cors-preflight-refused" Failure
        "The preflight request is refused or has no Access-Control-Allow-Origin for the origin: the browser sends nothing else."
        "Add the origin to `spec.cors.allowedOrigins`, and let no proxy answer or authenticate OPTIONS requests besides."
    CorsPreflightIncomplete "cors-preflight-incomplete" Failure
        "The preflight response does not allow the method or a header that agents send."
        "Remove the CORS rule of the component in front; Portcullis or the operator's own rule allows what is needed."
    CorsAnswerMissing "cors-answer-missing" Failure
        "The preflight allows the origin, but the response itself does not: the page cannot read it."
        "Let the component that answers CORS also add its headers to error responses such as 401, or set `spec.cors.enforcedBy: Server`."
    CorsDuplicate "cors-duplicate" Failure
        "Two components add Access-Control-Allow-Origin: browsers refuse the response."
        "Remove CORS from one of them; `status.corsEnforcedBy` names the one that Portcullis selected."
    CorsNotExposed "cors-not-exposed" Warning
        "Pages cannot read WWW-Authenticate, so they do not find out how to authorize."
        "Add WWW-Authenticate to Access-Control-Expose-Headers in the component that answers CORS."
    ClientNotReady "client-not-ready" Failure
        "The operator reports that the OAuthClient cannot be used."
        "Do what the message of the condition says: `kubectl describe oac NAME`."
    SignInFailed "sign-in-failed" Failure
        "No token was obtained by the browser or from the stored sign-in."
        "Do what the message says; `portcullis logout URL` and `portcullis login URL` start over."
    TokenNotRouted "token-not-routed" Failure
        "Requests to the token endpoint do not reach the authorization server."
        "Route the path of token_endpoint to the same Service as the endpoint."
    ClientRefused "client-refused" Failure
        "The authorization server does not know the client, or its secret is wrong."
        "Read the client id and secret again from the client's Secret: the secret may have been rotated. `kubectl get oac` shows the client."
    GrantNotAllowed "grant-not-allowed" Failure
        "The client is known, but may not obtain tokens by client credentials."
        "Add `client_credentials` to `spec.grants` of the OAuthClient, or examine with another client."
    AuthorizationStripped "authorization-stripped" Failure
        "A proxy removes the Authorization header: the servers see a request without credentials."
        "Let the proxy pass Authorization on. Its own authentication, or a forward-auth rule, often replaces the header."
    WrongAudience "wrong-audience" Failure
        "The token is for another resource than this URL."
        "Set `spec.url` to the URL that clients use. With an external authorization server, let it issue tokens for this URL, or set `audience`."
    TokenFailed "token-failed" Failure
        "The authorization server issued no token."
        "Do what its message says; the audit event of the refused request has the reason."
    TokenRefused "token-refused" Failure
        "The endpoint refuses a token that was just issued."
        "If the message is about a key, servers of different endpoints or releases answer in turn: let the route lead to one Service. If it is about time, synchronize the clocks."
    HostRewritten "host-rewritten" Failure
        "A proxy changes the Host header: the servers see another host name than that of `spec.url`."
        "Let the proxy pass the Host header on unchanged."
    McpFailed "mcp-failed" Failure
        "The token is accepted, but the endpoint does not answer MCP messages."
        "Read the log of the servers, and check that no proxy changes the body or the headers of requests."
    RevisionMissing "revision-missing" Warning
        "Clients that use this MCP revision cannot connect."
        "Update the servers. If they are current, a proxy removes the headers Mcp-Protocol-Version, Mcp-Method or Mcp-Name."
    ToolsFailed "tools-failed" Failure
        "The tools cannot be listed."
        "Read the message and the log of the servers."
    ToolsEmpty "tools-empty" Warning
        "No tool is served."
        "Check `spec.tools` of the endpoint: it may exclude all tools."
    CallFailed "call-failed" Failure
        "A tool that only reads could not be called."
        "Read the message and the log of the servers."
    Slow "slow" Warning
        "Responses take long, so agents wait and may give up."
        "Check the load and the distance: the CPU limits of the servers, the proxy, and the region of the cluster."
    RateLimitReached "rate-limit-reached" Warning
        "Requests of this examination were refused because of a rate limit."
        "Raise `spec.limits`, or set `spec.network.trustedProxies` if all clients are counted as one address."
}

/// The table of all codes, for `docs/doctor.md`.
#[must_use]
pub fn reference() -> String {
    let mut table = "| code | severity | it means | do |\n|---|---|---|---|\n".to_owned();
    for code in Code::ALL {
        // Writing to a String cannot fail.
        let _ = writeln!(
            table,
            "| `{}` | {} | {} | {} |",
            code.name(),
            code.severity().name(),
            code.meaning(),
            code.remedy()
        );
    }
    table
}

#[cfg(test)]
mod tests;
