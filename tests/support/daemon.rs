//! The real binary as a child process. It listens on free ports, which it names in its log:
//!
//! ```text
//! listening protocol=otlp/grpc address=127.0.0.1:41234
//! ```
//!
//! with protocol one of otlp/grpc, otlp/http, metrics, health_check; in JSON the same two fields.
//! Killed when dropped.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::{fs, thread};

use tempfile::TempDir;

use super::{Sink, eventually};

pub struct Daemon {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
    reader: JoinHandle<()>,
    folder: TempDir,
}

/// The command line of the binary under test, with no OpenTelemetry variable inherited.
pub fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spanloom"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("OTEL_")) {
        command.env_remove(name);
    }
    command.env("NO_COLOR", "1").stdin(Stdio::null());
    command
}

/// Runs the binary to its end: `run(["validate", "--config", path])`.
#[track_caller]
pub fn run<const N: usize>(arguments: [&str; N]) -> Output {
    command().args(arguments).output().expect("the binary starts")
}

/// A configuration with all listeners on free ports, the three processors and `exporters`, a YAML
/// text for the section of that name. All exporters stand in both pipelines.
pub fn config(exporters: &str, names: &[&str]) -> String {
    let exporters = exporters.trim().replace('\n', "\n  ");
    let names = names.join(", ");
    format!(
        "receivers:
  otlp:
    protocols:
      grpc: {{endpoint: \"127.0.0.1:0\"}}
      http: {{endpoint: \"127.0.0.1:0\"}}
processors:
  sensitive: {{}}
  baggage: {{}}
  orphans: {{head_hold: 0s}}
exporters:
  {exporters}
extensions:
  health_check: {{endpoint: \"127.0.0.1:0\"}}
service:
  extensions: [health_check]
  telemetry:
    metrics: {{address: \"127.0.0.1:0\"}}
  pipelines:
    traces: {{receivers: [otlp], processors: [sensitive, baggage, orphans], exporters: [{names}]}}
    logs: {{receivers: [otlp], processors: [sensitive, baggage], exporters: [{names}]}}
    metrics: {{receivers: [otlp], exporters: [{names}]}}
"
    )
}

/// `config` with one gRPC exporter to `sink`.
pub fn to_sink(sink: &Sink) -> String {
    config(&format!("otlp_grpc: {{endpoint: \"{}\"}}", sink.endpoint()), &["otlp_grpc"])
}

/// `config` with one HTTP exporter to `sink`.
pub fn to_sink_by_http(sink: &Sink) -> String {
    config(&format!("otlp_http: {{endpoint: \"{}\"}}", sink.endpoint()), &["otlp_http"])
}

impl Daemon {
    /// Starts the binary with a configuration given as text.
    #[track_caller]
    pub fn start(yaml: &str) -> Daemon {
        Daemon::start_with(yaml, |_| {})
    }

    /// As `start`; `adjust` adds arguments and variables.
    #[track_caller]
    pub fn start_with(yaml: &str, adjust: impl FnOnce(&mut Command)) -> Daemon {
        Daemon::spawn(command(), yaml, adjust)
    }

    /// As `start`, by a shell that does `first` and becomes the binary then: what it limits or
    /// mounts holds for the binary.
    #[track_caller]
    pub fn start_by(shell: &[&str], first: &str, yaml: &str) -> Daemon {
        let mut command = Command::new(shell[0]);
        command.args(&shell[1..]).arg(format!("{first} && exec \"$0\" \"$@\""));
        command.arg(env!("CARGO_BIN_EXE_spanloom")).env("NO_COLOR", "1").stdin(Stdio::null());
        Daemon::spawn(command, yaml, |_| {})
    }

    #[track_caller]
    fn spawn(mut command: Command, yaml: &str, adjust: impl FnOnce(&mut Command)) -> Daemon {
        let folder = TempDir::new().expect("a scratch folder");
        let file = folder.path().join("config.yaml");
        fs::write(&file, yaml).expect("the configuration is written");
        command.arg("--config").arg(&file).stdout(Stdio::null()).stderr(Stdio::piped());
        adjust(&mut command);
        let mut child = command.spawn().expect("the binary starts");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (stderr, lines) = (child.stderr.take().expect("stderr is piped"), log.clone());
        let reader = thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            }
        });
        Daemon { child, log, reader, folder }
    }

    /// Address of the gRPC receiver, as `127.0.0.1:41234`.
    #[track_caller]
    pub fn grpc(&self) -> String {
        self.address("otlp/grpc")
    }

    /// Address of the HTTP receiver.
    #[track_caller]
    pub fn http(&self) -> String {
        self.address("otlp/http")
    }

    /// Address of the Prometheus endpoint.
    #[track_caller]
    pub fn metrics(&self) -> String {
        self.address("metrics")
    }

    /// Address of the health check.
    #[track_caller]
    pub fn health_check(&self) -> String {
        self.address("health_check")
    }

    /// Waits until the log names the address of `protocol`.
    #[track_caller]
    pub fn address(&self, protocol: &str) -> String {
        let named = || {
            let lines = self.log_lines();
            let line = lines.iter().find(|line| {
                line.contains("listening") && field(line, "protocol").as_deref() == Some(protocol)
            })?;
            field(line, "address")
        };
        let Some(address) = self.wait_for(named) else { panic!("no listener {protocol}") };
        address
    }

    /// Waits for a line of the log that contains `part`.
    #[track_caller]
    pub fn wait_for_log(&self, part: &str) -> String {
        let line = || self.log_lines().into_iter().find(|line| line.contains(part));
        let Some(line) = self.wait_for(line) else { panic!("no line of the log has `{part}`") };
        line
    }

    /// Waits for something in the log; not longer than the process lives.
    fn wait_for<T>(&self, seen: impl Fn() -> Option<T>) -> Option<T> {
        let ready = || match seen() {
            Some(found) => Some(Some(found)),
            None => self.reader.is_finished().then(&seen),
        };
        eventually(ready).flatten()
    }

    /// What stands on stderr so far.
    pub fn log_lines(&self) -> Vec<String> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The value of a metric, summed over its label sets that contain `labels`. Zero when absent.
    #[track_caller]
    pub fn metric(&self, name: &str, labels: &str) -> f64 {
        let page = super::client::get(&self.metrics(), "/metrics").text();
        let lines = page.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
                && line.contains(labels)
        });
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }

    /// Resident memory in KiB: now.
    pub fn resident_kib(&self) -> u64 {
        self.memory("VmRSS:")
    }

    /// Resident memory in KiB: the most it ever was.
    pub fn peak_resident_kib(&self) -> u64 {
        self.memory("VmHWM:")
    }

    fn memory(&self, row: &str) -> u64 {
        let path = format!("/proc/{}/status", self.child.id());
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| line.strip_prefix(row));
        value.and_then(|value| value.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Takes the configuration file away.
    #[track_caller]
    pub fn remove_config(&self) {
        fs::remove_file(self.folder.path().join("config.yaml")).expect("it is removed");
    }

    /// Rewrites the configuration file; `signal("HUP")` makes the binary look at it.
    #[track_caller]
    pub fn rewrite_config(&self, yaml: &str) {
        fs::write(self.folder.path().join("config.yaml"), yaml).expect("it is written");
    }

    /// Sends a signal by its short name: TERM, HUP, KILL, STOP, CONT.
    #[track_caller]
    pub fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([&format!("-{name}"), &pid]).status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name} is sent");
    }

    /// The number of the process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether the process still runs.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Asks the process to end and waits until it has drained.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.wait()
    }

    /// Waits until the process has ended by itself.
    #[track_caller]
    pub fn wait(&mut self) -> ExitStatus {
        let ended = eventually(|| self.child.try_wait().ok().flatten());
        let Some(status) = ended else { panic!("the process does not end") };
        status
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("the log of the daemon:\n  {}", self.log_lines().join("\n  "));
        }
    }
}

/// The value of a field in a line of the log: `name=value`, `name="value"` or `"name":"value"`.
fn field(line: &str, name: &str) -> Option<String> {
    let plain = line.split_once(&format!(" {name}=")).map(|(_, rest)| rest);
    let json = line.split_once(&format!("\"{name}\":")).map(|(_, rest)| rest);
    let rest = plain.or(json)?.trim_start_matches('"');
    Some(rest.chars().take_while(|c| !c.is_whitespace() && !"\",}".contains(*c)).collect())
}
