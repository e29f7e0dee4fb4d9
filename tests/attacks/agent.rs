//! What an agent sends, as it should be; the attacks change it.

use crate::{
    driven::{Browser, Page},
    stage::{CALLBACK, Stage},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use reqwest::{RequestBuilder, StatusCode, header::HeaderMap};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

pub const VERIFIER: &str = "a-code-verifier-of-a-length-that-RFC-7636-allows";

/// Form fields whose values are secrets.
const SECRET_FIELDS: [&str; 8] =
    ["code", "code_verifier", "refresh_token", "client_secret", "client_assertion", "assertion", "token", "password"];

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

/// What an agent has got.
#[derive(Clone, Debug)]
pub struct Tokens {
    pub access: String,
    pub refresh: String,
    /// The name of the grant behind them.
    pub grant: String,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|_| panic!("{self:?}"))
    }

    /// The code of an OAuth error.
    pub fn error(&self) -> String {
        self.json()["error"].as_str().unwrap_or_else(|| panic!("{self:?}")).to_owned()
    }

    pub fn tokens(&self) -> Tokens {
        assert_eq!(self.status, 200, "{}", self.text);
        let answer = self.json();
        let access = answer["access_token"].as_str().unwrap().to_owned();
        let grant = claims(&access)["grant"].as_str().unwrap().to_owned();
        Tokens { access, refresh: answer["refresh_token"].as_str().unwrap().to_owned(), grant }
    }
}

/// The claims of a token, unchecked.
pub fn claims(token: &str) -> Value {
    let payload = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap()
}

pub fn challenge(verifier: &str) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(verifier))
}

/// An authorization request with other parameters; those that are empty are left out.
pub fn authorize(more: &[(&str, &str)]) -> String {
    let challenge = challenge(VERIFIER);
    let mut parameters = vec![
        ("response_type", "code"),
        ("client_id", "agent"),
        ("redirect_uri", CALLBACK),
        ("scope", "workspaces:read files:read"),
        ("state", "the agent's own"),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
    ];
    changed(&mut parameters, more);
    format!("/authorize?{}", form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish())
}

/// These, with others in their place; those that are empty are left out.
fn changed<'a>(parameters: &mut Vec<(&'a str, &'a str)>, more: &[(&'a str, &'a str)]) {
    for (name, value) in more {
        parameters.retain(|(known, _)| known != name);
        if !value.is_empty() {
            parameters.push((name, value));
        }
    }
}

/// A parameter of a URL's query.
pub fn parameter(url: &str, name: &str) -> Option<String> {
    let query = url.split_once('?')?.1;
    let mut found = form_urlencoded::parse(query.as_bytes()).filter(|(known, _)| known == name);
    found.next().map(|(_, value)| value.into_owned())
}

impl Stage {
    /// Sends a request, and notes what it brings.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        let answer = Answer { status, headers, text: response.text().await.unwrap() };
        if let Ok(json) = serde_json::from_str::<Value>(&answer.text) {
            for field in ["access_token", "refresh_token"] {
                json[field].as_str().inspect(|secret| self.secrets.keep(secret));
            }
        }
        answer
    }

    /// A form to a path of a replica.
    pub fn form(&self, replica: usize, path: &str, form: &[(&str, &str)]) -> RequestBuilder {
        for (_, value) in form.iter().filter(|(name, _)| SECRET_FIELDS.contains(name)) {
            self.secrets.keep(value);
        }
        self.http.post(format!("{}{path}", self.replicas[replica])).form(form)
    }

    pub async fn post(&self, path: &str, form: &[(&str, &str)]) -> Answer {
        self.send(self.form(0, path, form)).await
    }

    pub async fn token(&self, form: &[(&str, &str)]) -> Answer {
        self.post("/token", form).await
    }

    /// Consents in a browser in which somebody has signed in. What comes is the redirect to the agent.
    pub async fn consent(&self, browser: &mut Browser, more: &[(&str, &str)]) -> String {
        let page = browser.get(&authorize(more)).await;
        let page = browser.submit("/consent", &page.form("/consent").with("decision", "allow").0).await;
        self.answered(&page)
    }

    /// The redirect to an agent, whose code is a secret.
    pub fn answered(&self, page: &Page) -> String {
        let location = page.location().to_owned();
        if let Some(code) = parameter(&location, "code") {
            self.secrets.keep(&code);
        }
        location
    }

    /// A code of ada's for the client `agent`, or for another with these parameters.
    pub async fn code(&self, more: &[(&str, &str)]) -> String {
        let mut browser = self.signed_in("ada").await;
        parameter(&self.consent(&mut browser, more).await, "code").unwrap()
    }

    /// Redeems a code as it should be, but for these parameters.
    pub async fn redeem(&self, code: &str, more: &[(&str, &str)]) -> Answer {
        self.redeem_at(0, code, more).await
    }

    pub async fn redeem_at(&self, replica: usize, code: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
            ("client_id", "agent"),
            ("code_verifier", VERIFIER),
        ];
        changed(&mut form, more);
        self.send(self.form(replica, "/token", &form)).await
    }

    /// Tokens of ada's for the client `agent`.
    pub async fn tokens(&self) -> Tokens {
        self.redeem(&self.code(&[]).await, &[]).await.tokens()
    }

    pub async fn refresh(&self, token: &str, more: &[(&str, &str)]) -> Answer {
        self.refresh_at(0, token, more).await
    }

    pub async fn refresh_at(&self, replica: usize, token: &str, more: &[(&str, &str)]) -> Answer {
        let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token), ("client_id", "agent")];
        changed(&mut form, more);
        self.send(self.form(replica, "/token", &form)).await
    }

    /// A call of the MCP endpoint with an access token.
    pub async fn call(&self, token: &str) -> Answer {
        self.call_at(0, token, "tools/list", json!({})).await
    }

    pub async fn call_at(&self, replica: usize, token: &str, method: &str, params: Value) -> Answer {
        self.secrets.keep(token);
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params});
        let host = self.origin.strip_prefix("http://").unwrap();
        let request = self.http.post(format!("{}/mcp", self.replicas[replica])).bearer_auth(token).json(&body);
        self.send(request.header("Host", host).header("Accept", "application/json, text/event-stream")).await
    }

    /// The status of a call, which is 200 for a good token and 401 for one that does not count.
    pub async fn status(&self, token: &str) -> u16 {
        self.call(token).await.status.as_u16()
    }
}
