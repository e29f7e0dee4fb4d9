//! Pages of the workspaces of all owners, for administrators of the endpoint.

use crate::Error;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};

/// The position of a workspace: its owner's id, its name and its own id.
pub(super) type Position = (String, String, String);

/// The entries of one page of at most `limit`, after the cursor, in order; and the cursor of the next page.
pub(super) fn page<T>(
    entries: impl IntoIterator<Item = T>,
    position: impl Fn(&T) -> Position,
    cursor: Option<&str>,
    limit: usize,
) -> Result<(Vec<T>, Option<String>), Error> {
    let after = cursor.map(decode).transpose()?;
    let positioned = entries.into_iter().map(|entry| (position(&entry), entry));
    let mut rest: Vec<(Position, T)> =
        positioned.filter(|(position, _)| after.as_ref().is_none_or(|after| position > after)).collect();
    rest.sort_by(|(one, _), (other, _)| one.cmp(other));
    let more = rest.len() > limit;
    rest.truncate(limit);
    let next = rest.last().filter(|_| more).map(|(last, _)| encode(last)).transpose()?;
    Ok((rest.into_iter().map(|(_, entry)| entry).collect(), next))
}

/// Ids of owners can contain any character.
fn encode(position: &Position) -> Result<String, Error> {
    let json = serde_json::to_vec(position).map_err(|_| invalid())?;
    Ok(URL_SAFE_NO_PAD.encode(json))
}

fn decode(cursor: &str) -> Result<Position, Error> {
    let json = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| invalid())?;
    serde_json::from_slice(&json).map_err(|_| invalid())
}

fn invalid() -> Error {
    let problem = "pass the next_cursor of the page before, unchanged, or leave it out".to_owned();
    Error::InvalidArgument { argument: "cursor", problem }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_entry_is_on_one_page_in_order() {
        let entries = [("sso:b/c", "web"), ("a:x", "web"), ("sso:b", "zoo"), ("a:x", "api"), ("sso:b", "api")];
        let position =
            |(owner, name): &(&str, &str)| ((*owner).to_owned(), (*name).to_owned(), format!("ws-{owner}-{name}"));
        let mut found = Vec::new();
        let mut cursor = None;
        loop {
            let (page, next) = page(entries, position, cursor.as_deref(), 2).unwrap();
            assert!(page.len() <= 2 && (next.is_none() || page.len() == 2), "{page:?}");
            found.extend(page);
            cursor = next;
            if cursor.is_none() {
                break;
            }
        }
        assert_eq!(found, [("a:x", "api"), ("a:x", "web"), ("sso:b", "api"), ("sso:b", "zoo"), ("sso:b/c", "web")]);
        for made_up in ["", "a", "YQ", "e30", "W10"] {
            assert!(
                matches!(page(entries, position, Some(made_up), 2), Err(Error::InvalidArgument { .. })),
                "{made_up}"
            );
        }
    }
}
