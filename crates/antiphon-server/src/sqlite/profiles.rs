//! Which statements need what people say about themselves.

use antiphon_core::ids::PersonId;
use antiphon_core::people::Profile;
use antiphon_core::ports::Profiles;
use antiphon_core::refusal::Fault;
use async_trait::async_trait;
use rusqlite::{OptionalExtension, params};

use super::SqliteStore;

#[async_trait]
impl Profiles for SqliteStore {
    async fn put_profile(&self, person: &PersonId, profile: &Profile) -> Result<(), Fault> {
        let (person, profile) = (person.clone(), profile.clone());
        self.write("storing a profile", move |connection| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO profiles (person, name, email, time_zone) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (person) DO UPDATE SET
                     name = excluded.name, email = excluded.email, time_zone = excluded.time_zone",
            )?;
            let Profile { name, email, time_zone } = profile;
            statement.execute(params![person.as_str(), name, email, time_zone]).map(drop)
        })
        .await
    }

    async fn profile(&self, person: &PersonId) -> Result<Profile, Fault> {
        let person = person.clone();
        self.read("reading a profile", move |connection| {
            let mut statement =
                connection.prepare_cached("SELECT name, email, time_zone FROM profiles WHERE person = ?1")?;
            let profile = statement.query_row([person.as_str()], |row| {
                Ok(Profile { name: row.get(0)?, email: row.get(1)?, time_zone: row.get(2)? })
            });
            Ok(profile.optional()?.unwrap_or_default())
        })
        .await
    }
}
