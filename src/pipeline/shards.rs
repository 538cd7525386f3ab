//! The tasks that own the rest of a pipeline, one for each shard of its traces.
//!
//! A shard has processors of its own and all that comes of the traces that are its: nothing in it
//! needs a lock, and the order within a trace is kept. Batches are parted by whoever hands them
//! over, which is a connection's task; one whose items are all of one shard goes as it is. Its
//! parts share the receipts of the whole.

use super::book::Book;
use super::chain::Chain;
use super::exits::Exits;
use crate::batch::{Batch, Signal};
use crate::config::{Document, Pipeline, document::ComponentId};
use crate::limits;
use crate::otlp::fields::{log_record, span};
use crate::otlp::join::Part;
use crate::otlp::partition::partition_within;
use crate::processors::places::shard_of;
use crate::telemetry::Counter;
use crate::verdict::Verdict;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Processors that work by trace: only behind one of them shards are worth what parting costs.
const BY_TRACE: &[&str] = &["trace_window", "baggage"];

/// Joins traces with each other, for which all of them must be of one shard.
const ACROSS_TRACES: &str = "orphans";

/// How many shards `pipeline` has: as many as it says, or one for every two of the `workers`, who
/// also have the connections to serve.
pub fn count(document: &Document, pipeline: &Pipeline, workers: usize) -> usize {
    let uses = |names: &[&str]| {
        let ids = pipeline.processors.iter();
        let found = |id: &ComponentId| document.processors.iter().find(|found| found.id == *id);
        ids.filter_map(found).any(|found| names.contains(&found.component.name))
    };
    match pipeline.shards {
        _ if pipeline.signal == Signal::Metrics.name() => 1,
        0 if uses(&[ACROSS_TRACES]) => 1,
        0 if uses(BY_TRACE) => (workers / 2).clamp(1, limits::PIPELINE_SHARDS),
        0 => 1,
        shards => shards,
    }
}

/// The shards of a running pipeline.
pub struct Shards {
    /// The number of the items' field with the trace id.
    trace_id: u32,
    unparted: Counter,
    /// `None` once the pipeline is closed.
    inputs: Mutex<Option<Arc<[mpsc::Sender<Batch>]>>>,
}

impl Shards {
    /// Starts one task for each of `chains`.
    pub fn start(
        signal: Signal,
        chains: Vec<Chain>,
        exits: &Exits,
        unparted: Counter,
    ) -> (Shards, Vec<JoinHandle<()>>) {
        let start = |chain: Chain| {
            let (sender, input) = mpsc::channel(limits::PIPELINE_BATCHES);
            (sender, spawn(chain.run(input, exits.clone())))
        };
        let (senders, tasks): (Vec<_>, Vec<_>) = chains.into_iter().map(start).unzip();
        let inputs = Mutex::new(Some(senders.into()));
        (Shards { trace_id: trace_id(signal), unparted, inputs }, tasks)
    }

    /// Takes no more batches; the tasks finish what they have.
    pub fn close(&self) {
        self.inputs.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    /// Hands `batch` to those whose traces are in it; `book` hears of what is turned away.
    pub async fn hand_on(&self, batch: Batch, book: &Book) {
        let inputs = self.inputs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(inputs) = inputs else {
            return turn_away(batch, book);
        };
        let parts = part(batch, self.trace_id, inputs.len());
        let parts = parts.unwrap_or_else(|whole| {
            self.unparted.add(1);
            vec![(0, *whole)]
        });
        for (n, part) in parts {
            let Some(input) = inputs.get(n) else { continue };
            if let Err(refused) = input.send(part).await {
                turn_away(refused.0, book);
            }
        }
    }
}

/// Ends what comes when the tasks have ended. What a journal has stays there.
fn turn_away(batch: Batch, book: &Book) {
    if !batch.receipts.in_journal() {
        book.dropped("turned_away", batch.items());
    }
    batch.settle(&Verdict::busy("the daemon is shutting down"));
}

/// The parts of `batch` by shard, itself if there is one; an error if they would repeat too much.
fn part(batch: Batch, trace_id: u32, shards: usize) -> Result<Vec<(usize, Batch)>, Box<Batch>> {
    if shards < 2 {
        return Ok(vec![(0, batch)]);
    }
    let most = batch.bytes().len().max(limits::PIPELINE_REPEATED_BYTES);
    let (mut latest, mut shard) = (None, 0);
    let message = batch.signal().message();
    let parts = partition_within(message, batch.bytes(), most, |item| {
        let id = item.field(trace_id).map(|field| field.bytes()).unwrap_or_default();
        // Spans of one trace stand in a row.
        if latest != Some(id) {
            (latest, shard) = (Some(id), shard_of(id, shards));
        }
        shard
    });
    let Some(parts) = parts else { return Err(Box::new(batch)) };
    if let [(shard, _)] = parts.as_slice() {
        return Ok(vec![(*shard, batch)]);
    }
    let of_batch = |(n, part): (usize, Part)| (n, batch.part(part.bytes, part.items));
    let parts = parts.into_iter().map(of_batch).collect();
    // The parts have its receipts, and nothing is left of it.
    batch.settle(&Verdict::Accepted);
    Ok(parts)
}

fn trace_id(signal: Signal) -> u32 {
    match signal {
        Signal::Logs => log_record::TRACE_ID,
        _ => span::TRACE_ID,
    }
}

#[allow(clippy::disallowed_methods, reason = "a pipeline owns its tasks and waits for them")]
pub(super) fn spawn(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(task)
}

#[cfg(test)]
mod tests {
    use super::super::stages::{Stage, Stages};
    use super::*;
    use crate::config::Section;
    use crate::moment::Moment;
    use crate::otlp::text;
    use crate::processors::places::Places;
    use crate::processors::{LIST, Setup};
    use crate::receipt::Receipt;
    use crate::telemetry::Registry;
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::sync::mpsc::channel;
    use std::time::Duration;

    /// The processors of one pipeline, for each of its shards.
    fn chains(names: &[&str], shards: usize) -> Vec<Chain> {
        let (registry, places) = (Registry::default(), Places::default());
        let chain = |_| {
            let mut stages = Stages::default();
            for id in names {
                let kind = LIST.iter().find(|kind| kind.component.name == *id).expect("listed");
                let section = Section::from_yaml(kind.component.keys, "{}").expect("defaults hold");
                let setup = Setup::new(id, "traces", Signal::Traces, &registry);
                let setup = Setup { shards, places: places.clone(), ..setup };
                let (name, processor) = (kind.component.name, (kind.build)(&section, &setup));
                let counter = |name: &str| registry.counter(name, "items", &[("processor", id)]);
                let (incoming, outgoing) = (counter("in"), counter("out"));
                stages.push(Stage { id: (*id).to_owned(), name, incoming, outgoing, processor });
            }
            stages.arrange(false, &Book::new("traces", &[], &registry)).1
        };
        (0..shards).map(chain).collect()
    }

    fn batch(lines: &[String], now: Moment) -> Batch {
        let bytes = text::parse(&lines.join("\n")).expect("well-formed");
        Batch::parse(Signal::Traces, Bytes::from(bytes), now).expect("well-formed")
    }

    /// Spans by trace and resource: there is an order among those that have both in common.
    type Left = BTreeMap<(String, String), Vec<String>>;

    /// The spans that leave, in the order in which they do.
    fn run(names: &[&str], shards: usize, requests: &[Vec<String>]) -> Left {
        let mut chains = chains(names, shards);
        let (mut now, mut done) = (Moment::default(), vec![]);
        for lines in requests {
            let parts = part(batch(lines, now), span::TRACE_ID, shards);
            for (n, part) in parts.ok().expect("it is parted") {
                chains[n].process(0, part, now, &mut done);
            }
            now = now.plus(Duration::from_millis(10));
        }
        chains.iter_mut().for_each(|chain| chain.finish(now, &mut done));
        let mut traces = Left::new();
        for batch in done {
            let text = text::print(Signal::Traces.message(), batch.bytes());
            let mut resource = "";
            for line in text.lines() {
                match line.split(' ').collect::<Vec<_>>().as_slice() {
                    ["resource", ..] => resource = line,
                    ["span", id, ..] => {
                        let trace = id.split('/').next().unwrap_or_default().to_owned();
                        let spans = traces.entry((trace, resource.to_owned())).or_default();
                        spans.push(line.to_owned());
                    }
                    _ => {}
                }
            }
        }
        traces
    }

    /// Requests of spans of a few traces, some with a user, some without a trace, under one of two
    /// resources. Parents come before or behind their children, and none is below itself.
    fn requests() -> impl Strategy<Value = Vec<Vec<String>>> {
        let user = prop::option::weighted(0.2, 0..3u8);
        let span = (0..5u8, any::<u8>(), user, any::<bool>());
        let line = |(n, (trace, parent, user, resource)): (u8, (u8, u8, Option<u8>, bool))| {
            let resource = if resource { "resource service.name=\"a\"" } else { "resource -" };
            let trace = if trace == 0 { "-".to_owned() } else { format!("{trace:x}") };
            // Span 200 - n: its parent comes later or not at all, or nobody is its parent.
            let parent = match parent.checked_rem(n + 1) {
                Some(up) if up > 0 => format!(" parent={:x}", 200 - n + up),
                _ => String::new(),
            };
            let user = user.map_or(String::new(), |user| format!(" user.id=\"u{user}\""));
            format!("{resource}\nscope -\nspan {trace}/{:x}{parent}{user}", 200 - n)
        };
        let lines = prop::collection::vec(span, 1..100)
            .prop_map(move |spans| (0..).zip(spans).map(line).collect::<Vec<String>>())
            .prop_shuffle();
        (lines, 1..20usize)
            .prop_map(|(lines, size)| lines.chunks(size).map(<[String]>::to_vec).collect())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn what_leaves_is_the_same_whatever_the_number_of_shards(
            requests in requests(),
            shards in 2..9usize,
        ) {
            for names in [&["baggage", "orphans"][..], &["trace_window", "baggage"]] {
                prop_assert_eq!(run(names, shards, &requests), run(names, 1, &requests));
            }
        }
    }

    #[test]
    fn a_batch_that_would_repeat_too_much_stays_whole() {
        let header = "h".repeat(limits::PIPELINE_REPEATED_BYTES / 2);
        let mut lines = vec![format!("resource k=\"{header}\"\nscope -")];
        lines.extend((1..=20).map(|trace| format!("span {trace:x}/1")));
        let whole = batch(&lines, Moment::default());
        let bytes = whole.bytes().len();
        let whole = part(whole, span::TRACE_ID, 8).err().expect("it stays whole");
        assert_eq!((whole.bytes().len(), whole.items()), (bytes, 20));
    }

    #[test]
    fn a_batch_of_one_shard_goes_as_it_is_and_others_share_their_receipt() {
        let lines = |traces: &[u8]| -> Vec<String> {
            traces.iter().map(|trace| format!("span {trace:x}/1")).collect()
        };
        let whole = batch(&lines(&[7, 7]), Moment::default());
        let bytes = whole.bytes().clone();
        let parts = part(whole, span::TRACE_ID, 4).ok().expect("it is parted");
        assert_eq!((parts.len(), parts[0].1.bytes().as_ptr()), (1, bytes.as_ptr()));
        let mut whole = batch(&lines(&[1, 2, 3, 4, 5, 6, 7, 8]), Moment::default());
        let (answer, answered) = channel();
        whole.receipts = Receipt::new(move |verdict| answer.send(verdict).unwrap()).into();
        let mut parts = part(whole, span::TRACE_ID, 4).ok().expect("it is parted");
        assert!(parts.len() > 1);
        assert_eq!(parts.iter().map(|(_, part)| part.items()).sum::<usize>(), 8);
        let last = parts.pop().expect("there are some").1;
        parts.into_iter().for_each(|(_, part)| part.settle(&Verdict::Accepted));
        assert!(answered.try_recv().is_err(), "one part is not safe yet");
        last.settle(&Verdict::Accepted);
        assert_eq!(answered.try_recv(), Ok(Verdict::Accepted));
    }
}
