//! The metrics of this process, created by name and rendered as Prometheus text.

use super::findings::Findings;
use prometheus::TextEncoder;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// A number that only grows.
#[derive(Clone)]
pub struct Counter(prometheus::IntCounter);

impl Counter {
    #[inline]
    pub fn add(&self, n: usize) {
        self.0.inc_by(n as u64);
    }

    pub fn value(&self) -> u64 {
        self.0.get()
    }
}

/// A number that goes up and down.
#[derive(Clone)]
pub struct Gauge(prometheus::IntGauge);

impl Gauge {
    #[inline]
    pub fn add(&self, n: i64) {
        self.0.add(n);
    }

    pub fn set(&self, n: i64) {
        self.0.set(n);
    }

    pub fn value(&self) -> i64 {
        self.0.get()
    }
}

/// A part of a gauge, which shows the sum of its parts; one that ends counts as nothing.
pub struct Level {
    gauge: Gauge,
    shown: i64,
}

impl Level {
    pub fn set(&mut self, n: i64) {
        self.gauge.add(n - self.shown);
        self.shown = n;
    }
}

impl From<Gauge> for Level {
    fn from(gauge: Gauge) -> Level {
        Level { gauge, shown: 0 }
    }
}

impl Drop for Level {
    fn drop(&mut self) {
        self.set(0);
    }
}

/// Numbers by size.
#[derive(Clone)]
pub struct Histogram(prometheus::Histogram);

impl Histogram {
    #[inline]
    pub fn observe(&self, n: usize) {
        self.0.observe(n as f64);
    }
}

/// A number that is read when the metrics are.
type Reading = Arc<dyn Fn() -> i64 + Send + Sync>;

/// Creates metrics and renders them. Cloning shares them.
#[derive(Clone, Default)]
pub struct Registry {
    families: Arc<Mutex<Families>>,
    /// What cannot be counted: the latest findings, each with its place.
    pub findings: Findings,
}

/// One series at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    pub name: String,
    /// Names and values, sorted by name.
    pub labels: Vec<(String, String)>,
    pub kind: Kind,
    pub value: i64,
}

/// What the value of a series does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
}

#[derive(Default)]
struct Families {
    registry: prometheus::Registry,
    counters: BTreeMap<String, IntCounterVec>,
    gauges: BTreeMap<String, IntGaugeVec>,
    histograms: BTreeMap<String, HistogramVec>,
    readings: BTreeMap<String, (Gauge, Reading)>,
}

impl Registry {
    /// The counter `name` with these labels; the same one for the same name and labels. All
    /// counters of one name carry the same label names.
    pub fn counter(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Counter {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if !families.counters.contains_key(name) {
            let names: Vec<&str> = labels.iter().map(|l| l.0).collect();
            if let Ok(family) = IntCounterVec::new(Opts::new(name, help), &names) {
                let _ = families.registry.register(Box::new(family.clone()));
                families.counters.insert(name.to_owned(), family);
            }
        }
        let values: Vec<&str> = labels.iter().map(|l| l.1).collect();
        let family = families.counters.get(name);
        let counter = family.and_then(|f| f.get_metric_with_label_values(&values).ok());
        debug_assert!(
            counter.is_some(),
            "{name}: no help text, or label names differ between two uses"
        );
        Counter(counter.unwrap_or_else(detached_counter))
    }

    /// The gauge `name` with these labels.
    pub fn gauge(&self, name: &str, help: &str, labels: &[(&str, &str)]) -> Gauge {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        if !families.gauges.contains_key(name) {
            let names: Vec<&str> = labels.iter().map(|l| l.0).collect();
            if let Ok(family) = IntGaugeVec::new(Opts::new(name, help), &names) {
                let _ = families.registry.register(Box::new(family.clone()));
                families.gauges.insert(name.to_owned(), family);
            }
        }
        let values: Vec<&str> = labels.iter().map(|l| l.1).collect();
        let family = families.gauges.get(name);
        let gauge = family.and_then(|f| f.get_metric_with_label_values(&values).ok());
        debug_assert!(
            gauge.is_some(),
            "{name}: no help text, or label names differ between two uses"
        );
        Gauge(gauge.unwrap_or_else(detached_gauge))
    }

    /// The histogram `name` with these labels, whose buckets end at `bounds`.
    pub fn histogram(
        &self,
        name: &str,
        help: &str,
        bounds: &[f64],
        labels: &[(&str, &str)],
    ) -> Histogram {
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        let opts = HistogramOpts::new(name, help).buckets(bounds.to_vec());
        if !families.histograms.contains_key(name) {
            let names: Vec<&str> = labels.iter().map(|l| l.0).collect();
            if let Ok(family) = HistogramVec::new(opts.clone(), &names) {
                let _ = families.registry.register(Box::new(family.clone()));
                families.histograms.insert(name.to_owned(), family);
            }
        }
        let values: Vec<&str> = labels.iter().map(|l| l.1).collect();
        let family = families.histograms.get(name);
        let histogram = family.and_then(|f| f.get_metric_with_label_values(&values).ok());
        debug_assert!(
            histogram.is_some(),
            "{name}: no help text, or label names differ between two uses"
        );
        Histogram(histogram.unwrap_or_else(detached_histogram))
    }

    /// A gauge without labels that shows what `read` says whenever the metrics are rendered. One
    /// of the same name is replaced.
    pub fn watch(&self, name: &str, help: &str, read: impl Fn() -> i64 + Send + Sync + 'static) {
        let gauge = self.gauge(name, help, &[]);
        let mut families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.readings.insert(name.to_owned(), (gauge, Arc::new(read)));
    }

    /// All metrics in the Prometheus text format.
    pub fn render(&self) -> String {
        let mut out = vec![];
        let _ = TextEncoder::new().encode(&self.gather(), &mut out);
        String::from_utf8(out).unwrap_or_default()
    }

    /// All counters and gauges as they are now.
    pub fn series(&self) -> Vec<Series> {
        let mut all = vec![];
        for family in self.gather() {
            for metric in family.get_metric() {
                let labels = metric.get_label().iter();
                let labels = labels.map(|l| (l.name().to_owned(), l.value().to_owned())).collect();
                // Whole numbers that prometheus hands out as floats.
                let (kind, value) = match family.get_field_type() {
                    MetricType::COUNTER => (Kind::Counter, metric.get_counter().get_value()),
                    MetricType::GAUGE => (Kind::Gauge, metric.get_gauge().get_value()),
                    _ => continue,
                };
                let name = family.name().to_owned();
                all.push(Series { name, labels, kind, value: value as i64 });
            }
        }
        all
    }

    fn gather(&self) -> Vec<MetricFamily> {
        let families = self.families.lock().unwrap_or_else(PoisonError::into_inner);
        families.readings.values().for_each(|(gauge, read)| gauge.set(read()));
        families.registry.gather()
    }
}

/// A counter that is not shown, in place of one that could not be registered.
fn detached_counter() -> prometheus::IntCounter {
    prometheus::core::GenericCounter::with_opts(Opts::new("detached", "detached"))
        .unwrap_or_else(|_| unreachable!("the name is valid"))
}

fn detached_histogram() -> prometheus::Histogram {
    prometheus::Histogram::with_opts(HistogramOpts::new("detached", "detached"))
        .unwrap_or_else(|_| unreachable!("the name is valid"))
}

fn detached_gauge() -> prometheus::IntGauge {
    prometheus::core::GenericGauge::with_opts(Opts::new("detached", "detached"))
        .unwrap_or_else(|_| unreachable!("the name is valid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_name_and_labels_are_the_same_counter_and_render_without_a_suffix() {
        let registry = Registry::default();
        let labels = [("receiver", "otlp")];
        registry.counter("otelcol_receiver_accepted_spans", "spans", &labels).add(2);
        registry.counter("otelcol_receiver_accepted_spans", "spans", &labels).add(3);
        let text = registry.render();
        assert!(text.contains("otelcol_receiver_accepted_spans{receiver=\"otlp\"} 5"), "{text}");
    }

    #[test]
    fn series_have_their_kind_their_labels_sorted_and_their_value() {
        let registry = Registry::default();
        registry.counter("sent", "spans", &[("z", "1"), ("a", "2")]).add(7);
        registry.gauge("size", "bytes", &[]).set(-3);
        let series = |name: &str, labels: &[(&str, &str)], kind, value| {
            let labels = labels.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
            Series { name: name.into(), labels, kind, value }
        };
        let expected = [
            series("sent", &[("a", "2"), ("z", "1")], Kind::Counter, 7),
            series("size", &[], Kind::Gauge, -3),
        ];
        assert_eq!(registry.series(), expected);
    }

    #[test]
    fn a_histogram_renders_its_buckets_and_a_watched_gauge_what_is_read_then() {
        let registry = Registry::default();
        let histogram = registry.histogram("size", "sizes", &[10.0, 20.0], &[("processor", "b")]);
        [5, 15, 15, 50].into_iter().for_each(|size| histogram.observe(size));
        registry.watch("held", "bytes", || 1);
        registry.watch("held", "bytes", || 7);
        let text = registry.render();
        for line in [
            "size_bucket{processor=\"b\",le=\"10\"} 1",
            "size_bucket{processor=\"b\",le=\"20\"} 3",
            "size_sum{processor=\"b\"} 85",
            "size_count{processor=\"b\"} 4",
            "held 7",
        ] {
            assert!(text.contains(line), "{line} in\n{text}");
        }
    }
}
