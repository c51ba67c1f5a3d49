//! Who is told, of what, and how they know that it is us.

use antiphon_core::ids::AgentId;
use antiphon_core::topic::Topic;
use anyhow::Context as _;
use reqwest::Url;
use sha2::{Digest as _, Sha256};

use super::facts::{Fact, Kind, Kinds};
use super::settings;
use super::signing::Signer;
use crate::auth::hex;
use crate::config::nearest;
use crate::outbound::Outbound;
use crate::topics;

/// One other server, ready to be told.
pub(super) struct Endpoint {
    /// Its name in the queue and in logs: the same as long as the URL is, and says nothing of it.
    pub(super) id: String,
    pub(super) url: String,
    pub(super) signer: Signer,
    pub(super) kinds: Kinds,
    /// Empty is everywhere.
    topics: Vec<Topic>,
    /// Empty is all.
    agents: Vec<AgentId>,
}

impl Endpoint {
    /// Fails when a setting cannot work; the error names it and repeats no secret.
    pub(super) fn new(settings: &settings::Endpoint, outbound: &Outbound) -> anyhow::Result<Self> {
        outbound.check(&settings.url).with_context(|| format!("the url {:?}", shown(&settings.url)))?;
        let secret = settings.secret.as_ref().context("a webhook needs a secret or a secret_file")?;
        let signer = Signer::new(secret.expose())?;
        anyhow::ensure!(!settings.events.is_empty(), "the webhook names no events");
        let kinds = settings.events.iter().map(|name| kind(name)).collect::<anyhow::Result<Kinds>>()?;
        let topic = |text: &String| topics::read(text).with_context(|| format!("there is no topic {text:?}"));
        let topics = settings.topics.iter().map(topic).collect::<anyhow::Result<_>>()?;
        let agents = settings
            .agents
            .iter()
            .map(|agent| AgentId::parse(agent).with_context(|| format!("{agent:?} is no agent's id")));
        let agents = agents.collect::<anyhow::Result<_>>()?;
        Ok(Self { id: name(&settings.url), url: settings.url.clone(), signer, kinds, topics, agents })
    }

    /// Whether it is to be told of `fact`.
    pub(super) fn wants(&self, fact: &Fact) -> bool {
        let here = || fact.places.iter().any(|topic| self.topics.contains(topic));
        self.kinds.has(fact.kind)
            && (self.topics.is_empty() || here())
            && fact.agent.as_ref().is_none_or(|agent| self.agents.is_empty() || self.agents.contains(agent))
    }

    /// The URL as far as it can be shown: scheme, host and port. Paths and queries of webhooks are often as good as passwords.
    pub(super) fn shown(&self) -> String {
        shown(&self.url)
    }
}

fn shown(url: &str) -> String {
    Url::parse(url).map_or_else(|_| "…".to_owned(), |url| url.origin().ascii_serialization())
}

fn name(url: &str) -> String {
    let hash = Sha256::digest(url.as_bytes());
    format!("wh_{}", hex(&hash[..8]))
}

fn kind(name: &str) -> anyhow::Result<Kind> {
    let names = || Kind::ALL.iter().map(|kind| kind.name());
    Kind::named(name).with_context(|| match nearest(name, names()) {
        Some(meant) => format!("there is no event {name:?}; did you mean {meant:?}?"),
        None => format!("there is no event {name:?}; there are {}", names().collect::<Vec<_>>().join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use antiphon_core::ids::{PersonId, Timestamp};

    use super::*;
    use crate::config::Secret;
    use crate::outbound;
    use crate::webhooks::facts::presence;

    fn settings() -> settings::Endpoint {
        settings::Endpoint {
            url: "https://hooks.example/hidden?token=hidden".into(),
            secret: Some(Secret::new("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")),
            ..settings::Endpoint::default()
        }
    }

    fn endpoint(change: impl FnOnce(&mut settings::Endpoint)) -> anyhow::Result<Endpoint> {
        let mut settings = settings();
        change(&mut settings);
        Endpoint::new(&settings, &Outbound::new(outbound::Settings::default()))
    }

    #[test]
    fn its_name_stays_and_tells_nothing_of_the_url() {
        let endpoint = endpoint(|_| ()).unwrap();
        assert_eq!(endpoint.shown(), "https://hooks.example");
        assert_eq!((endpoint.id.len(), &endpoint.id[..3]), (19, "wh_"));
        assert_eq!(endpoint.id, name("https://hooks.example/hidden?token=hidden"));
        assert_ne!(endpoint.id, name("https://hooks.example/hidden"));
    }

    #[test]
    fn t17_a_url_that_leads_inside_is_refused_at_the_start() {
        for url in [
            "http://hooks.example/",
            "https://127.0.0.1/",
            "https://[::ffff:10.0.0.1]/",
            "https://a:b@c.example/",
            "",
        ] {
            let Err(error) = endpoint(|settings| settings.url = url.into()) else { panic!("{url}") };
            assert!(!format!("{error:#}").contains("a:b"), "{error:#}");
        }
    }

    #[test]
    fn what_cannot_work_is_refused_with_what_was_meant() {
        let error = |change: fn(&mut settings::Endpoint)| match endpoint(change) {
            Ok(_) => panic!("it is refused"),
            Err(error) => format!("{error:#}"),
        };
        assert!(error(|settings| settings.secret = None).contains("needs a secret"));
        assert!(error(|settings| settings.events.clear()).contains("names no events"));
        let typo = error(|settings| settings.events = vec!["mesage.posted".into()]);
        assert_eq!(typo, "there is no event \"mesage.posted\"; did you mean \"message.posted\"?");
        for topic in ["", "everybody", "person:", "agent:\n", "conversation:7", "named:", "everyone:x"] {
            let settings = settings::Endpoint { topics: vec![topic.into()], ..settings() };
            let made = Endpoint::new(&settings, &Outbound::new(outbound::Settings::default()));
            assert!(made.is_err(), "{topic}");
        }
        assert!(error(|settings| settings.agents = vec![String::new()]).contains("no agent's id"));
        assert!(!error(|settings| settings.secret = Some(Secret::new("whsec_hunter2"))).contains("hunter2"));
    }

    #[test]
    fn a_rule_selects_by_event_place_and_agent() {
        let came = |name: &str| presence(&PersonId::parse(name).unwrap(), true, Timestamp(0));
        let about = |agent: &str| {
            let mut fact = came("ada");
            fact.agent = AgentId::parse(agent).ok();
            fact
        };
        let all = endpoint(|_| ()).unwrap();
        assert!(all.wants(&came("ada")) && all.wants(&about("luna")));
        let others = endpoint(|settings| settings.events = vec!["message.posted".into()]).unwrap();
        assert!(!others.wants(&came("ada")));
        let ada = endpoint(|settings| settings.topics = vec!["person:ada".into()]).unwrap();
        assert!(ada.wants(&came("ada")) && !ada.wants(&came("bob")));
        let everyone =
            endpoint(|settings| settings.topics = vec!["named:x".into(), "everyone".into()]).unwrap();
        assert!(everyone.wants(&came("bob")));
        let luna = endpoint(|settings| settings.agents = vec!["luna".into()]).unwrap();
        assert!(luna.wants(&about("luna")) && !luna.wants(&about("mia")) && luna.wants(&came("ada")));
    }
}
