//! From the configuration to rules, with every mistake in its place.

use super::allowed;
use super::detect::{self, Detectors};
use super::names;
use super::rules::{self, Action, ByRule, CountKeys, Counters, Find, Glob, Place, Preset, RuleId};
use super::rules::{Rules, UserRule};
use crate::batch::Signal;
use crate::condition::{Conditions, Context, pattern};
use crate::config::{Key, Problems, Section};
use crate::limits;
use crate::processors::Setup;
use ring::hmac;

const ACTIONS: &[&str] = &["drop", "mask", "hash", "truncate", "keep"];

const RULE: &[Key] = &[
    Key::text("name", "", "the label of its counters, and what masks say").required(),
    Key::list_of_text("keys", &[], "attributes it is about; * stands for anything"),
    Key::list_of_text("events", &[], "span events and log records it is about, by name"),
    Key::list_of_text(
        "texts",
        &[],
        "other texts it is about: span_name, event_name, status_message, trace_state, scope_name, \
         body",
    ),
    Key::text("pattern", "", "a regular expression: what to look for within texts"),
    Key::list_of_text("detectors", &[], "detectors: what to look for within texts"),
    Key::text("when", "", "a condition on the span or log record, its scope and resource"),
    Key::choice("action", ACTIONS, "", "what becomes of it").required(),
    Key::secret("key", "hash: the key of the HMAC-SHA-256"),
    Key::text("mask", "", "mask: what takes its place; else the name of the rule in brackets"),
    Key::int("length", 0, 0..=1_000_000, "truncate: characters that stay"),
];

/// The keys below `detectors`.
pub const DETECTORS: &[Key] = &[
    Key::bool("email", true, "addresses of people"),
    Key::bool("payment_card", true, "numbers of payment cards"),
    Key::bool("iban", true, "numbers of bank accounts"),
    Key::bool("jwt", true, "JSON Web Tokens"),
    Key::bool("private_key", true, "private keys in PEM form"),
    Key::bool("cloud_key", true, "keys of AWS, Google Cloud and Azure"),
    Key::bool("llm_key", true, "keys of LLM providers"),
    Key::bool("access_token", true, "tokens of GitHub, GitLab, Slack, Stripe, npm"),
    Key::bool("url_password", true, "user and password in a URL"),
    Key::bool("authorization", true, "bearer and basic credentials of a header"),
    Key::bool("phone", false, "phone numbers"),
    Key::bool("ssn", false, "US social security numbers"),
    Key::bool("ip", false, "IP addresses"),
    Key::bool("high_entropy", false, "random words, which may be keys"),
];

/// The keys of the section.
pub const KEYS: &[Key] = &[
    Key::choice(
        "preset",
        &["content", "marked", "strict"],
        "content",
        "what goes without a rule: what is marked, content and credentials by name and secrets by \
         form; only what is marked; all but what is on a list",
    ),
    Key::list_of_text("allow_keys", &[], "with strict: further attributes that stay"),
    Key::list_of_text(
        "mark_keys",
        &["sensitive", "app.sensitive"],
        "attributes that mark what they stand on as sensitive if they are true",
    ),
    Key::object("detectors", DETECTORS, "what is recognised by its form"),
    Key::list_of_objects("rules", RULE, "rules that come before the preset"),
    Key::bool("dry_run", false, "count and tag what would go, and change nothing"),
    Key::text("prefix", "app.agent", "what the names of attributes written here begin with"),
];

/// Reports all mistakes.
pub fn check(section: &Section, problems: &mut Problems) {
    let mut conditions = Conditions::new(Context::Span);
    for rule in section.sections("rules") {
        user_rule(rule, None, &mut conditions, problems);
    }
    let all = section.sections("rules");
    if all.len() > limits::SENSITIVE_RULES {
        let most = limits::SENSITIVE_RULES;
        section.error(
            problems,
            "rules",
            format!("found {} rules; write at most {most}", all.len()),
        );
    }
    for (place, rule) in all.iter().enumerate() {
        let name = rule.text("name");
        if all.iter().take(place).any(|other| other.text("name") == name) && !name.is_empty() {
            rule.error(problems, "name", format!("a rule {name:?} stands above; names are unique"));
        }
    }
    if section.is_set("allow_keys") && section.text("preset") != "strict" {
        let text = "only the preset strict has a list of what stays; write a rule with action keep";
        section.warning(problems, "allow_keys", text);
    }
}

/// The rules of a checked section.
pub fn rules(section: &Section, setup: &Setup<'_>) -> Rules {
    let preset = match section.text("preset") {
        "marked" => Preset::Marked,
        "strict" => Preset::Strict,
        _ => Preset::Content,
    };
    let prefix = section.text("prefix");
    let key = |what: &str| format!("{prefix}.sensitive.{what}");
    let keys = CountKeys {
        events: key("removed_events"),
        attributes: key("removed_attributes"),
        values: key("redacted_values"),
        call_ids: key("call_ids"),
    };
    let own = [keys.events.as_str(), &keys.attributes, &keys.values];
    let context = if setup.signal == Signal::Logs { Context::Log } else { Context::Span };
    let mut conditions = Conditions::new(context);
    let user: Vec<_> = section
        .sections("rules")
        .iter()
        .filter_map(|rule| {
            user_rule(rule, Some(setup.signal), &mut conditions, &mut Problems::new())
        })
        .collect();
    let on = section.section("detectors");
    let detectors = Detectors::new(|detector| on.bool(detector.name));
    let names: Vec<&str> = user.iter().map(|rule| rule.name.as_str()).collect();
    Rules {
        preset,
        attributes: names::attributes(section.list("mark_keys"), own, preset != Preset::Marked),
        events: names::events(preset != Preset::Marked),
        allowed: allowed::allowed(own),
        allowed_globs: section.list("allow_keys").iter().map(|key| Glob::new(key)).collect(),
        detectors: (preset != Preset::Marked).then_some(detectors),
        counters: counters(setup, &names),
        user,
        conditions,
        dry_run: section.bool("dry_run"),
        keys,
    }
}

/// A rule of the user; its condition is compiled for `signal`, or for any to see whether it can
/// be.
fn user_rule(
    section: &Section,
    signal: Option<Signal>,
    conditions: &mut Conditions,
    problems: &mut Problems,
) -> Option<UserRule> {
    let name = section.text("name").to_owned();
    let has = |key: &str| !section.list(key).is_empty();
    let finds = !section.text("pattern").is_empty() || has("detectors");
    if !has("keys") && !has("events") && !has("texts") && !finds {
        let text = format!(
            "the rule {name:?} is about nothing; write one of keys, events, texts, pattern, \
             detectors"
        );
        section.error(problems, "", text);
    }
    for key in ["keys", "events"] {
        if section.list(key).iter().any(String::is_empty) {
            let text = format!("the rule {name:?} has an empty name; write * for any");
            section.error(problems, key, text);
        }
    }
    let condition = condition(section, &name, signal, conditions, problems);
    let find = find(section, &name, problems);
    let action = action(section, &name, problems);
    let globs = |key: &str| section.list(key).iter().map(|text| Glob::new(text)).collect();
    Some(UserRule {
        keys: globs("keys"),
        events: globs("events"),
        texts: texts(section, &name, problems),
        find: find?,
        condition,
        action: action?,
        name,
    })
}

fn texts(section: &Section, name: &str, problems: &mut Problems) -> Vec<Place> {
    let mut places = vec![];
    for text in section.list("texts") {
        match Place::named(text) {
            Some(place) => places.push(place),
            None => {
                let known = Place::NAMES.join(", ");
                let text = format!("the rule {name:?} has {text:?}; write some of {known}");
                section.error(problems, "texts", text);
            }
        }
    }
    places
}

/// What the rule looks for; `None` if it says so wrongly.
fn find(section: &Section, name: &str, problems: &mut Problems) -> Option<Option<Find>> {
    let (text, list) = (section.text("pattern"), section.list("detectors"));
    if section.is_set("pattern") && text.is_empty() {
        section.error(problems, "pattern", format!("the rule {name:?} has an empty pattern"));
        return None;
    }
    match (text.is_empty(), list.is_empty()) {
        (true, true) => Some(None),
        (false, false) => {
            let text = format!("the rule {name:?} has a pattern too; write one of the two");
            section.error(problems, "detectors", text);
            None
        }
        (false, true) => match pattern(text) {
            Ok(pattern) if pattern.is_match(b"") => {
                let text = format!(
                    "the pattern of the rule {name:?} matches the empty text, and so everywhere"
                );
                section.error(problems, "pattern", text);
                None
            }
            Ok(pattern) => Some(Some(Find::Pattern(pattern))),
            Err(error) => {
                section.error(problems, "pattern", format!("of the rule {name:?}: {error}"));
                None
            }
        },
        (true, false) => {
            let known = |wanted: &&String| detect::ALL.iter().any(|d| d.name == wanted.as_str());
            for wanted in list.iter().filter(|wanted| !known(wanted)) {
                let all = detect::ALL.map(|detector| detector.name).join(", ");
                let text = format!("the rule {name:?} has {wanted:?}; write some of {all}");
                section.error(problems, "detectors", text);
            }
            let wanted = |d: &detect::Detector| list.iter().any(|name| name == d.name);
            Some(Some(Find::Detectors(Box::new(Detectors::new(wanted)))))
        }
    }
}

fn action(section: &Section, name: &str, problems: &mut Problems) -> Option<Action> {
    let action = section.text("action");
    for (key, of) in [("key", "hash"), ("mask", "mask"), ("length", "truncate")] {
        if section.is_set(key) && action != of && ACTIONS.contains(&action) {
            let text = format!("the rule {name:?} does not {of}, it has the action {action}");
            section.error(problems, key, text);
        }
    }
    let on_events = section.list("keys").is_empty()
        && section.list("texts").is_empty()
        && !section.list("events").is_empty();
    if on_events && !matches!(action, "drop" | "keep" | "") {
        let text = format!("the rule {name:?} is about whole events, which can only drop or keep");
        section.error(problems, "action", text);
    }
    Some(match action {
        "drop" => Action::Drop,
        "keep" => Action::Keep,
        "mask" => Action::Mask(match section.text("mask") {
            "" => format!("[{name}]").into_bytes(),
            mask => mask.as_bytes().to_vec(),
        }),
        "hash" => {
            let key = section.secret("key");
            if key.is_empty() {
                let text = format!(
                    "the rule {name:?} hashes without a key: anyone could try all values; write \
                     `key`, from the environment"
                );
                section.error(problems, "", text);
                return None;
            }
            Action::Hash(hmac::Key::new(hmac::HMAC_SHA256, key.expose().as_bytes()))
        }
        "truncate" => {
            if !section.is_set("length") {
                let text = format!("the rule {name:?} truncates; write the `length` that stays");
                section.error(problems, "", text);
            }
            Action::Truncate(section.count("length"))
        }
        // That it is missing or wrong has been said; here, by whom.
        _ => {
            section.error(problems, "action", format!("the rule {name:?} has no known action"));
            return None;
        }
    })
}

fn condition(
    section: &Section,
    name: &str,
    signal: Option<Signal>,
    conditions: &mut Conditions,
    problems: &mut Problems,
) -> Result<Option<usize>, ()> {
    let text = section.text("when");
    if text.is_empty() {
        return Ok(None);
    }
    let place = conditions.len();
    match signal {
        Some(Signal::Metrics) => Err(()),
        Some(_) => conditions.add(text).map(|()| Some(place)).map_err(|_| ()),
        None => {
            let for_span = Conditions::new(Context::Span).add(text);
            if let Err(errors) = for_span
                && Conditions::new(Context::Log).add(text).is_err()
            {
                for error in errors {
                    section.error(problems, "when", format!("of the rule {name:?}: {error}"));
                }
            }
            Ok(None)
        }
    }
}

/// One counter for each rule that can take such a thing.
fn counters(setup: &Setup<'_>, user: &[&str]) -> Counters {
    let counters = |name: &str, help: &str, built_in: &[RuleId], detectors: bool| -> ByRule {
        let counter = |rule: &str| setup.counter(name, help, &[("rule", rule)]);
        let named = built_in.iter().filter_map(|id| Some((*id, *rules::BUILT_IN.get(*id)?)));
        let found = detect::ALL.iter().filter(|_| detectors);
        let found = found.map(|detector| (rules::of_detector(detector.class), detector.name));
        let own = user.iter().enumerate().map(|(place, name)| (rules::of_user(place), *name));
        named.chain(found).chain(own).map(|(id, name)| (id, counter(name))).collect()
    };
    let whole = [rules::MARKED, rules::CONTENT_EVENT];
    let parts = [
        rules::CONTENT,
        rules::BODY,
        rules::CREDENTIAL,
        rules::PROCESS,
        rules::ERROR_TEXT,
        rules::NOT_ALLOWED,
    ];
    let texts = [rules::CONTENT, rules::CREDENTIAL, rules::PROCESS, rules::ERROR_TEXT];
    let name = |what: &str| format!("spanloom_sensitive_{what}");
    Counters {
        events: counters(&name("removed_events"), "Span events removed, by rule.", &whole, false),
        attributes: counters(
            &name("removed_attributes"),
            "Attributes and bodies removed, by rule.",
            &parts,
            false,
        ),
        records: counters(
            &name("removed_log_records"),
            "Log records removed, by rule.",
            &whole,
            false,
        ),
        values: counters(&name("redacted_values"), "Texts changed, by rule.", &texts, true),
    }
}
