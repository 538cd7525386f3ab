//! What a request says of itself besides its telemetry: the headers of HTTP, the metadata of gRPC.
//!
//! Credentials are not among it, whoever asks: they are for the one that is called, and what is
//! read here may end in a backend. It goes with a request to the beginning of its pipelines and no
//! further: requests are joined behind, and what one said must not be taken for another's.

use crate::limits::{METADATA_BYTES, METADATA_HEADERS};

/// Names and values in the order of the request; names in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Vec<(String, String)>);

impl Metadata {
    /// What may be known of `headers`, and how many were left out at a bound.
    pub fn read<'a>(headers: impl Iterator<Item = (&'a str, &'a [u8])>) -> (Metadata, usize) {
        let (mut taken, mut bytes, mut dropped) = (vec![], 0, 0);
        for (name, value) in headers {
            if is_credential(name) || is_transport(name) {
                continue;
            }
            let Some(value) = std::str::from_utf8(value).ok().filter(|v| !holds_credential(v))
            else {
                continue;
            };
            bytes += name.len() + value.len();
            if taken.len() >= METADATA_HEADERS || bytes > METADATA_BYTES {
                dropped += 1;
                continue;
            }
            taken.push((name.to_ascii_lowercase(), value.to_owned()));
        }
        (Metadata(taken), dropped)
    }

    /// The values of `name`, which is in lower case.
    pub fn values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(of, _)| of == name).map(|(_, value)| value.as_str())
    }
}

/// Parts of the names of headers that prove who sends, or that a sender keeps to itself.
const CREDENTIALS: &[&str] = &[
    "authorization",
    "cookie",
    "token",
    "secret",
    "password",
    "passwd",
    "credential",
    "api-key",
    "api_key",
    "apikey",
    "access-key",
    "access_key",
    "private-key",
    "signature",
    "jwt",
];

/// Whether a header of this name holds a credential.
pub fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    CREDENTIALS.iter().any(|part| name.contains(part))
}

/// Whether a value is one, whatever its name.
fn holds_credential(value: &str) -> bool {
    let scheme = value.split(' ').next().unwrap_or_default();
    ["bearer", "basic", "digest", "negotiate"].iter().any(|s| scheme.eq_ignore_ascii_case(s))
}

/// Whether a header is about the connection or the body, and says nothing of who is served.
fn is_transport(name: &str) -> bool {
    let prefixes = ["accept", "content-", "grpc-", "sec-", "if-"];
    let names =
        ["host", "te", "connection", "keep-alive", "upgrade", "transfer-encoding", "trailer"];
    // Those of gRPC that end so are bytes.
    name.ends_with("-bin") || names.contains(&name) || prefixes.iter().any(|p| name.starts_with(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(headers: &[(&str, &str)]) -> (Vec<(String, String)>, usize) {
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        let (metadata, dropped) = Metadata::read(headers);
        (metadata.0, dropped)
    }

    #[test]
    fn credentials_never_pass() {
        for name in [
            "authorization",
            "Proxy-Authorization",
            "cookie",
            "set-cookie",
            "x-api-key",
            "X-Goog-Api-Key",
            "apikey",
            "x-auth-token",
            "x-amz-security-token",
            "x-csrf-token",
            "client-secret",
            "x-hub-signature",
            "x-jwt-assertion",
        ] {
            assert_eq!(read(&[(name, "v")]), (vec![], 0), "{name}");
            assert!(is_credential(name), "{name}");
        }
        assert_eq!(read(&[("x-user", "Bearer abc"), ("x-other", "basic YTpi")]), (vec![], 0));
    }

    #[test]
    fn what_says_who_is_served_passes_and_transport_does_not() {
        let passing = [
            ("x-user-id", "alice"),
            ("baggage", "a=b"),
            ("x-forwarded-user", "alice"),
            ("x-authenticated-userid", "alice"),
            ("x-session-id", "s"),
        ];
        let expected = passing.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        assert_eq!(read(&passing), (expected, 0));
        for name in ["content-type", "host", "grpc-timeout", "te", "accept-encoding", "trace-bin"] {
            assert_eq!(read(&[(name, "v")]), (vec![], 0), "{name}");
        }
        let (metadata, _) = Metadata::read([("X-User-Id", &b"alice"[..])].into_iter());
        assert_eq!(metadata.values("x-user-id").collect::<Vec<_>>(), ["alice"]);
    }

    #[test]
    fn it_is_bounded_in_number_and_bytes() {
        let many: Vec<String> = (0..1000).map(|n| format!("x-{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "v")).collect();
        let (taken, dropped) = read(&many);
        assert_eq!((taken.len(), dropped), (METADATA_HEADERS, 1000 - METADATA_HEADERS));
        let long = "v".repeat(METADATA_BYTES);
        assert_eq!(read(&[("x-a", &long)]), (vec![], 1));
    }
}
