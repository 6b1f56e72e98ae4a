//! Ends of pipes as parts of values: how they get to other processes.

use std::os::fd::AsFd;
use std::sync::Arc;

use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::connection::Connection;
use super::ends::{Receiver, Sender};
use super::link::Link;
use crate::sys::socket;
use crate::wire::attach::Handle;

/// On the wire: the socket, and whether the other direction of it is somebody else's.
#[derive(Serialize, Deserialize)]
struct End(Handle, bool);

impl End {
    /// The socket behind it, once it is known to be one.
    fn link<E: serde::de::Error>(self) -> Result<(Arc<Link>, bool), E> {
        let End(handle, shared) = self;
        if !socket::is_of_packets(handle.as_fd()) {
            return Err(E::custom("the descriptor is no end of a pipe"));
        }
        Ok((Arc::new(Link::new(handle)), shared))
    }
}

const AT_WORK: &str = "an end of a pipe cannot travel in the middle of a message, nor with messages that it has \
                       received and nobody has taken; receive them first";

impl<T> Serialize for Sender<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.out.is_at_work() {
            return Err(S::Error::custom(AT_WORK));
        }
        let serialized =
            End(self.out.link.handle.clone(), self.out.half.is_shared()).serialize(serializer)?;
        self.out.leave();
        Ok(serialized)
    }
}

impl<T> Serialize for Receiver<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.input.is_at_work() {
            return Err(S::Error::custom(AT_WORK));
        }
        let end = End(self.input.link.handle.clone(), self.input.half.is_shared());
        let serialized = end.serialize(serializer)?;
        self.input.leave();
        Ok(serialized)
    }
}

impl<A, B> Serialize for Connection<A, B> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.out.is_at_work() || self.input.is_at_work() {
            return Err(S::Error::custom(AT_WORK));
        }
        End(self.out.link.handle.clone(), false).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Sender<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Sender<T>, D::Error> {
        let (link, shared) = End::deserialize(deserializer)?.link::<D::Error>()?;
        Ok(Sender::new(link, shared))
    }
}

impl<'de, T> Deserialize<'de> for Receiver<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Receiver<T>, D::Error> {
        let (link, shared) = End::deserialize(deserializer)?.link::<D::Error>()?;
        Ok(Receiver::new(link, shared))
    }
}

impl<'de, A, B> Deserialize<'de> for Connection<A, B> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Connection<A, B>, D::Error> {
        let (link, _) = End::deserialize(deserializer)?.link::<D::Error>()?;
        Ok(Connection::new(link))
    }
}
