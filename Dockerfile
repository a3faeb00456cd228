# ablate on a CPU, with the demo's texts (docs/how-to/install.md). Never built by us.
#     docker build --build-arg TORCH_INDEX=<torch's index of builds for CPUs> -t ablate .
FROM python:3.11-slim
# git: records keep the commit of the code.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /ablate
COPY . .
# Without it, pip takes torch's build with CUDA.
ARG TORCH_INDEX
RUN pip install --no-cache-dir -c constraints.txt -e '.[demo]' ${TORCH_INDEX:+--extra-index-url "$TORCH_INDEX"}
# The ledger is /work/runs: mount it.
WORKDIR /work
ENTRYPOINT ["python", "-m", "ablate"]
