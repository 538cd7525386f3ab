//! TLS of a listener.

use super::keys::{provider, versions};
use super::{Alpn, Reloading, files};
use crate::config::{Problems, Section};
use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use rustls::sign::SingleCertAndKey;
use std::sync::Arc;

/// What a listener says and asks for in handshakes.
pub type ServerTls = Reloading<ServerConfig>;

/// Reports what is wrong with the `tls` section of a listener and with the files that it names.
pub fn check_server(section: &Section, problems: &mut Problems) {
    config(section, &[], problems);
}

impl ServerTls {
    /// Of a checked section. The error has all problems of its files.
    pub fn of_listener(section: &Section, alpn: Alpn) -> Result<ServerTls, String> {
        Reloading::new(section, move |section, problems| config(section, alpn, problems))
    }
}

fn config(section: &Section, alpn: Alpn, problems: &mut Problems) -> Option<ServerConfig> {
    let before = problems.errors().count();
    let versions = versions(section, problems);
    let provider = provider();
    let authorities = files::source(section, "client_ca_file", "", problems);
    let authorities = authorities.and_then(|source| files::authorities(section, &source, problems));
    let verifier = authorities.map(|roots| {
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build()
    });
    let verifier = match verifier.transpose() {
        Ok(verifier) => verifier,
        Err(error) => {
            let text = format!("clients cannot be verified with it: {error}");
            section.error(problems, "client_ca_file", text);
            None
        }
    };
    let identity = files::identity(section, problems);
    if problems.errors().count() > before {
        return None;
    }
    let Some(identity) = identity else {
        let text = "needs a certificate: set cert_file and key_file";
        section.error(problems, "", text);
        return None;
    };
    let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let builder = match builder {
        Ok(builder) => builder,
        Err(error) => {
            section.error(problems, "", format!("no version of TLS can be used: {error}"));
            return None;
        }
    };
    let builder = match verifier {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(identity)));
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Some(config)
}
