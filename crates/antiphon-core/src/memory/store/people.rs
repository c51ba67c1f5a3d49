//! People, their plans, and what they have used.

use async_trait::async_trait;

use super::{MemoryStore, page};
use crate::actor::{Person, Plan};
use crate::ids::PersonId;
use crate::ports::People;
use crate::refusal::Fault;

#[async_trait]
impl People for MemoryStore {
    async fn put_person(&self, person: &Person) -> Result<(), Fault> {
        self.contents().people.insert(person.id.clone(), person.clone());
        Ok(())
    }

    async fn add_person(&self, person: &Person) -> Result<bool, Fault> {
        let mut contents = self.contents();
        let is_new = !contents.people.contains_key(&person.id);
        contents.people.entry(person.id.clone()).or_insert_with(|| person.clone());
        Ok(is_new)
    }

    async fn person(&self, id: &PersonId) -> Result<Option<Person>, Fault> {
        Ok(self.contents().people.get(id).cloned())
    }

    async fn people(&self, after: Option<&PersonId>, limit: u32) -> Result<Vec<Person>, Fault> {
        Ok(page(&self.contents().people, after, limit))
    }

    async fn put_plan(&self, plan: &Plan) -> Result<(), Fault> {
        self.contents().plans.insert(plan.name.clone(), plan.clone());
        Ok(())
    }

    async fn plan(&self, name: &str) -> Result<Option<Plan>, Fault> {
        Ok(self.contents().plans.get(name).cloned())
    }

    async fn messages_sent(&self, person: &PersonId, month: i32) -> Result<u64, Fault> {
        Ok(self.contents().sent.get(&(person.clone(), month)).copied().unwrap_or(0))
    }
}
