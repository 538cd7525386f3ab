//! Why a handshake failed, from the side that failed it: what the other side did, and what would
//! be right.

use rustls::{
    AlertDescription as Alert, CertificateError, Error, InvalidMessage, PeerIncompatible,
};

/// The kinds of failures that operators tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The other side speaks plain text, or something else.
    PlainText,
    /// A client came by TLS to a listener without.
    NoTls,
    /// A client showed no certificate.
    NoCertificate,
    /// The other side's certificate is not to be trusted.
    Certificate,
    /// The other side does not trust ours.
    Untrusted,
    /// No version of TLS or cipher in common.
    Version,
    /// No version of HTTP in common.
    Http,
    /// It took too long.
    Slow,
    /// The other side closed the connection.
    Closed,
    /// Anything else.
    Other,
}

impl Reason {
    /// All reasons in the order of the enum.
    pub const ALL: [Reason; 10] = [
        Reason::PlainText,
        Reason::NoTls,
        Reason::NoCertificate,
        Reason::Certificate,
        Reason::Untrusted,
        Reason::Version,
        Reason::Http,
        Reason::Slow,
        Reason::Closed,
        Reason::Other,
    ];

    /// The label of metrics.
    pub fn name(self) -> &'static str {
        match self {
            Reason::PlainText => "plain_text",
            Reason::NoTls => "no_tls",
            Reason::NoCertificate => "no_certificate",
            Reason::Certificate => "certificate",
            Reason::Untrusted => "untrusted",
            Reason::Version => "version",
            Reason::Http => "http",
            Reason::Slow => "slow",
            Reason::Closed => "closed",
            Reason::Other => "other",
        }
    }
}

/// A failed handshake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub reason: Reason,
    /// What the other side did, and what would be right.
    pub text: String,
}

impl Failure {
    pub fn new(reason: Reason, text: impl Into<String>) -> Failure {
        Failure { reason, text: text.into() }
    }
}

/// What a client did that a listener failed its handshake.
pub fn of_client(error: &Error) -> Failure {
    let (reason, text) = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            (Reason::PlainText, "it does not speak TLS; give it an https:// endpoint".to_owned())
        }
        Error::NoCertificatesPresented => (
            Reason::NoCertificate,
            "it showed no certificate; give it one that an authority in client_ca_file has signed"
                .to_owned(),
        ),
        Error::InvalidCertificate(why) => {
            let why = match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "no authority in client_ca_file has signed it"
                }
                other => certificate(other),
            };
            (Reason::Certificate, format!("its certificate is not to be trusted: {why}"))
        }
        Error::AlertReceived(alert) => match trouble(*alert) {
            Some(why) => (
                Reason::Untrusted,
                format!(
                    "it does not trust our certificate: {why}; see cert_file, and what the \
                         client is given as authority"
                ),
            ),
            None => (Reason::Other, format!("it ended the handshake: {error}")),
        },
        Error::PeerIncompatible(why) => (Reason::Version, in_common(why, "it")),
        Error::NoApplicationProtocol => (
            Reason::Http,
            "it does not speak HTTP/2, as gRPC must; send OTLP/HTTP to the port for that"
                .to_owned(),
        ),
        other => (Reason::Other, other.to_string()),
    };
    Failure { reason, text }
}

/// What a server did that an exporter failed the handshake with `target`. A sentence.
pub fn of_server(target: &str, error: &Error) -> String {
    match error {
        Error::InvalidMessage(_) => format!(
            "{target} does not speak TLS; use an http:// endpoint or `tls: {{insecure: true}}` if \
             plain text is meant"
        ),
        Error::InvalidCertificate(why) => {
            let why = match why {
                CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                    "no authority that is trusted here has signed it; name its authority in ca_file"
                }
                other => certificate(other),
            };
            format!("the certificate of {target} is not to be trusted: {why}")
        }
        Error::AlertReceived(Alert::CertificateRequired) => format!(
            "{target} wants a client certificate; name one in `tls: {{cert_file, key_file}}`"
        ),
        Error::AlertReceived(Alert::ProtocolVersion) => {
            format!("{target} speaks no version of TLS that min_version and max_version allow")
        }
        Error::AlertReceived(Alert::NoApplicationProtocol) => format!(
            "{target} does not speak gRPC; if it is an OTLP/HTTP endpoint (port 4318), use \
             otlp_http"
        ),
        Error::AlertReceived(alert) => match trouble(*alert) {
            Some(why) => format!("{target} does not trust our certificate (cert_file): {why}"),
            None => format!("no TLS with {target}: {error}"),
        },
        Error::PeerIncompatible(why) => in_common(why, target),
        other => format!("no TLS with {target}: {other}"),
    }
}

/// What is wrong with the other side's certificate.
fn certificate(error: &CertificateError) -> &'static str {
    use CertificateError as Why;
    match error {
        Why::Expired | Why::ExpiredContext { .. } => "it has expired",
        Why::NotValidYet | Why::NotValidYetContext { .. } => {
            "it is not valid yet; is the clock of this machine right?"
        }
        Why::NotValidForName | Why::NotValidForNameContext { .. } => {
            "it is for another name; is the host right?"
        }
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => "it is for another purpose",
        Why::UnknownIssuer | Why::BadSignature => "no known authority has signed it",
        Why::BadEncoding => "it is broken",
        Why::Revoked => "it is revoked",
        _ => "it is of a kind that is not supported",
    }
}

/// What the other side says is wrong with our certificate, if that is what an alert says.
fn trouble(alert: Alert) -> Option<&'static str> {
    Some(match alert {
        Alert::UnknownCA => "it does not know the authority that signed it",
        Alert::CertificateExpired => "it has expired",
        Alert::CertificateRevoked => "it is revoked",
        Alert::BadCertificate => "it is not valid for the name, or broken",
        Alert::UnsupportedCertificate => "it is of a kind or for a purpose that is not supported",
        Alert::CertificateUnknown => "it did not say why",
        Alert::AccessDenied => "it is valid and has no access",
        Alert::DecryptError => "its signature is wrong",
        _ => return None,
    })
}

fn in_common(error: &PeerIncompatible, other: &str) -> String {
    use PeerIncompatible as Why;
    match error {
        Why::Tls12NotOffered
        | Why::Tls12NotOfferedOrEnabled
        | Why::SupportedVersionsExtensionRequired
        // Which TLS 1.0 does not have.
        | Why::SignatureAlgorithmsExtensionRequired
        | Why::ServerDoesNotSupportTls12Or13
        | Why::ServerTlsVersionIsDisabledByOurConfig => {
            format!("{other} speaks no version of TLS that min_version and max_version allow")
        }
        why => format!("{other} has nothing in common with us that is safe: {why:?}"),
    }
}
