//! Manifests of `OAuthUser`s: wrong ones, and right ones.

use super::{
    Kind::User,
    right::Right,
    wrong::{Wrong, change, limit},
};
use serde_json::{Value, json};

fn user(what: &'static str, spec: Value, field: &'static str, says: &'static str) -> Wrong {
    limit(User, what, spec, field, says, says)
}

fn id(what: &'static str, id: &str) -> Wrong {
    let says = "must be LOGIN:ID, the name of a login of the endpoint and the user's id there, such as local:ann";
    user(what, json!({"user": {"id": id}}), "spec.user.id", says)
}

pub fn wrong_users() -> Vec<Wrong> {
    let nothing = "must have notBefore, disabled: true, or both; to lift both, delete the OAuthUser";
    let again = "to enable the user again, set notBefore to the present time together with disabled: false";
    vec![
        user("a user of whom nothing is said", json!({"disabled": false}), "spec", nothing),
        id("an id without a login", "alice"),
        id("an id without a user", "local:"),
        id("a login in capitals", "Local:alice"),
        id("an id that begins with a colon", ":alice"),
        id("a login with a space", "lo cal:alice"),
        limit(
            User,
            "a date without a time",
            json!({"notBefore": "2026-11-29"}),
            "spec.notBefore",
            "date-time",
            "date-time",
        ),
        limit(User, "an unknown field", json!({"enabled": false}), "spec.enabled", "unknown field", "unknown field"),
        change(
            "another endpoint",
            User,
            json!({"endpointRef": {"name": "other"}}),
            "spec.endpointRef",
            "make a new OAuthUser for the other endpoint",
        ),
        change(
            "another user",
            User,
            json!({"user": {"id": "local:bob"}}),
            "spec.user",
            "make a new OAuthUser for the other user",
        ),
        change("enabled again without notBefore", User, json!({"disabled": false}), "spec", again),
    ]
}

pub fn right_users() -> Vec<Right> {
    let right = |what, spec: Value, stored: Value| Right { what, kind: User, spec, stored };
    vec![
        right("a disabled user", json!({}), json!({"disabled": true})),
        right(
            "a user who may sign in again",
            json!({"disabled": false, "notBefore": "2026-11-29T06:00:00Z"}),
            json!({"disabled": false}),
        ),
        right("an id with colons and other letters", json!({"user": {"id": "sso:https://idp/\u{fc}:1"}}), json!({})),
    ]
}
