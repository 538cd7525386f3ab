//! TLS of an exporter.

use super::keys::{provider, versions};
use super::{Alpn, Reloading, files};
use crate::config::{Problems, Section};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::SingleCertAndKey;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use std::sync::Arc;

/// What an exporter says and asks for in handshakes.
pub struct ClientTls {
    configs: Reloading<ClientConfig>,
    /// The name that the server's certificate must have, if not that of the host.
    pub server_name: Option<ServerName<'static>>,
}

/// Keys that mean nothing in plain text.
const ENCRYPTED: [&str; 10] = [
    "insecure_skip_verify",
    "server_name_override",
    "ca_file",
    "ca_pem",
    "include_system_ca_certs_pool",
    "cert_file",
    "cert_pem",
    "key_file",
    "key_pem",
    "min_version",
];

/// Reports what is wrong with the `tls` section of an exporter and with the files that it names.
/// `encrypted` says whether its endpoint is one of TLS.
pub fn check_client(section: &Section, encrypted: bool, problems: &mut Problems) {
    if !encrypted {
        for name in ENCRYPTED.iter().filter(|name| section.is_set(name)) {
            let text = "has no effect: the endpoint is plain text; use https:// if TLS is meant";
            section.warning(problems, name, text);
        }
        return;
    }
    if section.bool("insecure_skip_verify") {
        let text = "whoever answers is believed to be the backend, and gets all telemetry; name \
                    its authority in ca_file instead";
        section.warning(problems, "insecure_skip_verify", text);
    }
    name(section, problems);
    config(section, &[], &|| Ok(RootCertStore::empty()), problems);
}

impl ClientTls {
    /// Of a checked section whose endpoint is one of TLS. The error has all problems.
    pub fn of_exporter(section: &Section, alpn: Alpn) -> Result<ClientTls, String> {
        let server_name = name(section, &mut Problems::new());
        let make = move |section: &Section, problems: &mut Problems| {
            config(section, alpn, &system_roots, problems)
        };
        Ok(ClientTls { configs: Reloading::new(section, make)?, server_name })
    }

    /// What holds now.
    pub fn config(&self) -> Arc<ClientConfig> {
        self.configs.current()
    }
}

/// The server's name, if it is not that of the host.
fn name(section: &Section, problems: &mut Problems) -> Option<ServerName<'static>> {
    let name = section.text("server_name_override");
    if name.is_empty() {
        return None;
    }
    let valid = ServerName::try_from(name.to_owned());
    if valid.is_err() {
        let text = format!("{name:?} is no host name; write one such as backend.example.com");
        section.error(problems, "server_name_override", text);
    }
    valid.ok()
}

/// Whom to believe.
enum Trust {
    Roots(RootCertStore),
    Everyone,
}

fn config(
    section: &Section,
    alpn: Alpn,
    system: &dyn Fn() -> Result<RootCertStore, String>,
    problems: &mut Problems,
) -> Option<ClientConfig> {
    let before = problems.errors().count();
    let trust = trust(section, system, problems);
    let (provider, versions) = (provider(), versions(section, problems));
    let identity = files::identity(section, problems);
    if problems.errors().count() > before {
        return None;
    }
    let builder = ClientConfig::builder_with_provider(provider.clone());
    let builder = match builder.with_protocol_versions(versions) {
        Ok(builder) => builder,
        Err(error) => {
            section.error(problems, "", format!("no version of TLS can be used: {error}"));
            return None;
        }
    };
    let builder = match trust? {
        Trust::Roots(roots) => builder.with_root_certificates(roots),
        Trust::Everyone => {
            builder.dangerous().with_custom_certificate_verifier(Arc::new(Anyone(provider)))
        }
    };
    let mut config = match identity {
        Some(identity) => {
            builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(identity)))
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Some(config)
}

/// Whom `section` says to believe. `None` if something is wrong, which is then reported.
fn trust(
    section: &Section,
    system: &dyn Fn() -> Result<RootCertStore, String>,
    problems: &mut Problems,
) -> Option<Trust> {
    let before = problems.errors().count();
    let source = files::source(section, "ca_file", "ca_pem", problems);
    let own = source.and_then(|source| files::authorities(section, &source, problems));
    if problems.errors().count() > before {
        return None;
    }
    if section.bool("insecure_skip_verify") {
        return Some(Trust::Everyone);
    }
    match own {
        Some(own) if !section.bool("include_system_ca_certs_pool") => Some(Trust::Roots(own)),
        own => {
            let roots = system().map_err(|text| section.error(problems, "", text));
            let mut roots = roots.ok()?;
            roots.extend(own.into_iter().flat_map(|own| own.roots));
            Some(Trust::Roots(roots))
        }
    }
}

/// The roots of the system. The error is a sentence.
fn system_roots() -> Result<RootCertStore, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let why = found.errors.first().map(|error| format!(": {error}")).unwrap_or_default();
        return Err(format!(
            "no certificate authorities of the system were found, which https:// needs{why}; \
             install the package ca-certificates, or name a file in ca_file"
        ));
    }
    Ok(roots)
}

/// Believes whoever answers (`insecure_skip_verify`). That the other side has the private key of
/// the certificate it shows is verified all the same.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, known)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let known = &self.0.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, known)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
