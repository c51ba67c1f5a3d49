//! In whose name this thread works at the moment, so that every line of the log says it.
//!
//! A line is often written far below the place that knows which connection and which request it is about: in the core, in the
//! store. Spans would carry that along and cost an allocation per packet; a cell of the thread costs two moves.

use std::cell::Cell;
use std::fmt;
use std::future::poll_fn;
use std::pin::pin;

use antiphon_core::ids::ConnectionId;

/// A request: a packet of a connection, or an HTTP request. Unique within the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RequestId(pub(crate) u64);

impl RequestId {
    /// The `number`th request of `core`.
    pub(crate) fn new(core: u16, number: u64) -> Self {
        Self((u64::from(core) << 48) | (number & 0xffff_ffff_ffff))
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who is being served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whose {
    pub(crate) connection: Option<ConnectionId>,
    pub(crate) request: Option<RequestId>,
}

thread_local! {
    static HERE: Cell<Whose> = const { Cell::new(Whose { connection: None, request: None }) };
}

/// In whose name this thread works now.
pub(crate) fn here() -> Whose {
    HERE.get()
}

/// Does `future` in the name of `whose`, whatever else its thread does in between.
pub(crate) async fn within<F: Future>(whose: Whose, future: F) -> F::Output {
    let mut future = pin!(future);
    poll_fn(|context| {
        let _restored = Restored(HERE.replace(whose));
        future.as_mut().poll(context)
    })
    .await
}

/// Puts back what was before, also when the work panics.
struct Restored(Whose);

impl Drop for Restored {
    fn drop(&mut self) {
        HERE.set(self.0);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn request(number: u64) -> Whose {
        Whose { connection: None, request: Some(RequestId::new(1, number)) }
    }

    #[tokio::test]
    async fn two_tasks_of_one_thread_each_work_in_their_own_name() {
        let (first, second) = (oneshot::channel(), oneshot::channel());
        let one = within(request(1), async {
            assert_eq!(here(), request(1));
            first.0.send(()).unwrap();
            second.1.await.unwrap();
            assert_eq!(here(), request(1));
        });
        let two = within(request(2), async {
            first.1.await.unwrap();
            assert_eq!(here(), request(2));
            second.0.send(()).unwrap();
        });
        tokio::join!(one, two);
        assert_eq!(here(), Whose::default());
    }

    #[tokio::test]
    async fn whatever_panics_leaves_no_name_behind() {
        let panicking =
            tokio::spawn(async { within(request(3), async { panic!("as the test asked") }).await });
        assert!(panicking.await.is_err());
        assert_eq!(here(), Whose::default());
    }

    #[test]
    fn a_request_is_named_by_its_core_and_its_number() {
        assert_eq!(RequestId::new(1, 10).to_string(), "000100000000000a");
    }
}
