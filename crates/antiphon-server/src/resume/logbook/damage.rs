//! What becomes of sessions when files are not what was written, or cannot be written.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use antiphon_core::event::{Envelope, Event};
use antiphon_core::ids::{AgentId, PersonId};
use antiphon_core::ports::Untold;

use super::Past;
use super::proof::{Step, World, files, topic};
use crate::resume::Reason;

/// Two sessions, one on each core, which both know that they hear a topic and have heard one event.
fn world() -> World {
    let mut world = World::new();
    for core in 0..2 {
        world.begin(core);
        world.follow(Step::Sit { session: core.into(), topic: 0 });
        world.turn(core);
    }
    tell(&mut world);
    world
}

fn tell(world: &mut World) {
    world.publish((0, None), None);
    world.turn(0);
    world.turn(1);
}

fn file(world: &World, name: &str) -> PathBuf {
    let all = files(world.directory.path());
    all.into_iter().find(|path| path.ends_with(name)).unwrap_or_else(|| panic!("no {name}"))
}

fn flip(world: &World, name: &str, place: impl FnOnce(usize) -> usize) {
    let path = file(world, name);
    let mut bytes = fs::read(&path).unwrap();
    let place = place(bytes.len());
    bytes[place] ^= 4;
    fs::write(path, bytes).unwrap();
}

fn resumed(past: &Past) -> usize {
    past.sessions.len()
}

#[test]
fn only_whoever_runs_the_server_may_read_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = world();
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    for path in files(world.directory.path()) {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
        assert_eq!(mode(path.parent().unwrap()), 0o700);
    }
}

#[test]
fn a_byte_of_a_cores_pages_that_is_wrong_ends_its_sessions_and_no_others() {
    for place in [|length| length / 2, |length| length - 1, |_| 0] {
        let mut world = world();
        flip(&world, "core-0-1", place);
        let past = world.rescue();
        assert_eq!(resumed(&past), 1);
        assert_eq!(past.sessions[0].pid, world.clients[1].pid);
        assert!(past.lapsed.iter().all(|(pid, why)| *pid == world.clients[0].pid && *why == Reason::Unknown));
    }
}

#[test]
fn a_byte_of_a_letter_that_is_wrong_ends_all_sessions() {
    let mut world = world();
    flip(&world, "letters-1", |length| length - 1);
    assert_eq!(resumed(&world.rescue()), 0);
}

#[test]
fn a_file_that_is_missing_ends_the_sessions_that_need_it() {
    for (name, left) in [("letters-1", 0), ("core-0-1", 1), ("complete", 0)] {
        let mut world = world();
        fs::remove_file(file(&world, name)).unwrap();
        assert_eq!(resumed(&world.rescue()), left, "{name}");
    }
}

#[test]
fn nothing_is_left_when_the_machine_was_started_anew() {
    let mut world = world();
    let marker = file(&world, "complete");
    let text = fs::read_to_string(&marker).unwrap();
    let boot = super::runs::boot().unwrap();
    fs::write(marker, text.replace(&boot, "another")).unwrap();
    assert_eq!(resumed(&world.rescue()), 0);
}

#[test]
fn a_start_that_was_not_complete_leaves_the_run_before_it_to_the_next() {
    let mut world = world();
    let past = world.rescue();
    assert_eq!(resumed(&past), 2);
    // It dies before its cores have written their survivors.
    let past = world.rescue();
    world.check(&past);
    assert_eq!(resumed(&past), 2);
    world.live_on(past);
    let past = world.rescue();
    world.check(&past);
    assert_eq!(resumed(&past), 2);
}

#[test]
fn pages_are_turned_over_and_old_ones_go_while_sessions_stay() {
    let mut world = world();
    for _ in 0..30 {
        tell(&mut world);
        world.pass();
    }
    let all = files(world.directory.path());
    // Two windows of a minute, and half a minute more, at one page in half a minute.
    for name in ["core-0", "core-1"] {
        let pages = all.iter().filter(|path| path.file_name().unwrap().to_str().unwrap().starts_with(name));
        let count = pages.count();
        assert!((5..=7).contains(&count), "{count}");
    }
    assert!(all.len() < 25);
    world.publish((0, None), None);
    let past = world.rescue();
    assert_eq!(resumed(&past), 2);
    world.check(&past);
}

#[test]
fn when_writing_fails_everything_goes_and_it_begins_anew_when_it_works_again() {
    let blocked: [fn(&World); 2] = [
        // The next file cannot be made, for there is something else.
        |world| fs::create_dir(file(world, "core-0-1").with_file_name("core-0-2")).unwrap(),
        |world| fs::remove_dir_all(file(world, "complete").parent().unwrap()).unwrap(),
    ];
    for block in blocked {
        let mut world = world();
        block(&world);
        world.pass();
        assert!(files(world.directory.path()).is_empty(), "nothing is left that could be taken for whole");
        assert_eq!(world.book.letter(&Arc::new(unheard()), 0), 0);
        for _ in 0..4 {
            world.pass();
        }
        tell(&mut world);
        world.publish((0, None), None);
        let past = world.rescue();
        assert_eq!(resumed(&past), 2);
        world.check(&past);
    }
}

fn unheard() -> Envelope {
    let agent = AgentId::parse("luna").unwrap();
    Envelope::new(topic(2), Event::AgentDeleted { agent })
}

#[test]
fn what_was_not_told_is_known_and_whoever_could_miss_it_lapses() {
    let entry = || Untold::Entry { person: PersonId::parse("ada").unwrap(), position: 7 };
    let mut world = world();
    world.book.commits(&[Untold::Other]);
    world.book.told();
    world.book.commits(&[entry()]);
    let past = world.rescue();
    assert_eq!((resumed(&past), past.untold), (2, vec![entry()]));

    let mut world = self::world();
    world.book.commits(&[entry(), Untold::Other]);
    let past = world.rescue();
    assert_eq!((resumed(&past), past.lapsed.len(), past.untold.len()), (0, 2, 2));
    assert!(past.lapsed.iter().all(|(_, why)| *why == Reason::Unknown));
}

#[test]
fn what_is_about_to_be_told_when_the_first_session_begins_is_written_then() {
    let mut world = World::new();
    world.book.commits(&[Untold::Other]);
    assert!(!world.book.is_used());
    world.begin(0);
    assert!(world.book.is_used());
    world.turn(0);
    assert_eq!(world.rescue().untold, [Untold::Other]);
}

#[test]
fn a_session_that_is_told_the_past_lapses_until_it_has_been() {
    for (whether, left) in [(true, 1), (false, 2)] {
        let mut world = world();
        let id = world.clients[0].id;
        world.pages[0].catches_up(id, true);
        world.pages[0].catches_up(id, whether);
        world.pages[0].write_down();
        let past = world.rescue();
        assert_eq!(resumed(&past), left);
        let expected = [(world.clients[0].pid, Reason::CatchingUp)];
        assert!(!whether || past.lapsed == expected);
    }
}

#[test]
fn what_was_not_kept_is_a_gap_afterwards_as_well() {
    let mut world = world();
    let (id, had) = (world.clients[0].id, world.clients[0].offset);
    let lost = world.numbers[0].take(1);
    world.pages[0].loses(id, lost);
    world.pages[0].write_down();
    let past = world.rescue();
    let journal = |index: usize| &past.sessions[index].kept.journal;
    assert_eq!(journal(0).position(had).unwrap_err(), Reason::TooMany);
    assert!(journal(0).position(Some(lost)).is_ok());
    assert!(journal(1).position(world.clients[1].offset).is_ok());
}

#[test]
fn a_session_whose_time_is_over_has_expired() {
    let mut world = world();
    world.follow(Step::Lose { session: 0 });
    world.turn(0);
    world.uptime += 61_000;
    let past = world.rescue();
    assert_eq!(past.lapsed[0], (world.clients[0].pid, Reason::Expired));
    // Nobody knows when the other lost its client: at most the time of a page after what was written last.
    assert_eq!(past.sessions[0].left, 60_000 - 62_000 + 30_000);
    assert_eq!(past.sessions[0].bound, super::proof::bound());
}
