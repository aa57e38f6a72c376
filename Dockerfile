# SPDX-License-Identifier: Apache-2.0
# The program for CPUs, built and installed by the scripts that serve outside of containers too:
#   docker build -t hybridhash .
#   docker run --rm -v "$PWD:/data" hybridhash info
FROM debian:12 AS build
WORKDIR /hybridhash
COPY scripts/install.sh scripts/
RUN scripts/install.sh run
COPY . .
RUN scripts/build.sh cpu hybridhash && cmake --install build/cpu --component program --prefix /opt/hybridhash

FROM debian:12-slim
COPY scripts/install.sh /tmp/
RUN /tmp/install.sh use && rm -rf /tmp/install.sh /var/lib/apt/lists/*
COPY --from=build /opt/hybridhash /opt/hybridhash
ENV PATH=/opt/hybridhash/bin:$PATH
WORKDIR /data
EXPOSE 8080
USER 1000
ENTRYPOINT ["hybridhash"]
