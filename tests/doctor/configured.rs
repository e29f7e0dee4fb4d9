//! The real server with a configuration that does not fit its surroundings.

use crate::{
    certificates::{Authority, parameters, valid},
    examined::{ORIGIN, cause, expect_cause, report, target, without_credentials},
    front::{Fault, Front, Running},
    serve::stage::{SECRET, Server},
};
use http::HeaderValue;
use portcullis_config::ServerConfig;
use portcullis_doctor::{Code, Severity, Target};

/// A server with this configuration behind a proxy, and the proxy's URL.
async fn configured(fault: Fault, change: impl FnOnce(&mut ServerConfig)) -> (Server, Running, String) {
    let front = Front::bind(None).await;
    let (origin, url) = (front.origin(), front.url());
    let server = Server::with(|config| {
        config.url = config.url.at_origin(&origin);
        config.cors.allowed_origins = vec![ORIGIN.to_owned()];
        change(config);
    })
    .await;
    let running = front.pass_to(server.address, fault);
    (server, running, url)
}

#[tokio::test]
async fn an_address_that_is_not_allowed() {
    let change = |config: &mut ServerConfig| config.access.allowed_cidrs = vec!["203.0.113.0/24".parse().unwrap()];
    let (server, _running, url) = configured(Fault::NONE, change).await;
    expect_cause(&target(&url, SECRET), Code::AddressNotAllowed).await;
    server.stop().await;
}

#[tokio::test]
async fn another_url_in_the_configuration() {
    let change = |config: &mut ServerConfig| config.url = config.url.at_origin("http://localhost:1");
    let (server, _running, url) = configured(Fault::NONE, change).await;
    expect_cause(&target(&url, SECRET), Code::ChallengeOtherUrl).await;
    server.stop().await;
}

/// The documents fit, but tokens are for another resource.
#[tokio::test]
async fn a_wrong_audience() {
    let fault = Fault::of_response(|seen, mut response| {
        let own = "http://localhost:1";
        if let Some(challenge) = response.headers().get("www-authenticate") {
            let text = challenge.to_str().unwrap().replace(own, &seen.origin);
            response.headers_mut().insert("www-authenticate", HeaderValue::try_from(text).unwrap());
        }
        response.map(|body| String::from_utf8_lossy(&body).replace(own, &seen.origin).into())
    });
    let change = |config: &mut ServerConfig| config.url = config.url.at_origin("http://localhost:1");
    let (server, _running, url) = configured(fault, change).await;
    expect_cause(&target(&url, SECRET), Code::WrongAudience).await;
    server.stop().await;
}

#[tokio::test]
async fn an_origin_that_is_not_allowed() {
    let change = |config: &mut ServerConfig| config.cors.allowed_origins = Vec::new();
    let (server, _running, url) = configured(Fault::NONE, change).await;
    expect_cause(&target(&url, SECRET), Code::OriginNotAllowed).await;
    let known = report(&without_credentials(&url)).await;
    assert_eq!(cause(&known), None, "{known}");
    server.stop().await;
}

#[tokio::test]
async fn a_wrong_secret() {
    let (server, _running, url) = configured(Fault::NONE, |_| {}).await;
    expect_cause(&target(&url, "another secret of more than thirty-two characters"), Code::ClientRefused).await;
    server.stop().await;
}

#[tokio::test]
async fn no_tool_is_served() {
    let change = |config: &mut ServerConfig| config.tools.deny = vec!["*".to_owned()];
    let (server, _running, url) = configured(Fault::NONE, change).await;
    let report = report(&target(&url, SECRET)).await;
    let empty = report.findings().iter().any(|finding| finding.code() == Some(Code::ToolsEmpty));
    assert!(empty && cause(&report).is_none(), "{report}");
    server.stop().await;
}

/// A server behind a proxy with TLS, and the examination of the proxy.
async fn over_tls(fault: Fault, (from, to): (i32, i32)) -> (Server, Running, Target) {
    let authority = Authority::new();
    let acceptor = authority.issue(&valid(parameters("127.0.0.1"), from, to));
    let front = Front::bind(Some(acceptor)).await;
    let (origin, url) = (front.origin(), front.url());
    let server = Server::with(|config| {
        config.url = config.url.at_origin(&origin);
        config.cors.allowed_origins = vec![ORIGIN.to_owned()];
        config.access.trusted_proxies = vec!["127.0.0.1/32".parse().unwrap()];
    })
    .await;
    let running = front.pass_to(server.address, fault);
    (server, running, Target { ca: Some(authority.pem()), ..target(&url, SECRET) })
}

#[tokio::test]
async fn tls_of_a_private_authority() {
    for (validity, soon) in [((-30, 60), false), ((-80, 5), true)] {
        let (server, _running, target) = over_tls(Fault::NONE, validity).await;
        let report = report(&target).await;
        let found = report.findings().iter().any(|finding| finding.code() == Some(Code::TlsExpiresSoon));
        let others = report.findings().iter().all(|finding| finding.severity() == Severity::Ok || found);
        assert_eq!((found, others, cause(&report)), (soon, true, None), "{report}");
        server.stop().await;
    }
}

#[tokio::test]
async fn a_second_proxy_that_forgets_https() {
    let fault = Fault::of_request(|request| {
        request.headers_mut().insert("x-forwarded-proto", HeaderValue::from_static("http"));
    });
    let (server, _running, target) = over_tls(fault, (-30, 60)).await;
    expect_cause(&target, Code::HttpsNotForwarded).await;
    server.stop().await;
}

#[tokio::test]
async fn a_proxy_that_redirects_to_http() {
    let fault = Fault::of_response(|seen, _| {
        crate::front::redirect(&format!("{}{}/", seen.origin.replace("https:", "http:"), seen.path))
    });
    let (server, _running, target) = over_tls(fault, (-30, 60)).await;
    expect_cause(&target, Code::RedirectToHttp).await;
    server.stop().await;
}
