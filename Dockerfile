# One static binary in an otherwise empty image.
#
#   docker build -t spanloom .
#   docker run -p 4317:4317 -p 4318:4318 -e BACKEND_ENDPOINT=tempo:4317 spanloom
#
# It runs config/gateway.yaml; mount another file over /etc/spanloom/config.yaml to run that.
FROM rust:1.95.0-slim-bookworm AS build
# The toolchain that the image has; rust-toolchain.toml would fetch rustfmt and clippy too.
ENV RUSTUP_TOOLCHAIN=1.95.0
# A pinned version would be gone from the mirrors with the next point release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    target="$(uname -m)-unknown-linux-musl" \
    && TARGET_CC=musl-gcc cargo build --locked --release --bin spanloom --target "$target" \
    && cp "target/$target/release/spanloom" /spanloom

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /spanloom /spanloom
COPY config/gateway.yaml /etc/spanloom/config.yaml
# Nobody: by number, since there is no /etc/passwd, and for Kubernetes to see that it is not root.
USER 65532:65532
# OTLP/gRPC, OTLP/HTTP, metrics, health
EXPOSE 4317 4318 8888 13133
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s CMD ["/spanloom", "health"]
ENTRYPOINT ["/spanloom"]
CMD ["--config", "/etc/spanloom/config.yaml"]
