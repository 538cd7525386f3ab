//! Prints torn traces of which the wrong thing was said, for whoever works on the engine:
//! `SCORE_SHOW=B1` shows those of one breaker.

use super::breakers::Broken;
use super::pipeline::Said;
use super::span::Span;

/// Whether heads of this breaker are to be shown.
pub fn wanted(breaker: &str) -> bool {
    std::env::var("SCORE_SHOW").is_ok_and(|text| text == breaker)
}

/// Prints what was said of a head, its trace, and the one that it was of.
pub fn head(broken: &Broken, at: (u128, u64), said: Option<&Said>) {
    let Some(torn) = broken.truth.get(&at) else { return };
    println!("\n{} {} parent {:x?}", torn.breaker, torn.signature, torn.parent.map(|(_, id)| id));
    println!("  said {said:x?}");
    let traces = [at.0, torn.trace, said.and_then(|s| s.parent).map_or(0, |(trace, _)| trace)];
    let mut spans: Vec<&Span> =
        broken.spans.iter().filter(|span| traces.contains(&span.trace)).collect();
    spans.sort_by(|a, b| a.start.total_cmp(&b.start));
    for span in spans {
        let mark = match (span.trace, span.span) {
            it if it == at => "head",
            it if Some(it) == torn.parent => "TRUE",
            it if Some(it) == said.and_then(|said| said.parent) => "SAID",
            _ => "",
        };
        println!(
            "  {mark:<4} {:04x}/{:016x} <- {:016x} {:>10.1}..{:>10.1} {:?} {} {} {}",
            span.trace & 0xffff,
            span.span,
            span.parent,
            span.start,
            span.end,
            span.part,
            span.kind,
            span.service,
            span.name
        );
    }
}
