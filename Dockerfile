# Static programs and nothing else: no shell, no C library, no certificates (the authorities are compiled in).
# tests/node/portcullis-image.sh makes the same without a registry, for the tests; a test compares the two. Releases have it
# from release/image.sh. The digest is that of the tag's index, for all architectures: docker buildx imagetools inspect TAG
FROM rust:1.95-bookworm@sha256:6258907abe69656e41cd992e0b705cdcfabcbbe3db374f92ed2d47121282d4a1 AS build
WORKDIR /source
COPY . .
RUN bash tests/node/static.sh image > /paths && cp $(cat /paths) /

# The agent of workspaces alone (`--target agent`), for nodes that have no server to pull.
FROM scratch AS agent
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Portcullis workspace agent" \
      org.opencontainers.image.description="The workspace agent of Portcullis" \
      org.opencontainers.image.source="https://github.com/portcullis-dev/portcullis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build --chown=0:0 --chmod=0755 /portcullis-agent /portcullis-agent
USER 65532:65532
ENTRYPOINT ["/portcullis-agent"]

# Both programs. The agent's layer is first, so that nodes with the image above share it.
FROM scratch
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="Portcullis" \
      org.opencontainers.image.description="OAuth-protected MCP endpoints for AI agents that work in development workspaces on Kubernetes" \
      org.opencontainers.image.source="https://github.com/portcullis-dev/portcullis" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
COPY --from=build --chown=0:0 --chmod=0755 /portcullis-agent /portcullis-agent
COPY --from=build --chown=0:0 --chmod=0755 /portcullis /portcullis
USER 65532:65532
ENTRYPOINT ["/portcullis"]
