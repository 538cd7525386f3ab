//! Certificates, private keys and authorities, from files or from the configuration itself.
//!
//! Every problem is reported at its key: the file that is not there, the file of another kind, the
//! key of another certificate.

use super::keys::provider;
use super::validity::{self, Validity};
use crate::clock;
use crate::config::section::Setting;
use crate::config::{Problems, Section};
use crate::limits;
use rustls::RootCertStore;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::ParsedCertificate;
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

/// The keys of a `tls` section that name files, where it has them.
const FILES: [&str; 4] = ["cert_file", "key_file", "ca_file", "client_ca_file"];

/// The files that `section` names.
pub(super) fn paths(section: &Section) -> Vec<PathBuf> {
    let named = section.settings().filter_map(|(key, setting)| match setting {
        Setting::Text(path) if FILES.contains(&key.name) && !path.is_empty() => Some(path),
        _ => None,
    });
    named.map(PathBuf::from).collect()
}

/// A PEM text, and where it comes from.
pub(super) struct Source {
    /// The key that names it.
    key: &'static str,
    /// For people: the file's path, or "the text".
    from: String,
    text: Vec<u8>,
}

/// What the keys `file` and `text` name: nothing, or the PEM text. Problems are reported.
pub(super) fn source(
    section: &Section,
    file: &'static str,
    text: &'static str,
    problems: &mut Problems,
) -> Option<Source> {
    let path = section.text(file);
    let secret = if text.is_empty() { Default::default() } else { section.secret(text) };
    match (path.is_empty(), secret.is_empty()) {
        (true, true) => None,
        (false, false) => {
            section.error(problems, text, format!("{file} is set as well; leave one of them out"));
            None
        }
        (true, false) => {
            let bytes = secret.expose().as_bytes().to_vec();
            Some(Source { key: text, from: "the text".to_owned(), text: bytes })
        }
        (false, true) => match read(path) {
            Ok(bytes) => Some(Source { key: file, from: path.to_owned(), text: bytes }),
            Err(error) => {
                let why = format!("the file {path} cannot be read: {error}");
                let text = format!("{why}; name a PEM file that this process may read");
                section.error(problems, file, text);
                None
            }
        },
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    let file = File::open(path).map_err(|error| error.to_string())?;
    let mut bytes = vec![];
    // One byte more than allowed, so that the bound shows instead of a silent cut.
    let most = limits::TLS_FILE_BYTES as u64 + 1;
    file.take(most).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    match bytes.len() > limits::TLS_FILE_BYTES {
        true => Err(format!("it has more than {} bytes", limits::TLS_FILE_BYTES)),
        false => Ok(bytes),
    }
}

impl Source {
    /// The certificates in it, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, String> {
        let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&self.text).collect();
        let found = found.map_err(|_| self.broken())?;
        if found.is_empty() {
            return Err(match self.has(b"PRIVATE KEY-----") {
                true => format!(
                    "{} holds a private key and no certificate; were the two files swapped?",
                    self.from
                ),
                false => self.is_not_pem("certificate", "x509", "-----BEGIN CERTIFICATE-----"),
            });
        }
        Ok(found)
    }

    /// The private key in it.
    fn private_key(&self) -> Result<PrivateKeyDer<'static>, String> {
        match PrivateKeyDer::from_pem_slice(&self.text) {
            Ok(key) => Ok(key),
            Err(PemError::NoItemsFound) if self.has(b"ENCRYPTED PRIVATE KEY-----") => Err(format!(
                "the private key in {} is encrypted; decrypt it: openssl pkey -in KEY -out PLAIN",
                self.from
            )),
            Err(PemError::NoItemsFound) if self.has(b"BEGIN CERTIFICATE-----") => Err(format!(
                "{} holds a certificate and no private key; were the two files swapped?",
                self.from
            )),
            Err(PemError::NoItemsFound) => {
                Err(self.is_not_pem("private key", "pkey", "-----BEGIN PRIVATE KEY-----"))
            }
            Err(_) => Err(self.broken()),
        }
    }

    fn has(&self, part: &[u8]) -> bool {
        self.text.windows(part.len()).any(|window| window == part)
    }

    fn broken(&self) -> String {
        format!("{} is broken PEM; was it cut off or changed by an editor?", self.from)
    }

    fn is_not_pem(&self, what: &str, tool: &str, begins: &str) -> String {
        let from = &self.from;
        match self.text.first() {
            // How DER begins: the tag of a sequence.
            Some(0x30) => format!(
                "{from} is DER, not PEM; convert it: openssl {tool} -inform der -in {from} -out PEM"
            ),
            None => format!("{from} is empty; a PEM {what} begins with {begins}"),
            _ => format!("{from} holds no {what}; one in PEM begins with {begins}"),
        }
    }
}

/// The certificate and the private key that `section` names. `None` if it names none, or if
/// something is wrong, which is then reported.
pub(super) fn identity(section: &Section, problems: &mut Problems) -> Option<CertifiedKey> {
    let before = problems.errors().count();
    let certificate = source(section, "cert_file", "cert_pem", problems);
    let key = source(section, "key_file", "key_pem", problems);
    let missing = |name| {
        let what = if name == "key_file" { "private key" } else { "certificate" };
        format!("must be set: the PEM file with the {what}")
    };
    match (&certificate, &key) {
        (Some(_), None) if problems.errors().count() == before => {
            section.error(problems, "key_file", missing("key_file"));
        }
        (None, Some(_)) if problems.errors().count() == before => {
            section.error(problems, "cert_file", missing("cert_file"));
        }
        _ => {}
    }
    let chain = certificate.and_then(|source| chain(section, &source, problems));
    let key = key.and_then(|source| {
        let loaded = source.private_key().and_then(|der| {
            provider().key_provider.load_private_key(der).map_err(|_| {
                let from = &source.from;
                format!("{from} holds a private key of a kind that is not known; use RSA or ECDSA")
            })
        });
        loaded.map_err(|text| section.error(problems, source.key, text)).ok()
    });
    let identity = CertifiedKey::new(chain?, key?);
    if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = identity.keys_match() {
        let name = if section.is_set("key_file") { "key_file" } else { "key_pem" };
        let text = "the private key is not that of the certificate; name the one that the \
                    certificate was requested with";
        section.error(problems, name, text);
        return None;
    }
    Some(identity)
}

/// The certificate and those between it and its root.
fn chain(
    section: &Section,
    source: &Source,
    problems: &mut Problems,
) -> Option<Vec<CertificateDer<'static>>> {
    let chain = source.certificates();
    let chain = chain.map_err(|text| section.error(problems, source.key, text)).ok()?;
    let first = chain.first()?;
    if ParsedCertificate::try_from(first).is_err() {
        let text =
            format!("the certificate in {} is no valid X.509 v3; issue it anew", source.from);
        section.error(problems, source.key, text);
        return None;
    }
    let now = clock::now().unix_nanos / 1_000_000_000;
    let text = match validity::at(first, now) {
        Validity::Valid => return Some(chain),
        Validity::Expired => "has expired; whoever connects will refuse it: renew it",
        Validity::NotYet => "is not valid yet; is this machine's clock right?",
    };
    section.warning(problems, source.key, format!("the certificate in {} {text}", source.from));
    Some(chain)
}

/// The authorities of `source`. `None` if something is wrong, which is then reported.
pub(super) fn authorities(
    section: &Section,
    source: &Source,
    problems: &mut Problems,
) -> Option<RootCertStore> {
    let mut roots = RootCertStore::empty();
    let added = source.certificates().and_then(|certificates| {
        for (number, certificate) in (1..).zip(certificates) {
            roots.add(certificate).map_err(|_| {
                format!("certificate {number} in {} is no valid X.509 v3", source.from)
            })?;
        }
        Ok(())
    });
    added.map_err(|text| section.error(problems, source.key, text)).ok().map(|()| roots)
}
