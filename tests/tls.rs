//! TLS through the real binary: what each side sees of a handshake, files that change, exporters.

mod support;

use std::fmt::Write as _;
use std::io::{Read, Write};
use std::net::TcpStream;

use prost::Message;
use support::client::{self, TRACES, framed};
use support::tls::{self, Authority, BOTH, Files, Front, Held, Identity, ONLY_12};
use support::{Daemon, PATIENCE, Sink, daemon, eventually, request, span};

const NAMES: &[&str] = &["localhost", "127.0.0.1"];

/// A sink, and a configuration whose two listeners have these keys beside their endpoints.
fn listening(sink: &Sink, more: &str) -> String {
    let plain = "{endpoint: \"127.0.0.1:0\"}\n";
    let changed = format!("{{endpoint: \"127.0.0.1:0\", {more}}}\n");
    let yaml = daemon::to_sink(sink);
    // The first two are those of the receiver.
    yaml.replacen(plain, &changed, 2)
}

fn body() -> Vec<u8> {
    request([span("chat", 1, 2, 0)]).encode_to_vec()
}

/// The two kinds of listeners, and how one speaks to them.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Grpc,
    Http1,
    Http2,
}

const WAYS: [Way; 3] = [Way::Grpc, Way::Http1, Way::Http2];

impl Way {
    fn listener(self) -> &'static str {
        if self == Way::Grpc { "otlp/grpc" } else { "otlp/http" }
    }

    fn transport(self) -> &'static str {
        if self == Way::Grpc { "grpc" } else { "http" }
    }
}

/// Sends a span: what the client sees if it is not taken.
fn send(daemon: &Daemon, way: Way, name: &str, config: rustls::ClientConfig) -> Result<(), String> {
    let address = daemon.address(way.listener());
    let to = (address.as_str(), name);
    let reply = match way {
        Way::Grpc => {
            tls::post(to, config, true, (TRACES, "application/grpc"), framed(false, &body()))?
        }
        _ => {
            let kind = ("/v1/traces", "application/x-protobuf");
            tls::post(to, config, way == Way::Http2, kind, body())?
        }
    };
    let taken = match way {
        Way::Grpc => reply.grpc_status() == Some(0),
        _ => reply.status == 200,
    };
    if taken { Ok(()) } else { Err(format!("{reply:?}")) }
}

/// What is expected of a handshake.
struct Row<'a> {
    what: &'a str,
    /// Further keys of the listener's `tls`.
    keys: &'a str,
    /// The authority that the client believes, and the name that it expects.
    trusted: &'a Authority,
    name: &'a str,
    shown: Option<&'a Identity>,
    versions: &'a [&'static rustls::SupportedProtocolVersion],
    /// What the client sees; `None` if all is well.
    client: Option<&'a str>,
    /// The metric's reason and what the log says.
    log: Option<(&'a str, &'a str)>,
}

/// Two authorities, a server's certificate of the first, and files for what is configured.
struct Parties {
    ours: Authority,
    theirs: Authority,
    server: Identity,
    files: Files,
}

impl Parties {
    fn new() -> Parties {
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let server = ours.issue(NAMES);
        Parties { ours, theirs, server, files: Files::new() }
    }

    /// A client who is content with anybody of ours.
    fn handshake(&self) -> Row<'_> {
        Row {
            what: "no client certificate is asked for",
            keys: "",
            trusted: &self.ours,
            name: "localhost",
            shown: None,
            versions: BOTH,
            client: None,
            log: None,
        }
    }

    /// Tries each row at a listener of its own, by all ways.
    #[track_caller]
    fn check(&self, rows: &[Row<'_>]) {
        let (sink, mut wrong) = (Sink::start(), String::new());
        let server = self.files.identity("server", &self.server);
        for row in rows {
            let config = format!("tls: {{{server}, {}}}", row.keys);
            let daemon = Daemon::start(&listening(&sink, &config));
            for way in WAYS {
                if let Err(what) = check(&daemon, row, way) {
                    let _ = writeln!(wrong, "{} by {way:?}: {what}", row.what);
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong}");
    }
}

#[test]
fn a_client_without_the_right_certificate_is_refused_and_both_sides_see_why() {
    let parties = Parties::new();
    let (ours, theirs) = (&parties.ours, &parties.theirs);
    let mutual = format!("client_ca_file: {}", parties.files.put("clients.pem", &ours.pem()));
    let mutual_old = format!("{mutual}, max_version: \"1.2\"");
    let (right, wrong) = (ours.issue(&["agent"]), theirs.issue(&["agent"]));
    let expired = ours.issue_until(&["agent"], 2001);
    let fine = Row { keys: &mutual, shown: Some(&right), ..parties.handshake() };
    let none = ("no_certificate", "it showed no certificate; give it one that an authority in");
    let unknown = "its certificate is not to be trusted: no authority in client_ca_file has signed";
    parties.check(&[
        Row { what: "the right certificate", ..fine },
        Row { what: "the right certificate, TLS 1.2", keys: &mutual_old, ..fine },
        Row {
            what: "no certificate",
            shown: None,
            client: Some("received fatal alert: CertificateRequired"),
            log: Some(none),
            ..fine
        },
        Row {
            what: "no certificate, TLS 1.2",
            keys: &mutual_old,
            shown: None,
            client: Some("received fatal alert: "),
            log: Some(none),
            ..fine
        },
        Row {
            what: "one of another authority",
            shown: Some(&wrong),
            client: Some("received fatal alert: UnknownCA"),
            log: Some(("certificate", unknown)),
            ..fine
        },
        Row {
            what: "an expired one",
            shown: Some(&expired),
            client: Some("received fatal alert: CertificateExpired"),
            log: Some(("certificate", "its certificate is not to be trusted: it has expired")),
            ..fine
        },
    ]);
}

#[test]
fn versions_names_and_authorities_must_fit_and_both_sides_see_why() {
    let parties = Parties::new();
    let fine = parties.handshake();
    let modern = "min_version: \"1.3\"";
    let unknown = "it does not trust our certificate: it does not know the authority that signed";
    parties.check(&[
        Row { what: "TLS 1.2", versions: ONLY_12, ..fine },
        Row { what: "TLS 1.3 alone", keys: modern, ..fine },
        Row { what: "by address", name: "127.0.0.1", ..fine },
        Row {
            what: "a client that knows no TLS 1.3 where it is asked for",
            keys: modern,
            versions: ONLY_12,
            client: Some("received fatal alert: ProtocolVersion"),
            log: Some(("version", "it speaks no version of TLS that min_version and max_version")),
            ..fine
        },
        Row {
            what: "a client that believes another authority",
            trusted: &parties.theirs,
            client: Some("invalid peer certificate: UnknownIssuer"),
            log: Some(("untrusted", unknown)),
            ..fine
        },
        Row {
            what: "a client that expects another name",
            name: "elsewhere.example",
            client: Some("certificate not valid for name \"elsewhere.example\""),
            log: Some(("untrusted", "it does not trust our certificate: it is not valid for the")),
            ..fine
        },
        fine,
    ]);
}

fn check(daemon: &Daemon, row: &Row<'_>, way: Way) -> Result<(), String> {
    let metric = || {
        let labels = format!("transport=\"{}\"", way.transport());
        daemon.metric("spanloom_receiver_tls_failures", &labels)
    };
    let before = metric();
    let config = tls::client(row.trusted, row.shown, row.versions);
    let seen = send(daemon, way, row.name, config);
    match (&seen, row.client) {
        (Ok(()), None) => {}
        (Err(seen), Some(expected)) if seen.contains(expected) => {}
        _ => return Err(format!("the client sees {seen:?}")),
    }
    let Some((reason, text)) = row.log else {
        return if metric() == before { Ok(()) } else { Err("a failure is counted".to_owned()) };
    };
    let name = "spanloom_receiver_tls_failures";
    let labels = format!("reason=\"{reason}\",receiver=\"otlp\",transport=\"{}\"", way.transport());
    // HTTP/1 and HTTP/2 share a listener.
    let expected = if way == Way::Http2 { 2.0 } else { 1.0 };
    if eventually(|| (daemon.metric(name, &labels) == expected).then_some(())).is_none() {
        return Err(format!("not counted as {reason}"));
    }
    let logged = |line: &String| {
        let named = format!("protocol=\"{}\"", way.listener());
        line.contains(&named) && line.contains(text) && line.contains("peer=127.0.0.1:")
    };
    let in_log = eventually(|| daemon.log_lines().iter().any(logged).then_some(()));
    in_log.ok_or_else(|| "not in the log".to_owned())
}

#[test]
fn who_comes_in_plain_text_to_tls_is_told_so() {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let server = files.identity("server", &ours.issue(NAMES));
    let daemon = Daemon::start(&listening(&sink, &format!("tls: {{{server}}}")));
    let text = "this port speaks TLS alone; send to it with https:// in the endpoint";
    let reply = client::grpc(&daemon.grpc(), TRACES, &[], framed(false, &body()));
    assert_eq!(reply.grpc_status(), Some(3), "{reply:?}");
    assert_eq!(reply.header("grpc-message"), Some(text));
    for http2 in [false, true] {
        let kind = [("content-type", "application/json")];
        let reply = client::send(http2, "POST", &daemon.http(), "/v1/traces", &kind, "{}".into());
        assert_eq!(reply.status, 400);
        assert!(reply.text().contains(text), "{}", reply.text());
    }
    daemon.wait_for_log("it does not speak TLS; give it an https:// endpoint");
    let failures = |transport: &str| {
        let labels = format!("reason=\"plain_text\",receiver=\"otlp\",transport=\"{transport}\"");
        daemon.metric("spanloom_receiver_tls_failures", &labels)
    };
    assert_eq!((failures("grpc"), failures("http")), (1.0, 2.0));
    assert!(sink.received().is_empty());
    daemon.wait_for_log("set OTEL_EXPORTER_OTLP_ENDPOINT=https://127.0.0.1:");
}

#[test]
fn who_comes_by_tls_to_plain_text_is_told_so() {
    let (ours, sink) = (Authority::new("ours"), Sink::start());
    let daemon = Daemon::start(&daemon::to_sink(&sink));
    for way in WAYS {
        let seen = send(&daemon, way, "localhost", tls::client(&ours, None, BOTH));
        let seen = seen.expect_err("it is refused");
        assert!(seen.contains("received corrupt message of type InvalidContentType"), "{seen}");
    }
    let text = "it speaks TLS to a listener without; give it an http:// endpoint, or set `tls`";
    daemon.wait_for_log(text);
    let failures = daemon.metric("spanloom_receiver_tls_failures", "reason=\"no_tls\"");
    assert_eq!(failures, 3.0);
}

#[test]
fn a_handshake_may_come_in_pieces_and_not_for_ever_and_not_of_old_versions() {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let server = files.identity("server", &ours.issue(NAMES));
    let keys = format!("tls: {{{server}}}, read_header_timeout: 1s");
    let plain = "http: {endpoint: \"127.0.0.1:0\"";
    let yaml = daemon::to_sink(&sink).replace(plain, &format!("{plain}, {keys}"));
    let daemon = Daemon::start(&yaml);
    let connect = || {
        let stream = TcpStream::connect(daemon.http()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    };
    // A hello that stalls is cut off.
    let mut stream = connect();
    stream.write_all(&[22, 3, 1, 1, 0, 1]).unwrap();
    assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    daemon.wait_for_log("it did not finish the handshake in 1 s");
    // One in pieces of a byte is not.
    let config = tls::client(&ours, None, BOTH);
    let name = "localhost".try_into().unwrap();
    let mut hello = rustls::ClientConnection::new(config.into(), name).unwrap();
    let (mut bytes, mut stream) = (vec![], connect());
    hello.write_tls(&mut bytes).unwrap();
    stream.set_nodelay(true).unwrap();
    for byte in bytes.chunks(1) {
        stream.write_all(byte).unwrap();
    }
    while hello.is_handshaking() {
        hello.read_tls(&mut stream).unwrap();
        hello.process_new_packets().unwrap();
        hello.write_tls(&mut stream).unwrap();
    }
    // TLS 1.0 and 1.1 end in a fatal alert.
    for minor in [1, 2] {
        let hello = [&[3, minor], &[7; 32][..], &[0, 0, 2, 0xc0, 0x13, 1, 0, 0, 0]].concat();
        let head = [22, 3, 1, 0, hello.len() as u8 + 4, 1, 0, 0, hello.len() as u8];
        let (mut answer, mut stream) = ([0; 7], connect());
        stream.write_all(&[&head, &hello[..]].concat()).unwrap();
        stream.read_exact(&mut answer).unwrap();
        assert_eq!((answer[0], answer[5]), (21, 2), "{answer:?}");
    }
    daemon.wait_for_log("it speaks no version of TLS that min_version and max_version allow");
}

#[test]
fn changed_files_are_used_while_connections_go_on() {
    let (old, new, files) = (Authority::new("old"), Authority::new("new"), Files::new());
    let sink = Sink::start();
    let server = files.identity("server", &old.issue(NAMES));
    let keys = format!("tls: {{{server}, reload_interval: 1ms}}");
    let daemon = Daemon::start(&listening(&sink, &keys));
    let address = daemon.http();
    let by = |authority| send(&daemon, Way::Grpc, "localhost", tls::client(authority, None, BOTH));
    let mut held = Held::open(&address, tls::client(&old, None, BOTH)).unwrap();
    assert_eq!(held.post().as_deref(), Ok("HTTP/1.1 200 OK"));
    assert_eq!(by(&old), Ok(()));

    // A broken file is named, and the old one stays.
    files.put("server.pem", "half a certificate");
    assert_eq!(by(&old), Ok(()));
    let line = daemon.wait_for_log("the changed files are not used, the old ones stay");
    assert!(line.contains("receivers::otlp::protocols::grpc::tls"), "{line}");
    daemon.wait_for_log("server.pem holds no certificate; one in PEM begins with -----BEGIN");

    // A good one is used by whoever comes then.
    files.identity("server", &new.issue(NAMES));
    assert_eq!(by(&new), Ok(()));
    assert!(by(&old).is_err());
    daemon.wait_for_log("the changed files are in use for new connections");
    assert_eq!(held.post().as_deref(), Ok("HTTP/1.1 200 OK"));
    assert!(Held::open(&address, tls::client(&old, None, BOTH)).unwrap().post().is_err());
}

/// What is expected of an exporter: a line of the log, or that the span arrives.
struct Sending<'a> {
    what: &'a str,
    keys: &'a str,
    host: &'a str,
    identity: &'a Identity,
    clients: Option<&'a Authority>,
    log: Option<&'a str>,
}

impl Parties {
    /// A backend that asks for nothing, and an exporter that believes us.
    fn sending<'a>(&'a self, keys: &'a str) -> Sending<'a> {
        let (what, host) = ("the right authority", "localhost");
        Sending { what, keys, host, identity: &self.server, clients: None, log: None }
    }

    /// `ca_file` of our authority.
    fn ca(&self) -> String {
        format!("ca_file: {}", self.files.put("ca.pem", &self.ours.pem()))
    }
}

/// Tries each row with both exporters.
#[track_caller]
fn check_exporters(rows: &[Sending<'_>]) {
    for kind in ["otlp_grpc", "otlp_http"] {
        for row in rows {
            let sink = Sink::start();
            let front = Front::start(row.identity, row.clients, BOTH, sink.address().to_owned());
            let endpoint = format!("https://{}:{}", row.host, front.port);
            let exporter = format!("{kind}: {{endpoint: \"{endpoint}\", tls: {{{}}}}}", row.keys);
            let daemon = Daemon::start(&daemon::config(&exporter, &[kind]));
            let reply = client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, 2, 0)]));
            assert_eq!(reply.grpc_status(), Some(0), "{reply:?}");
            // Shown when it fails.
            println!("{kind}: {}", row.what);
            match row.log {
                Some(text) => drop(daemon.wait_for_log(text)),
                None => drop(sink.wait_for_spans(1)),
            }
            assert_eq!(row.log.is_none(), !sink.received().is_empty(), "{kind}: {}", row.what);
        }
    }
}

#[test]
fn exporters_verify_their_backend() {
    let parties = Parties::new();
    let (ours, ca) = (&parties.ours, parties.ca());
    let wrong_ca = format!("ca_file: {}", parties.files.put("wrong.pem", &parties.theirs.pem()));
    let (other, old) = (ours.issue(&["backend.example"]), ours.issue_until(NAMES, 2001));
    let renamed = format!("{ca}, server_name_override: backend.example");
    let modern = format!("{ca}, min_version: 1.3");
    let unknown = "is not to be trusted: no authority that is trusted here has signed it; name";
    let fine = parties.sending(&ca);
    check_exporters(&[
        Sending { what: "by address", host: "127.0.0.1", ..fine },
        Sending { what: "the name of the certificate", keys: &renamed, identity: &other, ..fine },
        Sending { what: "whoever", keys: "insecure_skip_verify: true", identity: &old, ..fine },
        Sending { what: "TLS 1.3 alone", keys: &modern, ..fine },
        Sending { what: "the wrong authority", keys: &wrong_ca, log: Some(unknown), ..fine },
        Sending { what: "the system's authorities", keys: "", log: Some(unknown), ..fine },
        Sending {
            what: "another name",
            identity: &other,
            log: Some("is not to be trusted: it is for another name; is the host right?"),
            ..fine
        },
        Sending {
            what: "an expired server",
            identity: &old,
            log: Some("is not to be trusted: it has expired"),
            ..fine
        },
        fine,
    ]);
}

#[test]
fn exporters_show_their_certificate_and_say_what_the_backend_thinks_of_it() {
    let parties = Parties::new();
    let (ours, theirs, ca) = (&parties.ours, &parties.theirs, parties.ca());
    let showing = |name: &str, identity: Identity| {
        format!("{ca}, {}", parties.files.identity(name, &identity))
    };
    let right = showing("right", ours.issue(&["spanloom"]));
    let wrong = showing("wrong", theirs.issue(&["spanloom"]));
    let expired = showing("expired", ours.issue_until(&["spanloom"], 2001));
    let fine = Sending { clients: Some(ours), ..parties.sending(&right) };
    check_exporters(&[
        Sending { what: "the right certificate", ..fine },
        Sending {
            what: "no certificate",
            keys: &ca,
            log: Some("wants a client certificate; name one in `tls: {cert_file, key_file}`"),
            ..fine
        },
        Sending {
            what: "one of another authority",
            keys: &wrong,
            log: Some("does not trust our certificate (cert_file): it does not know the authority"),
            ..fine
        },
        Sending {
            what: "an expired one",
            keys: &expired,
            log: Some("does not trust our certificate (cert_file): it has expired"),
            ..fine
        },
    ]);
}

#[test]
fn an_exporter_that_means_plain_text_or_tls_is_told_of_the_other() {
    let (ours, sink) = (Authority::new("ours"), Sink::start());
    let front = Front::start(&ours.issue(NAMES), None, BOTH, sink.address().to_owned());
    let plain = sink.address().replace("127.0.0.1", "https://localhost");
    let secret = format!("http://localhost:{}", front.port);
    for (kind, endpoint, text) in [
        ("otlp_grpc", &plain, "does not speak TLS; use an http:// endpoint or"),
        ("otlp_http", &plain, "does not speak TLS; use an http:// endpoint or"),
        ("otlp_grpc", &secret, "does not speak gRPC; if it speaks TLS, use https://;"),
        ("otlp_http", &secret, "does not answer in HTTP/1.1; if it speaks TLS, use https://;"),
    ] {
        let exporter = format!("{kind}: {{endpoint: \"{endpoint}\"}}");
        let daemon = Daemon::start(&daemon::config(&exporter, &[kind]));
        client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, 2, 0)]));
        daemon.wait_for_log(text);
    }
    assert!(sink.received().is_empty());
}

#[test]
fn an_exporter_takes_up_a_changed_certificate() {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let front = Front::start(&ours.issue(NAMES), Some(&ours), BOTH, sink.address().to_owned());
    let expired = files.identity("own", &ours.issue_until(&["spanloom"], 2001));
    let ca = files.put("ca.pem", &ours.pem());
    let exporter = format!(
        "otlp_grpc:
  endpoint: localhost:{}
  tls: {{ca_file: {ca}, {expired}, reload_interval: 1ms}}
  retry_on_failure: {{initial_interval: 20ms, max_interval: 20ms}}",
        front.port
    );
    let daemon = Daemon::start(&daemon::config(&exporter, &["otlp_grpc"]));
    daemon.wait_for_log("own.pem has expired; whoever connects will refuse it: renew it");
    client::grpc_export(&daemon.grpc(), TRACES, &request([span("a", 1, 2, 0)]));
    daemon.wait_for_log("does not trust our certificate (cert_file): it has expired");
    files.identity("own", &ours.issue(&["spanloom"]));
    assert_eq!(sink.wait_for_spans(1).len(), 1);
    daemon.wait_for_log("exporters::otlp_grpc::tls: the changed files are in use");
}

#[test]
fn all_problems_of_files_come_with_all_others_and_without_secrets() {
    let (ours, files) = (Authority::new("ours"), Files::new());
    let Identity { certificate, .. } = ours.issue(NAMES);
    let (path, key) = (files.put("a.pem", &certificate), ours.issue(NAMES).key);
    let key = key.trim_end().replace('\n', "\n            ");
    let yaml = format!(
        "receivers:
  otlp:
    protocols:
      grpc:
        tls: {{cert_file: {path}, key_file: {path}, client_ca_file: gone.pem}}
      http:
        tls:
          cert_file: {path}
          key_pem: |
            {key}
exporters:
  otlp_grpc:
    endpoint: backend.example:4317
    tls: {{ca_file: gone.pem, cert_file: {path}}}
    timeuot: 5s
service:
  pipelines:
    traces: {{receivers: [otlp], exporters: [otlp_grpc]}}
"
    );
    let config = files.put("config.yaml", &yaml);
    let output = daemon::run(["validate", "--config", &config]);
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in [
        "receivers::otlp::protocols::grpc::tls::client_ca_file: the file gone.pem cannot be read",
        "receivers::otlp::protocols::grpc::tls::key_file: ",
        "a.pem holds a certificate and no private key; were the two files swapped?",
        "receivers::otlp::protocols::http::tls::key_pem: the private key is not that of the",
        "exporters::otlp_grpc::tls::ca_file: the file gone.pem cannot be read: No such file",
        "exporters::otlp_grpc::tls::key_file: must be set: the PEM file with the private key",
        "unknown key \"timeuot\"; did you mean \"timeout\"?",
        "6 errors",
    ] {
        assert!(text.contains(part), "no {part} in\n{text}");
    }
    let secret = key.lines().nth(1).unwrap().trim();
    assert!(yaml.contains(secret) && !text.contains(secret), "{text}");
}

#[test]
fn a_listener_beyond_loopback_without_tls_is_worth_a_warning() {
    let (ours, files, sink) = (Authority::new("ours"), Files::new(), Sink::start());
    let server = files.identity("server", &ours.issue(NAMES));
    let wide = |yaml: &str| yaml.replacen("127.0.0.1:0", "0.0.0.0:0", 1);
    let text = "without TLS, whoever is on the way reads and changes telemetry: set `tls` with";
    let daemon = Daemon::start(&wide(&daemon::to_sink(&sink)));
    let line = daemon.wait_for_log(text);
    assert!(line.contains("WARN") && line.contains("otlp/grpc"), "{line}");
    let tls = format!("tls: {{{server}}}");
    for yaml in [wide(&listening(&sink, &tls)), daemon::to_sink(&sink)] {
        let daemon = Daemon::start(&yaml);
        daemon.wait_for_log("ready: ");
        assert!(!daemon.log_lines().iter().any(|line| line.contains(text)));
    }
}
