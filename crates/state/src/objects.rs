//! Conversions between the types of `oauth` and the stored custom resources.

use jiff::Timestamp;
use kube::ResourceExt as _;
use portcullis_api::{
    OAuthAccount, OAuthAccountSpec, OAuthClient, OAuthGrant,
    client::{EndpointRef, OAuthClientSpec, Registration},
    grant::{OAuthGrantSpec, OAuthGrantStatus},
    preset::Preset,
    version::{self, resource_version},
};
use portcullis_config::ClientVerifier;
use portcullis_core::{
    client::{ClientType, Grant as GrantType},
    grant::GrantUser,
};
use portcullis_oauth::{
    accounts::{self, Account},
    client::{Client, Held, NewRegistration, Origin},
    grant::{Grant, GrantLookup},
    user_rules::Ended,
};
use portcullis_reflector::{Index, Indexed, Lookup};
use portcullis_telemetry::audit::Event;
use std::{
    collections::{BTreeMap, HashSet},
    ops::Deref,
    sync::Arc,
};

/// Converts a stored grant.
pub(crate) fn grant(object: OAuthGrant) -> KeptGrant {
    let created_at = object.metadata.creation_timestamp.as_ref().map(|time| time.0);
    let signed_in_at = object.began();
    KeptGrant::new(Grant {
        name: object.name_any(),
        version: object.resource_version().unwrap_or_default(),
        client_id: object.spec.client_id,
        user: object.spec.user,
        scopes: object.spec.scopes.into_iter().collect(),
        resource: object.spec.resource,
        created_at: created_at.unwrap_or(Timestamp::UNIX_EPOCH),
        signed_in_at,
        expires_at: object.spec.expires_at,
        refresh: object.spec.refresh,
        evidence: object.spec.evidence,
        revoked: object.spec.revoked.map(|revoked| revoked.reason),
        last_used: object.status.and_then(|status| status.last_used),
    })
}

/// A grant in an index.
#[derive(Clone, Debug)]
pub(crate) struct KeptGrant {
    /// The grant.
    pub grant: Arc<Grant>,
}

impl KeptGrant {
    fn new(grant: Grant) -> Self {
        Self { grant: Arc::new(grant) }
    }
}

impl Deref for KeptGrant {
    type Target = Grant;

    fn deref(&self) -> &Grant {
        &self.grant
    }
}

/// Converts a new grant. It has no version yet, is not revoked, and the store sets its creation time.
pub(crate) fn new_grant(grant: Grant, endpoint: &str) -> OAuthGrant {
    let spec = OAuthGrantSpec {
        endpoint_ref: EndpointRef { name: endpoint.to_owned() },
        client_id: grant.client_id,
        user: grant.user,
        scopes: grant.scopes.into_iter().collect(),
        resource: grant.resource,
        expires_at: grant.expires_at,
        signed_in_at: Some(grant.signed_in_at),
        refresh: grant.refresh,
        evidence: grant.evidence,
        revoked: None,
    };
    let mut object = OAuthGrant::new(&grant.name, spec);
    object.status = grant.last_used.map(|at| OAuthGrantStatus { last_used: Some(at) });
    object
}

/// Converts a stored client, if it was registered dynamically.
pub(crate) fn registered(object: &OAuthClient) -> Option<Registered> {
    let client_id = object.name_any();
    let expires_at = object.spec.registration.as_ref()?.expires_at;
    let verifier = ClientVerifier {
        display_name: object.spec.display_name.clone().unwrap_or_else(|| client_id.clone()),
        client_type: object.spec.client_type(),
        grants: object.spec.grants().to_vec(),
        redirect_uris: object.spec.redirect_uris().map(ToOwned::to_owned).collect(),
        scopes: object.spec.scopes.iter().copied().collect(),
        registered_at: object.metadata.creation_timestamp.as_ref().map(|time| time.0),
        secrets: Vec::new(),
        private_key_jwt: None,
        client_id,
    };
    // Written by hand, or by a future version: a secret that is not known here cannot be asked for.
    (verifier.client_type == ClientType::Public).then(|| Registered {
        version: resource_version(object).unwrap_or_default(),
        source: object.spec.registration.as_ref().and_then(|registration| registration.source.clone()),
        client: Client { verifier, origin: Origin::Registered { expires_at } }.into(),
    })
}

/// Converts a new registration.
pub(crate) fn new_registration(client_id: &str, new: NewRegistration, endpoint: &str) -> OAuthClient {
    let spec = OAuthClientSpec {
        endpoint_ref: EndpointRef { name: endpoint.to_owned() },
        display_name: new.name,
        preset: Preset::Custom,
        redirect_uris: new.redirect_uris,
        client_type: Some(ClientType::Public),
        grants: Some(vec![GrantType::AuthorizationCode, GrantType::RefreshToken]),
        scopes: new.scopes.into_iter().collect(),
        secret: None,
        existing_secret: None,
        private_key_jwt: None,
        registration: Some(Registration { expires_at: new.expires_at, source: new.source }),
    };
    OAuthClient::new(client_id, spec)
}

/// Converts a stored account.
pub(crate) fn account(object: OAuthAccount) -> KeptAccount {
    let (name, version) = (object.name_any(), object.resource_version().unwrap_or_default());
    let OAuthAccountSpec {
        endpoint_ref: _,
        user,
        signed_in_at,
        token,
        checked_at,
        lease,
        refused,
        checked_evidence,
        access_ends_before,
        sessions_end_before,
        sessions,
    } = object.spec;
    let account = Account {
        user,
        signed_in_at,
        token,
        checked_at,
        lease,
        refused,
        checked_evidence,
        access_ends_before,
        sessions_end_before,
        sessions,
        version,
    };
    KeptAccount { name, account: account.into() }
}

/// Converts an account for the store.
pub(crate) fn new_account(account: Account, endpoint: &str) -> OAuthAccount {
    let name = accounts::object_name(endpoint, &account.user.id);
    let Account {
        user,
        signed_in_at,
        token,
        checked_at,
        lease,
        refused,
        checked_evidence,
        access_ends_before,
        sessions_end_before,
        sessions,
        version: _,
    } = account;
    let spec = OAuthAccountSpec {
        endpoint_ref: EndpointRef { name: endpoint.to_owned() },
        user,
        signed_in_at,
        token,
        checked_at,
        lease,
        refused,
        checked_evidence,
        access_ends_before,
        sessions_end_before,
        sessions,
    };
    OAuthAccount::new(&name, spec)
}

/// An account by the name of its object.
#[derive(Clone, Debug)]
pub(crate) struct KeptAccount {
    name: String,
    /// The account.
    pub account: Arc<Account>,
}

/// Whether an administrator ended, in the console, what this user began at `since`.
pub(crate) fn access_ended(index: &Index<KeptAccount>, user_id: &str, since: Timestamp) -> Option<Ended> {
    let ends = index.with_user(user_id, |mut kept| Iterator::any(&mut kept, |kept| kept.account.ends_access(since)));
    ends.then_some(Ended::Before)
}

/// The users with an account in the index, sorted by id: at most `limit` after the id `after`.
pub(crate) fn users_with_accounts(index: &Index<KeptAccount>, after: &str, limit: usize) -> Vec<GrantUser> {
    let kept = index.all(|kept| kept.account.user.id.as_str() > after);
    first_users(kept.iter().map(|kept| &kept.account.user), limit)
}

/// The users with an active grant in the index, sorted by id: at most `limit` after the id `after`.
pub(crate) fn users_with_grants(index: &Index<KeptGrant>, after: &str, limit: usize, now: Timestamp) -> Vec<GrantUser> {
    let kept = index.all(|kept| kept.grant.user.id.as_str() > after && kept.grant.is_active(now));
    first_users(kept.iter().map(|kept| &kept.grant.user), limit)
}

fn first_users<'a>(users: impl Iterator<Item = &'a GrantUser>, limit: usize) -> Vec<GrantUser> {
    let mut first = BTreeMap::new();
    for user in users {
        first.insert(user.id.as_str(), user);
        if first.len() > limit {
            first.pop_last();
        }
    }
    first.into_values().cloned().collect()
}

/// The users of `login` in the index who signed in with this session of the provider.
pub(crate) fn users_of_session(index: &Index<KeptAccount>, login: &str, session: &str) -> Vec<String> {
    let kept = index.all(|kept| {
        let of_login = kept.account.user.id.split_once(':').is_some_and(|(of, _)| of == login);
        of_login && kept.account.sessions.iter().any(|known| known.id == session)
    });
    kept.iter().map(|kept| kept.account.user.id.clone()).collect()
}

/// A registered client, with its version.
#[derive(Clone, Debug)]
pub(crate) struct Registered {
    /// The client.
    pub client: Arc<Client>,
    version: u64,
    source: Option<String>,
}

/// Writes an audit event: the grant ended with its user's access.
pub(crate) fn note_ended(grant: &Grant, ended: Ended) {
    let Grant { client_id, user, name, .. } = grant;
    Event::GrantEnded { client_id, user: &user.id, grant: name, reason: ended.revocation() }.emit();
}

/// The grants in the index that are active at `now`.
pub(crate) fn held(index: &Index<Registered>, now: Timestamp) -> Vec<Held> {
    let counting = index.all(|registered| registered.client.counts(now));
    let held = counting.iter().map(|registered| Held {
        client_id: registered.client.verifier.client_id.clone(),
        registered_at: registered.client.verifier.registered_at.unwrap_or(Timestamp::UNIX_EPOCH),
        source: registered.source.clone(),
    });
    held.collect()
}

/// The clients with an active grant in the index at `now`.
pub(crate) fn clients(index: &Index<KeptGrant>, now: Timestamp) -> HashSet<String> {
    index.all(|kept| kept.grant.is_active(now)).iter().map(|kept| kept.grant.client_id.clone()).collect()
}

/// A user's grants in the index.
pub(crate) fn of_user(index: &Index<KeptGrant>, user_id: &str) -> Vec<Arc<Grant>> {
    index.with_user(user_id, |kept| kept.map(|kept| Arc::clone(&kept.grant)).collect())
}

/// Applies the response to a request for a grant to the index.
pub(crate) fn apply_response(index: &Index<KeptGrant>, grant: KeptGrant) -> Arc<Grant> {
    Arc::clone(&index.apply_response(grant).grant)
}

/// Sets the time of the last use of a grant in the index.
pub(crate) fn used(index: &Index<KeptGrant>, name: &str, now: Timestamp) {
    index.update_local(name, |kept| KeptGrant::new(Grant { last_used: Some(now), ..Grant::clone(&kept.grant) }));
}

/// Looks up a grant in the index.
pub(crate) fn find(index: &Index<KeptGrant>, name: &str) -> GrantLookup {
    match index.find(name) {
        Lookup::Present(kept) => GrantLookup::Present(Arc::clone(&kept.grant)),
        Lookup::Deleted => GrantLookup::Deleted,
        Lookup::Unknown => GrantLookup::Unknown,
    }
}

impl Indexed for Registered {
    fn name(&self) -> &str {
        &self.client.verifier.client_id
    }

    fn version(&self) -> u64 {
        self.version
    }

    fn user(&self) -> Option<&str> {
        None
    }
}

impl Indexed for KeptAccount {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u64 {
        version::parse(&self.account.version).unwrap_or_default()
    }

    fn user(&self) -> Option<&str> {
        Some(&self.account.user.id)
    }
}

impl Indexed for KeptGrant {
    fn name(&self) -> &str {
        &self.grant.name
    }

    fn version(&self) -> u64 {
        version::parse(&self.grant.version).unwrap_or_default()
    }

    fn user(&self) -> Option<&str> {
        Some(&self.grant.user.id)
    }
}

#[cfg(test)]
mod tests {
    use portcullis_api::Preset;
    use portcullis_oauth::redirect::is_registered;

    #[test]
    fn every_preset_registers_usable_callbacks() {
        for preset in Preset::ALL {
            for uri in preset.redirect_uris() {
                let presented = uri.replace("{id}", "abc").replace("http://127.0.0.1/", "http://127.0.0.1:41234/");
                assert!(is_registered(preset.redirect_uris(), &presented), "{uri}");
            }
        }
    }
}
