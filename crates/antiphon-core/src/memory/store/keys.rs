//! API keys.

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;

use super::{MemoryStore, page};
use crate::actor::{ApiKey, Holder, SecretHash};
use crate::ids::{KeyId, Timestamp};
use crate::ports::Keys;
use crate::refusal::Fault;

/// Every key, by both of its names.
#[derive(Debug, Default)]
pub(super) struct KeyRing {
    by_id: BTreeMap<KeyId, ApiKey>,
    by_hash: HashMap<SecretHash, KeyId>,
}

#[async_trait]
impl Keys for MemoryStore {
    async fn put_key(&self, key: &ApiKey) -> Result<(), Fault> {
        let mut contents = self.contents();
        if let Holder::Person(person) = &key.holder {
            contents.check_person(person, "an API key")?;
        }
        let keys = &mut contents.keys;
        if keys.by_hash.get(&key.hash).is_some_and(|id| *id != key.id) {
            return Err(Fault::new(format!(
                "storing the API key {}, which has another name already",
                key.id
            )));
        }
        if let Some(before) = keys.by_id.insert(key.id.clone(), key.clone()) {
            keys.by_hash.remove(&before.hash);
        }
        keys.by_hash.insert(key.hash, key.id.clone());
        Ok(())
    }

    async fn key(&self, hash: &SecretHash) -> Result<Option<ApiKey>, Fault> {
        let contents = self.contents();
        let id = contents.keys.by_hash.get(hash);
        Ok(id.and_then(|id| contents.keys.by_id.get(id)).cloned())
    }

    async fn key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Fault> {
        Ok(self.contents().keys.by_id.get(id).cloned())
    }

    async fn keys(&self, after: Option<&KeyId>, limit: u32) -> Result<Vec<ApiKey>, Fault> {
        Ok(page(&self.contents().keys.by_id, after, limit))
    }

    async fn revoke_key(&self, id: &KeyId, at: Timestamp) -> Result<Option<ApiKey>, Fault> {
        let mut contents = self.contents();
        let key = contents.keys.by_id.get_mut(id).map(|key| {
            key.revoked_at.get_or_insert(at);
            key.clone()
        });
        Ok(key)
    }
}
