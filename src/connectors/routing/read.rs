//! From the configuration to routes, with every mistake in its place.

use super::{ErrorMode, Level, Route};
use crate::condition::{self, Conditions, Context};
use crate::config::{Key, Problems, Section};

const REQUEST: &str =
    "there is no metadata of requests here; route by an attribute of the resource";
const POINTS: &str = "metrics pass by their resource alone; use the context resource";
const CONTEXTS: [&str; 3] = ["resource", "span", "log"];

const ROUTE: &[Key] = &[
    Key::text("context", "", "what is asked about: resource, span or log; else the paths name it"),
    Key::text("condition", "", "what must hold for the route to be taken"),
    Key::text("statement", "", "the same in the form route() where CONDITION"),
    Key::choice("action", &["move", "copy"], "move", "copy lets later routes have it as well"),
    Key::pipelines("pipelines", "where it goes").required(),
];

pub(super) const KEYS: &[Key] = &[
    Key::list_of_objects("table", ROUTE, "the routes; the first that moves an item ends its way")
        .required(),
    Key::pipelines("default_pipelines", "where goes what no route moves; none: it is dropped"),
    Key::choice(
        "error_mode",
        &["propagate", "ignore", "silent"],
        "propagate",
        "what happens if a condition has no answer: refuse the request, count it as false and \
         log it, or count it as false",
    ),
    Key::unsupported("match_once", "the first route that matches moves; use action: copy else"),
];

/// The routes of `section`, with the conditions of both levels.
pub(super) struct Table {
    pub(super) routes: Vec<Route>,
    pub(super) resource: Conditions,
    pub(super) item: Conditions,
}

/// Reads the table; routes that are wrong are left out.
pub(super) fn table(section: &Section, problems: &mut Problems) -> Table {
    if section.is_set("table") && section.sections("table").is_empty() {
        section.error(problems, "table", "has no route; write at least one");
    }
    let contexts = contexts(section);
    let item = contexts.get(1).copied().unwrap_or(Context::Span);
    let mut table = Table {
        routes: vec![],
        resource: Conditions::new(Context::Resource),
        item: Conditions::new(item),
    };
    for row in section.sections("table") {
        let route = route(row, contexts, &mut table, problems);
        table.routes.extend(route);
    }
    table
}

/// What routes may ask about: the resource, and items as the pipelines' signal has them.
fn contexts(section: &Section) -> &'static [Context] {
    let ids = section.pipeline_ids();
    let first = ids.first().and_then(|(id, ..)| id.split('/').next());
    match first {
        Some("logs") => &[Context::Resource, Context::Log],
        Some("metrics") => &[Context::Resource],
        _ => &[Context::Resource, Context::Span],
    }
}

pub(super) fn mode(section: &Section) -> ErrorMode {
    match section.text("error_mode") {
        "ignore" => ErrorMode::Ignore,
        "silent" => ErrorMode::Silent,
        _ => ErrorMode::Propagate,
    }
}

fn route(
    row: &Section,
    contexts: &[Context],
    table: &mut Table,
    problems: &mut Problems,
) -> Option<Route> {
    if row.is_set("pipelines") && row.list("pipelines").is_empty() {
        row.error(problems, "pipelines", "names no pipeline; write at least one");
    }
    let (key, text) = match (row.text("condition"), row.text("statement")) {
        ("", "") => {
            row.error(problems, "", "has no condition; write what must hold for the route");
            return None;
        }
        (condition, "") => ("condition", Some(condition.to_owned())),
        ("", statement) => match of_statement(statement) {
            Ok(text) => ("statement", text),
            Err(text) => {
                row.error(problems, "statement", text);
                return None;
            }
        },
        _ => {
            row.error(problems, "statement", "stands beside a condition; write one of the two");
            return None;
        }
    };
    let context = context(row, key, text.as_deref(), contexts, problems)?;
    let (level, conditions) = match context {
        Context::Resource => (Level::Resource, &mut table.resource),
        _ => (Level::Item, &mut table.item),
    };
    let condition = conditions.len();
    if let Some(text) = &text
        && let Err(errors) = conditions.add(text)
    {
        errors.iter().for_each(|error| row.error(problems, key, error.to_string()));
        return None;
    }
    Some(Route {
        level,
        condition: text.is_some().then_some(condition),
        text: text.unwrap_or_default().trim().to_owned(),
        copies: row.text("action") == "copy",
        pipelines: row.list("pipelines").to_vec(),
    })
}

/// What the route asks about, one of `contexts`.
fn context(
    row: &Section,
    key: &str,
    text: Option<&str>,
    contexts: &[Context],
    problems: &mut Problems,
) -> Option<Context> {
    let context = match row.text("context") {
        "" => match text.map(condition::infer) {
            None | Some(Ok(None)) => Context::Resource,
            Some(Ok(Some(context))) => context,
            Some(Err(error)) => {
                row.error(problems, key, error.to_string());
                return None;
            }
        },
        name => match Context::named(name).filter(|_| CONTEXTS.contains(&name)) {
            Some(context) => context,
            None => {
                let text = match name {
                    "request" | "otelcol" => REQUEST.to_owned(),
                    "metric" | "datapoint" => POINTS.to_owned(),
                    _ => format!("found {name:?}; write one of {}", CONTEXTS.join(", ")),
                };
                row.error(problems, "context", text);
                return None;
            }
        },
    };
    if !contexts.contains(&context) {
        let key = if row.is_set("context") { "context" } else { key };
        let names: Vec<_> = contexts.iter().map(|context| context.name()).collect();
        let names = names.join(" or ");
        let (pipelines, found) = (row.list("pipelines").join(", "), context.name());
        let text = format!("asks about a {found}; what goes to {pipelines} is routed by {names}");
        row.error(problems, key, text);
        return None;
    }
    Some(context)
}

/// The condition in a statement, at its own place in the text so that columns hold; `None` if the
/// route is always taken.
fn of_statement(statement: &str) -> Result<Option<String>, String> {
    let wrong = || {
        let right = "write route() where CONDITION; to change data, use a processor";
        format!("found {statement:?}; {right}")
    };
    let rest = statement.trim_start().strip_prefix("route").map(str::trim_start);
    let rest = rest.and_then(|rest| rest.strip_prefix('(')).map(str::trim_start);
    let rest = rest.and_then(|rest| rest.strip_prefix(')')).map(str::trim_start);
    let rest = rest.ok_or_else(wrong)?;
    if rest.is_empty() {
        return Ok(None);
    }
    let condition = rest.strip_prefix("where").filter(|rest| rest.starts_with(char::is_whitespace));
    let condition = condition.ok_or_else(wrong)?;
    let before = statement.len() - condition.len();
    let blank = |c: char| if c == '\n' { '\n' } else { ' ' };
    let blanks = statement.get(..before).unwrap_or_default().chars().map(blank);
    Ok(Some(blanks.chain(condition.chars()).collect()))
}
