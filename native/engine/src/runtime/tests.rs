//! The engine on loopback, without TAPs: those need root, and test/net has them.

use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::mail::Mail;
use super::{Engine, Listen, Options, PATH_MTU};
use crate::cipher::Cipher;
use crate::command::{Command, SessionKeys};
use crate::events::{Event, Why};
use crate::ids::{Endpoint, PeerId};

const PATIENCE: Duration = Duration::from_secs(10);
const A: PeerId = PeerId([0xaa; 16]);
const B: PeerId = PeerId([0xbb; 16]);

struct Host {
    engine: Engine,
    woken: Receiver<()>,
    failures: Arc<Mutex<Vec<String>>>,
    seen: Vec<Event>,
}

impl Host {
    fn open(lanes: usize) -> Self {
        let failures = Arc::<Mutex<Vec<String>>>::default();
        let told = Arc::clone(&failures);
        let engine = Engine::open(Options {
            listen: vec![Listen { address: Some(Ipv4Addr::LOCALHOST.into()), port: 0 }],
            lanes,
            path_mtu: PATH_MTU,
            keys: Arc::default(),
            failed: Box::new(move |line| told.lock().unwrap().push(line.to_owned())),
        })
        .unwrap();
        let (wake, woken) = channel();
        engine.on_ready(Box::new(move || wake.send(()).unwrap()));
        Self { engine, woken, failures, seen: Vec::new() }
    }

    fn at(&self) -> Endpoint {
        Endpoint::new(Ipv4Addr::LOCALHOST.into(), self.engine.local_port())
    }

    /// The first event that `wanted` takes, in the order in which they came.
    fn event(&mut self, wanted: impl Fn(&Event) -> bool) -> Event {
        let end = Instant::now() + PATIENCE;
        loop {
            if let Some(at) = self.seen.iter().position(&wanted) {
                return self.seen.remove(at);
            }
            let left = end.saturating_duration_since(Instant::now());
            self.woken.recv_timeout(left).expect("the event that is waited for");
            self.seen.extend(self.engine.take_events());
        }
    }
}

fn keys(from: PeerId, to: PeerId, at: Endpoint, serial: u8) -> Command {
    let PeerId([own, ..]) = from;
    let PeerId([other, ..]) = to;
    Command::SessionInstall(Box::new(SessionKeys {
        peer: to,
        local: u32::from(own) << 8 | u32::from(serial),
        remote: u32::from(other) << 8 | u32::from(serial),
        cipher: Cipher::Aes256Gcm,
        seal_key: [own ^ serial; 32],
        seal_iv: [own; 12],
        open_key: [other ^ serial; 32],
        open_iv: [other; 12],
        confirmed: own < other,
        peer_queues: 1,
        partial_checksum: true,
        endpoint: at,
    }))
}

fn pair(lanes: usize) -> (Host, Host) {
    let (a, b) = (Host::open(lanes), Host::open(lanes));
    connect(&a, &b, 1);
    (a, b)
}

fn connect(a: &Host, b: &Host, serial: u8) {
    // The answering side first: it must know the key when the initiator confirms.
    b.engine.apply(vec![keys(B, A, a.at(), serial)]);
    a.engine.apply(vec![keys(A, B, b.at(), serial)]);
}

fn is_control(event: &Event) -> bool {
    matches!(event, Event::Control { .. })
}

fn is_confirmed(event: &Event) -> bool {
    matches!(event, Event::SessionConfirmed { .. })
}

#[test]
fn controls_pass_between_two_engines_with_any_number_of_lanes() {
    for lanes in [1, 3] {
        let (mut a, mut b) = pair(lanes);
        b.event(is_confirmed);
        for (from, to, sender) in [(A, B, 0), (B, A, 1)] {
            let (source, target) = if sender == 0 { (&a, &mut b) } else { (&b, &mut a) };
            source.engine.send_control(to, b"hello");
            assert_eq!(target.event(is_control), Event::Control { from, body: Box::from(*b"hello") });
        }
        assert!(a.failures.lock().unwrap().is_empty());
    }
}

#[test]
fn a_lane_that_fails_is_reported_and_begins_again_without_sessions() {
    let (mut a, mut b) = pair(1);
    b.event(is_confirmed);
    a.engine.post(0, Mail::Panic);
    let wanted = a.event(|event| matches!(event, Event::SessionWanted { .. }));
    assert!(matches!(wanted, Event::SessionWanted { peer: B, why: Why::Frame | Why::Silent | Why::Rekey }));
    let end = Instant::now() + PATIENCE;
    while a.failures.lock().unwrap().is_empty() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(*a.failures.lock().unwrap(), ["lane 0 failed (as asked): all sessions begin anew"]);
    a.engine.send_control(B, b"lost");
    connect(&a, &b, 2);
    b.event(is_confirmed);
    a.engine.send_control(B, b"hello");
    assert_eq!(b.event(is_control), Event::Control { from: A, body: Box::from(*b"hello") });
}

#[test]
fn a_port_that_another_has_is_refused_whatever_the_lanes() {
    let first = Host::open(2);
    for lanes in [1, 2] {
        let error = Engine::open(Options {
            listen: vec![Listen { address: Some(Ipv4Addr::LOCALHOST.into()), port: first.engine.local_port() }],
            lanes,
            path_mtu: PATH_MTU,
            keys: Arc::default(),
            failed: Box::new(|_| {}),
        })
        .err()
        .unwrap();
        assert_eq!(error.errno, libc::EADDRINUSE);
    }
}

#[test]
fn nobody_is_woken_after_the_end() {
    let (a, mut b) = pair(1);
    b.event(is_confirmed);
    b.engine.close();
    a.engine.send_control(B, b"hello");
    b.engine.send_control(A, b"hello");
    b.engine.apply(vec![keys(B, A, a.at(), 3)]);
    assert!(b.woken.recv_timeout(Duration::from_millis(50)).is_err());
}
