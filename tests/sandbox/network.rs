//! The network, and local sockets.

use std::net::{TcpListener, TcpStream, UdpSocket};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener, UnixStream};

use procpool::{Sandbox, task};

use super::Ends::With;
use super::files::Dir;
use super::{Act, Place, confined, contrast, forbidden, number};

#[task]
fn connect(place: Place) -> Act {
    TcpStream::connect(("127.0.0.1", place.port)).map(drop).map_err(number)
}

#[task]
pub(crate) fn listen(_place: Place) -> Act {
    TcpListener::bind("127.0.0.1:0").map(drop).map_err(number)
}

#[task]
fn use_datagrams(_place: Place) -> Act {
    UdpSocket::bind("127.0.0.1:0").map(drop).map_err(number)
}

#[task]
fn use_raw_packets(_place: Place) -> Act {
    use rustix::net::{AddressFamily, SocketType, ipproto::ICMP, socket};
    socket(AddressFamily::INET, SocketType::RAW, Some(ICMP))
        .map(drop)
        .map_err(rustix::io::Errno::raw_os_error)
}

#[task]
fn use_another_protocol(_place: Place) -> Act {
    use rustix::net::{AddressFamily, SocketType, ipproto::MPTCP, socket};
    socket(AddressFamily::INET, SocketType::STREAM, Some(MPTCP))
        .map(drop)
        .map_err(rustix::io::Errno::raw_os_error)
}

#[task]
fn connect_to_a_path(place: Place) -> Act {
    UnixStream::connect(&place.path).map(drop).map_err(number)
}

fn abstract_address(place: &Place) -> SocketAddr {
    SocketAddr::from_abstract_name(format!("scratch-sandbox-{}", place.pid)).expect("a name")
}

#[task]
fn connect_to_an_abstract_name(place: Place) -> Act {
    UnixStream::connect_addr(&abstract_address(&place)).map(drop).map_err(number)
}

#[task]
fn send_to_a_path_from_a_pair(place: Place) -> Act {
    let (one, _other) = UnixDatagram::pair().map_err(number)?;
    one.send_to(b"out", &place.path).map(drop).map_err(number)
}

#[task]
fn talk_to_itself(_place: Place) -> Act {
    use std::io::{Read, Write};
    let (mut one, mut other) = UnixStream::pair().map_err(number)?;
    one.write_all(b"in").map_err(number)?;
    other.read_exact(&mut [0; 2]).map_err(number)
}

forbidden! {
    no_port_can_be_listened_at: listen, Place::here(), With(libc::EPERM);
    no_datagrams_can_be_sent: use_datagrams, Place::here(), With(libc::EPERM);
    no_raw_packets_can_be_sent: use_raw_packets, Place::here(), With(libc::EPERM);
}

crate::support::isolated! {
    timeout = 60;

    fn nobody_can_be_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        contrast(connect, &Place { port, ..Place::here() }, Sandbox::required(), With(libc::EPERM));
    }

    fn a_network_that_is_allowed_is_tcp_and_udp() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let pool = confined(Sandbox::required().network(true));
        assert_eq!(pool.submit(connect, Place { port, ..Place::here() }).result().expect("an answer"), Ok(()));
        assert_eq!(pool.submit(listen, Place::here()).result().expect("an answer"), Ok(()));
        assert_eq!(pool.submit(use_datagrams, Place::here()).result().expect("an answer"), Ok(()));
        let raw = pool.submit(use_raw_packets, Place::here()).result().expect("an answer");
        assert_eq!(raw, Err(libc::EPERM));
        let other = pool.submit(use_another_protocol, Place::here()).result().expect("an answer");
        assert_eq!(other, Err(libc::EPERM));
    }

    fn no_local_socket_can_be_reached_by_its_path() {
        let dir = Dir::new();
        let _listener = UnixListener::bind(dir.0.join("socket")).expect("a socket");
        let place = dir.place("socket");
        contrast(connect_to_a_path, &place, Sandbox::required(), With(libc::EPERM));
        contrast(connect_to_a_path, &place, Sandbox::required().network(true).write(&dir.0), With(libc::EPERM));
    }

    fn no_local_socket_can_be_reached_by_an_abstract_name() {
        let place = Place::here();
        let _listener = UnixListener::bind_addr(&abstract_address(&place)).expect("a socket");
        contrast(connect_to_an_abstract_name, &place, Sandbox::required(), With(libc::EPERM));
        contrast(connect_to_an_abstract_name, &place, Sandbox::required().network(true), With(libc::EPERM));
    }

    fn no_pair_can_send_to_others() {
        let dir = Dir::new();
        let _receiver = UnixDatagram::bind(dir.0.join("socket")).expect("a socket");
        contrast(send_to_a_path_from_a_pair, &dir.place("socket"), Sandbox::required(), With(libc::EPERM));
    }

    fn a_pair_without_a_name_can_be_used() {
        let pool = confined(Sandbox::required());
        assert_eq!(pool.submit(talk_to_itself, Place::here()).result().expect("an answer"), Ok(()));
    }
}
