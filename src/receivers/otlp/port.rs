//! What happens to a request between its headers and its answer, in either protocol.
//!
//! Refusals come in the order of their cost: what the headers say, then room for the bytes, then
//! inflating, then the check of the content, then the pipelines. A client is told "accepted"
//! only by a receipt; whoever waits too long for one is told to come back.

use super::body::Reader;
use super::counts::Counts;
use super::keys::{Protocol, Settings};
use super::reply::{Reply, answer};
use super::{grpc, http};
use crate::batch::{Batch, Signal};
use crate::clock;
use crate::intake::Intake;
use crate::limits;
use crate::metadata::Metadata;
use crate::receipt::Receipt;
use crate::transport::compress::{inflate, inflated_size};
use crate::transport::tls::ServerTls;
use crate::transport::{Encoding, Inflate, Media};
use crate::turns::Client;
use crate::verdict::{Refusal, Verdict};
use ::http::header::{CONNECTION, CONTENT_TYPE};
use ::http::request::Parts;
use ::http::{HeaderValue, Request, Response, Version};
use bytes::Bytes;
use hyper::body::{Body, Incoming};
use std::sync::Arc;
use tokio::sync::oneshot;
use tokio::time::timeout;

/// One listening port and all that its requests need.
pub(super) struct Port {
    pub(super) settings: Settings,
    /// What is said in handshakes; `None` is plain text.
    pub(super) tls: Option<ServerTls>,
    pub(super) intake: Intake,
    /// Bytes that one connection may hold unread.
    pub(super) window: u32,
    pub(super) grpc: Counts,
    pub(super) http: Counts,
    /// Where the receiver's other protocol listens, if it does: for those who knock here.
    pub(super) elsewhere: Option<String>,
}

/// A request whose body has been read.
#[derive(Clone)]
pub(super) struct Received {
    pub(super) signal: Signal,
    pub(super) media: Media,
    pub(super) encoding: Encoding,
    pub(super) body: Bytes,
    pub(super) metadata: Option<Arc<Metadata>>,
}

/// What becomes of a request, and what was in it if that is known.
pub(super) struct Outcome {
    pub(super) verdict: Verdict,
    pub(super) found: Option<(Signal, usize)>,
}

impl From<Verdict> for Outcome {
    fn from(verdict: Verdict) -> Outcome {
        Outcome { verdict, found: None }
    }
}

impl Port {
    /// Answers one request of `client`; `fault` says what is wrong with it before it is looked at.
    pub(super) async fn answer(
        &self,
        request: Request<Incoming>,
        fault: Option<&str>,
        client: Client,
    ) -> Response<Reply> {
        let (head, mut body) = request.into_parts();
        let media = head.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok());
        let media = media.map_or(Media::Other, Media::parse);
        let multiplexed = head.version == Version::HTTP_2;
        let protocol = match media {
            Media::Grpc | Media::GrpcOther if multiplexed => Protocol::Grpc,
            _ => Protocol::Http,
        };
        let outcome = match (protocol, self.settings.protocol) {
            _ if let Some(fault) = fault => Verdict::malformed(fault).into(),
            (Protocol::Grpc, _) => grpc::receive(self, &head, media, &mut body, client).await,
            (_, Protocol::Http) => http::receive(self, &head, media, &mut body, client).await,
            _ => self.wrong_port(media).into(),
        };
        let counts = match protocol {
            Protocol::Grpc => &self.grpc,
            Protocol::Http => &self.http,
        };
        counts.request(outcome.found, &outcome.verdict);
        let mut response = answer(protocol, media, &outcome.verdict);
        // What is left of the body is not read, so nothing can follow it.
        if !multiplexed && !body.is_end_stream() {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// What the headers of a request say, if pipelines are to know.
    pub(super) fn metadata(&self, head: &Parts) -> Option<Arc<Metadata>> {
        if !self.settings.include_metadata {
            return None;
        }
        let headers = head.headers.iter();
        let (metadata, dropped) =
            Metadata::read(headers.map(|(name, value)| (name.as_str(), value.as_bytes())));
        let counts = match self.settings.protocol {
            Protocol::Grpc => &self.grpc,
            Protocol::Http => &self.http,
        };
        counts.dropped_metadata.add(dropped);
        Some(Arc::new(metadata))
    }

    fn wrong_port(&self, media: Media) -> Verdict {
        let elsewhere = match &self.elsewhere {
            Some(address) => format!("OTLP/HTTP listens on {address}"),
            None => "OTLP/HTTP is not configured".to_owned(),
        };
        let what = match media {
            Media::Grpc | Media::GrpcOther => "gRPC needs HTTP/2".to_owned(),
            _ => format!("this port takes OTLP/gRPC; {elsewhere}"),
        };
        Verdict::refused(Refusal::Media, what)
    }

    /// Takes a request whose body has been read, and waits for its verdict.
    pub(super) async fn take(&self, reader: &mut Reader<'_>, mut received: Received) -> Outcome {
        let signal = received.signal;
        let metadata = received.metadata.take();
        let mut batch = match self.open(reader, received).await {
            Ok(batch) => batch,
            Err(verdict) => return verdict.into(),
        };
        let found = Some((signal, batch.items()));
        if batch.items() == 0 {
            return Outcome { verdict: Verdict::Accepted, found };
        }
        if let Some(charge) = reader.room.take_charge() {
            batch.charge(charge);
        }
        let (settle, settled) = oneshot::channel();
        let receipt = Receipt::new(move |verdict| {
            // Fails if the client is gone, who will send again.
            let _ = settle.send(verdict);
        });
        batch.receipts = receipt.into();
        batch.metadata = metadata;
        let handed_over = async {
            self.intake.take(reader.client, batch).await;
            settled.await.unwrap_or_else(|_| Verdict::busy("the request was lost on its way"))
        };
        let late = || Verdict::busy("the pipeline did not take the request in time");
        let verdict = timeout(limits::ANSWER_WAIT, handed_over).await;
        Outcome { verdict: verdict.unwrap_or_else(|_| late()), found }
    }

    /// Opens `received` in the room that it will take. Not every format says beforehand how large
    /// that is; one that turns out larger than expected is begun again with twice the room.
    async fn open(&self, reader: &mut Reader<'_>, received: Received) -> Result<Batch, Verdict> {
        let limit = self.settings.request_bytes;
        let mut size = inflated_size(received.encoding, &received.body, limit);
        loop {
            let inflated = if received.encoding == Encoding::Identity { 0 } else { size };
            let translated = if received.media == Media::Json { size } else { 0 };
            let room = received.body.len() + inflated + translated;
            reader.room_for(room).await?;
            match self.open_within(received.clone(), size, room).await {
                Err(Closed::Larger) if size < limit => {
                    size = size.saturating_mul(2).clamp(LEAST, limit)
                }
                Err(Closed::Larger) => return Err(too_large(limit)),
                Err(Closed::Refused(verdict)) => return Err(verdict),
                Ok(batch) => return Ok(batch),
            }
        }
    }

    /// A large one on a thread of its own, since it would hold up the others.
    async fn open_within(
        &self,
        received: Received,
        size: usize,
        room: usize,
    ) -> Result<Batch, Closed> {
        if room <= limits::INLINE_BYTES {
            return open(received, size);
        }
        let opened = tokio::task::spawn_blocking(move || open(received, size)).await;
        opened.unwrap_or_else(|_| {
            Err(Verdict::refused(Refusal::Internal, "reading it failed").into())
        })
    }
}

/// Room that is given at least to what said to be smaller and was not.
const LEAST: usize = 64 << 10;

/// Why a body could not be opened.
enum Closed {
    /// More comes out of it than it was given room for.
    Larger,
    Refused(Verdict),
}

impl From<Verdict> for Closed {
    fn from(verdict: Verdict) -> Closed {
        Closed::Refused(verdict)
    }
}

/// Inflates to `size` at most, translates and checks.
fn open(received: Received, size: usize) -> Result<Batch, Closed> {
    let mut bytes = received.body;
    if received.encoding != Encoding::Identity {
        bytes = inflate(received.encoding, &bytes, size).map_err(|error| match error {
            Inflate::TooLarge { .. } => Closed::Larger,
            Inflate::Broken { .. } => Verdict::malformed(error.to_string()).into(),
        })?;
    }
    if received.media == Media::Json && !bytes.is_empty() {
        bytes = http::protobuf_of_json(received.signal, &bytes)?;
    }
    Batch::parse(received.signal, bytes, clock::now()).map_err(|error| {
        let kind = match error.is_too_large() {
            true => Refusal::TooLarge,
            false => Refusal::Malformed,
        };
        Verdict::refused(kind, error.to_string()).into()
    })
}

/// The refusal of a request that is larger than `limit`.
pub(super) fn too_large(limit: usize) -> Verdict {
    let text = format!("the request is larger than {limit} bytes; send smaller batches");
    Verdict::refused(Refusal::TooLarge, text)
}

/// The refusal of a signal that no pipeline takes.
pub(super) fn unwanted(signal: Signal) -> Verdict {
    let name = signal.name();
    let text = format!("no pipeline takes {name}; add this receiver to a {name} pipeline");
    Verdict::refused(Refusal::NotFound, text)
}

/// The refusal of a compression that is not known.
pub(super) fn unknown_encoding(value: &str) -> Verdict {
    let known = Encoding::ACCEPTED;
    let text = format!("the encoding {value:?} is not known; send one of {known}");
    Verdict::refused(Refusal::Media, text)
}
