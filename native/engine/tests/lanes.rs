//! Several lanes at once, each on a thread of its own: every frame arrives once, no nonce is used twice, and each queue
//! has a replay window of its own.

mod common;

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use common::{A, B, Kept, VNI, at, commands, ethernet, keys};
use overlayd_engine::datagram::{self, Datagram, Outer};
use overlayd_engine::plane::{Plane, PlaneOptions};
use overlayd_engine::wire::REPLAY_WINDOW;
use overlayd_engine::{Cipher, DropReason, Frame, Lane, PeerId, SessionKeys};

const LANES: u8 = 3;
/// Of each thread; those of two threads share a queue and stay within one replay window.
const FRAMES: u32 = 3_000;

fn plane(own: PeerId, peer: PeerId) -> Arc<Plane> {
    let options = PlaneOptions::new(Arc::default(), Box::new(|bytes| bytes.fill(1)));
    let plane = Plane::new(PlaneOptions { lanes: usize::from(LANES), ..options });
    let keys = SessionKeys { peer_queues: LANES, ..keys(own, peer, Cipher::Aes256Gcm, true) };
    let mut control = plane.control_lane();
    for command in commands(own, peer, keys) {
        control.apply(command, 0, &mut Kept::default());
    }
    plane
}

/// All data threads, and the one that commands, which seals on the first one's queue.
fn lanes(plane: &Arc<Plane>) -> Vec<Lane> {
    (0..usize::from(LANES)).map(|index| plane.lane(index)).chain([plane.control_lane()]).collect()
}

fn frame(thread: u32, number: u32) -> Vec<u8> {
    ethernet(&[thread.to_be_bytes(), number.to_be_bytes()].concat())
}

fn send(lane: &mut Lane, thread: u32, count: u32) -> Vec<Vec<u8>> {
    let mut kept = Kept::default();
    for number in 0..count {
        lane.inside(VNI, Frame::complete(&frame(thread, number)), 0, &mut kept);
    }
    kept.datagrams
}

fn receive<'a>(lane: &mut Lane, datagrams: impl Iterator<Item = &'a Vec<u8>>) -> Vec<Vec<u8>> {
    let mut kept = Kept::default();
    for datagram in datagrams {
        lane.outside(&at(A), &mut datagram.clone(), 0, &mut kept);
    }
    kept.frames
}

fn outer(datagram: &[u8]) -> Outer {
    let Ok(Datagram::Sealed(outer)) = datagram::parse(datagram) else { panic!("it is sealed") };
    outer
}

fn drops(plane: &Plane) -> Vec<(DropReason, u64)> {
    plane.stats(0).drops
}

#[test]
fn every_frame_arrives_once_and_no_nonce_is_used_twice() {
    let (a, b) = (plane(A, B), plane(B, A));
    let sent: Vec<Vec<u8>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..)
            .zip(lanes(&a))
            .map(|(thread, mut lane)| scope.spawn(move || send(&mut lane, thread, FRAMES)))
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let total = sent.len();
    assert_eq!(total, FRAMES as usize * (usize::from(LANES) + 1));

    let mut counters: HashMap<u8, Vec<u64>> = HashMap::new();
    for datagram in &sent {
        let Outer { queue, counter, .. } = outer(datagram);
        counters.entry(queue).or_default().push(counter);
    }
    for (queue, counters) in &mut counters {
        counters.sort_unstable();
        let sharing = if *queue == 1 { 2 } else { 1 };
        assert_eq!(*counters, (0..u64::from(FRAMES * sharing)).collect::<Vec<_>>());
    }

    // Each lane is given all of them, from another place on.
    let mut arrived: Vec<Vec<u8>> = thread::scope(|scope| {
        let sent = &sent;
        let threads: Vec<_> = lanes(&b)
            .into_iter()
            .enumerate()
            .map(|(index, mut lane)| {
                let all = sent.iter().cycle().skip(index * total / 4).take(total);
                scope.spawn(move || receive(&mut lane, all))
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    arrived.sort_unstable();
    let expected: Vec<Vec<u8>> =
        (0..=u32::from(LANES)).flat_map(|thread| (0..FRAMES).map(move |number| frame(thread, number))).collect();
    assert!(arrived == expected, "{} of {total} frames", arrived.len());
    assert_eq!(drops(&a), []);
    assert_eq!(drops(&b), [(DropReason::Replay, 3 * total as u64)]);
}

#[test]
fn the_window_of_one_queue_moves_without_the_others() {
    let (a, b) = (plane(A, B), plane(B, A));
    let [_, mut second, mut third, _] = lanes(&a).try_into().unwrap();
    let old = [send(&mut second, 1, 1), send(&mut third, 2, 1)].concat();
    let newer = send(&mut second, 1, REPLAY_WINDOW as u32);
    let mut lane = b.lane(0);
    assert_eq!(receive(&mut lane, newer.iter()).len(), newer.len());
    assert_eq!(receive(&mut lane, old.iter()), [frame(2, 0)]);
    assert_eq!(drops(&b), [(DropReason::Replay, 1)]);
}
