//! Queues and their sides as parts of values: how they get to other processes.

use std::os::fd::AsFd;
use std::sync::Arc;

use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ends::{Consumer, Producer};
use super::store::Store;
use super::{JoinableQueue, Queue, SimpleQueue};
use crate::sys::socket;
use crate::wire::attach::Handle;

/// On the wire: the memory, the file behind it, and the sockets of one side.
type Side = (Handle, Handle, Handle, Handle);

/// The sockets of the producers and then those of the consumers.
type Both = (Handle, Handle, Handle, Handle, Handle, Handle);

fn opened<E: Error>(memory: Handle, file: Handle, sockets: &[&Handle]) -> Result<Arc<Store>, E> {
    if !sockets.iter().all(|socket| socket::is_of_packets(socket.as_fd())) {
        return Err(E::custom("a descriptor is no side of a queue"));
    }
    Store::open(memory, file).map(Arc::new).map_err(E::custom)
}

impl<T> Serialize for Producer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let store = &self.side.store;
        (store.page.handle(), &store.file, &self.side.bell.handle, &self.side.parcels).serialize(serializer)
    }
}

impl<T> Serialize for Consumer<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let store = self.store();
        (store.page.handle(), &store.file, &self.side.bell.handle, &self.side.parcels).serialize(serializer)
    }
}

impl<T> Serialize for Queue<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let store = self.consumer.store();
        let (puts, gets) = (&self.producer.side, &self.consumer.side);
        let sockets = (&puts.bell.handle, &puts.parcels, &gets.bell.handle, &gets.parcels);
        (store.page.handle(), &store.file, sockets.0, sockets.1, sockets.2, sockets.3).serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Producer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Producer<T>, D::Error> {
        let (memory, file, bell, parcels) = Side::deserialize(deserializer)?;
        let store = opened(memory, file, &[&bell, &parcels])?;
        Ok(Producer::new(store, bell, parcels))
    }
}

impl<'de, T> Deserialize<'de> for Consumer<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Consumer<T>, D::Error> {
        let (memory, file, bell, parcels) = Side::deserialize(deserializer)?;
        let store = opened(memory, file, &[&bell, &parcels])?;
        Ok(Consumer::new(store, bell, parcels))
    }
}

impl<'de, T> Deserialize<'de> for Queue<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Queue<T>, D::Error> {
        let (memory, file, put_bell, put_parcels, get_bell, get_parcels) = Both::deserialize(deserializer)?;
        let store = opened(memory, file, &[&put_bell, &put_parcels, &get_bell, &get_parcels])?;
        let producer = Producer::new(Arc::clone(&store), put_bell, put_parcels);
        Ok(Queue { producer, consumer: Consumer::new(store, get_bell, get_parcels) })
    }
}

macro_rules! as_queue {
    ($($other:ident)*) => {$(
        impl<T> Serialize for $other<T> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.queue.serialize(serializer)
            }
        }

        impl<'de, T> Deserialize<'de> for $other<T> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$other<T>, D::Error> {
                Ok($other { queue: Queue::deserialize(deserializer)? })
            }
        }
    )*};
}

as_queue!(JoinableQueue SimpleQueue);
