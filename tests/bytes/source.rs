//! Requests made of random bytes: whoever has bytes (proptest, a fuzzer) has a request.
//!
//! When the bytes are used up every choice is the first, and every list ends: shorter bytes are
//! simpler requests, which is what makes failures shrink.

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{
    AnyValue, ArrayValue, EntityRef, InstrumentationScope, KeyValue, KeyValueList,
};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::exponential_histogram_data_point::Buckets;
use opentelemetry_proto::tonic::metrics::v1::summary_data_point::ValueAtQuantile;
use opentelemetry_proto::tonic::metrics::v1::{
    Exemplar, ExponentialHistogram, ExponentialHistogramDataPoint, Gauge, Histogram,
    HistogramDataPoint, Metric, NumberDataPoint, ResourceMetrics, ScopeMetrics, Sum, Summary,
    SummaryDataPoint, exemplar, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::span::{Event, Link};
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span, Status};

/// Random bytes being used up.
pub struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub fn new(bytes: &'a [u8]) -> Source<'a> {
        Source { bytes }
    }

    pub fn byte(&mut self) -> u8 {
        match self.bytes.split_first() {
            Some((byte, rest)) => {
                self.bytes = rest;
                *byte
            }
            None => 0,
        }
    }

    /// A number below `n`, which is 256 at most.
    pub fn below(&mut self, n: usize) -> usize {
        usize::from(self.byte()) % n
    }

    /// True once in `n`.
    pub fn once_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    pub fn number(&mut self) -> u64 {
        match self.below(8) {
            0 => 0,
            1..=3 => self.byte().into(),
            4 => u64::MAX,
            5 => 1 << self.below(64),
            _ => (0..8).fold(0, |n, _| n << 8 | u64::from(self.byte())),
        }
    }

    fn small(&mut self) -> u32 {
        if self.once_in(3) { self.number() as u32 } else { 0 }
    }

    pub fn double(&mut self) -> f64 {
        match self.below(8) {
            0 => 0.0,
            1 => -0.0,
            2 => f64::INFINITY,
            3 => f64::NEG_INFINITY,
            4 => 0.1 * self.number() as f64,
            5 => f64::from(self.byte()),
            // There are many NaNs, and only one goes through text.
            6 => f64::NAN,
            _ => Some(f64::from_bits(self.number())).filter(|d| !d.is_nan()).unwrap_or(1e300),
        }
    }

    pub fn time(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => self.number(),
            _ => 1_780_000_000_000_000_000 + self.number() % 10_000_000_000,
        }
    }

    pub fn text(&mut self) -> String {
        const WORDS: [&str; 16] = [
            "",
            "k",
            "service.name",
            "gen_ai.prompt",
            "a b",
            "\"q\\",
            "\n\t\u{1}\u{7f}",
            "é😀\u{2028}",
            "kind",
            "name",
            "gen_ai.content.prompt",
            "0",
            "-",
            "=",
            "{\"role\":\"user\"}",
            "event",
        ];
        let word = WORDS[self.below(WORDS.len())];
        if self.once_in(16) { word.repeat(self.below(64)) } else { word.into() }
    }

    pub fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(20)).map(|_| self.byte()).collect()
    }

    fn id(&mut self, len: usize) -> Vec<u8> {
        match self.below(8) {
            0 => vec![],
            1 => self.bytes(),
            2 => vec![0; len],
            3 => (0..len).map(|_| self.byte()).collect(),
            _ => {
                let mut id = vec![0; len];
                id[len - 1] = self.byte();
                id
            }
        }
    }

    /// Up to `most` of what `make` makes.
    pub fn list<T>(&mut self, most: usize, make: impl Fn(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| make(self)).collect()
    }

    fn option<T>(&mut self, make: impl Fn(&mut Self) -> T) -> Option<T> {
        if self.below(4) > 0 { Some(make(self)) } else { None }
    }

    pub fn value(&mut self, depth: usize) -> AnyValue {
        let value = match self.below(if depth > 0 { 12 } else { 8 }) {
            0 => None,
            1 => Some(Value::BoolValue(self.once_in(2))),
            2 => Some(Value::IntValue(self.number() as i64)),
            3 => Some(Value::DoubleValue(self.double())),
            4 => Some(Value::BytesValue(self.bytes())),
            5..8 => Some(Value::StringValue(self.text())),
            8 | 9 => {
                let values = self.list(3, |s| s.value(depth - 1));
                Some(Value::ArrayValue(ArrayValue { values }))
            }
            _ => {
                let values = self.list(3, |s| s.key_value(depth - 1));
                Some(Value::KvlistValue(KeyValueList { values }))
            }
        };
        AnyValue { value }
    }

    pub fn key_value(&mut self, depth: usize) -> KeyValue {
        let value = if self.once_in(16) { None } else { Some(self.value(depth)) };
        KeyValue { key: self.text(), value, ..Default::default() }
    }

    fn attributes(&mut self) -> Vec<KeyValue> {
        self.list(4, |s| s.key_value(4))
    }

    fn resource(&mut self) -> Resource {
        let entity = |s: &mut Self| EntityRef {
            schema_url: s.text(),
            r#type: s.text(),
            id_keys: s.list(2, Self::text),
            description_keys: s.list(2, Self::text),
        };
        Resource {
            attributes: self.attributes(),
            dropped_attributes_count: self.small(),
            entity_refs: if self.once_in(8) { self.list(2, entity) } else { vec![] },
        }
    }

    fn scope(&mut self) -> InstrumentationScope {
        InstrumentationScope {
            name: self.text(),
            version: self.text(),
            attributes: self.attributes(),
            dropped_attributes_count: self.small(),
        }
    }

    pub fn status(&mut self) -> Status {
        Status { message: self.text(), code: self.below(4) as i32 }
    }

    fn span(&mut self) -> Span {
        let event = |s: &mut Self| Event {
            time_unix_nano: s.time(),
            name: s.text(),
            attributes: s.attributes(),
            dropped_attributes_count: s.small(),
        };
        let link = |s: &mut Self| Link {
            trace_id: s.id(16),
            span_id: s.id(8),
            trace_state: s.text(),
            attributes: s.attributes(),
            dropped_attributes_count: s.small(),
            flags: s.small(),
        };
        Span {
            trace_id: self.id(16),
            span_id: self.id(8),
            trace_state: self.text(),
            parent_span_id: self.id(8),
            flags: self.small(),
            name: self.text(),
            kind: self.below(8) as i32 - 1,
            start_time_unix_nano: self.time(),
            end_time_unix_nano: self.time(),
            attributes: self.attributes(),
            dropped_attributes_count: self.small(),
            events: self.list(3, event),
            dropped_events_count: self.small(),
            links: self.list(2, link),
            dropped_links_count: self.small(),
            status: self.option(Self::status),
        }
    }

    pub fn traces(&mut self) -> ExportTraceServiceRequest {
        let scope_spans = |s: &mut Self| ScopeSpans {
            scope: s.option(Self::scope),
            spans: s.list(4, Self::span),
            schema_url: s.text(),
        };
        let resource_spans = |s: &mut Self| ResourceSpans {
            resource: s.option(Self::resource),
            scope_spans: s.list(3, scope_spans),
            schema_url: s.text(),
        };
        ExportTraceServiceRequest { resource_spans: self.list(3, resource_spans) }
    }

    fn log_record(&mut self) -> LogRecord {
        LogRecord {
            time_unix_nano: self.time(),
            observed_time_unix_nano: self.time(),
            severity_number: self.below(30) as i32 - 2,
            severity_text: self.text(),
            body: self.option(|s| s.value(4)),
            attributes: self.attributes(),
            dropped_attributes_count: self.small(),
            flags: self.small(),
            trace_id: self.id(16),
            span_id: self.id(8),
            event_name: self.text(),
        }
    }

    pub fn logs(&mut self) -> ExportLogsServiceRequest {
        let scope_logs = |s: &mut Self| ScopeLogs {
            scope: s.option(Self::scope),
            log_records: s.list(4, Self::log_record),
            schema_url: s.text(),
        };
        let resource_logs = |s: &mut Self| ResourceLogs {
            resource: s.option(Self::resource),
            scope_logs: s.list(3, scope_logs),
            schema_url: s.text(),
        };
        ExportLogsServiceRequest { resource_logs: self.list(3, resource_logs) }
    }

    fn exemplar(&mut self) -> Exemplar {
        Exemplar {
            filtered_attributes: self.attributes(),
            time_unix_nano: self.time(),
            span_id: self.id(8),
            trace_id: self.id(16),
            value: self.option(|s| match s.below(2) {
                0 => exemplar::Value::AsInt(s.number() as i64),
                _ => exemplar::Value::AsDouble(s.double()),
            }),
        }
    }

    fn number_data_point(&mut self) -> NumberDataPoint {
        NumberDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            exemplars: self.list(1, Self::exemplar),
            flags: self.small(),
            value: self.option(|s| match s.below(2) {
                0 => number_data_point::Value::AsInt(s.number() as i64),
                _ => number_data_point::Value::AsDouble(s.double()),
            }),
        }
    }

    fn histogram_data_point(&mut self) -> HistogramDataPoint {
        HistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.number(),
            sum: self.option(Self::double),
            bucket_counts: self.list(4, Self::number),
            explicit_bounds: self.list(4, Self::double),
            exemplars: self.list(1, Self::exemplar),
            flags: self.small(),
            min: self.option(Self::double),
            max: self.option(Self::double),
        }
    }

    fn exponential_data_point(&mut self) -> ExponentialHistogramDataPoint {
        let buckets = |s: &mut Self| Buckets {
            offset: s.number() as i32,
            bucket_counts: s.list(4, Self::number),
        };
        ExponentialHistogramDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.number(),
            sum: self.option(Self::double),
            scale: self.number() as i32,
            zero_count: self.number(),
            positive: self.option(buckets),
            negative: self.option(buckets),
            flags: self.small(),
            exemplars: self.list(1, Self::exemplar),
            min: self.option(Self::double),
            max: self.option(Self::double),
            zero_threshold: self.double(),
        }
    }

    fn summary_data_point(&mut self) -> SummaryDataPoint {
        let quantile = |s: &mut Self| ValueAtQuantile { quantile: s.double(), value: s.double() };
        SummaryDataPoint {
            attributes: self.attributes(),
            start_time_unix_nano: self.time(),
            time_unix_nano: self.time(),
            count: self.number(),
            sum: self.double(),
            quantile_values: self.list(3, quantile),
            flags: self.small(),
        }
    }

    fn metric(&mut self) -> Metric {
        let data = match self.below(6) {
            0 => None,
            1 => Some(metric::Data::Gauge(Gauge {
                data_points: self.list(3, Self::number_data_point),
            })),
            2 => Some(metric::Data::Sum(Sum {
                data_points: self.list(3, Self::number_data_point),
                aggregation_temporality: self.below(4) as i32,
                is_monotonic: self.once_in(2),
            })),
            3 => Some(metric::Data::Histogram(Histogram {
                data_points: self.list(3, Self::histogram_data_point),
                aggregation_temporality: self.below(4) as i32,
            })),
            4 => Some(metric::Data::ExponentialHistogram(ExponentialHistogram {
                data_points: self.list(3, Self::exponential_data_point),
                aggregation_temporality: self.below(4) as i32,
            })),
            _ => Some(metric::Data::Summary(Summary {
                data_points: self.list(3, Self::summary_data_point),
            })),
        };
        Metric {
            name: self.text(),
            description: self.text(),
            unit: self.text(),
            metadata: self.attributes(),
            data,
        }
    }

    pub fn metrics(&mut self) -> ExportMetricsServiceRequest {
        let scope_metrics = |s: &mut Self| ScopeMetrics {
            scope: s.option(Self::scope),
            metrics: s.list(3, Self::metric),
            schema_url: s.text(),
        };
        let resource_metrics = |s: &mut Self| ResourceMetrics {
            resource: s.option(Self::resource),
            scope_metrics: s.list(2, scope_metrics),
            schema_url: s.text(),
        };
        ExportMetricsServiceRequest { resource_metrics: self.list(2, resource_metrics) }
    }
}
