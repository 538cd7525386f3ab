//! Names of spans at which a trace may begin: what is configured, probes that look after services,
//! browsers, and the traffic of telemetry itself.

/// What the path of a probe, or of an export of telemetry, begins with.
const PATHS: [&[u8]; 10] = [
    b"health",
    b"livez",
    b"liveness",
    b"readyz",
    b"readiness",
    b"ping",
    b"metrics",
    b"v1/traces",
    b"v1/metrics",
    b"v1/logs",
];

/// What the names begin with of what a browser does by itself, and of telemetry's own calls.
const NAMES: [&[u8]; 4] =
    [b"documentLoad", b"documentFetch", b"resourceFetch", b"opentelemetry.proto.collector."];

/// The names.
pub struct Roots {
    /// Each whole, or how it begins if a star ends it.
    configured: Vec<(Vec<u8>, bool)>,
}

impl Roots {
    pub fn new(configured: &[String]) -> Roots {
        let read = |name: &String| match name.strip_suffix('*') {
            Some(start) => (start.as_bytes().to_vec(), true),
            None => (name.as_bytes().to_vec(), false),
        };
        Roots { configured: configured.iter().map(read).collect() }
    }

    /// Whether a trace may begin with a span of this name.
    pub fn has(&self, name: &[u8]) -> bool {
        let configured = self.configured.iter().any(|(text, starts)| match starts {
            true => name.starts_with(text),
            false => name == text.as_slice(),
        });
        let path = memchr::memchr(b'/', name).and_then(|at| name.get(at + 1..));
        configured
            || path.is_some_and(|path| PATHS.iter().any(|start| path.starts_with(start)))
            || NAMES.iter().any(|start| name.starts_with(start))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probes_browsers_telemetry_and_what_is_configured_begin_traces() {
        let roots = Roots::new(&["nightly".into(), "cron *".into()]);
        for name in [
            "nightly",
            "cron report",
            "GET /healthz",
            "GET /readyz",
            "POST /v1/traces",
            "documentLoad",
            "opentelemetry.proto.collector.trace.v1.TraceService/Export",
        ] {
            assert!(roots.has(name.as_bytes()), "{name}");
        }
        for name in ["", "nightly run", "cron", "GET /", "POST /ask", "GET /v1/ping"] {
            assert!(!roots.has(name.as_bytes()), "{name}");
        }
    }
}
