//! F10: names that change, vanish and take their time, by a resolver of our own. The binary sees it
//! as its system's, in a mount namespace where `resolv.conf` names it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, UdpSocket};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::support::agents::all_arrive;
use super::support::conservation::conserved_at_rest;
use super::support::{Daemon, Sink};
use super::{send, to};

/// What the resolver says of every name.
#[derive(Clone, Copy)]
enum Name {
    At(Ipv4Addr),
    Late(Ipv4Addr, Duration),
    Unknown,
}

/// Starts the resolver at `address`, whose port is 53 by necessity.
fn resolver(address: Ipv4Addr, name: Arc<Mutex<Name>>) -> Option<()> {
    let socket = UdpSocket::bind((address, 53)).ok()?;
    thread::spawn(move || {
        let mut query = [0; 512];
        while let Ok((n, from)) = socket.recv_from(&mut query) {
            let (name, query) = (*name.lock().unwrap(), query[..n].to_vec());
            if let (Name::Late(_, time), Ok(socket)) = (name, socket.try_clone()) {
                thread::spawn(move || {
                    thread::sleep(time);
                    let _ = socket.send_to(&answer(&query, name), from);
                });
            } else {
                let _ = socket.send_to(&answer(&query, name), from);
            }
        }
    });
    Some(())
}

/// The query with its answer, of a TTL of zero.
fn answer(query: &[u8], name: Name) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|byte| *byte == 0).unwrap_or(0) + 5;
    let is_a = query.get(end - 4..end - 2) == Some(&[0, 1]);
    let (address, code) = match name {
        Name::At(address) | Name::Late(address, _) if is_a => (Some(address), 0),
        Name::Unknown => (None, 3),
        _ => (None, 0),
    };
    let answers = u8::from(address.is_some());
    let mut out = [&query[..2], &[0x81, 0x80 | code, 0, 1, 0, answers, 0, 0, 0, 0]].concat();
    out.extend_from_slice(&query[12..end]);
    if let Some(address) = address {
        out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4]);
        out.extend(address.octets());
    }
    out
}

#[test]
fn f10_a_name_that_changes_vanishes_or_comes_late_is_asked_for_again() {
    let may_mount = Command::new("unshare").args(["-m", "true"]).status();
    if !may_mount.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mount namespace can be made here");
        return;
    }
    let (one, two) = (Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 0, 0, 3));
    let name = Arc::new(Mutex::new(Name::Unknown));
    let own = Ipv4Addr::new(127, 83, 112, 108);
    if resolver(own, name.clone()).is_none() {
        eprintln!("skipped: port 53 of {own} cannot be bound");
        return;
    }
    let folder = tempfile::TempDir::new().expect("a scratch folder");
    let resolv = folder.path().join("resolv.conf");
    let switch = folder.path().join("nsswitch.conf");
    std::fs::write(&resolv, format!("nameserver {own}\noptions timeout:5 attempts:1\n")).unwrap();
    std::fs::write(&switch, "hosts: dns\n").unwrap();
    let mount = |from: &std::path::Path, to: &str| format!("mount --bind {} {to}", from.display());
    let first = format!(
        "{} && {}",
        mount(&resolv, "$(readlink -f /etc/resolv.conf)"),
        mount(&switch, "/etc/nsswitch.conf")
    );
    let sink = Sink::start_at(&format!("{one}:0"));
    let port = sink.address().rsplit(':').next().unwrap().to_owned();
    let yaml = to(&format!("http://backend.test:{port}"));
    let daemon = Daemon::start_by(&["unshare", "-m", "sh", "-c"], &first, &yaml);

    // No such name, and then there is one.
    send(&daemon, 1);
    daemon.wait_for_log("the name cannot be resolved");
    *name.lock().unwrap() = Name::At(one);
    all_arrive(&sink, &BTreeSet::from([1]));
    // It moves: the old address is gone, the new one is found.
    drop(sink);
    *name.lock().unwrap() = Name::At(two);
    let sink = Sink::start_at(&format!("{two}:{port}"));
    send(&daemon, 2);
    all_arrive(&sink, &BTreeSet::from([2]));
    // It vanishes while the connection lives: nobody notices.
    *name.lock().unwrap() = Name::Unknown;
    send(&daemon, 3);
    all_arrive(&sink, &BTreeSet::from([2, 3]));
    // It moves, and the resolver takes its time. Longer than an attempt, as it happens.
    drop(sink);
    *name.lock().unwrap() = Name::Late(one, Duration::from_millis(800));
    let sink = Sink::start_at(&format!("{one}:{port}"));
    send(&daemon, 4);
    all_arrive(&sink, &BTreeSet::from([4]));
    conserved_at_rest(&daemon);
}
