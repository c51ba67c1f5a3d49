//! A dialect that does what no API does, to see what becomes of the rest.

use antiphon_core::actor::Actor;
use antiphon_core::command::Outcome;
use antiphon_core::dialect::{Args, ConnectError, Credential, Dialect, Inbound, Out};
use antiphon_core::event::Event;
use antiphon_core::ids::Timestamp;
use antiphon_core::refusal::Refusal;
use antiphon_core::topic::Topic;

/// Its clients hear every [`Signal`](antiphon_core::event::Signal) on the topic of everyone. `panic` panics in the handler,
/// `binary` is answered with an attachment, `nothing` with nothing. A signal called `panic` panics while it is rendered.
pub(crate) struct Probe;

impl Dialect for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn accepts(&self, _auth: Option<&str>) -> bool {
        true
    }

    fn credential(&self, _auth: Option<&str>) -> Result<Credential, Refusal> {
        Ok(Credential::None)
    }

    fn refused(&self, why: &Refusal) -> ConnectError {
        ConnectError { message: why.message.to_string(), data: None }
    }

    fn seats(&self, _actor: &Actor) -> Vec<Topic> {
        vec![Topic::Everyone]
    }

    fn welcome(&self, _actor: &Actor, _auth: Option<&str>, _at: Timestamp, _out: &mut Out) {}

    fn inbound(&self, event: &str, _args: &Args, _at: Timestamp, out: &mut Out) -> Inbound {
        match event {
            "panic" => panic!("as the test asked"),
            "binary" => {
                out.emit_raw("binary", r#"{"_placeholder":true,"num":0}"#);
                out.attach(&[vec![1, 2, 3]]);
                Inbound::Answered
            }
            "nothing" => Inbound::Answered,
            _ => Inbound::Unknown,
        }
    }

    fn reply(&self, _event: &str, _outcome: &Result<Outcome, Refusal>, _at: Timestamp, _out: &mut Out) {}

    fn dismissed(&self, _why: &Refusal, _at: Timestamp, _out: &mut Out) {}

    fn outbound(&self, event: &Event, out: &mut Out) {
        if let Event::Signal(signal) = event {
            assert_ne!(&*signal.name, "panic", "as the test asked");
            out.emit_raw("signal", signal.value.get());
        }
    }
}
