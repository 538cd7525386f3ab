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

# Measure the journal's segments beside fjall on the disk of a folder
engines folder="target":
    cargo run --release --manifest-path benches/engines/Cargo.toml --target-dir target/engines -- {{ folder }}

# Fuzz one target (names: ls fuzz/fuzz_targets); needs cargo-fuzz and a nightly compiler. libdeflate
# defines the same tables in several of its files, which the sanitizer is told to let pass
fuzz target minutes="1":
    mkdir -p fuzz/corpus/{{ target }} fuzz/seeds/{{ target }}
    ASAN_OPTIONS=detect_odr_violation=0 cargo +nightly fuzz run {{ target }} fuzz/corpus/{{ target }} \
        fuzz/seeds/{{ target }} -- -max_total_time=$(({{ minutes }} * 60)) -rss_limit_mb=1024

# Crash the journal on a simulated disk: just crash 100000
crash seeds="100000":
    SPANLOOM_CRASH_SEEDS={{ seeds }} cargo test --release --test crash whatever -- --nocapture

# Run one seed of that again
crash-seed seed:
    SPANLOOM_CRASH_SEED={{ seed }} cargo test --test crash whatever -- --nocapture

# Kill the daemon again and again under load, and see that nothing acknowledged is lost
kill rounds="200":
    SPANLOOM_KILL_ROUNDS={{ rounds }} cargo test --release --test durable kill_loop -- --nocapture

# Cut the power of a loop-mounted disk: needs root and mkfs.ext4
powercut cuts="20":
    SPANLOOM_POWER_CUTS={{ cuts }} cargo test --release --test disk power_cut -- --nocapture

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

# Measure what a load ten times beyond capacity does to memory, goodput and quiet clients
overload:
    cargo test --release --test overload -- --ignored --nocapture

# Offer 100,000 spans a second for two minutes, without and with a window, and watch the memory
bounded:
    cargo test --release --test bounded -- --ignored --nocapture --test-threads 1

# Measure what a journal costs beside the queue in memory; TMPDIR says on which disk
durable:
    cargo test --release --test throughput -- --ignored --nocapture
