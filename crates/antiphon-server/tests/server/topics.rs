//! An event that goes to several topics reaches each connection once.

use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{PersonId, Timestamp};
use antiphon_core::notices::{Notice, NoticeKind};
use antiphon_core::topic::Topic;

use crate::support::client::Client;
use crate::support::engine::Transport;
use crate::support::people::{ada, bob, server};
use crate::support::server::Server;

#[tokio::test]
async fn whoever_listens_to_several_topics_of_an_event_hears_it_once() {
    for cores in [1, 2] {
        let server = server(|config| config.server.cores = cores).await;
        let mut adas = Vec::new();
        for _ in 0..4 {
            adas.push(ada(&server, Transport::Websocket).await);
        }
        let mut other = bob(&server, Transport::Websocket).await;

        let (of_ada, of_bob) = (topic("ada"), topic("bob"));
        let nobody = Topic::Dashboard;
        // Everybody here sits on the topic of everyone and on the own one.
        say(&server, "all", &of_ada, &[&Topic::Everyone, &of_bob, &Topic::Everyone]);
        say(&server, "all, the other way round", &Topic::Everyone, &[&of_bob, &of_ada]);
        say(&server, "both", &of_bob, &[&nobody, &of_ada]);
        say(&server, "bob", &nobody, &[&of_bob, &of_bob]);
        say(&server, "nobody", &nobody, &[&Topic::Nodes]);
        say(&server, "ada", &of_ada, &[&nobody]);
        say(&server, "end", &Topic::Everyone, &[]);

        for client in &mut adas {
            assert_eq!(heard(client).await, ["all", "all, the other way round", "both", "ada"]);
        }
        assert_eq!(heard(&mut other).await, ["all", "all, the other way round", "both", "bob"]);
        server.stop().await;
    }
}

/// The notices that came before the one called `end`.
async fn heard(client: &mut Client) -> Vec<String> {
    let mut heard = Vec::new();
    loop {
        let title = client.event_named("system:notification").await["title"].clone();
        match title.as_str().expect("a text") {
            "end" => return heard,
            title => heard.push(title.to_owned()),
        }
    }
}

fn say(server: &Server, title: &str, to: &Topic, also: &[&Topic]) {
    let also: Vec<Topic> = also.iter().map(|topic| (*topic).clone()).collect();
    let notice = Notice { kind: NoticeKind::Info, title: title.into(), message: "said".into(), action: None };
    let event = Event::NoticeSent { notice, at: Timestamp(1) };
    server.app().ports().bus.publish(Envelope::to_all(to.clone(), also, event));
}

fn topic(person: &str) -> Topic {
    Topic::Person(PersonId::parse(person).expect("a plain id"))
}
