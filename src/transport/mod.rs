//! What receivers and exporters share of HTTP, gRPC, TLS and telemetry files, without a socket.
//!
//! Every function here takes bytes or header text from the other side, who may be hostile: none
//! panics, and none allocates more than it is allowed to. The codes themselves, and what they mean
//! for a client, are tables in [`crate::verdict`]; this room writes and reads them.
//!
//! Deliberately absent: sockets, connection pools and streaming calls. OTLP is unary.

pub mod compress;
pub mod content;
pub mod cork;
pub mod grpc;
pub mod http;
pub mod media;
pub mod record;
pub mod tls;

pub use compress::{Encoding, Inflate};
pub use grpc::Status;
pub use media::Media;
