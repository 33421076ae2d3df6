# Two small programs on a Debian 12 base: wdeltad, the daemon, and wdelta, its command line.
ARG BASE_IMAGE=debian:12-slim

FROM ${BASE_IMAGE} AS builder
WORKDIR /src
# Packages first: this layer changes only when the list does.
COPY dev ./
RUN ./dev install build && rm -rf /var/lib/apt/lists/*
COPY CMakeLists.txt CMakePresets.json ./
COPY proto proto
COPY storage storage
COPY server server
COPY client client
RUN cmake --preset release -DWDELTA_BUILD_TESTS=OFF -DWDELTA_BUILD_BENCH=OFF \
    && cmake --build build/release \
    && strip --strip-unneeded build/release/server/wdeltad build/release/client/cli/wdelta

FROM ${BASE_IMAGE}
# The shared libraries that the programs name; theirs follow.
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
        libabsl20220623 libcpp-httplib0.11 libgrpc++1.51 libhwy1 libisal2 libprometheus-cpp-core1.0 libprotobuf32 \
        librocksdb7.8 libspdlog1.10 libssl3 libxxhash0 libyaml-cpp0.7 libzstd1 \
    && apt-get clean \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --gid 10001 wdelta \
    && useradd --uid 10001 --gid wdelta --home-dir /data --no-create-home --no-log-init \
        --shell /usr/sbin/nologin wdelta \
    && install -d -o wdelta -g wdelta -m 0750 /data /backups
COPY --from=builder /src/build/release/server/wdeltad /src/build/release/client/cli/wdelta \
    /usr/local/bin/
# A library that the list above forgets shows itself here, not in production.
RUN ! ldd /usr/local/bin/wdelta /usr/local/bin/wdeltad | grep 'not found'
USER 10001:10001
VOLUME /data
EXPOSE 50051 8080 9401
HEALTHCHECK --interval=30s --timeout=5s --start-period=30s \
    CMD ["wdelta", "--server=127.0.0.1:50051", "version"]
ENTRYPOINT ["wdeltad", "--data_dir=/data", "--listen=0.0.0.0:50051"]
