//! When the cache fetches keys, and when it does not.

use crate::external_jwt::key_cache::*;
use crate::testing::at;
use jsonwebtoken::Algorithm;
use portcullis_config::SigningKey;
use rand::{SeedableRng as _, rngs::StdRng};
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::Semaphore;

const FRESH: SignedDuration = SignedDuration::from_mins(5);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
struct Down(&'static str);

impl FetchFailure for Down {
    fn timeout() -> Self {
        Self("timeout")
    }
}

fn key(seed: u64) -> SigningKey {
    SigningKey::generate(at(0), &mut StdRng::seed_from_u64(seed)).unwrap()
}

fn header(key: &SigningKey) -> Header {
    Header { kid: Some(key.kid.clone()), ..Header::new(Algorithm::ES256) }
}

fn published(keys: &[&SigningKey]) -> Published {
    Published { issuer: "https://i".to_owned(), keys: keys.iter().map(|key| key.public_jwk().unwrap()).collect() }
}

fn cache() -> KeyCache<Down> {
    KeyCache::new("test".to_owned(), FRESH)
}

#[tokio::test]
async fn callers_that_wait_for_a_slow_fetch_share_its_outcome() {
    let key = key(1);
    for up in [true, false] {
        let (cache, asked, answer) = (cache(), AtomicUsize::new(0), Semaphore::new(0));
        let fetch = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            answer.acquire().await.unwrap().forget();
            if up { Ok(published(&[&key])) } else { Err(Down("down")) }
        };
        let header = header(&key);
        // The callers' times are far apart, as after a wait that is longer than the pause.
        let (first, second, third, ()) = tokio::join!(
            cache.find(&header, at(0), fetch),
            cache.find(&header, at(100), fetch),
            cache.find(&header, at(200), fetch),
            async {
                tokio::task::yield_now().await;
                answer.add_permits(3);
            },
        );
        for found in [first, second, third] {
            assert_eq!(
                found.map(|found| found.issuer.to_string()),
                if up { Ok("https://i".to_owned()) } else { Err(NoKey::Unavailable(Down("down"))) }
            );
        }
        assert_eq!(asked.into_inner(), 1, "{up}");
    }
}

#[tokio::test]
async fn a_caller_with_a_known_key_does_not_wait_for_the_one_that_fetches() {
    let (cache, key) = (cache(), key(1));
    let header = header(&key);
    cache.find(&header, at(0), async || Ok(published(&[&key]))).await.unwrap();
    let (began, answer) = (Semaphore::new(0), Semaphore::new(0));
    let refresh = cache.find(&header, at(1000), async || {
        began.add_permits(1);
        answer.acquire().await.unwrap().forget();
        Ok(published(&[]))
    });
    let other = async {
        began.acquire().await.unwrap().forget();
        let found = cache.find(&header, at(1000), async || Err(Down("a second fetch"))).await;
        answer.add_permits(1);
        found.map(drop)
    };
    let (refreshed, other) = tokio::join!(refresh, other);
    assert_eq!((refreshed.map(drop), other), (Err(NoKey::Unknown), Ok(())), "the key was withdrawn meanwhile");
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_delays_a_known_key_once() {
    let (cache, key, asked) = (cache(), key(1), AtomicUsize::new(0));
    let header = header(&key);
    cache.find(&header, at(0), async || Ok(published(&[&key]))).await.unwrap();
    for second in [1000, 1005] {
        let never = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            std::future::pending().await
        };
        assert!(cache.find(&header, at(second), never).await.is_ok());
    }
    assert_eq!(asked.into_inner(), 1);
}

#[tokio::test]
async fn a_key_that_appears_is_fetched_at_once_and_unknown_keys_after_a_pause() {
    let (cache, old, new) = (cache(), key(1), key(2));
    let find = async |key: &SigningKey, second: i64, answer: Result<&[&SigningKey], &'static str>| {
        let asked = AtomicUsize::new(0);
        let fetch = async || {
            asked.fetch_add(1, Ordering::Relaxed);
            answer.map(published).map_err(Down)
        };
        let found = cache.find(&header(key), at(second), fetch).await;
        (found.map(drop), asked.into_inner())
    };
    assert_eq!(find(&old, 0, Ok(&[&old])).await, (Ok(()), 1));
    assert_eq!(find(&new, 1, Ok(&[&old, &new])).await, (Ok(()), 1), "the issuer rotated right after the fetch");
    assert_eq!(find(&key(3), 2, Ok(&[&old, &new])).await, (Err(NoKey::Unknown), 1));
    assert_eq!(find(&key(4), 11, Ok(&[])).await, (Err(NoKey::Unknown), 0), "pause");
    assert_eq!(find(&key(4), 12, Err("down")).await, (Err(NoKey::Unavailable(Down("down"))), 1));
    assert_eq!(find(&old, 400, Err("down")).await, (Ok(()), 1), "old keys stay in use");
    assert_eq!(find(&old, 405, Ok(&[])).await, (Ok(()), 0), "pause");
    assert_eq!(find(&old, 411, Ok(&[&new])).await, (Err(NoKey::Unknown), 1), "withdrawn");
}

#[tokio::test]
async fn the_number_of_keys_is_bounded() {
    let (cache, first, last) = (cache(), key(1), key(2));
    let mut many = published(&[&first]);
    many.keys.extend(std::iter::repeat_n(first.public_jwk().unwrap(), MAX_KEYS - 1));
    many.keys.push(last.public_jwk().unwrap());
    assert!(cache.find(&header(&first), at(0), async || Ok(many.clone())).await.is_ok());
    assert_eq!(cache.find(&header(&last), at(20), async || Ok(many.clone())).await.map(drop), Err(NoKey::Unknown));
}
