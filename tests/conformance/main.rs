//! The OTLP checklist, C1 to C87, against any endpoint, printed as a table.
//!
//! Without more it runs against spanloom, exporters included. `just conformance HTTP_URL GRPC_URL`
//! runs what can be seen from outside against any other: a Collector, a backend, a vendor's
//! intake. The numbers are those of our list of OTLP's requirements, which names the text of the
//! specification (opentelemetry-proto 1.11) row by row.
//!
//! A row that does not apply says why. What is seen of data behind the endpoint (was a number
//! exact? did an unknown field survive?) is seen only where the sink is ours; from a foreign
//! endpoint the answer alone counts.

mod answers;
mod bench;
mod exporter;
mod json;
mod protobuf;
mod retries;
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod table;
mod transport;
#[path = "../support/bad_input/wire.rs"]
mod wire;

use bench::Bench;
use table::{Row, Who, Why};

fn all() -> Vec<&'static Row> {
    let tables = [
        transport::ROWS,
        exporter::ROWS,
        answers::ROWS,
        retries::ROWS,
        json::ROWS,
        protobuf::ROWS,
        settings::ROWS,
    ];
    let mut all: Vec<_> = tables.into_iter().flatten().collect();
    all.sort_by_key(|row| row.number());
    all
}

#[test]
fn the_endpoint_conforms_to_otlp() {
    let bench = Bench::start();
    // Rows about exporters start a spanloom of their own each and mostly wait.
    let (clients, servers): (Vec<_>, Vec<_>) =
        all().into_iter().partition(|row| row.who == Who::Client);
    let run = |rows: Vec<&'static Row>| -> Vec<_> {
        rows.into_iter().map(|row| (row, row.run(&bench))).collect()
    };
    let mut results = std::thread::scope(|scope| {
        let clients = scope.spawn(|| run(clients));
        let mut results = run(servers);
        results.extend(clients.join().expect("no panic"));
        results
    });
    results.sort_by_key(|(row, _)| row.number());
    table::print(&bench, &results);
    let failed = results.iter().filter_map(|(row, result)| match result {
        Err(Why::Fails(what)) => Some(format!("{} {}: {what}", row.id, row.what)),
        _ => None,
    });
    let failed: Vec<_> = failed.collect();
    assert!(failed.is_empty(), "{} rows fail:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn every_requirement_has_its_row() {
    let numbers: Vec<usize> = all().into_iter().map(Row::number).collect();
    assert_eq!(numbers, (1..=87).collect::<Vec<_>>());
}
