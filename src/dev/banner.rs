//! The output of `portcullis dev`: the URL of the endpoint, and command lines to paste.

use super::{environment::PlannedEndpoint, snippets::snippets, store::Store, user};
use kube::ResourceExt;
use portcullis_api::{OAuthClient, preset::Preset};
use portcullis_core::{Scope, client::Grant, scope};
use portcullis_plan::{ClientPlan, CredentialChange, LoginProblem};
use std::{collections::BTreeSet, fmt::Write as _, fs, path::Path};

/// The text that is printed once, as soon as the endpoint is planned.
#[must_use]
pub(super) fn welcome(outcome: &PlannedEndpoint, store: &Store) -> String {
    let url = outcome.plan.config.url.resource();
    let mut text = format!(
        "\nThe endpoint {name:?} is served on this machine.\n\n  \
           URL         {url}\n  \
           state       {state}\n  \
           workspaces  folders and processes of this machine. No sandbox: an agent can do what you can do\n",
        name = outcome.endpoint.name_any(),
        state = store.root().display(),
    );
    text.push_str(&templates(outcome));
    text.push_str(&ignored(outcome));
    text.push_str(&people(outcome, store));
    if outcome.is_open {
        let _ = write!(
            text,
            "\nConnect an agent. It opens a browser, where you sign in and choose its permissions:\n\n{}",
            snippets(&outcome.endpoint.name_any(), &url)
        );
    }
    for plan in &outcome.plan.clients {
        if let Some(client) = outcome.clients.iter().find(|client| client.name_any() == plan.name) {
            text.push('\n');
            text.push_str(&introduction(outcome, client, plan, store));
        }
    }
    let policy = &outcome.plan.config.client_policy;
    if outcome.plan.clients.is_empty() && policy.metadata_documents.is_none() && policy.dynamic_registration.is_none() {
        text.push_str(
            "\nNo OAuthClient refers to this endpoint, and no client may register itself (spec.clients), so no client can\n\
             obtain a token: add an OAuthClient to the manifests.\n",
        );
    }
    text.push_str("\nEdits of the manifests are live. Ctrl-C ends it; credentials and workspaces are kept.\n");
    text
}

/// The changes of clients and their credentials since `before`, one line each.
#[must_use]
pub(super) fn changes(before: &PlannedEndpoint, after: &PlannedEndpoint, store: &Store) -> String {
    let mut text = String::new();
    for plan in &after.plan.clients {
        let known = before.plan.clients.iter().find(|old| old.name == plan.name);
        let secret = plan.secret_name.as_ref().map(|name| store.secret_folder(name).display().to_string());
        let what = match (plan.change, &plan.problem) {
            (_, Some(problem)) if known.is_none_or(|old| old.problem.as_ref() != Some(problem)) => problem.to_string(),
            (Some(CredentialChange::Rotated), _) => {
                "its secret was rotated; the old one is valid until its overlap ends".to_owned()
            }
            (Some(CredentialChange::Created | CredentialChange::Healed), _) if known.is_some() => {
                "it has a new secret; the old one is no longer valid".to_owned()
            }
            (_, None) if known.is_none() => "it can obtain tokens now".to_owned(),
            (_, None) if known.is_some_and(|old| old.problem.is_some()) => "it can obtain tokens again".to_owned(),
            _ => continue,
        };
        let path_note = secret.filter(|_| plan.change.is_some()).map(|path| format!(" ({path})")).unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "client {:?}: {what}{path_note}", plan.name);
    }
    for problem in after.plan.login_problems.iter().filter(|problem| !before.plan.login_problems.contains(problem)) {
        let _ = writeln!(text, "{problem}");
    }
    if after.local_user != before.local_user {
        text.push_str(&people(after, store));
    }
    for old in &before.plan.clients {
        if !after.plan.clients.iter().any(|plan| plan.name == old.name) {
            let _ = writeln!(text, "client {:?}: it was deleted, and its tokens are no longer valid", old.name);
        }
    }
    text
}

fn introduction(outcome: &PlannedEndpoint, client: &OAuthClient, plan: &ClientPlan, store: &Store) -> String {
    let grants: Vec<&str> = client.spec.grants().iter().map(|grant| grant.as_str()).collect();
    let scopes: BTreeSet<Scope> = client.spec.scopes.iter().copied().collect();
    let mut text =
        format!("Client {:?}\n  grants      {}\n  scopes      {}\n", plan.name, grants.join(" "), scope::join(&scopes));
    if let Some(problem) = &plan.problem {
        let _ = writeln!(text, "  problem     {problem}");
        return text;
    }
    let secret = plan.secret_name.as_deref();
    let folder = secret.map(|secret| store.secret_folder(secret)).unwrap_or_default();
    let _ = match secret {
        None => writeln!(text, "  client id   {} (without a secret)", plan.client_id),
        Some(secret) if client.spec.existing_secret.is_some() => {
            writeln!(text, "  credentials its name, and the secret in the Secret {secret:?} of the manifests")
        }
        Some(_) => writeln!(text, "  credentials {}/{{client-id,client-secret,url,token-url}}", folder.display()),
    };
    // Where every client may join, a client without a secret needs no instructions of its own.
    if client.spec.grants().contains(&Grant::AuthorizationCode) && (!outcome.is_open || secret.is_some()) {
        text.push_str(&for_a_person(outcome, client, plan));
    }
    if !client.spec.grants().contains(&Grant::ClientCredentials)
        || secret.is_none()
        || client.spec.existing_secret.is_some()
    {
        return text;
    }
    let url = outcome.plan.config.url.resource();
    let token = obtain_token(&outcome.plan.config.url.issuer_url("/token"), &folder);
    let _ = write!(text, "\n  List the tools:\n\n{}", list_tools(&token, &url));
    if scopes.is_superset(&BTreeSet::from([Scope::WorkspacesWrite, Scope::WorkspacesExec])) {
        let _ = write!(text, "\n  Create a workspace, and run a command in it:\n\n{}", run_command(&token, &url));
    }
    text
}

/// The names of the templates, and a note about their fields without effect.
fn templates(outcome: &PlannedEndpoint) -> String {
    if outcome.templates.is_empty() {
        return String::new();
    }
    let names: Vec<String> = outcome.templates.iter().map(ResourceExt::name_any).collect();
    format!(
        "  templates   {}. Their parameters and environment apply here; image, resources, volume, egress and lifetimes do not\n",
        names.join(", ")
    )
}

/// The fields of the manifest that have no effect here.
fn ignored(outcome: &PlannedEndpoint) -> String {
    if outcome.ignored.is_empty() {
        return String::new();
    }
    let fields: Vec<String> = outcome.ignored.iter().map(|field| format!("spec.{field}")).collect();
    format!("  ignored     {}: only for a cluster\n", fields.join(", "))
}

/// How users can sign in.
fn people(outcome: &PlannedEndpoint, store: &Store) -> String {
    let mut text = String::new();
    if let Some(user) = &outcome.local_user {
        let file = store.secret_folder(&user.secret_name).join(user::PASSWORD);
        // The file was written just before, but the user can have deleted it since.
        let password = fs::read_to_string(&file).unwrap_or_default();
        let _ = write!(
            text,
            "\nThe manifest has no spec.login, so only you can sign in.\n\n  \
               user name   {}\n  \
               password    {}\n  \
               kept in     {}\n",
            user.name,
            password.trim(),
            file.display(),
        );
    } else if !outcome.plan.config.login.is_empty() {
        let names: Vec<&str> = outcome.plan.config.login.iter().map(|login| login.name.as_str()).collect();
        let _ = writeln!(text, "\nUsers sign in by {}.", names.join(", "));
    }
    for problem in &outcome.plan.login_problems {
        let _ = writeln!(text, "  problem     {problem}");
    }
    for secret in missing_users(outcome) {
        let endpoint = outcome.endpoint.name_any();
        let _ = writeln!(
            text,
            "  remedy      portcullis htpasswd USER --secret {secret} --endpoint {endpoint} > users.yaml, and pass users.yaml too"
        );
    }
    text
}

/// The Secrets with users that the manifests do not have.
fn missing_users(outcome: &PlannedEndpoint) -> Vec<&str> {
    let is_missing = |login: &str| {
        let of_login = |problem: &LoginProblem| matches!(problem, LoginProblem::SecretNotFound { login: name, .. } if name == login);
        outcome.plan.login_problems.iter().any(of_login)
    };
    let logins = outcome.endpoint.spec.login.iter().filter(|login| is_missing(&login.name));
    logins.filter_map(|login| Some(login.passwords.as_ref()?.secret_ref.name.as_str())).collect()
}

/// How a user connects an agent.
fn for_a_person(outcome: &PlannedEndpoint, client: &OAuthClient, plan: &ClientPlan) -> String {
    let (name, url) = (outcome.endpoint.name_any(), outcome.plan.config.url.resource());
    let mut text = String::new();
    let what = if plan.secret_name.is_some() { "the client id and the secret above" } else { "the client id above" };
    let _ = writeln!(
        text,
        "\n  Give the agent {url} and {what}. It opens a browser, where you sign in and choose its permissions."
    );
    if client.spec.preset == Preset::ClaudeCode {
        let _ = write!(
            text,
            "\n  Add it to Claude Code, then connect with /mcp there:\n\n\
             claude mcp add --transport http --client-id {} {name} {url}\n",
            plan.client_id
        );
    }
    text
}

/// A shell command that obtains a token and prints an `Authorization` header. It reads the credentials from files, so
/// that they do not appear in process lists.
fn obtain_token(token_url: &str, folder: &Path) -> String {
    let file = |name: &str| quoted(&folder.join(name).display().to_string());
    format!(
        "curl -sSf -d grant_type=client_credentials --data-urlencode client_id@{} --data-urlencode client_secret@{} \
         {token_url} | sed -E 's/.*\"access_token\": ?\"([^\"]*)\".*/Authorization: Bearer \\1/'",
        file("client-id"),
        file("client-secret"),
    )
}

fn list_tools(token: &str, url: &str) -> String {
    let call = r#"{"jsonrpc":"2.0","id":1,"method":"tools/list"}"#;
    format!("{token} | curl -sS -H @- -H 'Content-Type: application/json' -d '{call}' {url}; echo\n")
}

fn run_command(token: &str, url: &str) -> String {
    let call = |tool: &str, arguments: &str| {
        format!(
            r#"call '{{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{{"name":"{tool}","arguments":{arguments}}}}}'"#
        )
    };
    format!(
        "AUTH=$({token})\n\
         call() {{ printf '%s' \"$AUTH\" | curl -sS -H @- -H 'Content-Type: application/json' -d \"$1\" {url}; echo; }}\n\
         {}\n{}\n",
        call("create_workspace", r#"{"template":"blank","name":"hello"}"#),
        call("run_command", r#"{"workspace":"hello","command":"git --version"}"#),
    )
}

/// Quotes a word for a POSIX shell.
fn quoted(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'.' | b'_' | b'-');
    if word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_survive_a_shell() {
        for (word, shell) in
            [("/tmp/a-b_c.d", "/tmp/a-b_c.d"), ("/tmp/a b", "'/tmp/a b'"), ("it's $HOME", r"'it'\''s $HOME'")]
        {
            assert_eq!(quoted(word), shell);
        }
    }
}
