# ablate on a CPU, with the demo's texts: docker build -t ablate . (docs/how-to/install.md). Never built by us.
FROM python:3.11-slim
# git: records keep the commit of the code.
RUN apt-get update && apt-get install -y --no-install-recommends git && rm -rf /var/lib/apt/lists/*
WORKDIR /ablate
COPY . .
RUN pip install --no-cache-dir -c constraints.txt -e '.[demo]' --extra-index-url https://download.pytorch.org/whl/cpu
# The ledger is /work/runs: mount it.
WORKDIR /work
ENTRYPOINT ["python", "-m", "ablate"]
