//! Intact agent traces: an entry, agents that ask models and run tools, tools behind MCP and HTTP,
//! agents of other services, queues; retries, tools in parallel, agents that run for minutes.

use super::dialects::Dialect;
use super::random::Random;
use super::span::{Part, Span};

/// What joins the spans of the corpus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keys {
    Full,
    Session,
    None,
}

/// How the corpus is made.
#[derive(Clone, Copy)]
pub struct Settings {
    pub seed: u64,
    pub traces: usize,
    pub keys: Keys,
    /// Traces that begin in a second.
    pub rate: f64,
    /// Standard deviation of the clocks' offsets, in milliseconds.
    pub skew: f64,
    /// Whether what tools are called with is in the spans.
    pub content: bool,
    pub dialects: &'static [Dialect],
}

pub struct Trace {
    pub spans: Vec<Span>,
    pub session: String,
}

struct Maker<'m> {
    random: Random,
    settings: &'m Settings,
    dialect: &'m Dialect,
    spans: Vec<Span>,
    trace: u128,
    session: String,
    at: f64,
    skews: [f64; 4],
}

/// All traces, in order of their start.
pub fn traces(settings: &Settings) -> Vec<Trace> {
    let mut random = Random(settings.seed);
    let skews = [0.0; 4].map(|_| settings.skew * random.normal());
    let (mut at, mut sessions) = (1000.0, Vec::<(String, f64)>::new());
    let mut made = vec![];
    for _ in 0..settings.traces {
        at += -random.unit().max(1e-9).ln() * 1000.0 / settings.rate;
        let dialect = &settings.dialects[random.below(settings.dialects.len())];
        // A session goes on with its next turn once the last is over.
        let ready = sessions.iter().position(|(_, free)| *free < at - 2000.0);
        let session = match ready.filter(|_| random.chance(0.3)) {
            Some(at) => sessions.swap_remove(at).0,
            None => format!("session-{:016x}", random.next()),
        };
        let trace = u128::from(random.next()) << 64 | u128::from(random.next());
        let maker = Maker {
            random: Random(random.next()),
            settings,
            dialect,
            spans: vec![],
            trace,
            session: session.clone(),
            at,
            skews,
        };
        let spans = maker.trace();
        let end = spans.iter().map(|span| span.end).fold(0.0, f64::max);
        sessions.push((session.clone(), end));
        made.push(Trace { spans, session });
    }
    made
}

impl Maker<'_> {
    fn trace(mut self) -> Vec<Span> {
        let start = self.at;
        match self.random.below(10) {
            0..6 => {
                let root = self.begin(0, Part::Entry, "web", ("POST /ask", 2), start);
                let inner = start + self.random.around(3.0, 0.5);
                let agent = self.spans.len();
                let end = self.agent(root, "web", inner, 2);
                let answered = end + self.random.around(2.0, 0.5);
                self.end(root, answered);
                if self.random.chance(0.25) {
                    let sender = if self.random.chance(0.5) { root } else { agent };
                    self.queue(sender, "web", end - 1.0);
                }
            }
            6..9 => {
                let end = self.agent(usize::MAX, "batch", start, 2);
                self.at = end;
            }
            _ => {
                // A model that a script calls, and nothing else.
                let (id, end) = self.model(usize::MAX, "script", start, None);
                self.end(id, end);
            }
        }
        self.spans
    }

    fn begin(
        &mut self,
        parent: usize,
        part: Part,
        service: &str,
        (name, kind): (&str, u64),
        at: f64,
    ) -> usize {
        let above = self.spans.get(parent).filter(|_| part != Part::Entry);
        let remote = above.is_some_and(|above| above.service != service);
        let parent = above.map_or(0, |above| above.span);
        let mut attributes: Vec<(String, String)> =
            self.dialect.role_of(part).into_iter().collect();
        if self.settings.keys != Keys::None && part != Part::Other && part != Part::Entry {
            attributes.push((self.dialect.session.to_owned(), self.session.clone()));
        }
        let span = self.random.next() | 1;
        if self.settings.keys == Keys::Full && !self.dialect.shadow.0.is_empty() {
            let id = |id: u64| format!("run-{id:016x}");
            if matches!(part, Part::Agent | Part::Model | Part::Tool) {
                attributes.push((self.dialect.shadow.0.to_owned(), id(span)));
                let above = self.spans.iter().find(|above| above.span == parent);
                if above.is_some_and(|a| matches!(a.part, Part::Agent | Part::Model | Part::Tool)) {
                    attributes.push((self.dialect.shadow.1.to_owned(), id(parent)));
                }
            }
        }
        self.spans.push(Span {
            trace: self.trace,
            span,
            parent,
            name: name.to_owned(),
            kind,
            start: at,
            end: at,
            service: service.to_owned(),
            part,
            attributes,
            remote,
            links: vec![],
        });
        self.spans.len() - 1
    }

    fn end(&mut self, span: usize, at: f64) {
        let hosts = ["web", "tools", "agents", "worker"];
        let host = hosts.iter().position(|host| *host == self.spans[span].service);
        let skew = host.map_or(0.0, |host| self.skews[host]);
        let span = &mut self.spans[span];
        span.end = at + skew;
        span.start += skew;
    }

    fn set(&mut self, span: usize, key: &str, value: &str) {
        self.spans[span].attributes.push((key.to_owned(), value.to_owned()));
    }

    /// An agent: it asks a model and runs what that asks for, some times.
    fn agent(&mut self, parent: usize, service: &str, at: f64, depth: usize) -> f64 {
        let name = if depth == 2 { self.dialect.names[0] } else { "invoke_agent helper" };
        let agent = self.begin(parent, Part::Agent, service, (name, 1), at);
        let mut now = at + self.random.around(5.0, 0.5);
        let turns = 1 + self.random.below(3) + if self.random.chance(0.02) { 20 } else { 0 };
        for _ in 0..turns {
            let tools = if self.random.chance(0.7) { 1 + self.random.below(3) } else { 0 };
            let calls: Vec<String> =
                (0..tools).map(|_| format!("call_{:x}", self.random.next())).collect();
            let (model, done) = self.model(agent, service, now, calls.first());
            self.calls(model, &calls);
            now = done + self.random.around(3.0, 0.5);
            let above = if self.dialect.nested { model } else { agent };
            let ends: Vec<f64> =
                calls.iter().map(|call| self.tool(above, service, now, call, depth)).collect();
            now = ends.into_iter().fold(now, f64::max);
            let ends = if self.dialect.nested { now + 1.0 } else { done };
            self.end(model, ends);
            now += self.random.around(3.0, 0.5);
        }
        self.end(agent, now);
        now
    }

    /// Writes the calls into the model's answer, with their ids and arguments as far as asked.
    fn calls(&mut self, model: usize, calls: &[String]) {
        let (ids, content) = (self.settings.keys == Keys::Full, self.settings.content);
        let (key, [.., name, arguments]) = (self.dialect.call.1, self.dialect.content);
        if key.is_empty() || !(ids || content) || calls.is_empty() {
            return;
        }
        if !key.ends_with(".id") {
            let part = |call: &String| {
                let id = if ids { format!(r#","id":"{call}""#) } else { String::new() };
                let with = format!(r#","arguments":{}"#, asked_with(call));
                let with = if content { with } else { String::new() };
                format!(r#"{{"type":"tool_call"{id},"name":"search"{with}}}"#)
            };
            let parts: Vec<String> = calls.iter().map(part).collect();
            return self.set(model, key, &format!("[{}]", parts.join(",")));
        }
        for (n, call) in calls.iter().enumerate() {
            let at = |key: &str| key.replace("tool_calls.0", &format!("tool_calls.{n}"));
            if ids {
                self.set(model, &at(key), call);
            }
            if content {
                self.set(model, &at(name), "search");
                self.set(model, &at(arguments), &asked_with(call));
            }
        }
    }

    fn model(&mut self, parent: usize, service: &str, at: f64, _: Option<&String>) -> (usize, f64) {
        let name = self.dialect.names[1];
        let retried = self.random.chance(0.05);
        if retried && parent != usize::MAX {
            let failed = self.begin(parent, Part::Model, service, (name, 3), at);
            let gave_up = at + self.random.around(100.0, 0.5);
            self.end(failed, gave_up);
        }
        let at = if retried { at + 300.0 } else { at };
        let model = self.begin(parent, Part::Model, service, (name, 3), at);
        self.set(model, "gen_ai.request.model", "gpt-4o");
        (model, at + self.random.around(800.0, 0.7))
    }

    fn tool(&mut self, parent: usize, service: &str, at: f64, call: &str, depth: usize) -> f64 {
        let kinds = ["search", "weather", "files", "delegate"];
        let what = kinds[self.random.below(if depth > 0 { 4 } else { 3 })];
        let name = format!("{} {what}", self.dialect.names[2]);
        let tool = self.begin(parent, Part::Tool, service, (&name, 1), at);
        let full = self.settings.keys == Keys::Full;
        if full && !self.dialect.call.0.is_empty() {
            let key = self.dialect.call.0;
            self.set(tool, key, call);
        }
        let [name, arguments, ..] = self.dialect.content;
        if self.settings.content && !name.is_empty() {
            self.set(tool, name, "search");
            self.set(tool, arguments, &asked_with(call));
        }
        let inner = at + self.random.around(2.0, 0.5);
        let end = match what {
            "delegate" if self.random.chance(0.5) => self.agent(tool, service, inner, depth - 1),
            "delegate" => self.remote_agent(tool, service, inner, depth - 1),
            "weather" => self.mcp(tool, service, inner),
            _ => {
                let done = inner + self.random.around(150.0, 0.8);
                let other = self.begin(tool, Part::Other, service, ("SELECT", 3), inner);
                self.end(other, done);
                done
            }
        };
        let end = end + self.random.around(1.0, 0.5);
        self.end(tool, end);
        end
    }

    fn mcp(&mut self, parent: usize, service: &str, at: f64) -> f64 {
        let client = self.begin(parent, Part::Client, service, ("tools/call weather", 3), at);
        let there = at + self.random.around(2.0, 0.6);
        let server = self.begin(client, Part::Server, "tools", ("tools/call weather", 2), there);
        let (session, id) = (format!("mcp-{:x}", self.random.next()), self.random.below(40));
        for span in [client, server] {
            self.set(span, "mcp.method.name", "tools/call");
            self.set(span, "gen_ai.tool.name", "weather");
            if self.settings.keys == Keys::Full {
                self.set(span, "mcp.session.id", &session);
                self.set(span, "jsonrpc.request.id", &id.to_string());
            }
        }
        self.set(client, "server.address", "tools");
        let done = there + self.random.around(250.0, 0.8);
        let other = self.begin(server, Part::Other, "tools", ("GET /v1/forecast", 3), there + 1.0);
        self.end(other, done - 1.0);
        self.end(server, done);
        let back = done + self.random.around(2.0, 0.6);
        self.end(client, back);
        back
    }

    fn remote_agent(&mut self, parent: usize, service: &str, at: f64, depth: usize) -> f64 {
        let client = self.begin(parent, Part::Client, service, ("POST", 3), at);
        self.set(client, "server.address", "agents");
        let there = at + self.random.around(2.0, 0.6);
        let server = self.begin(client, Part::Server, "agents", ("POST /a2a", 2), there);
        if self.settings.keys == Keys::Full {
            let task = format!("task-{:016x}", self.random.next());
            self.set(client, "a2a.task.id", &task);
            self.set(server, "a2a.task.id", &task);
        }
        let done = self.agent(server, "agents", there + 1.0, depth) + 1.0;
        self.end(server, done);
        let back = done + self.random.around(2.0, 0.6);
        self.end(client, back);
        back
    }

    fn queue(&mut self, parent: usize, service: &str, at: f64) {
        let producer = self.begin(parent, Part::Producer, service, ("send jobs", 4), at);
        self.end(producer, at + 1.0);
        // From 5 ms to 1 h.
        let gap = 5.0 * (self.random.unit() * (3_600_000f64 / 5.0).ln()).exp();
        let there = at + 1.0 + gap;
        let consumer = self.begin(producer, Part::Consumer, "worker", ("process jobs", 5), there);
        if self.settings.keys == Keys::Full {
            let id = format!("message-{:016x}", self.random.next());
            for span in [producer, consumer] {
                self.set(span, "messaging.message.id", &id);
                self.set(span, "messaging.destination.name", "jobs");
            }
        }
        let done = self.agent(consumer, "worker", there + 2.0, 0) + 1.0;
        self.end(consumer, done);
    }
}

/// What a tool is called with: one call of five is one that many make.
fn asked_with(call: &str) -> String {
    let number = u64::from_str_radix(call.trim_start_matches("call_"), 16).unwrap_or(0);
    let number = if number % 5 == 0 { number / 5 % 50 } else { number };
    format!(r#"{{"query":"what is {number:x}","limit":5}}"#)
}
