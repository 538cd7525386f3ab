# Shorthand. Everything here also works without `just`: the recipes are plain commands.

# List the recipes
default:
    @just --list

# Run all tests, as .ci/run does
test:
    cargo test

# Check formatting and lints with warnings as errors
lint:
    .ci/run lint

# Format the sources
fmt:
    cargo fmt

# Run the micro-benchmarks
bench *filter:
    cargo bench {{ filter }}

# Score `orphans` against torn traces whose truth is known; SCORE_NOTES=1 lists what went wrong
score:
    cargo test --release --test score -- --ignored --nocapture

# Fuzz one target (names: ls fuzz/fuzz_targets); needs cargo-fuzz and a nightly compiler. libdeflate
# defines the same tables in several of its files, which the sanitizer is told to let pass
fuzz target minutes="1":
    ASAN_OPTIONS=detect_odr_violation=0 cargo +nightly fuzz run {{ target }} -- -max_total_time=$(({{ minutes }} * 60)) -rss_limit_mb=1024

# Hold the OTLP checklist against an endpoint and print it as a table; against spanloom without URLs
conformance http="" grpc="":
    CONFORMANCE_HTTP={{ http }} CONFORMANCE_GRPC={{ grpc }} cargo test --test conformance -- --nocapture

# Start Phoenix as a real backend; installs it below target/backend at first
backend:
    tests/backend/phoenix

# Read the spans of a Phoenix project back and print them as trees
read-spans project="default":
    tests/backend/read_spans.py {{ project }}

# Run the official Python and JavaScript SDKs against spanloom; installs them below target/interop
interop:
    .ci/run sdks
    CI=true cargo test --test interop -- --nocapture

# Check what ships, as .ci/run does: manifests, unit, static binary
deploy:
    .ci/run deploy

# Measure a release build side by side with its peers: just measure ../bench
measure harness peers="peers.json":
    cargo build --release
    cd {{ harness }} && ./measure.py {{ peers }}

# Run the fault matrix with the rows that take minutes
faults:
    cargo test --test faults -- --include-ignored
