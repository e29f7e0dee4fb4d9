//! Tests of the endpoint's keys over time: generated, published, used, kept, removed, repaired and upgraded.

use crate::tests::{NoRandomness, PlanScenario, find};
use crate::{KeyChange, Plan, ROTATE_ANNOTATION};
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::ByteString;
use portcullis_config::{KEYS_FILE, SealingKey, SigningKeys};
use proptest::prelude::{prop_assert, prop_assert_eq, proptest};
use std::collections::BTreeMap;

const SECRET: &str = "agents-signing-keys";
const AHEAD: SignedDuration = SignedDuration::from_mins(10);

fn scenario() -> PlanScenario {
    let mut scenario =
        PlanScenario::new("url: https://mcp.example.com/mcp\ntokens: {keyRotation: 24h, refreshLifetime: 48h}");
    scenario.at("2026-03-01T10:00:00Z");
    scenario
}

fn kids(plan: &Plan) -> Vec<&str> {
    plan.signing_keys.keys.iter().map(|key| key.kid.as_str()).collect()
}

fn put(scenario: &mut PlanScenario, file: &str) {
    let data = [(KEYS_FILE.to_owned(), ByteString(file.into()))];
    scenario.secret(SECRET).data = Some(data.into());
}

fn hours(hours: i64) -> SignedDuration {
    SignedDuration::from_hours(hours)
}

#[test]
fn a_key_is_published_before_it_signs_and_kept_until_its_last_token_has_expired() {
    let mut scenario = scenario();
    let start = scenario.now;
    let first = scenario.apply();
    let (old, old_seal) = (first.signing_keys.keys[0].clone(), first.signing_keys.sealing[0].clone());
    assert_eq!(first.key_changes, [KeyChange::Created]);
    assert_eq!(first.next_change, Some(start + hours(24)));

    scenario.now = start + hours(24);
    let published = scenario.apply();
    assert_eq!(published.key_changes, [KeyChange::Published]);
    assert_eq!(published.signing_keys.keys[0], old, "the old one still signs");
    assert_eq!(published.signing_keys.sealing[0], old_seal);
    assert_eq!((published.signing_keys.keys.len(), published.signing_keys.sealing.len()), (2, 2));
    let new = kids(&published)[1].to_owned();
    assert!(find(&published, "Secret", SECRET).generated);
    assert_eq!(published.next_change, Some(start + hours(24) + AHEAD));

    scenario.now = start + hours(24) + AHEAD;
    let rotated = scenario.apply();
    assert_eq!(rotated.key_changes, [KeyChange::Rotated]);
    assert_eq!(kids(&rotated), [&new, &old.kid]);
    assert!(!find(&rotated, "Secret", SECRET).generated, "nothing new was made up");
    let gone = scenario.now + SignedDuration::from_mins(65);
    assert_eq!(rotated.next_change, Some(gone));

    scenario.now = gone;
    let after = scenario.apply();
    assert_eq!(kids(&after), [&new]);
    assert_eq!(after.signing_keys.sealing.len(), 2, "refresh tokens live longer");
    assert!(after.key_changes.is_empty());
    assert_eq!(after.next_change, Some(start + hours(48)));
}

#[test]
fn a_file_of_an_older_version_gets_sealing_keys_and_keeps_its_signing_keys() {
    let mut scenario = scenario();
    let first = scenario.apply();
    let mut file: serde_json::Value = serde_json::from_str(&scenario.text(SECRET, KEYS_FILE)).unwrap();
    file.as_object_mut().unwrap().remove("sealing");
    put(&mut scenario, &file.to_string());
    let upgraded = scenario.apply();
    assert_eq!(upgraded.signing_keys.keys, first.signing_keys.keys);
    assert_eq!(upgraded.signing_keys.sealing.len(), 1);
    assert!(find(&upgraded, "Secret", SECRET).generated && upgraded.key_changes.is_empty());
}

#[test]
fn what_is_damaged_is_healed_and_what_is_not_is_kept() {
    type Damage = fn(&mut SigningKeys);
    let rows: [(&str, Damage, bool, bool); 5] = [
        ("a signing key", |keys| keys.keys[0].pem = "junk".to_owned(), false, true),
        ("no signing key", |keys| keys.keys.clear(), false, true),
        ("a sealing key", |keys| keys.sealing[0].key = "AAAA".to_owned(), true, false),
        ("a signing key twice", |keys| keys.keys.push(keys.keys[0].clone()), true, true),
        ("nothing", |_| {}, true, true),
    ];
    for (what, damage, keeps_signing, keeps_sealing) in rows {
        let mut scenario = scenario();
        let first = scenario.apply();
        let mut keys = first.signing_keys.clone();
        damage(&mut keys);
        put(&mut scenario, &serde_json::to_string(&keys).unwrap());
        let healed = scenario.plan();
        healed.signing_keys.validate().unwrap();
        assert_eq!(healed.signing_keys.keys == first.signing_keys.keys, keeps_signing, "{what}");
        assert_eq!(healed.signing_keys.sealing == first.signing_keys.sealing, keeps_sealing, "{what}");
        let told = if what == "nothing" { vec![] } else { vec![KeyChange::Healed] };
        assert_eq!(healed.key_changes, told, "{what}");
    }
    for junk in ["", "junk", "[]", "{}", r#"{"keys": 1, "sealing": {}}"#] {
        let mut scenario = scenario();
        scenario.apply();
        put(&mut scenario, junk);
        let healed = scenario.plan();
        healed.signing_keys.validate().unwrap();
        assert_eq!(healed.key_changes, [KeyChange::Healed], "{junk}");
    }
}

#[test]
fn a_key_that_is_published_takes_over_from_a_damaged_one() {
    let mut scenario = scenario();
    scenario.apply();
    scenario.now += hours(24);
    let published = scenario.apply();
    let mut keys = published.signing_keys.clone();
    keys.keys[0].pem = "junk".to_owned();
    put(&mut scenario, &serde_json::to_string(&keys).unwrap());
    let healed = scenario.plan_with(&mut NoRandomness).unwrap();
    assert_eq!(kids(&healed), [kids(&published)[1]]);
}

#[test]
fn a_key_that_a_person_put_behind_goes_after_its_last_token() {
    let mut scenario = scenario();
    let older = scenario.apply().signing_keys;
    scenario.now += hours(1);
    scenario.secrets.clear();
    let mut keys = scenario.apply().signing_keys;
    keys.keys.extend(older.keys.clone());
    put(&mut scenario, &serde_json::to_string(&keys).unwrap());
    let plan = scenario.apply();
    assert_eq!(kids(&plan), [&keys.keys[0].kid, &older.keys[0].kid]);
    scenario.now += hours(2);
    assert_eq!(kids(&scenario.apply()), [&keys.keys[0].kid]);
}

#[test]
fn a_clock_that_jumps_leaves_the_key_that_signs() {
    let mut scenario = scenario();
    let start = scenario.now;
    let first = scenario.apply();
    scenario.now = start + hours(10 * 8760);
    let ahead = scenario.apply();
    assert_eq!(kids(&ahead)[0], kids(&first)[0]);
    scenario.now = start + hours(1);
    let back = scenario.apply();
    assert_eq!(kids(&back), kids(&ahead), "no key is lost");
    assert!(back.next_change.is_some_and(|next| next <= scenario.now + hours(24)), "nothing waits for ten years");
    scenario.now += AHEAD;
    assert_eq!(kids(&scenario.apply()), [kids(&ahead)[1], kids(&first)[0]]);
    scenario.now = "2020-01-01T00:00:00Z".parse().unwrap();
    assert_eq!(kids(&scenario.apply()), [kids(&ahead)[1], kids(&first)[0]]);
    scenario.now += hours(2);
    assert_eq!(kids(&scenario.apply())[0], kids(&ahead)[1], "the old one goes, the signer stays");
}

/// The keys of the servers, with the time from which they had them.
struct History(Vec<(Timestamp, SigningKeys)>);

impl History {
    fn at(&self, time: Timestamp) -> &SigningKeys {
        &self.0.iter().rev().find(|(since, _)| *since <= time).unwrap().1
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config { cases: 48, failure_persistence: None, ..Default::default() })]

    #[test]
    fn no_verifier_ever_meets_an_unknown_key(
        rotation in 24_i64..96,
        access in 1_i64..=60,
        steps in proptest::collection::vec(proptest::prop_oneof![1_i64..900, 900_i64..7200, 7200_i64..400_000], 1..40),
        follow_schedule in proptest::collection::vec(proptest::bool::ANY, 40),
    ) {
        let mut scenario = PlanScenario::new(&format!(
            "url: https://mcp.example.com/mcp\ntokens: {{keyRotation: {rotation}h, accessLifetime: {access}m}}"
        ));
        scenario.at("2026-03-01T10:00:00Z");
        let mut history = History(Vec::new());
        let mut published: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut sealed: BTreeMap<String, Timestamp> = BTreeMap::new();
        for (index, step) in steps.iter().enumerate() {
            let plan = scenario.apply();
            let (now, keys) = (scenario.now, &plan.signing_keys);
            prop_assert!(plan.next_change.is_some_and(|next| next > now));
            prop_assert!(keys.keys.len() <= 3);
            for key in &keys.keys {
                published.entry(key.kid.clone()).or_insert(now);
            }
            for SealingKey { key, .. } in &keys.sealing {
                sealed.entry(key.clone()).or_insert(now);
            }
            if !history.0.is_empty() {
                let known = |since: Option<&Timestamp>| {
                    since.is_some_and(|since| *since == history.0[0].0 || now.duration_since(*since) >= AHEAD)
                };
                prop_assert!(known(published.get(&keys.keys[0].kid)));
                prop_assert!(known(sealed.get(&keys.sealing[0].key)));
            }
            history.0.push((now, keys.clone()));
            let again = scenario.plan_with(&mut NoRandomness)?;
            prop_assert_eq!(&again.signing_keys, keys);
            prop_assert_eq!(&find(&again, "Secret", SECRET).object, &find(&plan, "Secret", SECRET).object);
            scenario.now = match plan.next_change {
                Some(next) if follow_schedule[index] => next,
                _ => now + SignedDuration::from_secs(*step),
            };
        }
        // A token from right before and right after each change is valid until its last second.
        let lifetime = SignedDuration::from_mins(access);
        let (changes, end) = (history.0.iter().map(|(at, _)| *at), history.0[history.0.len() - 1].0);
        for change in changes {
            for issued in [change - SignedDuration::from_secs(1), change].into_iter().filter(|at| *at >= history.0[0].0) {
                let kid = &history.at(issued).keys[0].kid;
                let sealing = &history.at(issued).sealing[0].key;
                let later = history.0.iter().filter(|(at, _)| *at >= issued && *at <= end);
                for (at, keys) in later {
                    if at.duration_since(issued) < lifetime {
                        prop_assert!(keys.keys.iter().any(|key| key.kid == *kid));
                    }
                    if at.duration_since(issued) < SignedDuration::from_hours(720) {
                        prop_assert!(keys.sealing.iter().any(|key| key.key == *sealing));
                    }
                }
            }
        }
    }
}

#[test]
fn keys_are_rotated_on_demand_as_they_are_by_schedule() {
    let mut scenario = scenario();
    let start = scenario.now;
    let ask = |scenario: &mut PlanScenario, value: &str| {
        let annotations = scenario.endpoint.metadata.annotations.get_or_insert_default();
        annotations.insert(ROTATE_ANNOTATION.to_owned(), value.to_owned());
    };
    ask(&mut scenario, "before");
    let first = scenario.apply();
    assert_eq!(first.key_changes, [KeyChange::Created]);
    assert_eq!(first.keys_rotated_for.as_deref(), Some("before"));
    assert!(scenario.plan_with(&mut NoRandomness).unwrap().key_changes.is_empty());

    scenario.now = start + hours(1);
    ask(&mut scenario, "now");
    let published = scenario.apply();
    assert_eq!(published.key_changes, [KeyChange::Published]);
    assert_eq!(published.keys_rotated_for.as_deref(), Some("now"));
    assert_eq!(kids(&published)[0], kids(&first)[0], "the old one still signs");
    assert_eq!((published.signing_keys.keys.len(), published.signing_keys.sealing.len()), (2, 2));
    assert_eq!(published.next_change, Some(start + hours(1) + AHEAD));
    assert!(scenario.plan_with(&mut NoRandomness).unwrap().key_changes.is_empty());

    // A request while a successor is published waits until the successor signs.
    ask(&mut scenario, "again");
    let waiting = scenario.plan_with(&mut NoRandomness).unwrap();
    assert_eq!((waiting.key_changes.len(), waiting.keys_rotated_for.as_deref()), (0, Some("now")));
    scenario.now = start + hours(1) + AHEAD;
    let rotated = scenario.apply();
    assert_eq!(rotated.key_changes, [KeyChange::Published, KeyChange::Rotated]);
    assert_eq!(kids(&rotated)[..2], [kids(&published)[1], kids(&first)[0]]);
    assert_eq!(rotated.keys_rotated_for.as_deref(), Some("again"));
}
