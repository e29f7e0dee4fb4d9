//! The header `Forwarded` (RFC 7239 §4): the peer and the scheme of each hop.

use std::borrow::Cow;

/// The parameters of one proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hop<'a> {
    /// `for`: the peer of the proxy.
    pub node: Option<Cow<'a, str>>,
    /// `proto`: the scheme.
    pub proto: Option<Cow<'a, str>>,
}

/// Parses one header line into hops, in order; `None` if the line is malformed.
pub(super) fn parse(line: &str) -> Option<Vec<Hop<'_>>> {
    let mut hops = vec![Hop::default()];
    let mut rest = line.trim();
    loop {
        // A parameter can be empty: `for=x;` is allowed.
        if !rest.is_empty() && !rest.starts_with([',', ';']) {
            let (name, after) = rest.split_once('=')?;
            let (value, after) = value(after)?;
            let hop = hops.last_mut()?;
            let field = match name {
                name if name.eq_ignore_ascii_case("for") => Some(&mut hop.node),
                name if name.eq_ignore_ascii_case("proto") => Some(&mut hop.proto),
                name if is_name(name) => None,
                _ => return None,
            };
            // A parameter may occur only once, since implementations differ in the one that they use.
            if field.is_some_and(|field| field.replace(value).is_some()) {
                return None;
            }
            rest = after.trim_start();
        }
        match rest.chars().next() {
            None => return Some(hops),
            Some(',') => hops.push(Hop::default()),
            Some(';') => {}
            Some(_) => return None,
        }
        rest = rest.get(1..)?.trim_start();
    }
}

/// A value and the rest of the text. The value is quoted, or unquoted as some proxies write addresses.
fn value(text: &str) -> Option<(Cow<'_, str>, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let (value, rest) = text.split_at(text.find([',', ';', ' ', '\t']).unwrap_or(text.len()));
        let plain =
            !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\');
        return plain.then_some((Cow::Borrowed(value), rest));
    };
    let mut value = String::new();
    let mut characters = quoted.char_indices();
    while let Some((index, character)) = characters.next() {
        match character {
            '"' => return Some((Cow::Owned(value), quoted.get(index + 1..)?)),
            '\\' => value.push(characters.next()?.1),
            _ => value.push(character),
        }
    }
    None
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_whole_or_not_at_all() {
        let hop = |node: &'static str, proto: &'static str| Hop {
            node: (!node.is_empty()).then_some(Cow::Borrowed(node)),
            proto: (!proto.is_empty()).then_some(Cow::Borrowed(proto)),
        };
        for (line, expected) in [
            ("for=192.0.2.1", Some(vec![hop("192.0.2.1", "")])),
            ("For=192.0.2.1;Proto=https;by=203.0.113.1", Some(vec![hop("192.0.2.1", "https")])),
            ("proto=http ; for=a , for=b", Some(vec![hop("a", "http"), hop("b", "")])),
            (r#"for="[2001:db8::1]:443""#, Some(vec![hop("[2001:db8::1]:443", "")])),
            ("for=[2001:db8::1]", Some(vec![hop("[2001:db8::1]", "")])),
            (r#"for="a,b;c=\"d\\", for=e"#, Some(vec![hop(r#"a,b;c="d\"#, ""), hop("e", "")])),
            ("for=_hidden, for=unknown", Some(vec![hop("_hidden", ""), hop("unknown", "")])),
            ("for=a;", Some(vec![hop("a", "")])),
            ("host=h;x-y=z", Some(vec![hop("", "")])),
            ("for=a,,for=b", Some(vec![hop("a", ""), hop("", ""), hop("b", "")])),
            ("", Some(vec![hop("", "")])),
            ("for", None),
            ("for=", None),
            ("=a", None),
            ("for =a", None),
            ("for= a", None),
            ("for=a;for=b", None),
            ("for=a;FOR=a", None),
            ("for=a b", None),
            (r#"for="a"#, None),
            (r#"for="a\"#, None),
            (r#"for="a"b"#, None),
            (r#"for=a"b""#, None),
            ("for=a, bad", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }
}
