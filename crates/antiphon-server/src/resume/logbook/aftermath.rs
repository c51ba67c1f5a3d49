//! How commits get into the book, and what the core is told of the end of the last run.

use antiphon_core::actor::Principal;
use antiphon_core::aftermath::Aftermath;
use antiphon_core::ports::Untold;

use super::{Logbook, Past};
use crate::sqlite::Witness;

impl Witness for Logbook {
    fn commits(&self, untold: &[Untold]) {
        self.commits(untold);
    }

    fn told(&self) {
        self.told();
    }
}

impl Past {
    /// What is to be told of the last run, once its sessions listen again: for [`App::retell`](antiphon_core::app::App::retell). To be
    /// asked before the sessions are taken out.
    pub(crate) fn aftermath(&self) -> Aftermath {
        let people = self.sessions.iter().filter_map(|session| match &session.bound.principal {
            Principal::Person(person) => Some(person.clone()),
            _ => None,
        });
        Aftermath::new(self.untold.clone(), people, self.letters.iter().map(|(_, letter)| &**letter))
    }
}
