//! Manifests about the way in: Gateways, certificates, aliases and what the edge admits.

use super::{
    Kind,
    right::Right,
    wrong::{Wrong, endpoint, limit},
};
use serde_json::{Value, json};

fn gateway(parents: &Value) -> Value {
    json!({"exposure": {"gateway": {"parentRefs": parents}}})
}

fn alias(what: &'static str, path: &str) -> Wrong {
    endpoint(what, json!({"pathAliases": [path]}), "spec.pathAliases", "each must be a path of plain segments")
}

fn reserved(what: &'static str, path: &str) -> Wrong {
    endpoint(what, json!({"pathAliases": [path]}), "spec.pathAliases", "the authorization server answers there")
}

fn twice(what: &'static str, parents: &Value) -> Wrong {
    let says = "each Gateway may be there once, or once for each of its listeners, by sectionName";
    endpoint(what, gateway(parents), "spec.exposure.gateway.parentRefs", says)
}

#[rustfmt::skip]
pub fn wrong_endpoints() -> Vec<Wrong> {
    use Kind::Endpoint;
    let many: Vec<String> = (0..9).map(|number| format!("/alias/{number}")).collect();
    let issuer = |kind: &str| json!({"exposure": {"ingress": {"tls": {"issuerRef": {"name": "a", "kind": kind}}}}});
    vec![
        alias("an alias that is no path", "api/mcp"),
        alias("an alias with a slash at its end", "/api/"),
        alias("an alias with an empty segment", "/api//mcp"),
        alias("an alias that climbs", "/api/../mcp"),
        alias("an alias with a query", "/api?a=b"),
        reserved("an alias where tokens are issued", "/api/token"),
        reserved("an alias below the pages", "/login/mcp"),
        reserved("an alias among the documents", "/.well-known/mcp"),
        endpoint("an alias that is no other path", json!({"pathAliases": ["/mcp"]}), "spec.pathAliases", "must not repeat the path of url"),
        limit(Endpoint, "an alias twice", json!({"pathAliases": ["/a", "/a"]}), "spec.pathAliases", "Duplicate value", "must have each entry once"),
        limit(Endpoint, "too many aliases", json!({"pathAliases": many}), "spec.pathAliases", "must have at most 8 items", "must have at most 8 entries"),
        limit(Endpoint, "servers with a certificate of no name", json!({"tls": {"secretName": ""}}), "spec.tls.secretName", "should be at least 1 chars long", "must have at least 1 characters"),
        endpoint("servers with a certificate of a wrong name", json!({"tls": {"secretName": "My_Cert"}}), "spec.tls.secretName", "must be made of a-z, 0-9, - and ."),
        endpoint("a gateway and an Ingress", json!({"exposure": {"ingress": {}, "gateway": {"parentRefs": [{"name": "edge"}]}}}), "spec.exposure", "ingress, gateway and none exclude each other; keep one"),
        limit(Endpoint, "no Gateway", gateway(&json!([])), "spec.exposure.gateway.parentRefs", "should have at least 1 items", "must have at least 1 entries"),
        limit(Endpoint, "a Gateway without a name", gateway(&json!([{"namespace": "net"}])), "spec.exposure.gateway.parentRefs[0].name", "Required value", "is required"),
        endpoint("a Gateway of a wrong name", gateway(&json!([{"name": "Edge"}])), "spec.exposure.gateway.parentRefs[0].name", "must be made of a-z, 0-9, - and ."),
        twice("a Gateway twice", &json!([{"name": "edge"}, {"name": "edge"}])),
        twice("a listener twice", &json!([{"name": "edge", "sectionName": "https"}, {"name": "edge", "sectionName": "https"}])),
        twice("a Gateway and its listener", &json!([{"name": "edge", "namespace": "net"}, {"name": "edge", "namespace": "net", "sectionName": "https"}])),
        endpoint("the operator's own annotation of a route", json!({"exposure": {"gateway": {"parentRefs": [{"name": "edge"}], "annotations": {"portcullis.dev/applied": "x"}}}}), "spec.exposure.gateway.annotations", "is written by the operator"),
        endpoint("CORS by a gateway that is none", json!({"cors": {"enforcedBy": "Gateway"}}), "spec.cors.enforcedBy", "Gateway needs exposure.gateway; use Auto, or expose the endpoint by a gateway"),
        endpoint("an issuer of no kind of cert-manager's", issuer("Vault"), "spec.exposure.ingress.tls.issuerRef.kind", "must be Issuer or ClusterIssuer; an issuer of another kind needs its group too"),
        limit(Endpoint, "an issuer without a name", json!({"exposure": {"ingress": {"tls": {"issuerRef": {}}}}}), "spec.exposure.ingress.tls.issuerRef.name", "Required value", "is required"),
        endpoint("the PROXY protocol of nobody", json!({"network": {"proxyProtocol": true}}), "spec.network.proxyProtocol", "needs trustedProxies, since only their headers are trusted"),
        limit(Endpoint, "hardly any connection", json!({"limits": {"maxConnections": 9}}), "spec.limits.maxConnections", "should be greater than or equal to 10", "must be at least 10"),
    ]
}

#[rustfmt::skip]
pub fn right_manifests() -> Vec<Right> {
    let endpoint = |what, spec, stored| Right { what, kind: Kind::Endpoint, spec, stored };
    vec![
        endpoint("the guide's path", json!({"pathAliases": ["/api/experimental/mcp/http", "/v1/mcp"]}), json!({"pathAliases": ["/api/experimental/mcp/http", "/v1/mcp"]})),
        endpoint("an alias below the endpoint", json!({"pathAliases": ["/mcp/v1"]}), json!({})),
        endpoint("servers that speak TLS", json!({"tls": {"secretName": "mcp.example.com"}}), json!({"tls": {"secretName": "mcp.example.com"}})),
        endpoint("a Gateway", gateway(&json!([{"name": "edge"}])), json!({"exposure": {"gateway": {"parentRefs": [{"name": "edge"}], "annotations": {}}}})),
        endpoint("two listeners, and a Gateway of that name elsewhere", gateway(&json!([{"name": "edge", "sectionName": "http"}, {"name": "edge", "sectionName": "https"}, {"name": "edge", "namespace": "net"}])), json!({})),
        endpoint("CORS by a gateway", json!({"exposure": {"gateway": {"parentRefs": [{"name": "edge"}]}}, "cors": {"allowedOrigins": ["https://claude.ai"], "enforcedBy": "Gateway"}}), json!({"cors": {"enforcedBy": "Gateway"}})),
        endpoint("a certificate of cert-manager's", json!({"exposure": {"ingress": {"tls": {"issuerRef": {"name": "letsencrypt"}}}}}), json!({"exposure": {"ingress": {"tls": {"issuerRef": {"kind": "Issuer", "group": "cert-manager.io"}}}}})),
        endpoint("a certificate of another issuer's", json!({"exposure": {"ingress": {"tls": {"secretName": "cert", "issuerRef": {"name": "a", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io"}}}}}), json!({})),
        endpoint("the PROXY protocol", json!({"network": {"proxyProtocol": true, "trustedProxies": ["10.0.0.0/8"]}}), json!({"network": {"proxyProtocol": true}})),
    ]
}
