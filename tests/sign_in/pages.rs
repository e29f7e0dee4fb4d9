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
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    sync::LazyLock,
};
use tokio::net::TcpListener;
use url::form_urlencoded;

/// Nobody listens there; the browser shows where it was sent.
pub const CALLBACK: &str = "http://127.0.0.1:9/callback";
/// With its challenge below, from RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// An authorization request.
pub fn request(stage: &Stage, client_id: &str, redirect_uri: &str) -> String {
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

/// What holds for every page at any size.
pub async fn check(person: &mut Browser, name: &str) {
    let wide = person.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth").await;
    assert_eq!(wide, json!(0), "{name} scrolls sideways");
    let outline = person.outline().await;
    let unnamed = Regex::new(r"(?m)- (button|link|textbox|checkbox|heading)( \[|:|$)").unwrap();
    assert!(!unnamed.is_match(&outline), "{name}: a control has no name:\n{outline}");
    assert!(outline.contains("- main") && outline.contains("[level=1]"), "{name}:\n{outline}");
    let page = person.look().await;
    // The status of an error page is a complaint of its own.
    let complaints: Vec<_> =
        page.complaints.iter().filter(|said| !said.contains("the server responded with")).collect();
    assert!(complaints.is_empty(), "{name}: {complaints:?}");
    let pictures = PICTURES.as_ref().map(|folder| folder.join(name));
    let problems = person.audit(pictures.as_deref()).await;
    assert!(problems.is_empty(), "{name}:\n{}", problems.join("\n"));
}

/// Pages that need no steps: a name, the path, and a text that only this page has.
type Addresses = [(&'static str, &'static str, &'static str)];

/// As visitors see them.
const SIGNED_OUT: &Addresses =
    &[("reference", "/mcp/reference", "HTTP interface"), ("not-found", "/nothing", "There is no such page")];

/// As users see them.
const SIGNED_IN: &Addresses = &[
    ("landing-signed-in", "/console/", "Connect an agent"),
    ("not-found-signed-in", "/nothing", "There is no such page"),
];

async fn visit(person: &mut Browser, stage: &Stage, name: &str, pages: &Addresses) {
    for (page, path, text) in pages {
        person.open(&format!("{}{path}", stage.origin)).await;
        person.find(text).await;
        check(person, &format!("{name}-{page}")).await;
    }
}

/// Which check has each template of a whole page: the end of the name that a test of this folder gives it.
const TEMPLATES: [(&str, &str); 14] = [
    ("administration.html", "administration"),
    ("agents.html", "agents"),
    ("all_workspaces.html", "administration-workspaces"),
    ("consent.html", "consent"),
    ("delete_owned.html", "administration-delete"),
    ("delete_workspace.html", "workspace-delete"),
    ("end_user.html", "administration-end"),
    ("landing.html", "landing"),
    ("message.html", "error"),
    ("reference.html", "reference"),
    ("sign_in.html", "sign-in"),
    ("workspace.html", "workspace"),
    ("workspace_activity.html", "workspace-activity"),
    ("workspaces.html", "workspaces"),
];

#[test]
fn every_template_is_checked() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |folder: &str| -> BTreeMap<String, String> {
        let files = fs::read_dir(root.join(folder)).unwrap().map(|file| file.unwrap().path());
        let files = files.filter(|path| path.is_file());
        files
            .map(|path| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap()))
            .collect()
    };
    let mut templates = read("crates/pages/src/templates");
    templates.extend(read("crates/rest/src/templates"));
    let extends = Regex::new(r#"\{% extends "([^"]+)" %\}"#).unwrap();
    let layouts: BTreeSet<&str> =
        templates.values().filter_map(|text| Some(extends.captures(text)?.get(1)?.as_str())).collect();
    let pages = templates
        .iter()
        .filter(|(name, text)| !layouts.contains(name.as_str()) && (extends.is_match(text) || text.contains("<html")));
    let pages: Vec<&str> = pages.map(|(name, _)| name.as_str()).collect();
    assert_eq!(pages, TEMPLATES.map(|(name, _)| name), "each template of a page has a row");
    let tests: String = read("tests/sign_in").into_values().collect();
    for (template, check) in TEMPLATES {
        let named = tests.contains(&format!("{{name}}-{check}\"")) || tests.contains(&format!("(\"{check}\", \"/"));
        assert!(named, "{template}: no check has the name {check}");
    }
}

/// Signs in and goes through all pages.
async fn tour(person: &mut Browser, stage: &Stage, name: &str) {
    visit(person, stage, name, SIGNED_OUT).await;
    // A person who opens the URL that is meant for agents gets the landing page.
    person.open(&format!("{}/mcp", stage.origin)).await;
    person.find("Connect an agent").await;
    person.evaluate("document.querySelectorAll('details').forEach(one => { one.name = ''; one.open = true; })").await;
    check(person, &format!("{name}-landing")).await;
    let page = person.open(&request(stage, PUBLIC, CALLBACK)).await;
    assert!(page.url.contains("/login?"), "{}", page.url);
    check(person, &format!("{name}-sign-in")).await;
    person.fill("User name", USER).await;
    person.fill("Password", "wrong").await;
    person.press("Sign in").await;
    person.find("Wrong user name or password").await;
    check(person, &format!("{name}-sign-in-wrong")).await;
    person.fill("Password", PASSWORD).await;
    person.press("Sign in").await;
    person.find("Allow Claude Code to work for you?").await;
    check(person, &format!("{name}-consent")).await;
    redeemed(person, stage).await;
    person.open(&request(stage, PUBLIC, CALLBACK)).await;
    person.find("allowed before").await;
    check(person, &format!("{name}-consent-again")).await;

    person.open(&request(stage, &registered(stage).await, CALLBACK)).await;
    person.find("Registered itself; nobody checked it").await;
    check(person, &format!("{name}-consent-unverified")).await;
    for scope in [
        "See your workspaces",
        "Create, start, stop",
        "Run commands",
        "Read the files",
        "Change and delete",
        "See the workspace templates",
    ] {
        person.tick(scope, false).await;
    }
    person.press("Allow").await;
    person.find("No permission is selected").await;
    check(person, &format!("{name}-consent-nothing")).await;

    person.open(&format!("{}/agents", stage.origin)).await;
    person.find("Connected agents").await;
    check(person, &format!("{name}-agents")).await;
    visit(person, stage, name, SIGNED_IN).await;
    person.open(&format!("{}/agents", stage.origin)).await;
    person.press("Revoke access").await;
    person.find("you revoked its access").await;
    check(person, &format!("{name}-agents-none")).await;
    person
        .open(&request(
            stage,
            PUBLIC,
            "https://evil.example/callback?of=an-address-that-is-long-without-any-space-in-it",
        ))
        .await;
    person.find("This agent cannot be sent back").await;
    check(person, &format!("{name}-error")).await;
    person.open(&format!("{}/agents", stage.origin)).await;
    person.press("Sign out").await;
    person.find("You are signed out").await;
    check(person, &format!("{name}-signed-out")).await;
}

/// Allows what the page asks for, and gets the tokens in the client's place. Returns the access token.
pub async fn redeemed(person: &mut Browser, stage: &Stage) -> String {
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
    assert_eq!(answer.status(), 200);
    let answer: Value = answer.json().await.unwrap();
    answer["access_token"].as_str().unwrap().to_owned()
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
    let mut person = Browser::start().await;
    tour(&mut person, &stage, "every").await;
    for scheme in ["light", "dark"] {
        person.visitor(json!({"colorScheme": scheme})).await;
        person.open(&stage.origin).await;
        let ground = person.evaluate("getComputedStyle(document.body).backgroundColor").await;
        let bright = ground.as_str().unwrap().contains("(2");
        assert_eq!(bright, scheme == "light", "{ground}");
    }
}

/// Who needs large letters has four times less space.
#[tokio::test(flavor = "multi_thread")]
async fn every_page_works_without_scripts_and_with_large_letters() {
    let stage = stage().await;
    let mut person = Browser::start().await;
    person.visitor(json!({"viewport": {"width": 320, "height": 256}, "javaScriptEnabled": false})).await;
    tour(&mut person, &stage, "zoomed").await;
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
    assert_eq!(person.evaluate("document.activeElement.name").await, "user", "typing begins there");
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
