//! The session of a browser: one sealed cookie (RFC 6265), and nothing kept here.
//!
//! It tells one browser from another before anybody signs in, so that forms can be bound to it. Signing in makes a new
//! one: an id that somebody planted before is worth nothing after (session fixation). It ends after twelve hours, with
//! the browser, or as soon as the user is no longer known.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue, header};
use jiff::{SignedDuration, Timestamp};
use portcullis_core::{
    PublicUrl,
    grant::{GrantUser, LoginEvidence},
    hex,
};
use portcullis_identity::SignedIn;
use portcullis_oauth::{
    seal::{Purpose, SealError, Sealer},
    user_rules::SESSION_LIFETIME,
};
use rand::CryptoRng;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How long a session lasts, however much it is used.
pub(crate) const LIFETIME: SignedDuration = SESSION_LIFETIME;

/// One browser.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Session {
    /// 128 random bits.
    pub browser: String,
    /// Who signed in with it.
    pub user: Option<GrantUser>,
    /// Since when.
    pub since: Timestamp,
    /// Why the user was let in.
    #[serde(default)]
    pub evidence: Option<LoginEvidence>,
    /// A hash of the `sid` of the provider's session in which the user signed in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider_sid: Option<String>,
}

impl Session {
    /// A new session, of a user who has just signed in, or without a user.
    pub(crate) fn begin(signed_in: Option<SignedIn>, now: Timestamp, rng: &mut dyn CryptoRng) -> Self {
        let mut id = [0_u8; 16];
        rng.fill_bytes(&mut id);
        let browser = URL_SAFE_NO_PAD.encode(id);
        match signed_in {
            Some(SignedIn { user, evidence, session, token: _ }) => {
                Self { browser, user: Some(user), since: now, evidence: Some(evidence), provider_sid: session }
            }
            None => Self { browser, user: None, since: now, evidence: None, provider_sid: None },
        }
    }
}

/// The cookie that carries sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cookie {
    name: String,
    secure: bool,
}

impl Cookie {
    /// The cookie of the endpoint with this URL. Several can share a host, so its name is the issuer's own. Over
    /// https, the prefix keeps other hosts of the domain from setting it (RFC 6265bis §4.1.3.2).
    pub(crate) fn new(url: &PublicUrl) -> Self {
        let hash = hex(&Sha256::digest(url.issuer())[..4]);
        let secure = url.origin().starts_with("https://");
        let prefix = if secure { "__Host-" } else { "" };
        Self { name: format!("{prefix}portcullis-{hash}"), secure }
    }

    /// The session of a request, if it brings a good one.
    pub(crate) fn read(&self, headers: &HeaderMap, sealer: &Sealer, now: Timestamp) -> Option<Session> {
        let pairs = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
        pairs
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .filter(|(name, _)| *name == self.name)
            .find_map(|(_, sealed)| sealer.open(Purpose::Session, sealed, now).ok())
    }

    /// Gives a session to a browser, to keep until it is closed.
    pub(crate) fn set(
        &self,
        session: &Session,
        sealer: &Sealer,
        rng: &mut dyn CryptoRng,
    ) -> Result<HeaderValue, SealError> {
        let end = session.since.checked_add(LIFETIME).map_err(|_| SealError::Expired)?;
        let value = sealer.seal(Purpose::Session, session, end, rng)?;
        self.header(&value, "")
    }

    /// Takes it back.
    pub(crate) fn clear(&self) -> Result<HeaderValue, SealError> {
        self.header("", "; Max-Age=0")
    }

    fn header(&self, value: &str, more: &str) -> Result<HeaderValue, SealError> {
        let secure = if self.secure { "; Secure" } else { "" };
        HeaderValue::try_from(format!("{}={value}; Path=/; HttpOnly; SameSite=Lax{secure}{more}", self.name))
            .map_err(|_| SealError::Invalid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portcullis_config::SigningKeys;
    use proptest::prelude::*;
    use rand::{SeedableRng as _, rngs::StdRng};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn sealer(seed: u64) -> Sealer {
        Sealer::new(&SigningKeys::generate(at(0), &mut StdRng::seed_from_u64(seed)).unwrap()).unwrap()
    }

    fn cookie(url: &str) -> Cookie {
        Cookie::new(&url.parse().unwrap())
    }

    fn sent_back(set: &HeaderValue) -> HeaderMap {
        let pair = set.to_str().unwrap().split(';').next().unwrap();
        let others = format!("theme=dark; {pair}; x=y");
        [(header::COOKIE, HeaderValue::try_from(others).unwrap())].into_iter().collect()
    }

    #[test]
    fn a_session_comes_back_for_twelve_hours_to_its_own_endpoint() {
        let mut rng = StdRng::seed_from_u64(1);
        let user = GrantUser { id: "local:ada".to_owned(), name: "Ada".to_owned() };
        let session = Session::begin(
            Some(SignedIn { user, evidence: LoginEvidence::default(), token: None, session: None }),
            at(1000),
            &mut rng,
        );
        let here = cookie("https://h/mcp");
        let headers = sent_back(&here.set(&session, &sealer(1), &mut rng).unwrap());

        let end = 1000 + 12 * 3600;
        assert_eq!(here.read(&headers, &sealer(1), at(end - 1)), Some(session));
        assert_eq!(here.read(&headers, &sealer(1), at(end)), None);
        assert_eq!(here.read(&headers, &sealer(2), at(1000)), None);
        assert_eq!(cookie("https://h/team/mcp").read(&headers, &sealer(1), at(1000)), None);
        assert_eq!(here.read(&HeaderMap::new(), &sealer(1), at(1000)), None);
    }

    #[test]
    fn a_bad_cookie_does_not_hide_a_good_one() {
        let mut rng = StdRng::seed_from_u64(1);
        let session = Session::begin(None, at(1000), &mut rng);
        let here = cookie("http://127.0.0.1:80/mcp");
        let set = here.set(&session, &sealer(1), &mut rng).unwrap();
        let good = set.to_str().unwrap().split(';').next().unwrap();
        let both = format!("{}=planted; {good}", here.name);
        let headers = [(header::COOKIE, HeaderValue::try_from(both).unwrap())].into_iter().collect();
        assert_eq!(here.read(&headers, &sealer(1), at(1000)), Some(session));
    }

    #[test]
    fn the_cookie_is_private_to_the_browser() {
        let mut rng = StdRng::seed_from_u64(1);
        let session = Session::begin(None, at(0), &mut rng);
        for (url, name, secure) in [
            ("https://mcp.example.com/mcp", "__Host-portcullis-", true),
            ("http://127.0.0.1:8080/mcp", "portcullis-", false),
        ] {
            for header in [cookie(url).set(&session, &sealer(1), &mut rng).unwrap(), cookie(url).clear().unwrap()] {
                let header = header.to_str().unwrap();
                assert!(header.starts_with(name), "{header}");
                assert!(header.contains("; Path=/; HttpOnly; SameSite=Lax"), "{header}");
                assert_eq!(header.contains("; Secure"), secure, "{header}");
                assert!(!header.contains("Domain"), "{header}");
            }
        }
        let again = Session::begin(None, at(0), &mut rng);
        assert_ne!(session.browser, again.browser);
        assert_eq!(session.browser.len(), 22);
    }

    proptest! {
        #[test]
        fn no_cookie_that_was_made_up_is_a_session(value in prop::collection::vec(any::<u8>(), 0..80), sealed in "[A-Za-z0-9_-]{0,150}") {
            let here = cookie("https://h/mcp");
            let named = format!("{}={sealed}", here.name);
            let headers: HeaderMap = [HeaderValue::from_bytes(&value), HeaderValue::try_from(named)]
                .into_iter()
                .flatten()
                .map(|value| (header::COOKIE, value))
                .collect();
            prop_assert_eq!(here.read(&headers, &sealer(1), at(1000)), None);
        }
    }
}
