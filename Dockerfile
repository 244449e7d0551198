# SPDX-License-Identifier: Apache-2.0
#
# arpwhy export in a container: docker build -t arpwhy:0.1.0 .   (docs/install-node.md)

FROM docker.io/library/debian:bookworm-slim AS build
# Not pinned: a version that Debian has replaced, by a security update, is gone from its archive.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-pip python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY constraints.txt pyproject.toml README.md LICENSE ./
COPY LICENSES LICENSES
COPY bpf bpf
COPY tracer tracer
# By the interpreter and to the place that the image has; bcc's module is Debian's. Neither pip is
# needed there nor the client's second half, by aiohttp, of 68 MB.
RUN python3 -m venv --system-site-packages --without-pip /opt/arpwhy \
    && PIP_CONSTRAINT=constraints.txt python3 -m pip --python /opt/arpwhy/bin/python3 \
    install --no-cache-dir --no-compile '.[kubernetes]' \
    && rm -r /opt/arpwhy/lib/python3*/site-packages/kubernetes/aio \
    && python3 -m compileall -q -j 0 /opt/arpwhy/lib

FROM docker.io/library/debian:bookworm-slim
LABEL org.opencontainers.image.title="arpwhy" \
      org.opencontainers.image.description="Why a pod's gateway does not answer" \
      org.opencontainers.image.licenses="Apache-2.0 AND GPL-2.0-only"
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-bpfcc \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/arpwhy /opt/arpwhy
ENV PATH=/opt/arpwhy/bin:/usr/sbin:/usr/bin:/sbin:/bin
# Root, of whose rights only BPF, PERFMON, SYSLOG and NET_RAW are needed: Kubernetes and Docker give
# what they add to no other user's process.
EXPOSE 16925
ENTRYPOINT ["arpwhy"]
CMD ["export"]
