//! What is read from the HTML pages of an endpoint: the sentence that says what happened, and the logins.

use std::collections::BTreeSet;

/// The most logins of an endpoint.
const MAX_LOGINS: usize = 8;

/// The first sentences of a page of Portcullis; `None` if it is another program's. A sign-in page without a client has them
/// too.
pub(crate) fn lead(page: &str) -> Option<String> {
    let text = page.split_once("<p class=\"lead\">")?.1.split_once("</p>")?.0;
    let mut plain = String::new();
    let mut in_tag = false;
    for character in text.chars() {
        match character {
            '<' => in_tag = true,
            '>' => in_tag = false,
            other if !in_tag => plain.push(other),
            _ => {}
        }
    }
    Some(unescaped(plain.trim()))
}

/// As the templates escape.
fn unescaped(text: &str) -> String {
    let entities = [
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#34;", "\""),
        ("&quot;", "\""),
        ("&#60;", "<"),
        ("&lt;", "<"),
        ("&#62;", ">"),
        ("&gt;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    entities.into_iter().fold(text.to_owned(), |text, (entity, character)| text.replace(entity, character))
}

/// The names of the logins with an identity provider, from the links of the sign-in page. `base` is the path before `/login`.
pub(crate) fn providers(page: &str, base: &str) -> Vec<String> {
    let link = format!("href=\"{base}/login/");
    let is_name = |name: &&str| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    let names: BTreeSet<&str> =
        page.split(link.as_str()).skip(1).filter_map(|rest| rest.split(['"', '?']).next()).filter(is_name).collect();
    names.into_iter().take(MAX_LOGINS).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lead_is_plain_text() {
        for (page, expected) in [
            (
                "<h1>x</h1>\n<p class=\"lead\">The client&#39;s <b>document</b> &amp;lt; failed.</p>",
                Some("The client's document &lt; failed."),
            ),
            ("<p>no lead</p>", None),
            ("", None),
        ] {
            assert_eq!(lead(page).as_deref(), expected, "{page}");
        }
    }

    #[test]
    fn logins_are_links_below_login() {
        let page = r#"<form action="/team/login"><a href="/team/login/sso?continue=x">SSO</a>
            <a href="/team/login/git-hub">GitHub</a><a href="/team/login/sso">again</a><a href="/team/login/../x">bad</a>"#;
        assert_eq!(providers(page, "/team"), ["git-hub", "sso"]);
        assert!(providers(page, "").is_empty());
    }
}
