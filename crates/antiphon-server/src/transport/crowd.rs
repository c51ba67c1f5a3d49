//! How much of the server one address may have, and how fast one network may ask for more.
//!
//! An address is an IPv4 address or an IPv6 /64, a network an IPv4 /24 or an IPv6 /64: what one customer of a provider usually
//! has. Addresses that the configuration exempts (loopback, unless it says otherwise) are not counted: whoever connects from
//! there is on this machine, most likely a proxy or the operator. A trusted proxy is not counted for its own address, but whom
//! it speaks for is, wherever that is.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU64;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::header::HeaderMap;
use tokio::time::Instant;

use crate::config::Limits;
use crate::cores::Core;
use crate::pace::Pace;
use crate::shared::Shared;
use crate::transport::address::{Network, Proxies};

/// Locks that addresses are spread over, so that cores rarely meet.
const SHARDS: usize = 16;

/// Networks remembered in one shard before those whose bucket is full again are forgotten.
const SWEEP: usize = 1_024;

/// HTTP connections per session that an address may have at once: polling needs one that waits and one that speaks.
const HTTP_PER_SESSION: u32 = 2;

/// Milliseconds after which an address, or a person, that has all it may have is told to try again.
pub(crate) const COME_BACK: u64 = 10_000;

/// Who has how much.
pub(crate) struct Crowd {
    proxies: Proxies,
    exempt: Vec<Network>,
    /// Sessions of one address; 0 sets no limit.
    most: u32,
    /// How fast one network may open sessions.
    pace: Pace,
    shards: [Mutex<Shard>; SHARDS],
    started: Instant,
}

#[derive(Default)]
struct Shard {
    places: HashMap<Place, Count, foldhash::fast::RandomState>,
    /// When the bucket of a network is full again.
    networks: HashMap<Place, u64, foldhash::fast::RandomState>,
    /// How many networks there may be before the next sweep.
    sweep_at: usize,
}

#[derive(Clone, Copy, Default)]
struct Count {
    sessions: u32,
    http: u32,
}

/// An address or a network, in eight bytes. Which of the two it is depends on where it is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Place(NonZeroU64);

impl Crowd {
    pub(crate) fn new(limits: &Limits, trusted_proxies: &[Network]) -> Self {
        Self {
            proxies: Proxies::new(trusted_proxies),
            exempt: limits.exempt.clone(),
            most: u32::try_from(limits.connections_per_address).unwrap_or(u32::MAX),
            pace: Pace::new(limits.handshakes_per_second, limits.handshakes_per_second),
            shards: Default::default(),
            started: Instant::now(),
        }
    }

    /// Whose request it is, see [`Proxies::client`].
    pub(crate) fn client(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        self.proxies.client(peer, headers)
    }

    /// The place that another limit per address counts `client` under; nothing if it need not be counted.
    pub(crate) fn place(&self, client: IpAddr) -> Option<Place> {
        (!self.is_exempt(client)).then(|| Place::address(client))
    }

    /// Counts one try of `client` to open a session, or to name one that does not exist. An error says how many milliseconds its
    /// network has to wait.
    pub(crate) fn knock(&self, client: IpAddr) -> Result<(), u64> {
        if self.is_exempt(client) {
            return Ok(());
        }
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let network = Place::network(client);
        let mut shard = self.shard(network);
        if shard.networks.len() >= shard.sweep_at.max(SWEEP) {
            shard.networks.retain(|_, full_at| !Pace::is_full(*full_at, now));
            shard.sweep_at = 2 * shard.networks.len();
        }
        let full_at = shard.networks.entry(network).or_default();
        self.pace.take(full_at, now)
    }

    /// Counts a session of `client`. `Ok` is what to [`leave`](Self::leave) with at its end, nothing if it need not be counted; an
    /// error says how many milliseconds to wait.
    fn enter(&self, client: IpAddr) -> Result<Option<Place>, u64> {
        if self.most == 0 || self.is_exempt(client) {
            return Ok(None);
        }
        let place = Place::address(client);
        let mut shard = self.shard(place);
        let count = shard.places.entry(place).or_default();
        if count.sessions >= self.most {
            return Err(COME_BACK);
        }
        count.sessions += 1;
        Ok(Some(place))
    }

    /// A session that was counted is over.
    pub(crate) fn leave(&self, place: Place) {
        self.uncount(place, |count| &mut count.sessions);
    }

    /// Counts an HTTP connection from `peer`, which nobody has spoken on yet. `Err` when its address has too many.
    fn arrive(&self, peer: IpAddr) -> Result<Option<Place>, ()> {
        if self.most == 0 || self.proxies.trust(peer) || self.is_exempt(peer) {
            return Ok(None);
        }
        let place = Place::address(peer);
        let mut shard = self.shard(place);
        let count = shard.places.entry(place).or_default();
        if count.http >= self.most.saturating_mul(HTTP_PER_SESSION) {
            return Err(());
        }
        count.http += 1;
        Ok(Some(place))
    }

    fn uncount(&self, place: Place, which: impl FnOnce(&mut Count) -> &mut u32) {
        let mut shard = self.shard(place);
        let Some(count) = shard.places.get_mut(&place) else { return };
        let counted = which(count);
        *counted = counted.saturating_sub(1);
        if count.sessions == 0 && count.http == 0 {
            shard.places.remove(&place);
        }
    }

    /// A proxy that is trusted is never exempt: a request that it does not say the origin of must not escape every limit.
    fn is_exempt(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        !self.proxies.trust(address) && self.exempt.iter().any(|network| network.contains(address))
    }

    fn shard(&self, place: Place) -> MutexGuard<'_, Shard> {
        // Mixed, because neighbours differ in their last bits only. The remainder is below SHARDS, so it fits.
        let mixed = place.0.get().wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
        let shard = &self.shards[(mixed % SHARDS as u64) as usize];
        // Every change is one number or one entry, so what a panic left behind is whole.
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The IPv4 address, or the IPv6 /64 that `address` lies in.
    fn address(address: IpAddr) -> Self {
        match address.to_canonical() {
            // As an IPv6 prefix this would be one of 0:1::/32, which nobody has.
            IpAddr::V4(v4) => Self::of(1 << 32 | u64::from(u32::from(v4))),
            IpAddr::V6(v6) => Self::of((u128::from(v6) >> 64) as u64),
        }
    }

    /// The IPv4 /24 or the IPv6 /64 that `address` lies in.
    fn network(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of(1 << 32 | u64::from(u32::from(v4) & !0xff)),
            IpAddr::V6(_) => Self::address(address),
        }
    }

    fn of(bits: u64) -> Self {
        // ::/64 is no network that anybody connects from, so it may share a place with ::1:0:0:0:0/64, which is none either.
        Self(NonZeroU64::new(bits).unwrap_or(NonZeroU64::MIN))
    }
}

/// An HTTP connection, counted for its address until it ends or becomes a WebSocket.
pub(crate) struct Visit {
    /// Names it in logs.
    pub(crate) number: u64,
    /// The other end, which may be a proxy.
    pub(crate) peer: IpAddr,
    place: Option<Place>,
    shared: Arc<Shared>,
}

impl Visit {
    /// Counts a connection that was accepted from `peer`; `None` when its address has too many.
    pub(crate) fn begin(shared: &Arc<Shared>, peer: IpAddr) -> Option<Self> {
        let peer = peer.to_canonical();
        let place = shared.crowd.arrive(peer).ok()?;
        Some(Self { number: shared.next_visit(), peer, place, shared: shared.clone() })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.shared.crowd.uncount(place, |count| &mut count.http);
        }
    }
}

/// Leave to open one session, counted from the handshake on. Given up unless it is [kept](Self::keep).
pub(crate) struct Entry {
    core: Rc<Core>,
    place: Option<Place>,
}

impl Entry {
    /// Leave for `client`; an error says how many milliseconds to wait.
    pub(crate) fn ask(core: &Rc<Core>, client: IpAddr) -> Result<Self, u64> {
        core.shared.crowd.knock(client)?;
        Ok(Self { core: core.clone(), place: core.shared.crowd.enter(client)? })
    }

    /// The session is open, and its end has to [`Crowd::leave`] with this.
    pub(crate) fn keep(mut self) -> Option<Place> {
        self.place.take()
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(place) = self.place {
            self.core.shared.crowd.leave(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn crowd(connections_per_address: usize, handshakes_per_second: u32) -> Crowd {
        let limits = Limits { connections_per_address, handshakes_per_second, ..Limits::default() };
        Crowd::new(&limits, &["10.0.0.0/8".parse().unwrap()])
    }

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn t24_an_address_has_so_many_sessions_and_whoever_leaves_makes_room() {
        let crowd = crowd(2, 0);
        for (same, other) in [
            (["203.0.113.1", "203.0.113.1", "::ffff:203.0.113.1"], "203.0.113.2"),
            (["2001:db8::1", "2001:db8::2", "2001:db8:0:0:ffff::3"], "2001:db8:0:1::1"),
        ] {
            let first = crowd.enter(address(same[0])).unwrap().expect("it is counted");
            assert!(crowd.enter(address(same[1])).is_ok());
            assert_eq!(crowd.enter(address(same[2])), Err(COME_BACK));
            assert!(crowd.enter(address(other)).is_ok());
            crowd.leave(first);
            assert!(crowd.enter(address(same[2])).is_ok());
            assert_eq!(crowd.enter(address(same[2])), Err(COME_BACK));
        }
    }

    #[test]
    fn t24_an_address_has_twice_as_many_http_connections_as_sessions() {
        let crowd = crowd(2, 0);
        let mallory = address("203.0.113.1");
        let places: Vec<_> = (0..4).map(|_| crowd.arrive(mallory).unwrap().expect("it is counted")).collect();
        assert_eq!(crowd.arrive(mallory), Err(()));
        crowd.uncount(places[0], |count| &mut count.http);
        assert!(crowd.arrive(mallory).is_ok());
        // The two are counted apart.
        assert!(crowd.enter(mallory).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn t24_a_network_may_open_so_many_sessions_per_second() {
        let crowd = crowd(0, 2);
        for (same, other) in [
            (["203.0.113.1", "203.0.113.2", "203.0.113.255"], "203.0.114.1"),
            (["2001:db8::1", "2001:db8::2", "2001:db8::3"], "2001:db8:0:1::1"),
        ] {
            assert_eq!(crowd.knock(address(same[0])), Ok(()));
            assert_eq!(crowd.knock(address(same[1])), Ok(()));
            assert_eq!(crowd.knock(address(same[2])), Err(500));
            assert_eq!(crowd.knock(address(other)), Ok(()));
        }
        tokio::time::advance(Duration::from_millis(500)).await;
        assert_eq!(crowd.knock(address("203.0.113.3")), Ok(()));
        assert_eq!(crowd.knock(address("203.0.113.3")), Err(500));
    }

    #[test]
    fn loopback_is_not_counted_and_a_proxy_only_for_whom_it_does_not_name() {
        let crowd = crowd(1, 1);
        for local in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            for _ in 0..10 {
                assert_eq!(crowd.knock(address(local)), Ok(()));
                assert_eq!(crowd.enter(address(local)), Ok(None));
                assert_eq!(crowd.arrive(address(local)), Ok(None));
            }
        }
        let proxy = address("10.0.0.1");
        assert_eq!((crowd.arrive(proxy), crowd.arrive(proxy)), (Ok(None), Ok(None)));
        assert!(crowd.enter(proxy).is_ok());
        assert_eq!(crowd.enter(proxy), Err(COME_BACK));
    }

    #[test]
    fn a_proxy_on_loopback_is_no_way_around_the_limits() {
        let limits = Limits { connections_per_address: 1, ..Limits::default() };
        let crowd = Crowd::new(&limits, &["127.0.0.1".parse().unwrap()]);
        assert!(crowd.enter(address("127.0.0.1")).is_ok());
        assert_eq!(crowd.enter(address("127.0.0.1")), Err(COME_BACK));
    }

    #[test]
    fn zero_sets_no_limit() {
        let crowd = crowd(0, 0);
        let mallory = address("203.0.113.1");
        for _ in 0..10_000 {
            assert_eq!(crowd.knock(mallory), Ok(()));
            assert_eq!(crowd.enter(mallory), Ok(None));
            assert_eq!(crowd.arrive(mallory), Ok(None));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_is_kept_of_those_who_are_gone() {
        let crowd = crowd(1, 1_000);
        for number in 0..100_000_u32 {
            let passing = IpAddr::from((0xcb00_0000 + number * 256).to_be_bytes());
            let place = crowd.enter(passing).unwrap().expect("it is counted");
            crowd.knock(passing).unwrap();
            crowd.leave(place);
            tokio::time::advance(Duration::from_millis(1)).await;
        }
        let kept = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap();
            (shard.places.len(), shard.networks.len())
        };
        for shard in &crowd.shards {
            let (places, networks) = kept(shard);
            assert_eq!(places, 0);
            assert!(networks <= SWEEP, "{networks}");
        }
    }
}
