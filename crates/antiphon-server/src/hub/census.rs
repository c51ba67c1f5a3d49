//! What all cores of this node are asked together.
//!
//! The question goes through the mailboxes that events go through, so it is answered after everything that was published before
//! it has been delivered.

use antiphon_core::actor::Principal;
use antiphon_core::topic::Topic;
use tokio::sync::oneshot;

use crate::cores::Core;
use crate::hub::Mail;
use crate::shared::Shared;

impl Core {
    /// Waits until everything that was published before has been delivered on this core.
    pub(crate) async fn empty_the_mailbox(&self) {
        let (answer, answered) = oneshot::channel();
        self.mailbox.post(Mail::Listeners(Topic::Nodes, answer));
        // A core that stops delivers nothing more.
        let _ = answered.await;
    }
}

impl Shared {
    /// Sends every socket of `principal` away: it leaves its rooms, is told so, and its connection is closed. Returns how many
    /// there were.
    pub(crate) async fn disconnect(&self, principal: &Principal) -> usize {
        self.sum(|answer| Mail::Evict(principal.clone(), answer)).await
    }

    /// How many sockets listen to `topic`. Asked right after something was published there, it is how many got it.
    pub(crate) async fn listeners(&self, topic: &Topic) -> usize {
        self.sum(|answer| Mail::Listeners(topic.clone(), answer)).await
    }

    /// A core that has stopped has nobody.
    async fn sum(&self, question: impl Fn(oneshot::Sender<usize>) -> Mail) -> usize {
        let asked: Vec<_> = self
            .mailboxes
            .iter()
            .map(|mailbox| {
                let (answer, answered) = oneshot::channel();
                mailbox.post(question(answer));
                answered
            })
            .collect();
        let mut sum = 0;
        for answered in asked {
            sum += answered.await.unwrap_or(0);
        }
        sum
    }
}
