//! The keys of `tls`, as the Collector has them, and what both sides read alike.

use crate::config::{Key, Problems, Section};
use rustls::crypto::CryptoProvider;
use rustls::{ALL_VERSIONS, SupportedProtocolVersion, version};
use std::sync::Arc;

const SUITES: &str = "only suites without known weakness are offered; leave it out";
const TPM: &str = "keys are read from files; name one in `key_file`";
const RELOADED: &str = "a changed file is picked up in any case";

/// `tls` of a listener.
pub const SERVER_KEYS: &[Key] = &[
    Key::text("cert_file", "", "PEM file with the certificate and those between it and its root"),
    Key::secret("cert_pem", "the same as text, in place of `cert_file`"),
    Key::text("key_file", "", "PEM file with the certificate's private key"),
    Key::secret("key_pem", "the same as text, in place of `key_file`"),
    Key::text("client_ca_file", "", "PEM file of authorities; clients must show a certificate"),
    Key::choice("min_version", &["1.2", "1.3"], "1.2", "oldest version of TLS"),
    Key::choice("max_version", &["1.2", "1.3", ""], "", "newest version of TLS"),
    Key::duration("reload_interval", "1s", "how often to look for changed files; 0s: never"),
    Key::ignored("client_ca_file_reload", RELOADED),
    Key::ignored("ca_file", "a listener's clients are verified with `client_ca_file`"),
    Key::ignored("ca_pem", "a listener's clients are verified with `client_ca_file`"),
    Key::ignored("include_system_ca_certs_pool", "clients are verified with `client_ca_file`"),
    Key::unsupported("cipher_suites", SUITES),
    Key::unsupported("curve_preferences", SUITES),
    Key::unsupported("tpm", TPM),
];

/// `tls` of an exporter. A server is verified against the roots of the system, or those of
/// `ca_file`.
pub const CLIENT_KEYS: &[Key] = &[
    Key::bool("insecure", false, "plain text for an endpoint without a scheme"),
    Key::bool("insecure_skip_verify", false, "talk to whoever answers; for tests"),
    Key::text("server_name_override", "", "the name in the server's certificate, if not the host"),
    Key::text("ca_file", "", "PEM file of authorities, in place of the system's"),
    Key::secret("ca_pem", "the same as text, in place of `ca_file`"),
    Key::bool("include_system_ca_certs_pool", false, "the system's beside those of `ca_file`"),
    Key::text("cert_file", "", "PEM file with the certificate to show to the server"),
    Key::secret("cert_pem", "the same as text, in place of `cert_file`"),
    Key::text("key_file", "", "PEM file with its private key"),
    Key::secret("key_pem", "the same as text, in place of `key_file`"),
    Key::choice("min_version", &["1.2", "1.3"], "1.2", "oldest version of TLS"),
    Key::choice("max_version", &["1.2", "1.3", ""], "", "newest version of TLS"),
    Key::duration("reload_interval", "1s", "how often to look for changed files; 0s: never"),
    Key::unsupported("cipher_suites", SUITES),
    Key::unsupported("curve_preferences", SUITES),
    Key::unsupported("tpm", TPM),
];

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// What `min_version` and `max_version` leave.
pub(super) fn versions(
    section: &Section,
    problems: &mut Problems,
) -> &'static [&'static SupportedProtocolVersion] {
    const ONLY_12: &[&SupportedProtocolVersion] = &[&version::TLS12];
    const ONLY_13: &[&SupportedProtocolVersion] = &[&version::TLS13];
    match (section.text("min_version"), section.text("max_version")) {
        ("1.3", "1.2") => {
            let text = "is above max_version 1.2; leave one of them out";
            section.error(problems, "min_version", text);
            ALL_VERSIONS
        }
        ("1.3", _) => ONLY_13,
        (_, "1.2") => ONLY_12,
        _ => ALL_VERSIONS,
    }
}
