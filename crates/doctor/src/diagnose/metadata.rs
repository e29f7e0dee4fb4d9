//! The metadata documents and their agreement with the URL: RFC 9728 §3.3, RFC 8414 §3.3, and the keys of RFC 7517.

use super::{not_examined, response::no_reply};
use crate::{
    Check, Code, Finding,
    observation::{HttpExchange, Observations, clipped},
};
use portcullis_core::PublicUrl;
use serde_json::Value;
use url::Url;

/// The endpoints to which clients send codes, tokens and secrets.
const ENDPOINTS: [&str; 6] = [
    "authorization_endpoint",
    "token_endpoint",
    "registration_endpoint",
    "revocation_endpoint",
    "introspection_endpoint",
    "jwks_uri",
];

pub(super) fn resource(observed: &Observations) -> Finding {
    const CHECK: Check = Check::ResourceMetadata;
    let (Ok(url), Some(exchange)) = (&observed.url, &observed.resource_metadata) else { return not_examined(CHECK) };
    let codes = (Code::ResourceMetadataNotRouted, Code::ResourceMetadataInvalid);
    let document = match document(exchange, codes) {
        Ok(document) => document,
        Err((code, seen)) => return Finding::problem(CHECK, code, at(&url.resource_metadata_url(), &seen)),
    };
    if document["resource"] != url.resource() {
        return Finding::problem(
            CHECK,
            Code::ResourceMismatch,
            format!("resource is {}", shown(&document["resource"])),
        );
    }
    match observed.issuer() {
        Some(issuer) => Finding::ok(CHECK, format!("the authorization server is {}", clipped(&issuer))),
        None => Finding::problem(CHECK, Code::ResourceMetadataInvalid, "it names no authorization server"),
    }
}

pub(super) fn issuer(observed: &Observations) -> Finding {
    const CHECK: Check = Check::IssuerMetadata;
    let Ok(url) = &observed.url else { return not_examined(CHECK) };
    let Some(discovery) = &observed.issuer_metadata else {
        return match observed.issuer() {
            // Requests to it were not sent.
            Some(issuer) if !is_secure(&issuer) => Finding::problem(
                CHECK,
                Code::IssuerMismatch,
                format!("the authorization server {} does not use https", clipped(&issuer)),
            ),
            _ => not_examined(CHECK),
        };
    };
    let codes = (Code::IssuerMetadataNotRouted, Code::IssuerMetadataInvalid);
    let document = match document(&discovery.exchange, codes) {
        Ok(document) => document,
        Err((code, seen)) => return Finding::problem(CHECK, code, at(&discovery.issuer, &seen)),
    };
    if document["issuer"] != discovery.issuer {
        let seen = format!("issuer is {}, requested was {}", shown(&document["issuer"]), clipped(&discovery.issuer));
        return Finding::problem(CHECK, Code::IssuerMismatch, seen);
    }
    // An external authorization server may spread its endpoints over several hosts.
    if discovery.issuer == url.issuer()
        && let Some(endpoint) = ENDPOINTS.iter().find(|endpoint| is_elsewhere(&document[**endpoint], url))
    {
        let seen = format!("{endpoint} is {}", shown(&document[*endpoint]));
        return Finding::problem(CHECK, Code::EndpointElsewhere, seen);
    }
    if document["token_endpoint"].as_str().is_none() {
        return Finding::problem(CHECK, Code::IssuerMetadataInvalid, "it has no token_endpoint");
    }
    let methods = document["code_challenge_methods_supported"].as_array();
    if !methods.is_some_and(|methods| methods.iter().any(|method| method == "S256")) {
        let seen =
            format!("code_challenge_methods_supported is {}", shown(&document["code_challenge_methods_supported"]));
        return Finding::problem(CHECK, Code::PkceMissing, seen);
    }
    Finding::ok(CHECK, format!("issuer {}", clipped(&discovery.issuer)))
}

fn is_secure(issuer: &str) -> bool {
    Url::parse(issuer).is_ok_and(|url| url.scheme() == "https" || portcullis_core::loopback::is_loopback(&url))
}

/// Whether a URL of the metadata is not at the origin of the endpoint. An absent one is not.
fn is_elsewhere(value: &Value, url: &PublicUrl) -> bool {
    match value {
        Value::Null => false,
        Value::String(text) => {
            Url::parse(text).map_or(true, |named| named.origin().ascii_serialization() != url.origin())
        }
        _ => true,
    }
}

pub(super) fn jwks(observed: &Observations) -> Finding {
    const CHECK: Check = Check::Jwks;
    let Some(exchange) = &observed.jwks else {
        return if observed.issuer_metadata.is_some() {
            Finding::ok(CHECK, "the authorization server publishes no keys")
        } else {
            not_examined(CHECK)
        };
    };
    match document(exchange, (Code::JwksUnavailable, Code::JwksUnavailable)) {
        Err((code, seen)) => Finding::problem(CHECK, code, seen),
        Ok(document) => match document["keys"].as_array().map_or(0, Vec::len) {
            0 => Finding::problem(CHECK, Code::JwksUnavailable, "the key set is empty"),
            count => Finding::ok(CHECK, format!("{count} keys")),
        },
    }
}

/// The JSON object of a document, or one of two codes: of a document that is not there, and of one that is not JSON.
fn document(exchange: &HttpExchange, (missing, invalid): (Code, Code)) -> Result<Value, (Code, String)> {
    let reply = match exchange {
        Ok(reply) => reply,
        Err(none) => return Err((no_reply(none), none.text())),
    };
    match reply.status {
        200 => reply.json().filter(Value::is_object).ok_or_else(|| (invalid, "the response is not JSON".to_owned())),
        300..=399 => {
            Err((missing, format!("{} to {}", reply.status, clipped(reply.header("location").unwrap_or_default()))))
        }
        429 => Err((Code::RateLimited, reply.summary())),
        500..=599 => Err((Code::ServerError, reply.summary())),
        _ => Err((missing, reply.summary())),
    }
}

fn at(url: &str, seen: &str) -> String {
    format!("{}: {seen}", clipped(url))
}

fn shown(value: &Value) -> String {
    clipped(&value.to_string())
}
