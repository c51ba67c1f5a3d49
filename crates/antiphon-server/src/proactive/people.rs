//! Who could be written to: people with their bonds, one after the other.

use std::collections::VecDeque;
use std::sync::Arc;

use antiphon_core::ids::{AgentId, PersonId, Timestamp};
use antiphon_core::people::Bonded;
use antiphon_core::ports::Store;
use antiphon_core::refusal::Fault;

/// How many bonds are read at a time.
const PAGE: u32 = 200;

/// A person and their bonds.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Group {
    pub(super) person: PersonId,
    pub(super) bonds: Vec<Bonded>,
}

/// A walk over people in the order of their ids, a page at a time.
pub(super) struct People {
    store: Arc<dyn Store>,
    walk: Walk,
}

enum Walk {
    /// One person alone, however long they have been away.
    One(PersonId),
    /// Everybody who was active since a moment.
    Active {
        since: Timestamp,
        after: Option<(PersonId, AgentId)>,
        open: Option<Group>,
    },
    Over,
}

impl People {
    /// The person who is named, or else everybody who said something since `since`.
    pub(super) fn new(store: &Arc<dyn Store>, one: Option<PersonId>, since: Timestamp) -> Self {
        let walk = match one {
            Some(person) => Walk::One(person),
            None => Walk::Active { since, after: None, open: None },
        };
        Self { store: Arc::clone(store), walk }
    }

    /// Everybody active whose id comes after `person`.
    pub(super) fn after(store: &Arc<dyn Store>, person: PersonId, since: Timestamp) -> Self {
        // No id of an agent comes later: it is as long as an id can be, of the last character that there is.
        let last = AgentId::parse(&"\u{10ffff}".repeat(32)).expect("32 characters of four bytes are an id");
        let walk = Walk::Active { since, after: Some((person, last)), open: None };
        Self { store: Arc::clone(store), walk }
    }

    /// The next people, perhaps none; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<VecDeque<Group>>, Fault> {
        match &mut self.walk {
            Walk::Over => Ok(None),
            Walk::One(person) => {
                let bonds = self.store.bonds_of(person).await?;
                let group = Group { person: person.clone(), bonds };
                self.walk = Walk::Over;
                Ok(Some(VecDeque::from([group])))
            }
            Walk::Active { since, after, open } => {
                let page = self.store.active_bonds(*since, after.clone(), PAGE).await?;
                let is_last = page.len() < PAGE as usize;
                let mut whole = VecDeque::new();
                for bonded in page {
                    let person = &bonded.bond.person;
                    *after = Some((person.clone(), bonded.bond.agent.clone()));
                    // The bonds of one person may go on on the next page, so a person is whole when another one begins.
                    match open {
                        Some(group) if group.person == *person => group.bonds.push(bonded),
                        _ => {
                            let group = Group { person: person.clone(), bonds: vec![bonded] };
                            whole.extend(open.replace(group));
                        }
                    }
                }
                if is_last {
                    whole.extend(open.take());
                    self.walk = Walk::Over;
                }
                Ok(Some(whole))
            }
        }
    }
}
