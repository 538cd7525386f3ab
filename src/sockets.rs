//! Listening sockets that outlive those who accept on them.
//!
//! A socket that is closed refuses whoever connects before the next one listens, and an SDK that is
//! refused may drop its spans. So sockets are kept here: handed over by systemd (or whoever starts
//! us as it does), they outlive the process; opened by ourselves, they outlive a change of the
//! configuration. Who connects meanwhile waits in the kernel's queue.
//!
//! And what connections want of the kernel, on either side.

use crate::config::World;
use listenfd::ListenFd;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Lets the packets of `stream` go at once, if its `peer` is on this machine. Where BBR is the
/// host's algorithm against congestion, it spaces packets by a timer for each, here too, where
/// there is no line to be congested: a sixth of what a request costs that no processor looks at.
/// Reno spaces nothing, is in every kernel, and may be chosen by everybody.
pub fn unpace(stream: &impl AsFd, peer: IpAddr) {
    #[cfg(target_os = "linux")]
    if peer.to_canonical().is_loopback() {
        // What cannot be changed works as well.
        let _ = socket2::SockRef::from(stream).set_tcp_congestion(b"reno");
    }
}

/// The sockets of the process. Cloning shares them.
#[derive(Clone, Default)]
pub struct Sockets {
    kept: Arc<Mutex<Vec<Kept>>>,
}

struct Kept {
    /// Whose it is: an inherited one's name, or that of the listener that opened it.
    name: String,
    /// The address that was asked for, or that it had when it was inherited.
    address: SocketAddr,
    inherited: bool,
    /// Whether somebody listens on it in the present configuration.
    used: bool,
    socket: TcpListener,
}

impl Sockets {
    /// The sockets that the process was started with, by the protocol of systemd: `LISTEN_FDS` of
    /// them, named by `LISTEN_FDNAMES`. To be called before there are threads. The error is a
    /// sentence.
    pub fn inherited() -> Result<Sockets, String> {
        let names = (World::system().env)("LISTEN_FDNAMES").unwrap_or_default();
        let mut names = names.split(':');
        let mut given = ListenFd::from_env();
        let sockets = Sockets::default();
        for index in 0..given.len() {
            let name = names.next().unwrap_or_default().to_owned();
            let failed =
                |error: io::Error| format!("the inherited socket {index} ({name:?}): {error}");
            let Some(socket) = given.take_tcp_listener(index).map_err(failed)? else { continue };
            let address = socket.local_addr().map_err(failed)?;
            let kept = Kept { name, address, inherited: true, used: false, socket };
            sockets.kept().push(kept);
        }
        Ok(sockets)
    }

    /// The socket of the listener `name` at one of `addresses`, if there is one that nobody uses.
    /// An inherited one is found by its name, the last part of `name` (`http` of `otlp/http`), as
    /// well.
    pub fn take(&self, name: &str, addresses: &[SocketAddr]) -> io::Result<Option<TcpListener>> {
        let short = name.rsplit('/').next().unwrap_or(name);
        let named = |kept: &Kept| kept.inherited && kept.name == short;
        // Port 0 is another one each time.
        let own = |kept: &Kept| kept.inherited || kept.address.port() != 0 || kept.name == name;
        let there = |kept: &Kept| addresses.contains(&kept.address) && own(kept);
        let mut kept = self.kept();
        let free = kept.iter_mut().filter(|kept| !kept.used);
        // A name was written on purpose.
        let found = free.filter(|kept| named(kept) || there(kept)).max_by_key(|kept| named(kept));
        let Some(found) = found else { return Ok(None) };
        found.used = true;
        found.socket.try_clone().map(Some)
    }

    /// Keeps the socket that the listener `name` has opened at `address`.
    pub fn keep(&self, name: &str, address: SocketAddr, socket: TcpListener) {
        let name = name.to_owned();
        self.kept().push(Kept { name, address, inherited: false, used: true, socket });
    }

    /// Nobody uses them any more; those who come next may take them.
    pub fn release(&self) {
        self.kept().iter_mut().for_each(|kept| kept.used = false);
    }

    /// Closes those that nobody has taken, but for inherited ones, and names these.
    pub fn close_unused(&self) -> Vec<String> {
        let mut kept = self.kept();
        kept.retain(|kept| kept.used || kept.inherited);
        let unused = kept.iter().filter(|kept| !kept.used);
        unused.map(|kept| format!("{} ({})", kept.name, kept.address)).collect()
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> (SocketAddr, TcpListener) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        (socket.local_addr().unwrap(), socket)
    }

    fn inherited(sockets: &Sockets, name: &str) -> SocketAddr {
        let (address, socket) = opened();
        let name = name.to_owned();
        sockets.kept().push(Kept { name, address, inherited: true, used: false, socket });
        address
    }

    /// The address of what is taken.
    fn take(sockets: &Sockets, name: &str, wanted: &str) -> Option<SocketAddr> {
        let taken = sockets.take(name, &[wanted.parse().unwrap()]).unwrap();
        taken.map(|socket| socket.local_addr().unwrap())
    }

    #[test]
    fn inherited_ones_are_found_by_name_and_by_address() {
        let sockets = Sockets::default();
        let (one, http) = (inherited(&sockets, "spanloom.socket"), inherited(&sockets, "http"));
        assert_eq!(take(&sockets, "otlp/grpc", "127.0.0.1:4317"), None);
        assert_eq!(take(&sockets, "otlp/http", "127.0.0.1:4318"), Some(http));
        assert_eq!(take(&sockets, "otlp/http", "127.0.0.1:4318"), None, "one listener each");
        assert_eq!(take(&sockets, "otlp/grpc", &one.to_string()), Some(one));
        sockets.release();
        assert_eq!(sockets.close_unused().len(), 2, "they are never closed");
        assert_eq!(take(&sockets, "otlp/http", "127.0.0.1:4318"), Some(http));
    }

    #[test]
    fn those_opened_here_are_kept_until_a_configuration_does_without_them() {
        let sockets = Sockets::default();
        let ((first, socket), (_, random)) = (opened(), opened());
        let bound = random.local_addr().unwrap();
        sockets.keep("otlp otlp/grpc", first, socket);
        sockets.keep("otlp otlp/http", "127.0.0.1:0".parse().unwrap(), random);
        assert_eq!(take(&sockets, "otlp otlp/grpc", &first.to_string()), None, "it is in use");
        sockets.release();
        assert_eq!(take(&sockets, "other otlp/http", "127.0.0.1:0"), None);
        assert_eq!(take(&sockets, "otlp otlp/http", "127.0.0.1:0"), Some(bound));
        assert_eq!(sockets.close_unused(), Vec::<String>::new());
        sockets.release();
        assert_eq!(take(&sockets, "otlp otlp/grpc", &first.to_string()), None, "it is closed");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn only_connections_within_the_machine_are_not_paced() {
        let (address, _listener) = opened();
        let stream = std::net::TcpStream::connect(address).unwrap();
        let congestion = || {
            let name = socket2::SockRef::from(&stream).tcp_congestion().unwrap();
            String::from_utf8(name).unwrap().trim_end_matches('\0').to_owned()
        };
        let usual = congestion();
        for (peer, expected) in [
            ("192.0.2.1", usual.as_str()),
            ("2001:db8::1", usual.as_str()),
            ("::ffff:127.0.0.1", "reno"),
        ] {
            unpace(&stream, peer.parse().unwrap());
            assert_eq!(congestion(), expected, "{peer}");
        }
    }
}
