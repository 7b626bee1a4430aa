//! Slows down whoever guesses passwords: after a few wrong ones from an address, each further attempt
//! from it waits its turn, longer with every failure, whether its password is right or not.
//!
//! Attempts of one address wait one behind the other, so that many connections guess no faster than
//! one. Failures are forgotten with time. Pure logic: the clock is the caller's.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

/// Wrong passwords that cost nothing: people mistype, and drivers try twice.
const FREE: u32 = 3;
/// Delay of the first attempt after those; doubles with each failure.
const FIRST_DELAY: Duration = Duration::from_millis(250);
/// In this time one failure is forgotten.
const FORGET_ONE: Duration = Duration::from_secs(10);
/// Failures remembered of one address.
const MOST: u32 = 12;
/// Addresses remembered; bounds the memory that attackers can take.
const ADDRESSES: usize = 10_000;

#[derive(Debug)]
pub struct Throttle {
    /// Longest delay between two attempts; zero: no throttling.
    max_delay: Duration,
    addresses: Mutex<HashMap<IpAddr, Record>>,
}

#[derive(Debug, Clone, Copy)]
struct Record {
    failures: u32,
    /// When the last failure was counted or forgotten.
    since: Instant,
    /// The next attempt's turn.
    next: Instant,
}

impl Throttle {
    pub fn new(max_delay: Duration) -> Self {
        Self { max_delay, addresses: Mutex::default() }
    }

    /// An attempt is about to be checked: how long it has to wait before. The error: so many wait that
    /// it is refused unchecked; worth another try after that time.
    pub fn admit(&self, address: IpAddr, now: Instant) -> Result<Duration, Duration> {
        let mut addresses = self.addresses.lock();
        let Some(record) = addresses.get_mut(&origin(address)) else { return Ok(Duration::ZERO) };
        record.forget(now);
        let delay = self.delay(record.failures);
        if delay.is_zero() {
            return Ok(Duration::ZERO);
        }
        let turn = record.next.max(now + delay);
        let wait = turn - now;
        if wait > self.max_delay * 2 {
            return Err(wait);
        }
        record.next = turn + delay;
        Ok(wait)
    }

    /// A password was wrong. Returns how often that happened at this address of late.
    pub fn failed(&self, address: IpAddr, now: Instant) -> u32 {
        let mut addresses = self.addresses.lock();
        let origin = origin(address);
        if addresses.len() >= ADDRESSES && !addresses.contains_key(&origin) {
            make_room(&mut addresses, now);
        }
        let record = addresses.entry(origin).or_insert(Record { failures: 0, since: now, next: now });
        record.forget(now);
        record.failures = (record.failures + 1).min(MOST);
        record.since = now;
        record.failures
    }

    fn delay(&self, failures: u32) -> Duration {
        match failures.checked_sub(FREE) {
            None => Duration::ZERO,
            Some(beyond) => FIRST_DELAY.saturating_mul(1 << beyond.min(MOST)).min(self.max_delay),
        }
    }
}

impl Record {
    fn forget(&mut self, now: Instant) {
        while self.failures > 0 && now.saturating_duration_since(self.since) >= FORGET_ONE {
            self.failures -= 1;
            self.since += FORGET_ONE;
        }
    }
}

/// One client's addresses: for IPv6 the network of 64 bits, all of which a single host usually has.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

/// Forgets addresses that have nothing left against them; if there are none, the one whose failure
/// is the longest ago.
fn make_room(addresses: &mut HashMap<IpAddr, Record>, now: Instant) {
    addresses.retain(|_, record| {
        record.forget(now);
        record.failures > 0 || record.next > now
    });
    if addresses.len() >= ADDRESSES {
        let oldest = addresses.iter().min_by_key(|(_, record)| record.since).map(|(address, _)| *address);
        oldest.and_then(|address| addresses.remove(&address));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: Duration = Duration::from_secs(8);

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn fail(throttle: &Throttle, who: &str, times: u32, now: Instant) {
        (0..times).for_each(|_| {
            throttle.failed(address(who), now);
        });
    }

    #[test]
    fn delays_grow_to_a_bound_and_are_forgotten() {
        let (throttle, start) = (Throttle::new(MAX), Instant::now());
        let who = address("192.0.2.1");
        assert_eq!(throttle.admit(who, start), Ok(Duration::ZERO));
        fail(&throttle, "192.0.2.1", 2, start);
        assert_eq!(throttle.admit(who, start), Ok(Duration::ZERO));
        let mut now = start;
        for millis in [250, 500, 1000, 2000, 4000, 8000, 8000, 8000] {
            fail(&throttle, "192.0.2.1", 1, now);
            now += Duration::from_millis(millis) * 2;
            assert_eq!(
                throttle.delay(throttle.addresses.lock()[&who].failures),
                Duration::from_millis(millis)
            );
            // Keeps what it has: the last failure is less than the time of forgetting ago.
            throttle.addresses.lock().get_mut(&who).unwrap().since = now;
        }
        assert_eq!(throttle.admit(who, now + FORGET_ONE * MOST), Ok(Duration::ZERO));
    }

    #[test]
    fn many_connections_guess_no_faster_than_one() {
        let (throttle, now) = (Throttle::new(MAX), Instant::now());
        fail(&throttle, "192.0.2.1", 5, now);
        let who = address("192.0.2.1");
        // Each second one, as long as the queue is not too long.
        let turns: Vec<_> = (0..17).map(|_| throttle.admit(who, now)).collect();
        for (n, turn) in turns.iter().take(16).enumerate() {
            assert_eq!(*turn, Ok(Duration::from_secs(n as u64 + 1)));
        }
        assert_eq!(turns[16], Err(Duration::from_secs(17)));
        // Others are not concerned.
        assert_eq!(throttle.admit(address("192.0.2.2"), now), Ok(Duration::ZERO));
    }

    #[test]
    fn a_host_has_many_ipv6_addresses() {
        let (throttle, now) = (Throttle::new(MAX), Instant::now());
        (0..4).for_each(|n| fail(&throttle, &format!("2001:db8::{n}"), 1, now));
        assert_ne!(throttle.admit(address("2001:db8::ffff"), now), Ok(Duration::ZERO));
        assert_eq!(throttle.admit(address("2001:db8:0:1::1"), now), Ok(Duration::ZERO));
    }

    #[test]
    fn memory_is_bounded_and_it_can_be_turned_off() {
        let (throttle, now) = (Throttle::new(MAX), Instant::now());
        for n in 0..ADDRESSES as u32 + 10 {
            throttle.failed(std::net::Ipv4Addr::from_bits(n).into(), now);
        }
        assert_eq!(throttle.addresses.lock().len(), ADDRESSES);
        let off = Throttle::new(Duration::ZERO);
        fail(&off, "192.0.2.1", 20, now);
        assert_eq!(off.admit(address("192.0.2.1"), now), Ok(Duration::ZERO));
    }
}
