# The program with exactly the locked packages. Any of its commands: docker run ctrlplane-stream:0.1.0 doctor
FROM python:3.11.11-bookworm@sha256:4ca910a51a1a474e5d95aa52455331b2a94272eeae3c498be1ad7a2ff9b00bf3 AS compiled
COPY ctrlplane_stream/telemetry/native /native
COPY ctrlplane_stream/decision/native /judging
RUN cd /native && cc -std=c11 -O3 -shared -fPIC -DSOURCE_HASH="\"$(cat $(LC_ALL=C ls *.c *.h) | sha256sum | cut -c1-16)\"" -o /spans.so *.c
RUN cd /judging && cc -std=c11 -O3 -shared -fPIC -ffp-contract=off $(python3-config --includes) -DSOURCE_HASH="\"$(cat $(LC_ALL=C ls *.c *.h) | sha256sum | cut -c1-16)\"" -o "/judging$(python3-config --extension-suffix)" *.c

FROM python:3.11.11-slim-bookworm@sha256:081075da77b2b55c23c088251026fb69a7b2bf92471e491ff5fd75c192fd38e5
WORKDIR /opt/ctrlplane-stream
COPY requirements.lock ./
RUN pip install --no-cache-dir --disable-pip-version-check --require-hashes -r requirements.lock
COPY pyproject.toml README.md ./
COPY scripts/compile_native.py ./scripts/
COPY topics ./topics
COPY schemas ./schemas
COPY deploy ./deploy
COPY ctrlplane_stream ./ctrlplane_stream
COPY --from=compiled /spans.so ./ctrlplane_stream/telemetry/native/
COPY --from=compiled /judging.*.so ./ctrlplane_stream/decision/native/
RUN pip install --no-cache-dir --disable-pip-version-check --no-deps --no-build-isolation .
# By number: a cluster that admits no root cannot tell it from a name.
RUN useradd --system --uid 10001 --home-dir /nonexistent ctrlplane
USER 10001
ENTRYPOINT ["ctrlplane-stream"]
