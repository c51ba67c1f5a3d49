//! What people say about themselves.

use async_trait::async_trait;

use super::MemoryStore;
use crate::ids::PersonId;
use crate::people::Profile;
use crate::ports::Profiles;
use crate::refusal::Fault;

#[async_trait]
impl Profiles for MemoryStore {
    async fn put_profile(&self, person: &PersonId, profile: &Profile) -> Result<(), Fault> {
        let mut contents = self.contents();
        contents.check_person(person, "the profile")?;
        contents.profiles.insert(person.clone(), profile.clone());
        Ok(())
    }

    async fn profile(&self, person: &PersonId) -> Result<Profile, Fault> {
        Ok(self.contents().profiles.get(person).cloned().unwrap_or_default())
    }
}
