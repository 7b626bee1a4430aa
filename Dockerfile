# syntax=docker/dockerfile:1
# The server in a small image: `docker build -t auric . && docker run --network host -v lake:/data auric`, then
# `psql "host=127.0.0.1 port=5433 user=auric dbname=lake"`.
FROM rust:1-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked -p auric-server && cp target/release/auric /usr/local/bin/auric

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin auric \
    && mkdir /data && chown auric:auric /data
COPY --from=build /usr/local/bin/auric /usr/local/bin/auric
COPY config/auric.toml /etc/auric/auric.toml
USER auric
WORKDIR /data
VOLUME /data
# With a network of its own (`-p 5433:5433`) clients are not on its loopback: mount a configuration with TLS,
# users and an access list at /etc/auric/auric.toml then (docs/security.md).
ENV AURIC_SERVER__DATA_DIR=/data AURIC_SERVER__LISTEN=0.0.0.0:5433 AURIC_SERVER__HTTP=0.0.0.0:8433
EXPOSE 5433 8433
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=10s CMD ["auric", "healthcheck"]
ENTRYPOINT ["auric"]
CMD ["serve", "--config", "/etc/auric/auric.toml"]
