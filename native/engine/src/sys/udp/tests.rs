use std::net::SocketAddr;
use std::os::fd::AsFd;

use super::super::set_option;
use super::*;

fn socket() -> UdpSocket {
    UdpSocket::open("127.0.0.1:0".parse().unwrap(), false).unwrap()
}

/// Every datagram that waits, apart from its run.
fn drain(receiver: &mut Receiver, at: &UdpSocket) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    loop {
        let before = found.len();
        for message in receiver.receive(at, 8) {
            found.extend(message.bytes.chunks(message.segment).map(<[u8]>::to_vec));
        }
        if found.len() == before {
            return found;
        }
    }
}

fn send(sender: &mut Sender, from: &[UdpSocket], to: SocketAddr, lengths: &[usize]) -> Vec<Vec<u8>> {
    let mut sent = Vec::new();
    for (index, &length) in lengths.iter().enumerate() {
        let room = sender.room(from, length);
        room.fill(index as u8);
        sent.push(room.to_vec());
        sender.send(to, length);
    }
    sender.flush(from);
    sent
}

#[test]
fn datagrams_of_any_sizes_arrive_as_they_were_sent() {
    let (from, to) = (vec![socket()], socket());
    let (mut sender, mut receiver) = (Sender::new(1500), Receiver::new(8));
    let patterns: [&[usize]; 6] = [
        &[1],
        &[100; 3],
        &[1400, 1400, 9],
        &[9, 1400, 1400, 1400, 30, 30, 1, 1],
        &[1472; 70],
        &[3000, 3000, 100, 65_000],
    ];
    for pattern in patterns {
        let sent = send(&mut sender, &from, to.local(), pattern);
        assert_eq!(drain(&mut receiver, &to), sent, "{pattern:?}");
    }
    assert_eq!(sender.take_lost().full + sender.take_lost().refused, 0);
    assert!(sender.refusals().is_empty());
}

#[test]
fn equal_datagrams_arrive_as_one_message() {
    let (from, to) = (vec![socket()], socket());
    let (mut sender, mut receiver) = (Sender::new(1500), Receiver::new(8));
    send(&mut sender, &from, to.local(), &[1000; 40]);
    let messages: Vec<_> = receiver.receive(&to, 8).map(|message| (message.bytes.len(), message.segment)).collect();
    assert_eq!(messages, [(40_000, 1000)]);
}

#[test]
fn a_family_without_a_socket_is_counted() {
    let from = vec![socket()];
    let mut sender = Sender::new(1500);
    send(&mut sender, &from, "[::1]:9".parse().unwrap(), &[10, 10, 10]);
    assert_eq!(sender.take_lost().refused, 3);
}

#[test]
fn a_run_that_the_path_refuses_leaves_as_single_datagrams_and_is_not_tried_again() {
    let (from, to) = (vec![socket()], socket());
    // The kernel takes no runs without checksums (EINVAL): as good as a path that is too narrow for their segments.
    set_option(&from[0].as_fd(), libc::SOL_SOCKET, libc::SO_NO_CHECK, 1).unwrap();
    let (mut sender, mut receiver) = (Sender::new(1500), Receiver::new(8));
    let sent = send(&mut sender, &from, to.local(), &[9, 100, 100, 100, 40, 7]);
    assert_eq!(drain(&mut receiver, &to), sent);
    assert_eq!(sender.refusals(), [Refusal { to: to.local(), segment_max: 99, errno: libc::EINVAL }]);
    assert!(sender.refusals()[0].to_string().starts_with("the path takes no runs of datagrams above 99 bytes"));
    let sent = send(&mut sender, &from, to.local(), &[100, 100, 100]);
    assert_eq!(drain(&mut receiver, &to), sent);
    assert_eq!((sender.refused_ever(), sender.take_lost()), (1, Lost::default()));
}

#[test]
fn queues_of_frames_are_steered_to_their_sockets() {
    let first = UdpSocket::open("127.0.0.1:0".parse().unwrap(), true).unwrap();
    let second = UdpSocket::open(first.local(), true).unwrap();
    steer(&first, 2).unwrap();
    let from = vec![socket()];
    let (mut sender, mut receiver) = (Sender::new(1500), Receiver::new(8));
    let datagram = |kind: u8, queue: u8| [kind, 0, 0, 0, 0, 0, 0, 1, queue, 0, 0, 0, 0, 0, 0, 0];
    let sent = [datagram(4, 0), datagram(4, 1), datagram(4, 2), datagram(4, 3), datagram(4, 4), datagram(1, 2)];
    for bytes in sent {
        sender.room(&from, bytes.len()).copy_from_slice(&bytes);
        sender.send(first.local(), bytes.len());
        sender.flush(&from);
    }
    let at = |found: Vec<Vec<u8>>| found.iter().map(|bytes| (bytes[0], bytes[8])).collect::<Vec<_>>();
    assert_eq!(at(drain(&mut receiver, &first)), [(4, 0), (4, 1), (4, 3), (1, 2)]);
    assert_eq!(at(drain(&mut receiver, &second)), [(4, 2), (4, 4)]);
}
