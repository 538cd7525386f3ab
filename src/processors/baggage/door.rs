//! Metadata of requests as a source: what a header says is written on the resources of its request
//! before anything else sees them.
//!
//! A request's metadata would not survive on its own: requests are held, taken apart and joined,
//! and what one client said must never stand on another's spans. Written into the bytes it goes
//! where they go, through windows and journals, and `sensitive` treats it like all else. So it
//! stays on the resource, which in a sidecar of one tenant is the truth.
//!
//! A resource that has the attribute keeps it.

use super::counters::rejected;
use super::reading::Reader;
use super::w3c::{self, Rejected};
use crate::batch::Batch;
use crate::config::Section;
use crate::limits;
use crate::metadata::Metadata;
use crate::moment::Moment;
use crate::otlp::edit::Edits;
use crate::otlp::fields::{resource, resource_group};
use crate::otlp::view;
use crate::otlp::wire::put_message_field;
use crate::otlp::write::put_text_attribute;
use crate::processors::names::Names;
use crate::processors::{Out, Setup, Stateless};
use crate::telemetry::Counter;
use std::sync::Arc;

/// The header that is read as W3C baggage.
const BAGGAGE: &str = "baggage";

/// Reads metadata at the beginning of a pipeline.
pub struct Door {
    /// Headers, and the numbers of the targets that get their values.
    headers: Vec<(String, u8)>,
    keys: Arc<Names<u8>>,
    targets: Arc<Vec<String>>,
    max_value_bytes: usize,
    plus_as_space: bool,
    refused: Refused,
}

struct Refused {
    malformed: Counter,
    beyond: Counter,
    too_long: Counter,
}

impl Door {
    pub fn new(section: &Section, reader: &Reader, setup: &Setup<'_>) -> Door {
        let number = |(header, key): &(String, String)| {
            Some((header.to_ascii_lowercase(), reader.keys.find(key.as_bytes())?))
        };
        Door {
            headers: section.map("metadata").iter().filter_map(number).collect(),
            keys: reader.keys.clone(),
            targets: reader.targets.clone(),
            max_value_bytes: section.count("max_value_bytes"),
            plus_as_space: section.bool("plus_as_space"),
            refused: Refused {
                malformed: rejected(setup, "malformed"),
                beyond: rejected(setup, "beyond_limit"),
                too_long: rejected(setup, "too_long"),
            },
        }
    }

    /// The values by target: those of listed headers, then those of baggage.
    fn values(&self, metadata: &Metadata) -> Vec<(u8, Vec<u8>)> {
        let mut values: Vec<(u8, Vec<u8>)> = vec![];
        for (header, target) in &self.headers {
            if let Some(value) = metadata.values(header).next() {
                self.offer(*target, value.trim().into(), &mut values);
            }
        }
        let mut rejected = Rejected::default();
        // Of several members of one key the last counts.
        let mut members: Vec<(u8, Vec<u8>)> = vec![];
        for header in metadata.values(BAGGAGE) {
            for member in w3c::members(header.as_bytes(), &mut rejected) {
                let Some(target) = self.keys.find(member.key) else { continue };
                let mut value = vec![];
                if member.decode(self.plus_as_space, &mut value) {
                    members.retain(|(of, _)| *of != target);
                    members.push((target, value));
                } else {
                    self.refused.malformed.add(1);
                }
            }
        }
        members.into_iter().for_each(|(target, value)| self.offer(target, value, &mut values));
        self.refused.malformed.add(rejected.malformed);
        self.refused.beyond.add(rejected.beyond);
        values
    }

    fn offer(&self, target: u8, value: Vec<u8>, values: &mut Vec<(u8, Vec<u8>)>) {
        if value.len() > self.max_value_bytes {
            self.refused.too_long.add(1);
        } else if value.iter().any(u8::is_ascii_control) {
            self.refused.malformed.add(1);
        } else if !value.is_empty() && values.iter().all(|(of, _)| *of != target) {
            values.push((target, value));
        }
    }

    fn name(&self, target: u8) -> &[u8] {
        self.targets.get(usize::from(target)).map_or(&[], String::as_bytes)
    }

    fn put(&self, values: &[&(u8, Vec<u8>)], out: &mut Vec<u8>) {
        for (target, value) in values {
            put_text_attribute(out, resource::ATTRIBUTES, self.name(*target), value);
        }
    }
}

impl Stateless for Door {
    fn process(&self, batch: Batch, _now: Moment, out: &mut Out) {
        let metadata = batch.metadata.clone().unwrap_or_default();
        let values = self.values(&metadata);
        let mut edits = Edits::default();
        for group in batch.request().resource_groups().filter(|_| !values.is_empty()) {
            let resource = group.resource();
            let has = |name: &[u8]| {
                let attributes = resource.map(|r| view::attributes(r, resource::ATTRIBUTES));
                attributes.into_iter().flatten().any(|attribute| attribute.key == name)
            };
            let missing: Vec<_> = values.iter().filter(|(n, _)| !has(self.name(*n))).collect();
            if edits.new_bytes() > limits::ADDED_BYTES {
                self.refused.beyond.add(missing.len());
            } else if let (Some(resource), false) = (resource, missing.is_empty()) {
                edits.append(resource, |out| self.put(&missing, out));
            } else if !missing.is_empty() {
                edits.append(group.0, |out| {
                    put_message_field(out, resource_group::RESOURCE, |out| self.put(&missing, out));
                });
            }
        }
        out.pass(if edits.is_empty() { batch } else { batch.edited(&mut edits) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::batch::Signal;
    use crate::otlp::text;
    use crate::processors::tests::{request, section};
    use crate::processors::{Built, LIST};
    use crate::telemetry::Registry;

    const YAML: &str = "{sources: [attributes, metadata], metadata: {X-User-Id: user.id}, \
                        targets: {tenant: tenant.id}, max_value_bytes: 9}";

    /// What leaves the door of `before` when it comes with these headers.
    fn pass(headers: &[(&str, &str)], before: &str) -> (String, u64) {
        let kind = LIST.iter().find(|kind| kind.component.name == "baggage").expect("listed");
        let registry = Registry::default();
        let setup = Setup::new("baggage", "traces", Signal::Traces, &registry);
        let section = section("baggage", YAML).expect("it is valid");
        let Built::Inspector(baggage) = (kind.build)(&section, &setup) else { unreachable!() };
        let door = baggage.door().expect("it reads metadata");
        let (mut out, now) = (Out::default(), Moment::default());
        let mut batch = Batch::parse(Signal::Traces, request(before), now).expect("well-formed");
        let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
        batch.metadata = Some(Arc::new(Metadata::read(headers).0));
        door.process(batch, now, &mut out);
        let batch = out.take().pop().expect("it passes");
        let rejected = registry.series().into_iter();
        let rejected = rejected.filter(|s| s.name == "spanloom_baggage_rejected_members");
        let rejected = rejected.map(|series| series.value).sum::<i64>();
        (text::print(Signal::Traces.message(), batch.bytes()), rejected as u64)
    }

    #[track_caller]
    fn check(headers: &[(&str, &str)], before: &str, after: &str, rejected: u64) {
        let after = text::print(Signal::Traces.message(), &request(after));
        assert_eq!(pass(headers, before), (after, rejected), "{headers:?}");
    }

    #[test]
    fn headers_are_written_on_resources_that_do_not_have_them() {
        let spans = |first: &str, second: &str| {
            format!("resource {first}\nscope -\nspan 1/1\nresource {second}\nscope -\nspan 1/2\n")
        };
        let (user, both) = ("user.id=\"al\"", "user.id=\"al\" tenant.id=\"t 1\"");
        check(&[("x-user-id", "al")], &spans("-", "a=1"), &spans(user, &format!("a=1 {user}")), 0);
        check(
            &[("x-user-id", " al "), ("baggage", "tenant=x,user.id=b;p=1,tenant=t%201")],
            &spans("-", "user.id=\"own\""),
            &spans(both, "user.id=\"own\" tenant.id=\"t 1\""),
            0,
        );
        check(&[("x-user-id", ""), ("x-other", "v")], &spans("-", "a=1"), &spans("-", "a=1"), 0);
    }

    #[test]
    fn what_is_too_long_or_no_baggage_is_counted() {
        let line = "resource -\nscope -\nspan 1/1";
        check(&[("x-user-id", "0123456789")], line, line, 1);
        check(&[("baggage", "user.id=%00,=,tenant=0123456789")], line, line, 3);
        let many: Vec<String> = (0..100).map(|n| format!("k{n}=v")).collect();
        check(&[("baggage", &many.join(","))], line, line, 36);
    }
}
