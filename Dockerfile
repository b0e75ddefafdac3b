# The HTTP service. `docker build .` for any CPU; `docker build --build-arg EXTRAS=serve,cuda .` for NVIDIA GPUs, whose
# libraries come as Python packages (run it with `--gpus all`).
FROM python:3.11-slim AS build
ARG EXTRAS=serve
WORKDIR /source
COPY pyproject.toml hatch_build.py constraints.txt README.md CHANGELOG.md LICENSE ./
COPY polyexport polyexport
COPY trainer trainer
COPY artifacts/small.onnx artifacts/small.onnx
RUN python -m venv /opt/polyexport && \
    /opt/polyexport/bin/pip install --no-cache-dir -c constraints.txt ".[${EXTRAS}]"

FROM python:3.11-slim
COPY --from=build /opt/polyexport /opt/polyexport
RUN useradd --system --uid 10001 --no-create-home polyexport
USER 10001
ENV PATH=/opt/polyexport/bin:$PATH PYTHONUNBUFFERED=1 ORT_DISABLE_TELEMETRY=1
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=4)"]
# In the form of a list, so that SIGTERM reaches it and no shell.
ENTRYPOINT ["polyexport", "serve", "--host", "0.0.0.0"]
