//! Every page in a browser: axe-core's rules, window sizes and colour schemes, the keyboard, no scripts, and a page of
//! another site that frames it.

use crate::{
    browser::Browser,
    stage::{Manifests, PASSWORD, PUBLIC, Stage, USER},
};
use axum::{Router, response::Html, routing::get};
use regex::Regex;
use serde_json::{Value, json};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use tokio::net::TcpListener;
use url::form_urlencoded;

/// Nobody listens there; the browser shows where it was sent.
const CALLBACK: &str = "http://127.0.0.1:9/callback";
/// With its challenge below, from RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// An authorization request.
fn request(stage: &Stage, client_id: &str, redirect_uri: &str) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    query.extend_pairs([("response_type", "code"), ("client_id", client_id), ("redirect_uri", redirect_uri)]);
    query.extend_pairs([
        ("code_challenge", "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"),
        ("code_challenge_method", "S256"),
    ]);
    format!("{}/authorize?{}", stage.origin, query.append_pair("state", "s").finish())
}

/// The folder for pictures of all pages. A developer sets it to look at them.
static PICTURES: LazyLock<Option<PathBuf>> = LazyLock::new(|| std::env::var_os("PORTCULLIS_PICTURES").map(Into::into));

/// A page that has an address of its own. A new page needs one row, in one or both of the lists below.
struct Address {
    /// The name of the pictures.
    name: &'static str,
    /// Its file in `crates/pages/src/templates` or `crates/rest/src/templates`.
    template: &'static str,
    /// The path below the origin.
    path: &'static str,
    /// A text that only this page has.
    text: &'static str,
}

/// As visitors see them.
const SIGNED_OUT: [Address; 3] = [
    Address { name: "landing", template: "landing.html", path: "/mcp", text: "Connect an agent" },
    Address { name: "reference", template: "reference.html", path: "/mcp/reference", text: "HTTP interface" },
    Address { name: "not-found", template: "message.html", path: "/nothing", text: "There is no such page" },
];

/// As a user sees them who approved one agent.
const SIGNED_IN: [Address; 3] = [
    Address { name: "landing-signed-in", template: "landing.html", path: "/console/", text: "Connect an agent" },
    Address { name: "agents", template: "agents.html", path: "/agents", text: "What it may do" },
    Address { name: "not-found-signed-in", template: "message.html", path: "/nothing", text: "There is no such page" },
];

/// A visit to every page.
struct Tour<'a> {
    person: Browser,
    stage: &'a Stage,
    /// The size of the window, in the names of pictures. `None`: every page is audited at all sizes.
    size: Option<&'static str>,
    /// The templates that were seen.
    seen: BTreeSet<&'static str>,
}

impl Tour<'_> {
    /// What holds for every page at any size.
    async fn check(&mut self, template: &'static str, name: &str) {
        let person = &mut self.person;
        self.seen.insert(template);
        // Only one of them is open at first.
        person
            .evaluate("document.querySelectorAll('details').forEach(one => { one.name = ''; one.open = true; })")
            .await;
        let wide = person.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
        assert_eq!(wide, json!(0), "{name} scrolls sideways");
        let outline = person.outline().await;
        let unnamed = Regex::new(r"(?m)- (button|link|textbox|checkbox|heading)( \[|:|$)").unwrap();
        assert!(!unnamed.is_match(&outline), "{name}: a control has no name:\n{outline}");
        assert!(outline.contains("- main") && outline.contains("[level=1]"), "{name}:\n{outline}");
        let picture =
            |folder: &PathBuf| folder.join(self.size.map_or(name.to_owned(), |size| format!("{size}-{name}")));
        let picture = PICTURES.as_ref().map(picture);
        if self.size.is_none() {
            let problems = person.audit(picture.as_deref()).await;
            assert!(problems.is_empty(), "{name}:\n{}", problems.join("\n"));
        } else if let Some(picture) = picture {
            person.screenshot(&picture.with_extension("png")).await;
        }
        let page = person.look().await;
        // The status of an error page is a complaint of its own.
        let complaints: Vec<_> =
            page.complaints.iter().filter(|said| !said.contains("the server responded with")).collect();
        assert!(complaints.is_empty(), "{name}: {complaints:?}");
    }

    async fn visit(&mut self, pages: &[Address]) {
        for page in pages {
            self.person.open(&format!("{}{}", self.stage.origin, page.path)).await;
            self.person.find(page.text).await;
            self.check(page.template, page.name).await;
        }
    }

    /// Signs in and goes through all pages.
    async fn run(&mut self) {
        let stage = self.stage;
        self.visit(&SIGNED_OUT).await;
        let page = self.person.open(&request(stage, PUBLIC, CALLBACK)).await;
        assert!(page.url.contains("/login?"), "{}", page.url);
        self.check("sign_in.html", "sign-in").await;
        self.person.fill("User name", USER).await;
        self.person.fill("Password", "wrong").await;
        self.person.press("Sign in").await;
        self.person.find("Wrong user name or password").await;
        self.check("sign_in.html", "sign-in-wrong").await;
        self.person.fill("Password", PASSWORD).await;
        self.person.press("Sign in").await;
        self.person.find("Allow Claude Code to work for you?").await;
        self.check("consent.html", "consent").await;
        redeemed(&mut self.person, stage).await;
        self.person.open(&request(stage, PUBLIC, CALLBACK)).await;
        self.person.find("allowed before").await;
        self.check("consent.html", "consent-again").await;

        self.person.open(&request(stage, &registered(stage).await, CALLBACK)).await;
        self.person.find("Registered itself; nobody checked it").await;
        self.check("consent.html", "consent-unverified").await;
        for scope in [
            "See your workspaces",
            "Create, start, stop",
            "Run commands",
            "Read the files",
            "Change and delete",
            "See the workspace templates",
        ] {
            self.person.tick(scope, false).await;
        }
        self.person.press("Allow").await;
        self.person.find("Nothing is ticked").await;
        self.check("consent.html", "consent-nothing").await;

        self.visit(&SIGNED_IN).await;
        self.person.open(&format!("{}/agents", stage.origin)).await;
        self.person.press("Revoke access").await;
        self.person.find("you took its access back").await;
        self.check("agents.html", "agents-none").await;
        let callback = "https://evil.example/callback?of=an-address-that-is-long-without-any-space-in-it";
        self.person.open(&request(stage, PUBLIC, callback)).await;
        self.person.find("This agent cannot be sent back").await;
        self.check("message.html", "error").await;
        self.person.open(&format!("{}/agents", stage.origin)).await;
        self.person.press("Sign out").await;
        self.person.find("You are signed out").await;
        self.check("message.html", "signed-out").await;
    }
}

/// The templates of whole pages.
fn templates() -> BTreeSet<String> {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates");
    let folders = ["pages/src/templates", "rest/src/templates"];
    let files = folders.iter().flat_map(|folder| fs::read_dir(crates.join(folder)).unwrap());
    let is_page =
        |text: String| text.contains("{% extends") || text.contains("<html") && !text.contains("{% block main");
    let pages = files.map(|file| file.unwrap().path()).filter(|path| is_page(fs::read_to_string(path).unwrap()));
    pages.map(|path| path.file_name().unwrap().to_str().unwrap().to_owned()).collect()
}

/// Allows what the page asks for, and gets the tokens in the client's place.
async fn redeemed(person: &mut Browser, stage: &Stage) {
    person.press("Allow").await;
    let page = person.look().await;
    let back = page.redirects.iter().find(|to| to.starts_with(CALLBACK)).unwrap_or_else(|| panic!("{page:?}"));
    let code = url::Url::parse(back).unwrap().query_pairs().find(|(name, _)| name == "code").unwrap().1.into_owned();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
        ("client_id", PUBLIC),
        ("code_verifier", VERIFIER),
    ];
    let answer = crate::http().post(format!("{}/token", stage.origin)).form(&form).send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", answer.text().await.unwrap());
}

/// A client that registered itself under a name that is long.
async fn registered(stage: &Stage) -> String {
    let name = "Acme Enterprise Productivity Assistant with a Name That Goes On and On";
    let about = json!({"client_name": name, "redirect_uris": [CALLBACK], "token_endpoint_auth_method": "none"});
    let answer = crate::http().post(format!("{}/register", stage.origin)).json(&about).send().await.unwrap();
    let answer: Value = answer.json().await.unwrap();
    answer["client_id"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned()
}

/// An endpoint with a provider to choose too.
async fn stage() -> Stage {
    let login =
        json!({"name": "hub", "github": {"clientSecretRef": {"name": "hub"}, "allowedOrganizations": ["acme"]}});
    let mut manifests = Manifests::new().open().provider("hub", login, "id", "secret");
    manifests.clients.push(("cursor", json!({"preset": "cursor", "scopes": ["workspaces:read"]})));
    manifests.start().await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_accessible_at_every_size_light_and_dark() {
    let stage = stage().await;
    let mut tour = Tour { person: Browser::start().await, stage: &stage, size: None, seen: BTreeSet::new() };
    tour.person.visitor(json!({"viewport": {"width": 360, "height": 740}})).await;
    tour.run().await;
    let seen: BTreeSet<String> = tour.seen.iter().map(|&template| template.to_owned()).collect();
    assert_eq!(seen, templates(), "a page that the tour does not visit; add a row to SIGNED_OUT or SIGNED_IN");
    for scheme in ["light", "dark"] {
        tour.person.visitor(json!({"colorScheme": scheme})).await;
        tour.person.open(&stage.origin).await;
        let ground = tour.person.evaluate("getComputedStyle(document.body).backgroundColor").await;
        let bright = ground.as_str().unwrap().contains("(2");
        assert_eq!(bright, scheme == "light", "{ground}");
    }
}

/// Who needs large letters has four times less space.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_without_scripts_and_with_large_letters() {
    let stage = stage().await;
    let mut tour = Tour { person: Browser::start().await, stage: &stage, size: Some("zoomed"), seen: BTreeSet::new() };
    tour.person.visitor(json!({"viewport": {"width": 320, "height": 256}, "javaScriptEnabled": false})).await;
    tour.run().await;
}

/// A page with one fault of each kind that the audit must find.
const FAULTY: &str = "<!doctype html><html lang=en><title>Faulty</title>
    <style>body { color: #000; background: #fff; } a { outline: none !important; } .wide { width: 500px; }
    @media (prefers-color-scheme: dark) { p { color: #333; background: #000; } }</style>
    <main><h1 onclick=''>Faulty</h1><p>Pale when it is dark<p><input name=unlabelled><a href=/>No focus</a>
    <div class=wide>Wide</div><button tabindex=1>Out of order</button></main>";

#[tokio::test(flavor = "multi_thread")]
async fn the_audit_finds_each_fault() {
    let mut person = Browser::start().await;
    person.open(&format!("http://127.0.0.1:{}/", serve(FAULTY.to_owned()).await)).await;
    let problems = person.audit(None).await;
    for fault in [
        "any size: a script: <h1 onclick",
        "360 px, light: label: <input",
        "1440 px, dark: color-contrast: <p>Pale",
        "360 px: 148 px are only reached by scrolling sideways: <div class=\"wide\"",
        "768 px: the focus cannot be seen: <a href",
        "768 px: Tab reaches ",
    ] {
        assert!(problems.iter().any(|problem| problem.starts_with(fault)), "{fault}: {problems:#?}");
    }
    let of_light = |problem: &&String| problem.contains("light: color-contrast");
    assert_eq!(problems.iter().find(of_light), None);
}

/// Serves a page at every path of a port.
async fn serve(html: String) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new().fallback(get(async move || Html(html)));
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

/// Presses Tab until what has the focus is `wanted`, an expression over `e`; what has it must be seen to have it.
async fn tab_to(person: &mut Browser, wanted: &str) {
    for _ in 0..20 {
        person.key("Tab").await;
        let focus = person.evaluate("getComputedStyle(document.activeElement).outlineStyle").await;
        assert_ne!(focus, "none", "the focus can be seen");
        if person.evaluate(&format!("(e => {wanted})(document.activeElement)")).await == json!(true) {
            return;
        }
    }
    panic!("nothing that is {wanted} can be reached by Tab");
}

async fn type_in(person: &mut Browser, text: &str) {
    for letter in text.chars() {
        person.key(&letter.to_string()).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_keyboard_alone() {
    let stage = stage().await;
    let mut person = Browser::start().await;
    let callback = format!("http://127.0.0.1:{}/callback", serve("Back at the client".to_owned()).await);
    person.open(&request(&stage, PUBLIC, &callback)).await;
    tab_to(&mut person, "e.name === 'user'").await;
    type_in(&mut person, USER).await;
    tab_to(&mut person, "e.name === 'password'").await;
    type_in(&mut person, PASSWORD).await;
    person.key("Enter").await;
    person.find("Allow Claude Code to work for you?").await;
    tab_to(&mut person, "e.value === 'workspaces:write'").await;
    person.key("Space").await;
    tab_to(&mut person, "e.textContent === 'Deny'").await;
    person.key("Shift+Tab").await;
    assert_eq!(person.evaluate("document.activeElement.textContent").await, "Allow");
    let ticked = person.evaluate("[...document.querySelectorAll('input:checked')].map(e => e.value)").await;
    assert_eq!(ticked, json!(["workspaces:read", "templates:read"]));
    person.key("Enter").await;
    let page = person.arrive("code=").await;
    assert!(page.url.starts_with(&callback), "{}", page.url);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_shows_in_a_frame() {
    let stage = stage().await;
    let sign_in = request(&stage, PUBLIC, CALLBACK).replace('&', "&amp;");
    let html = format!("<!doctype html><title>A trap</title><iframe src=\"{sign_in}\"></iframe>");
    let trap = format!("http://localhost:{}/", serve(html).await);
    let mut person = Browser::start().await;
    let page = person.open(&trap).await;
    assert!(page.complaints.iter().any(|said| said.contains("frame-ancestors 'none'")), "{:?}", page.complaints);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_app_with_a_scheme_of_its_own_gets_its_answer() {
    let stage = stage().await;
    let callback = "cursor://anysphere.cursor-mcp/oauth/callback";
    let mut person = Browser::start().await;
    person.open(&request(&stage, "cursor", callback)).await;
    person.fill("User name", USER).await;
    person.fill("Password", PASSWORD).await;
    person.press("Sign in").await;
    let page = person.find("the app on this computer that opens").await;
    assert!(page.text.contains("cursor:"), "{}", page.text);
    person.press("Allow").await;
    let page = person.look().await;
    let back = page.redirects.last().unwrap();
    assert!(back.starts_with(&format!("{callback}?code=")) && back.contains("&state=s"), "{page:?}");
    let refused = page.complaints.iter().find(|said| said.contains("Content Security Policy"));
    assert_eq!(refused, None);
}
