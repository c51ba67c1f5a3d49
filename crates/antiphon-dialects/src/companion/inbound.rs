//! Which command a client event is.

use antiphon_core::command::Command;
use antiphon_core::dialect::{Args, Credential, Inbound};
use antiphon_core::refusal::Refusal;

/// The whole of what a client may say. All other names are unknown, those that only the server says among them.
pub(super) fn inbound(event: &str, args: &Args) -> Inbound {
    match event {
        "join" => join(args),
        "typing" => typing(args),
        _ => Inbound::Unknown,
    }
}

const ADDRESS_NEEDED: &str = "This event needs the address of a wallet, as text.";
const BOOLEAN_NEEDED: &str = "This event needs true or false.";

/// Addresses are the same in upper and in lower case: apps send the mixed one that carries a checksum.
fn join(args: &Args) -> Inbound {
    match args.first::<String>() {
        Ok(address) if !address.is_empty() => Inbound::Identify(Credential::Wallet(address.to_lowercase())),
        _ => Inbound::Refused(Refusal::invalid(ADDRESS_NEEDED)),
    }
}

fn typing(args: &Args) -> Inbound {
    match args.first::<bool>() {
        Ok(active) => Inbound::Command(Command::ShowTyping { active }),
        Err(_) => Inbound::Refused(Refusal::invalid(BOOLEAN_NEEDED)),
    }
}

#[cfg(test)]
mod tests {
    use antiphon_core::refusal::Code;

    use super::*;

    fn said(event: &str, json: &str) -> Inbound {
        inbound(event, &Args::new(json.into(), Vec::new()))
    }

    #[test]
    fn an_address_is_taken_as_it_is_but_for_its_case() {
        for (sent, meant) in [
            (r#"["0xABCdef"]"#, "0xabcdef"),
            (r#"[" 0xAB "]"#, " 0xab "),
            (r#"["nonsense",{"more":true}]"#, "nonsense"),
        ] {
            match said("join", sent) {
                Inbound::Identify(Credential::Wallet(address)) => assert_eq!(address, meant),
                _ => panic!("{sent} is no address"),
            }
        }
    }

    #[test]
    fn what_is_not_as_documented_is_refused() {
        let is_invalid =
            |event, json| matches!(said(event, json), Inbound::Refused(Refusal { code: Code::Invalid, .. }));
        for wrong in ["[]", "[null]", "[false]", "[0]", "[7]", r#"[""]"#, "[{}]", r#"[["0x1"]]"#, "[", ""] {
            assert!(is_invalid("join", wrong), "{wrong}");
        }
        for wrong in ["[]", "[null]", "[0]", "[1]", r#"["true"]"#, r#"[""]"#, "[{}]", "[[true]]", "[", ""] {
            assert!(is_invalid("typing", wrong), "{wrong}");
        }
    }

    #[test]
    fn only_the_listed_names_mean_something() {
        let only_of_the_server = ["balance:update", "notification", "message:receive"];
        for event in only_of_the_server.into_iter().chain([
            "",
            "Join",
            "join ",
            "typing:start",
            "__proto__",
            "constructor",
            "connect",
            "disconnect",
            "error",
        ]) {
            assert!(matches!(said(event, r#"["0x1"]"#), Inbound::Unknown), "{event}");
        }
    }
}
