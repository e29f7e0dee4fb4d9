//! `Accounts` with an object store of `OAuthAccount`s.

use crate::local::{ENDPOINT, Local, object_store::Put, unavailable};
use crate::objects;
use async_trait::async_trait;
use kube::ResourceExt as _;
use portcullis_core::grant::GrantUser;
use portcullis_oauth::{
    accounts::{self, Account, Accounts},
    grant::GrantsError,
};
use portcullis_reflector::Lookup;
use std::sync::Arc;

#[async_trait]
impl Accounts for Local {
    fn account(&self, user_id: &str) -> Option<Arc<Account>> {
        match self.inner.known_accounts.find(&accounts::object_name(ENDPOINT, user_id)) {
            Lookup::Present(kept) => Some(Arc::clone(&kept.account)),
            Lookup::Deleted | Lookup::Unknown => None,
        }
    }

    fn users(&self, after: &str, limit: usize) -> Vec<GrantUser> {
        objects::users_with_accounts(&self.inner.known_accounts, after, limit)
    }

    fn users_of_session(&self, login: &str, session: &str) -> Vec<String> {
        objects::users_of_session(&self.inner.known_accounts, login, session)
    }

    async fn read_account(&self, user_id: &str) -> Result<Option<Arc<Account>>, GrantsError> {
        Ok(self.account(user_id))
    }

    async fn write_account(&self, account: Account) -> Result<Arc<Account>, GrantsError> {
        let version = account.version.clone();
        let mut object = objects::new_account(account, ENDPOINT);
        let written = self.write(move |inner| {
            let mut accounts = inner.accounts();
            let present = accounts.get(&object.name_any()).map(|present| present.metadata.clone());
            object.metadata.creation_timestamp =
                present.as_ref().and_then(|present| present.creation_timestamp.clone());
            let written = match present {
                None if version.is_empty() => match accounts.add(object, inner.clock.now())? {
                    Put::Done(object) => object,
                    Put::Exists => return Ok(Err(GrantsError::Exists)),
                },
                None => return Ok(Err(GrantsError::NotFound)),
                Some(_) if version.is_empty() => return Ok(Err(GrantsError::Exists)),
                Some(present) if present.resource_version.as_ref() != Some(&version) => {
                    return Ok(Err(GrantsError::Conflict));
                }
                Some(_) => accounts.replace(object)?,
            };
            Ok(Ok(Arc::clone(&inner.known_accounts.apply_response(objects::account(written)).account)))
        });
        written.await.map_err(unavailable)?
    }
}
