//! The counters of one exporter's delivery, under the Collector's names.

use super::settings::{Settings, Sizer};
use crate::batch::Signal;
use crate::telemetry::{Counter, Gauge, Registry};

/// Cloning shares the counters.
#[derive(Clone)]
pub struct Meters {
    /// In the order of [`Signal::ALL`].
    signals: [Lane; 3],
    /// Bytes held, all signals.
    pub bytes: Gauge,
}

/// The counters of one signal.
#[derive(Clone)]
pub struct Lane {
    /// Items that the backend has.
    pub sent: Counter,
    /// Items that the backend refused within a request that it took.
    pub rejected: Counter,
    /// Items given up after an attempt.
    pub failed: Counter,
    /// Items for which there was no room.
    pub overflowed: Counter,
    /// What is held, in the sizer's unit.
    pub size: Gauge,
}

impl Meters {
    pub fn new(id: &str, registry: &Registry, settings: &Settings) -> Meters {
        let lane = |signal: Signal| {
            let counter = |name: &str, help: &str| {
                let name = format!("{name}_{}", signal.items());
                registry.counter(&name, help, &[("exporter", id)])
            };
            let gauge = |name: &str, help: &str| {
                registry.gauge(name, help, &[("exporter", id), ("data_type", signal.name())])
            };
            let unit = match settings.sizer {
                Sizer::Bytes => settings.bytes,
                Sizer::Requests | Sizer::Items => usize::MAX,
            };
            let capacity = i64::try_from(settings.size.min(unit)).unwrap_or(i64::MAX);
            if settings.queued {
                gauge("otelcol_exporter_queue_capacity", "what the queue holds at most")
                    .set(capacity);
            }
            Lane {
                sent: counter("otelcol_exporter_sent", "items that the backend took"),
                rejected: counter("spanloom_exporter_rejected", "items that the backend refused"),
                failed: counter("otelcol_exporter_send_failed", "items given up"),
                overflowed: counter("otelcol_exporter_enqueue_failed", "items without room"),
                size: gauge("otelcol_exporter_queue_size", "what the queue holds"),
            }
        };
        let help = "bytes that the exporter holds, queued or under way";
        let bytes = registry.gauge("spanloom_exporter_queue_bytes", help, &[("exporter", id)]);
        Meters { signals: Signal::ALL.map(lane), bytes }
    }

    pub fn of(&self, signal: Signal) -> &Lane {
        let [traces, logs, metrics] = &self.signals;
        match signal {
            Signal::Traces => traces,
            Signal::Logs => logs,
            Signal::Metrics => metrics,
        }
    }
}
