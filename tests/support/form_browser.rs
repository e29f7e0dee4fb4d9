//! A browser as far as a server can tell, driven by hand: it keeps one cookie, says where its forms come from, and
//! follows nothing.

use regex::Regex;
use reqwest::{
    Client, Method, RequestBuilder, StatusCode,
    header::{HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use std::{collections::BTreeMap, time::Duration};

/// One browser.
pub struct Browser {
    http: Client,
    /// What it takes the server for.
    origin: String,
    /// Where the server really is. All servers of an endpoint are one to a browser.
    pub server: String,
    /// `name=value`, as it is sent.
    pub cookie: Option<String>,
}

/// What it shows.
pub struct Page {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub html: String,
}

impl Browser {
    /// The browser of somebody who opens `origin`, which leads to the server at the URL `server`.
    pub fn new(origin: &str, server: &str) -> Self {
        let http = Client::builder().redirect(Policy::none()).timeout(Duration::from_secs(30)).build().unwrap();
        Self { server: server.to_owned(), ..Self::over(http, origin) }
    }

    /// The same where the origin is found by a client of one's own, which must not follow redirects.
    pub fn over(http: Client, origin: &str) -> Self {
        Self { http, origin: origin.to_owned(), server: origin.to_owned(), cookie: None }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let host = self.origin.rsplit('/').next().unwrap();
        let request = self.http.request(method, format!("{}{path}", self.server)).header("Host", host);
        let request = request.header("Accept", "text/html,application/xhtml+xml,*/*;q=0.8");
        match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        }
    }

    /// Sends a request, and keeps the cookie that comes back.
    pub async fn send(&mut self, request: RequestBuilder) -> Page {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        if let Some(set) = headers.get("set-cookie") {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = pair.split_once('=').filter(|(_, value)| !value.is_empty()).map(|_| pair.to_owned());
        }
        Page { status, headers, html: response.text().await.unwrap() }
    }

    pub async fn get(&mut self, path: &str) -> Page {
        let request = self.request(Method::GET, path);
        self.send(request).await
    }

    /// Sends a form as one of a page of the server's own.
    pub async fn submit(&mut self, path: &str, fields: &[(String, String)]) -> Page {
        let origin = self.origin.clone();
        self.submit_from(path, fields, &[("origin", &origin), ("sec-fetch-site", "same-origin")]).await
    }

    pub async fn submit_from(&mut self, path: &str, fields: &[(String, String)], headers: &[(&str, &str)]) -> Page {
        let mut request = self.request(Method::POST, path).form(fields);
        for (name, value) in headers {
            let name: HeaderName = name.parse().unwrap();
            request = request.header(name, HeaderValue::from_str(value).unwrap());
        }
        self.send(request).await
    }

    /// Opens a page and signs in with its form. What comes is the answer to the form.
    pub async fn sign_in(&mut self, path: &str, user: &str, password: &str) -> Page {
        let page = self.get(path).await;
        assert_eq!(page.status, 200, "{}", page.html);
        let fields = page.form("/login").with("user", user).with("password", password);
        self.submit("/login", &fields.0).await
    }

    /// Lets the client whose authorization request this is have what it asks for. What comes is the answer to the form.
    pub async fn allow(&mut self, authorize: &str) -> Page {
        let page = self.get(authorize).await;
        assert_eq!(page.status, 200, "{}", page.html);
        self.submit("/consent", &page.form("/consent").with("decision", "allow").0).await
    }
}

impl Page {
    pub fn location(&self) -> &str {
        assert_eq!(self.status, 303, "{}", self.html);
        self.headers["location"].to_str().unwrap()
    }

    /// The path and query of a redirect within the server.
    pub fn path(&self) -> &str {
        let location = self.location();
        assert!(location.starts_with('/') && !location.starts_with("//"), "{location}");
        location
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}")).to_str().unwrap()
    }

    /// The fields that the form with this action would send as it stands.
    pub fn form(&self, action: &str) -> Fields {
        let form = Regex::new(&format!(r#"(?s)<form[^>]* action="{action}".*?</form>"#)).unwrap();
        let form = form.find(&self.html).unwrap_or_else(|| panic!("no form for {action}: {}", self.html)).as_str();
        let mut fields = Vec::new();
        for input in Regex::new("<input[^>]*>").unwrap().find_iter(form) {
            let attributes = attributes(input.as_str());
            let sent = match attributes["type"].as_str() {
                "hidden" => true,
                "checkbox" => attributes.contains_key("checked"),
                _ => false,
            };
            if sent {
                fields.push((attributes["name"].clone(), attributes["value"].clone()));
            }
        }
        Fields(fields)
    }

    /// The text, without tags.
    pub fn text(&self) -> String {
        let text = Regex::new("(?s)<[^>]*>").unwrap().replace_all(&self.html, " ").into_owned();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

/// What a form sends.
#[derive(Clone)]
pub struct Fields(pub Vec<(String, String)>);

impl Fields {
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.0.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn without(mut self, name: &str) -> Self {
        self.0.retain(|(field, _)| field != name);
        self
    }

    pub fn value(&self, name: &str) -> &str {
        &self.0.iter().find(|(field, _)| field == name).unwrap_or_else(|| panic!("no field {name}")).1
    }
}

/// The attributes of a tag; those without a value have an empty one.
pub fn attributes(tag: &str) -> BTreeMap<String, String> {
    let attribute = Regex::new(r#"\s([a-z-]+)(?:="([^"]*)")?"#).unwrap();
    let unescaped = |text: &str| text.replace("&#34;", "\"").replace("&#38;", "&").replace("&#60;", "<");
    let pair = |found: regex::Captures<'_>| {
        (found[1].to_owned(), found.get(2).map_or_else(String::new, |value| unescaped(value.as_str())))
    };
    attribute.captures_iter(tag).map(pair).collect()
}
