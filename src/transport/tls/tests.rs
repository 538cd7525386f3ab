//! Reading files, and reading them again when they change.

use super::*;
use crate::clock;
use crate::config::{Problems, Section};
use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, date_time_ymd};
use rustls::server::ServerConfig;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// A certificate for localhost and its private key.
fn identity(years: (i32, i32)) -> (rcgen::Certificate, KeyPair) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.not_before = date_time_ymd(years.0, 1, 1);
    params.not_after = date_time_ymd(years.1, 1, 1);
    (params.self_signed(&key).unwrap(), key)
}

/// A folder with all kinds of files.
fn folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    let (certificate, key) = identity((2000, 4000));
    let pem = certificate.pem();
    write("good.pem", pem.as_bytes());
    write("good.key", key.serialize_pem().as_bytes());
    write("other.key", identity((2000, 4000)).1.serialize_pem().as_bytes());
    let of_years = |start, end| {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        (params.not_before, params.not_after) =
            (date_time_ymd(start, 1, 1), date_time_ymd(end, 1, 1));
        params.self_signed(&key).unwrap().pem()
    };
    write("expired.pem", of_years(2000, 2001).as_bytes());
    write("early.pem", of_years(4000, 4001).as_bytes());
    write("der", certificate.der());
    write("empty", b"");
    write("text", b"not a certificate");
    write("cut.pem", pem.split_at(pem.len() / 2).0.as_bytes());
    let junk = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
    write("junk.pem", junk.as_bytes());
    let key = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    write("encrypted.key", key.as_bytes());
    write("junk.key", key.replace("ENCRYPTED ", "").as_bytes());
    folder
}

/// The problems of a `tls` section in which `@` is the folder, which they name so too.
fn problems(side: &str, folder: &Path, yaml: &str) -> String {
    let folder = folder.to_str().unwrap();
    let keys = if side == "server" { SERVER_KEYS } else { CLIENT_KEYS };
    let section = Section::from_yaml(keys, &yaml.replace('@', folder)).unwrap();
    let mut problems = Problems::new();
    match side {
        "client" => check_client(&section, true, &mut problems),
        "plain" => check_client(&section, false, &mut problems),
        _ => check_server(&section, &mut problems),
    }
    problems.to_string().replace(folder, "@")
}

/// The problems of a section are these: key, and what is said of it.
#[track_caller]
fn check(side: &str, folder: &TempDir, yaml: &str, expected: &[(&str, &str)]) {
    let found = problems(side, folder.path(), &format!("{{{yaml}}}"));
    let found: Vec<String> = found.lines().map(without_place).collect();
    let expected = expected.iter().map(|(key, text)| match text.strip_prefix("warning: ") {
        Some(text) => format!("warning: {key}: {text}"),
        None if key.is_empty() => (*text).to_owned(),
        None => format!("{key}: {text}"),
    });
    assert_eq!(found, expected.collect::<Vec<_>>(), "{side} {yaml}");
}

const GOOD: &str = "cert_file: @/good.pem, key_file: @/good.key";
const GONE: &str = "the file @/gone cannot be read: No such file or directory (os error 2); name a \
                    PEM file that this process may read";
const SWAPPED_KEY: &str =
    "@/good.key holds a private key and no certificate; were the two files swapped?";
const SWAPPED_CERTIFICATE: &str =
    "@/good.pem holds a certificate and no private key; were the two files swapped?";
const OTHER_KEY: &str = "the private key is not that of the certificate; name the one that the \
                         certificate was requested with";
const DER: &str = "@/der is DER, not PEM; convert it: openssl x509 -inform der -in @/der -out PEM";
const ENCRYPTED: &str = "the private key in @/encrypted.key is encrypted; decrypt it: openssl pkey \
                         -in KEY -out PLAIN";
const CUT: &str = "@/cut.pem is broken PEM; was it cut off or changed by an editor?";
const EMPTY: &str = "@/empty is empty; a PEM certificate begins with -----BEGIN CERTIFICATE-----";
const NO_KEY: &str =
    "@/text holds no private key; one in PEM begins with -----BEGIN PRIVATE KEY-----";
const JUNK: &str = "the certificate in @/junk.pem is no valid X.509 v3; issue it anew";
const JUNK_AUTHORITY: &str = "certificate 1 in @/junk.pem is no valid X.509 v3";
const JUNK_KEY: &str =
    "@/junk.key holds a private key of a kind that is not known; use RSA or ECDSA";

#[test]
fn files_that_cannot_be_used_are_named_with_the_remedy() {
    let folder = folder();
    let server = |certificate: &str, key: &str, expected: &[(&str, &str)]| {
        let yaml = format!("cert_file: @/{certificate}, key_file: @/{key}");
        check("server", &folder, &yaml, expected);
    };
    server("good.pem", "good.key", &[]);
    server("gone", "gone", &[("cert_file", GONE), ("key_file", GONE)]);
    server(
        "good.key",
        "good.pem",
        &[("cert_file", SWAPPED_KEY), ("key_file", SWAPPED_CERTIFICATE)],
    );
    server("good.pem", "other.key", &[("key_file", OTHER_KEY)]);
    server("der", "encrypted.key", &[("cert_file", DER), ("key_file", ENCRYPTED)]);
    server("empty", "text", &[("cert_file", EMPTY), ("key_file", NO_KEY)]);
    server("junk.pem", "junk.key", &[("cert_file", JUNK), ("key_file", JUNK_KEY)]);
    for (name, text) in [("gone", GONE), ("cut.pem", CUT), ("junk.pem", JUNK_AUTHORITY)] {
        let yaml = format!("{GOOD}, client_ca_file: @/{name}");
        check("server", &folder, &yaml, &[("client_ca_file", text)]);
        check("client", &folder, &format!("ca_file: @/{name}"), &[("ca_file", text)]);
    }
}

#[test]
fn a_certificate_out_of_its_time_is_a_warning() {
    let folder = folder();
    let expired = "warning: the certificate in @/expired.pem has expired; whoever connects will \
                   refuse it: renew it";
    let early = "warning: the certificate in @/early.pem is not valid yet; is this machine's \
                 clock right?";
    for side in ["server", "client"] {
        for (name, text) in [("expired", expired), ("early", early)] {
            let yaml = format!("cert_file: @/{name}.pem, key_file: @/good.key");
            check(side, &folder, &yaml, &[("cert_file", text)]);
        }
    }
}

#[test]
fn keys_that_do_not_fit_together_are_named() {
    let folder = folder();
    let check = |side, yaml: &str, expected: &[_]| check(side, &folder, yaml, expected);
    check("server", "", &[("", "needs a certificate: set cert_file and key_file")]);
    check("client", "", &[]);
    let only_certificate = [("key_file", "must be set: the PEM file with the private key")];
    let only_key = [("cert_file", "must be set: the PEM file with the certificate")];
    for side in ["server", "client"] {
        check(side, "cert_file: @/good.pem", &only_certificate);
        check(side, "key_file: @/good.key", &only_key);
        let twice = [("cert_pem", "cert_file is set as well; leave one of them out")];
        check(side, &format!("{GOOD}, cert_pem: x"), &twice);
        let versions = format!("{GOOD}, min_version: 1.3, max_version: '1.2'");
        let text = "is above max_version 1.2; leave one of them out";
        check(side, &versions, &[("min_version", text)]);
        check(side, &format!("{GOOD}, min_version: 1.3, max_version: 1.3"), &[]);
    }
    let name = "\"a b\" is no host name; write one such as backend.example.com";
    check("client", "server_name_override: a b", &[("server_name_override", name)]);
    let anyone = "warning: whoever answers is believed to be the backend, and gets all \
                  telemetry; name its authority in ca_file instead";
    check("client", "insecure_skip_verify: true", &[("insecure_skip_verify", anyone)]);
    let plain = "warning: has no effect: the endpoint is plain text; use https:// if TLS is meant";
    check("plain", "insecure: true, ca_file: @/gone", &[("ca_file", plain)]);
}

/// `yaml::1:2: text` without where it stands.
fn without_place(line: &str) -> String {
    let text = line.strip_prefix("yaml:").unwrap_or(line);
    text.splitn(4, ':').last().unwrap_or_default().trim_start().to_owned()
}

#[test]
fn keys_in_the_configuration_itself_work_and_are_in_no_text() {
    let (certificate, key) = identity((2000, 4000));
    let indented = |pem: &str| pem.trim_end().replace('\n', "\n  ");
    let yaml = |certificate: &str, key: &str| {
        format!("cert_pem: |\n  {}\nkey_pem: |\n  {}\n", indented(certificate), indented(key))
    };
    let fine = yaml(&certificate.pem(), &key.serialize_pem());
    assert_eq!(problems("server", Path::new("@"), &fine), "");
    let other = identity((2000, 4000)).1.serialize_pem();
    for key in [other.as_str(), "hunter2", &other.replace("PRIVATE KEY", "PUBLIC KEY")] {
        let found = problems("server", Path::new("@"), &yaml(&certificate.pem(), key));
        let secret = key.lines().nth(1).unwrap_or(key);
        assert!(found.contains("key_pem: ") && !found.contains(secret), "{found}");
    }
}

/// The certificate that a listener shows.
fn shown(config: &ServerConfig) -> String {
    format!("{:?}", config.cert_resolver)
}

#[test]
fn a_changed_file_is_picked_up_and_a_broken_one_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
    let install = |(certificate, key): &(rcgen::Certificate, KeyPair)| {
        put("cert", &certificate.pem());
        put("key", &key.serialize_pem());
    };
    install(&identity((2000, 4000)));
    let path = folder.path().to_str().unwrap();
    let yaml = format!("{{cert_file: {path}/cert, key_file: {path}/key}}");
    let tls = ServerTls::of_listener(&Section::from_yaml(SERVER_KEYS, &yaml).unwrap(), HTTP2);
    let tls = tls.unwrap();
    let start = clock::now();
    let after = |seconds| tls.current_at(start.plus(Duration::from_secs(seconds)));
    let first = shown(&after(0));
    assert!(Arc::ptr_eq(&after(10), &after(20)), "nothing has changed");

    // One that does not fit its key, and none at all.
    put("cert", "");
    assert_eq!(shown(&after(30)), first);
    fs::remove_file(folder.path().join("key")).unwrap();
    assert_eq!(shown(&after(40)), first);

    install(&identity((2000, 3999)));
    let second = shown(&after(50));
    assert_ne!(second, first);
    assert_eq!(after(50).alpn_protocols, HTTP2);
    // It looks once in a while, not at every handshake.
    install(&identity((2000, 3998)));
    assert_eq!(shown(&after(50)), second);
    assert_ne!(shown(&after(60)), second);
}
