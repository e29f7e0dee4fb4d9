//! `portcullis htpasswd`: a user of a login with passwords, as a line or as a Secret.

use super::password::{self, PasswordError};
use bcrypt::{BcryptError, Version};
use clap::Args;
use rand::{Rng as _, rngs::StdRng};
use std::io::{self, Write as _};

/// The longest name of a Kubernetes object.
const MAX_NAME: usize = 253;

/// Create a user for a login with passwords (spec.login[].passwords)
///
/// Prints USER and a bcrypt hash of the password as a line of an htpasswd file, or the Secret with that line. The password is
/// read from the terminal, which does not show it, or from standard input; never from an argument, which other users of the
/// machine could read.
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  portcullis htpasswd alice --secret users --endpoint agents > users.yaml
  portcullis dev examples/people.yaml users.yaml       sign in as alice on this machine
  kubectl apply -f users.yaml                          the same in a cluster
  portcullis htpasswd bob >> htpasswd                  one more line of a file")]
pub struct HtpasswdArgs {
    /// The user's name
    #[arg(value_parser = user_name)]
    user: String,
    /// Print a Secret with this name, that of passwords.secretRef, instead of a line
    #[arg(long, value_name = "NAME", value_parser = object_name, requires = "endpoint")]
    secret: Option<String>,
    /// The McpEndpoint that may read the Secret
    #[arg(long, value_name = "NAME", value_parser = object_name, requires = "secret")]
    endpoint: Option<String>,
    /// The Secret's namespace
    #[arg(long, value_name = "NAME", value_parser = object_name, requires = "secret")]
    namespace: Option<String>,
    /// The cost of the hash: each step doubles the time of a sign-in
    #[arg(long, default_value_t = 12, value_parser = clap::value_parser!(u32).range(4..=14))]
    cost: u32,
}

/// Why there is no line.
#[derive(Debug, thiserror::Error)]
pub enum HtpasswdCommandError {
    /// There is no password.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// It could not be hashed.
    #[error("the password could not be hashed")]
    Hash(#[from] BcryptError),
    /// Standard output was closed, or is full.
    #[error("standard output cannot be written")]
    Print(#[from] io::Error),
}

/// Runs the command.
pub fn run(args: &HtpasswdArgs, rng: &mut StdRng) -> Result<(), HtpasswdCommandError> {
    let password = password::read(&args.user)?;
    let mut salt = [0; 16];
    rng.fill_bytes(&mut salt);
    let hash = bcrypt::hash_with_salt(password, args.cost, salt)?.format_for_version(Version::TwoY);
    let line = format!("{}:{hash}", args.user);
    let text = match (&args.secret, &args.endpoint) {
        (Some(name), Some(endpoint)) => secret(name, args.namespace.as_deref(), endpoint, &line),
        _ => format!("{line}\n"),
    };
    io::stdout().lock().write_all(text.as_bytes())?;
    Ok(())
}

/// A manifest of the Secret. Its names have no character to escape: see [`object_name`].
fn secret(name: &str, namespace: Option<&str>, endpoint: &str, line: &str) -> String {
    let namespace = namespace.map(|namespace| format!("  namespace: \"{namespace}\"\n")).unwrap_or_default();
    format!(
        "apiVersion: v1\nkind: Secret\nmetadata:\n  name: \"{name}\"\n{namespace}  labels:\n    \
         portcullis.dev/endpoint: \"{endpoint}\"\nstringData:\n  htpasswd: |\n    {line}\n"
    )
}

fn user_name(text: &str) -> Result<String, String> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':') || text.starts_with('#') {
        return Err("must be printable ASCII without spaces and colons, and must not begin with #".to_owned());
    }
    Ok(text.to_owned())
}

fn object_name(text: &str) -> Result<String, String> {
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    if text.is_empty() || text.len() > MAX_NAME || !text.bytes().all(plain) {
        return Err("must be the name of a Kubernetes object: a-z, 0-9, - and .".to_owned());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_would_break_the_file_are_refused() {
        for name in ["", "a b", "a:b", "#a", "a\n", "\u{e4}"] {
            assert!(user_name(name).is_err(), "{name:?}");
        }
        assert_eq!(user_name("alice@example.com").unwrap(), "alice@example.com");
        for name in ["", "A", "a b", "a\"", "a/b", &"a".repeat(MAX_NAME + 1)] {
            assert!(object_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_secret_has_label_and_line() {
        let text = secret("users", Some("dev"), "agents", "alice:$2y$04$x");
        let manifest: serde_json::Value = serde_saphyr::from_str(&text).unwrap();
        assert_eq!(
            manifest,
            serde_json::json!({
                "apiVersion": "v1", "kind": "Secret",
                "metadata": {"name": "users", "namespace": "dev", "labels": {"portcullis.dev/endpoint": "agents"}},
                "stringData": {"htpasswd": "alice:$2y$04$x\n"},
            })
        );
    }
}
