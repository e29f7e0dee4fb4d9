//! Selects the registrations to delete when a client registers and the maximum is reached.
//!
//! Clients keep their id and do not register again, so a registration is deleted only when the maximum is reached, and
//! never if a user has approved the client. A registration younger than [`UNDERWAY`] may belong to a user who is
//! signing in. It is deleted only if its network has used up its share and has several. So a few networks that register
//! the maximum at once do not lock other networks out.

use crate::client::Held;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashSet;

/// How long a user has to approve a client that has just registered.
pub const UNDERWAY: SignedDuration = SignedDuration::from_mins(10);

/// Maximum number of deletions per registration. Concurrent servers or a lowered maximum can leave more surplus
/// registrations; later registrations delete those.
const AT_ONCE: usize = 8;

/// Why a client cannot register.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CapacityError {
    /// The maximum is reached, and no registration can be deleted.
    Full,
    /// The network has used up its share, and no registration of it can be deleted.
    Share(usize),
}

/// Maximum number of unapproved registrations per network.
#[must_use]
pub fn share(max: u32) -> usize {
    (max as usize / 10).max(1)
}

/// Whether a client can register whichever clients are approved.
#[must_use]
pub fn is_free(held: &[Held], from: &[String], max: u32) -> bool {
    held.len() < max as usize && held.iter().filter(|held| is_from(held, from)).count() < share(max)
}

fn is_from(held: &Held, hashes: &[String]) -> bool {
    held.source.as_ref().is_some_and(|source| hashes.contains(source))
}

/// The registrations to delete for one more from the network with the hashes `from`. `approved` has the clients with an
/// active grant.
pub(super) fn make(
    held: &[Held],
    approved: &HashSet<String>,
    from: &[String],
    max: u32,
    now: Timestamp,
) -> Result<Vec<String>, CapacityError> {
    let (share, max) = (share(max), max as usize);
    let is_old = |held: &Held| now.duration_since(held.registered_at) > UNDERWAY;
    let mut waiting: Vec<&Held> = held.iter().filter(|held| !approved.contains(&held.client_id)).collect();
    waiting.sort_by(|one, other| (one.registered_at, &one.client_id).cmp(&(other.registered_at, &other.client_id)));

    let mut gone = Vec::new();
    let own: Vec<&Held> = waiting.iter().copied().filter(|held| is_from(held, from)).collect();
    if own.len() >= share {
        let oldest = own.first().copied().filter(|held| is_old(held)).ok_or(CapacityError::Share(share))?;
        gone.push(oldest.client_id.clone());
    }
    let surplus = (held.len() + 1).saturating_sub(max + gone.len()).min(AT_ONCE);
    waiting.retain(|held| !gone.contains(&held.client_id));
    let crowded = |held: &Held| {
        let same = |other: &&&Held| held.source.is_some() && other.source == held.source;
        waiting.iter().filter(same).count() >= share.max(2)
    };
    let old = waiting.iter().filter(|held| is_old(held));
    let others = waiting.iter().filter(|held| !is_old(held) && !is_from(held, from) && crowded(held));
    let before = gone.len();
    gone.extend(old.chain(others).take(surplus).map(|held| held.client_id.clone()));
    if gone.len() - before < surplus { Err(CapacityError::Full) } else { Ok(gone) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::at;
    use proptest::prelude::*;

    fn held(client_id: &str, minute: i64, source: &str) -> Held {
        Held {
            client_id: client_id.to_owned(),
            registered_at: at(minute * 60),
            source: (!source.is_empty()).then(|| source.to_owned()),
        }
    }

    fn capacity(
        held: &[Held],
        approved: &[&str],
        from: &str,
        max: u32,
        minute: i64,
    ) -> Result<Vec<String>, CapacityError> {
        let approved = approved.iter().map(|id| (*id).to_owned()).collect();
        make(held, &approved, &[from.to_owned(), "before the rotation".to_owned()], max, at(minute * 60))
    }

    /// `count` registrations, one per minute.
    fn many(count: i64, source: impl Fn(i64) -> String) -> Vec<Held> {
        (0..count).map(|index| held(&format!("c{index:02}"), index, &source(index))).collect()
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with a result")]
    fn ids(ids: &[&str]) -> Result<Vec<String>, CapacityError> {
        Ok(ids.iter().map(|id| (*id).to_owned()).collect())
    }

    #[test]
    fn at_the_maximum_the_oldest_unapproved_registration_is_deleted() {
        let each = many(20, |index| format!("n{index}"));
        assert_eq!(capacity(&each[..19], &[], "new", 20, 60), ids(&[]));
        assert_eq!(capacity(&each, &[], "new", 20, 60), ids(&["c00"]));
        assert_eq!(capacity(&each, &["c00", "c02"], "new", 20, 60), ids(&["c01"]), "one with a grant stays");
        assert_eq!(
            capacity(&each, &[], "new", 20, 10),
            Err(CapacityError::Full),
            "users of the last ten minutes may be signing in"
        );
        assert_eq!(capacity(&each, &[], "new", 20, 11), ids(&["c00"]));
        let all: Vec<&str> = each.iter().map(|held| held.client_id.as_str()).collect();
        assert_eq!(capacity(&each, &all, "new", 20, 60), Err(CapacityError::Full));
        assert_eq!(capacity(&each, &[], "new", 17, 60), ids(&["c00", "c01", "c02", "c03"]), "the maximum was lowered");
        assert_eq!(capacity(&each, &[], "new", 1, 60).unwrap().len(), AT_ONCE);
    }

    #[test]
    fn a_network_has_a_tenth_of_the_capacity_for_unapproved_clients() {
        let two = [held("a", 0, "n"), held("b", 1, "n"), held("c", 0, "m")];
        assert_eq!(capacity(&two, &[], "n", 20, 5), Err(CapacityError::Share(2)));
        assert_eq!(capacity(&two, &[], "n", 30, 5), ids(&[]));
        assert_eq!(capacity(&two, &["a"], "n", 20, 5), ids(&[]), "those with a grant do not count");
        assert_eq!(capacity(&two, &[], "n", 20, 11), ids(&["a"]), "its own oldest goes");
        assert_eq!(capacity(&[held("a", 0, "before the rotation")], &[], "n", 5, 5), Err(CapacityError::Share(1)));
        assert_eq!(capacity(&[held("a", 0, ""), held("b", 0, "")], &[], "n", 5, 5), ids(&[]), "of an older version");
    }

    #[test]
    fn a_few_networks_cannot_lock_others_out() {
        let ten = many(100, |index| format!("n{}", index / 10));
        let now: Vec<Held> = ten.iter().map(|held| Held { registered_at: at(0), ..held.clone() }).collect();
        assert_eq!(capacity(&now, &[], "new", 100, 0), ids(&["c00"]), "at once");
        assert_eq!(capacity(&now, &[], "n3", 100, 0), Err(CapacityError::Share(10)));
        let after: Vec<Held> = now[1..].iter().cloned().chain([held("honest", 0, "new")]).collect();
        assert_eq!(
            capacity(&after, &[], "n0", 100, 1),
            ids(&["c10"]),
            "they delete each other's and not the honest client"
        );
    }

    proptest! {
        #[test]
        fn one_that_a_user_approved_never_goes(
            ages in prop::collection::vec((0_i64..30, 0_u8..4), 0..40), max in 1_u32..40, from in 0_u8..4, approved in any::<u64>(),
        ) {
            let held: Vec<Held> =
                ages.iter().enumerate().map(|(index, (minute, source))| held(&format!("c{index}"), *minute, &format!("n{source}"))).collect();
            let from = [format!("n{from}")];
            if is_free(&held, &from, max) {
                prop_assert_eq!(make(&held, &HashSet::new(), &from, max, at(30 * 60)), Ok(Vec::new()));
            }
            let approved: HashSet<String> = (0..held.len()).filter(|index| approved >> index & 1 == 1).map(|index| format!("c{index}")).collect();
            if let Ok(gone) = make(&held, &approved, &from, max, at(30 * 60)) {
                prop_assert!(gone.iter().all(|id| !approved.contains(id)));
                prop_assert!(gone.len() <= AT_ONCE + 1);
                prop_assert!(held.len() + 1 - gone.len() <= max as usize || gone.len() >= AT_ONCE);
            }
        }
    }
}
