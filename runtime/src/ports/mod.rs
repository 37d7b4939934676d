//! Published ports: what a user asks for ([`publish`]), the sockets on the
//! host ([`listen`]) and the bytes between them and the box (`forward`).

pub(crate) mod forward;
pub mod listen;
pub mod publish;

pub use listen::PublishedPort;
pub use publish::{Protocol, Publish, PublishError};
