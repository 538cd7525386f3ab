//! What exporters do when they are refused, over gRPC and HTTP.

use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};

use super::bench::same;
use super::exporter::{AT_ONCE, KINDS, Way, answer_of, exporting, send};
use super::support::{Answer, Fault, Proxy, Sink};
use super::table::{Checked, Row, both, client, ensure};

pub const ROWS: &[Row] = &[
    client("C34", "SHOULD", "gRPC: which of the 17 codes are tried again", |_| {
        let way = Way::start("otlp_grpc", AT_ONCE);
        for code in 0..=16 {
            for info in [false, true] {
                let details = ("grpc-status-details-bin", STANDARD_NO_PAD.encode(details(code, 1)));
                let headers = if info { vec![details] } else { vec![] };
                let told = way.told(Answer::Grpc(code, headers));
                let right = match code {
                    0 => told == (200, 1),
                    1 | 4 | 10 | 11 | 14 | 15 => told == (200, 2),
                    8 if info => told == (200, 2),
                    _ => told.0 != 200 && told.1 == 1,
                };
                ensure(right, || format!("code {code}, RetryInfo {info}: {told:?}"))?;
            }
        }
        Ok(())
    }),
    client("C35", "MUST", "gRPC: the others are dropped, and counted (SHOULD)", |_| {
        let way = Way::start("otlp_grpc", AT_ONCE);
        for code in [2, 3, 5, 6, 7, 8, 9, 12, 13, 16] {
            same(way.told(Answer::Grpc(code, vec![])).1, 1)?;
        }
        same(way.metric("send_failed"), 10.0)
    }),
    client("C36", "SHOULD", "exponential backoff with jitter", |_| {
        let more = "sending_queue: {enabled: false}, retry_on_failure: {initial_interval: 40ms, \
                    max_interval: 10s, multiplier: 2, randomization_factor: 0.5}";
        let way = Way::start("otlp_grpc", more);
        way.sink.answer_next(vec![Answer::Grpc(14, vec![]); 5]);
        same(way.send(), 200)?;
        let at: Vec<_> = way.sink.received().iter().map(|one| one.at).collect();
        same(at.len(), 6)?;
        // Waits are never shorter than half of what doubles; that they differ by chance is a
        // matter of numbers, in the unit tests of the backoff.
        for (k, two) in at.windows(2).enumerate() {
            let least = Duration::from_millis(20 << k);
            let waited = two[1] - two[0];
            ensure(waited >= least, || format!("wait {k} was {waited:?}, not {least:?}"))?;
        }
        Ok(())
    }),
    both("C37", "MUST", "overload: UNAVAILABLE; the client waits as long as it is told", |_| {
        let way = Way::start("otlp_grpc", AT_ONCE);
        let details = ("grpc-status-details-bin", STANDARD_NO_PAD.encode(details(14, 600)));
        same(way.told(Answer::Grpc(14, vec![details])), (200, 2))?;
        waited(&way, Duration::from_millis(600))
    }),
    both("C40", "-", "details travel in grpc-status-details-bin, padded or not", |_| {
        let way = Way::start("otlp_grpc", AT_ONCE);
        let bytes = details(8, 1);
        ensure(!bytes.len().is_multiple_of(3), || "these bytes have no padding".to_owned())?;
        for encoded in [STANDARD.encode(&bytes), STANDARD_NO_PAD.encode(&bytes)] {
            let details = ("grpc-status-details-bin", encoded);
            same(way.told(Answer::Grpc(8, vec![details])), (200, 2))?;
        }
        // Garbage is no RetryInfo.
        for garbage in ["%%%", "AAAA", "/////////w"] {
            let details = ("grpc-status-details-bin", garbage.to_owned());
            same(way.told(Answer::Grpc(8, vec![details])).1, 1)?;
        }
        Ok(())
    }),
    client("C44", "SHOULD", "HTTP: 429, 502, 503, 504 are tried again, no other", |_| {
        let way = Way::start("otlp_http", AT_ONCE);
        for status in 200..600 {
            let told = way.told(Answer::Http(status, vec![]));
            let right = match status {
                200..300 => told == (200, 1),
                429 | 502 | 503 | 504 => told == (200, 2),
                _ => told.0 != 200 && told.1 == 1,
            };
            ensure(right, || format!("{status}: {told:?}"))?;
        }
        informational()
    }),
    client("C47", "SHOULD", "HTTP: Retry-After is honoured, as seconds and as a date", |_| {
        let way = Way::start("otlp_http", AT_ONCE);
        let later = |seconds| SystemTime::now() + Duration::from_secs(seconds);
        let past = "Sun, 06 Nov 1994 08:49:37 GMT".to_owned();
        for (value, least) in [
            // A date has no fraction of a second, and time goes by before it is read.
            (httpdate::fmt_http_date(later(4)), 1000),
            ("1".to_owned(), 1000),
            ("0".to_owned(), 0),
            (past, 0),
            ("soon".to_owned(), 0),
            ("-1".to_owned(), 0),
        ] {
            let answer = Answer::Http(503, vec![("retry-after", value.clone())]);
            let told = way.told(answer);
            ensure(told == (200, 2), || format!("Retry-After {value}: {told:?}"))?;
            waited(&way, Duration::from_millis(least))?;
        }
        Ok(())
    }),
    client("C48", "SHOULD", "closed without an answer: tried again", |_| {
        for kind in KINDS {
            let sink = Sink::start();
            let proxy = Proxy::start(sink.address(), Fault::Close);
            let daemon = exporting(kind, &proxy.endpoint(), AT_ONCE);
            let status = std::thread::scope(|scope| {
                let sent = scope.spawn(|| send(&daemon, 1));
                daemon.wait_for_log("was lost before it answered");
                proxy.set(Fault::None);
                sent.join().expect("it is answered")
            });
            same(status, 200)?;
            same(sink.spans().len(), 1)?;
        }
        Ok(())
    }),
    client("C49", "SHOULD", "cannot connect: tried again", |_| {
        for kind in KINDS {
            let address = Sink::start().address().to_owned();
            let daemon = exporting(kind, &format!("http://{address}"), AT_ONCE);
            let (status, sink) = std::thread::scope(|scope| {
                let sent = scope.spawn(|| send(&daemon, 1));
                daemon.wait_for_log("connection refused");
                let sink = Sink::start_at(&address);
                (sent.join().expect("it is answered"), sink)
            });
            same(status, 200)?;
            same(sink.spans().len(), 1)?;
        }
        Ok(())
    }),
];

/// `google.rpc.Status` with a RetryInfo of so many milliseconds.
fn details(code: u32, millis: u64) -> Vec<u8> {
    let message = |number: u8, body: &[u8]| [&[number << 3 | 2, body.len() as u8], body].concat();
    let mut nanos = vec![0x10];
    prost::encoding::encode_varint(millis * 1_000_000, &mut nanos);
    let info = message(1, &nanos);
    let kind = message(1, b"type.googleapis.com/google.rpc.RetryInfo");
    let any = [kind, message(2, &info)].concat();
    [vec![8, code as u8], message(2, b"try later"), message(3, &any)].concat()
}

/// The last two requests stand at least so far apart.
fn waited(way: &Way, least: Duration) -> Checked {
    let received = way.sink.received();
    let [.., first, second] = &received[..] else {
        return Err("fewer than two requests".to_owned().into());
    };
    let waited = second.at - first.at;
    ensure(waited >= least, || format!("waited {waited:?} and not {least:?}"))
}

/// 1xx is no answer: what follows counts, and nothing follows.
fn informational() -> Checked {
    for status in ["100 Continue", "103 Early Hints", "199 Odd"] {
        let sink = Sink::start();
        let proxy = Proxy::start(sink.address(), answer_of(status, b""));
        let daemon = exporting("otlp_http", &proxy.endpoint(), AT_ONCE);
        let told = std::thread::scope(|scope| {
            let sent = scope.spawn(|| send(&daemon, 1));
            daemon.wait_for_log("before it answered");
            proxy.set(Fault::None);
            sent.join().expect("it is answered")
        });
        ensure(told == 200, || format!("{status}: {told}"))?;
    }
    Ok(())
}
