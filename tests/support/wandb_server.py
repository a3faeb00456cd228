"""A server on loopback that speaks as much of W&B's protocol as uploading a run takes, and keeps what it was sent."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

# As long as W&B's keys are.
API_KEY = "0" * 40


@dataclass
class ReceivedRun:
    """What the server was sent of one run.

    Attributes:
        fields: the newest value of each field of the run, as `displayName` or `tags`.
        lines: the history by its line numbers.
    """

    fields: dict[str, Any] = field(default_factory=dict)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)

    @property
    def config(self) -> dict[str, Any]:
        """The config without W&B's wrapping."""
        return {name: value["value"] for name, value in json.loads(self.fields["config"]).items()}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The rows in the order of their lines."""
        return [self.lines[number] for number in sorted(self.lines)]

    @property
    def resume_status(self) -> dict[str, Any]:
        """What W&B tells of a run that is resumed."""
        return {
            "id": "b",
            "name": self.fields["name"],
            "summaryMetrics": json.dumps(self.summary),
            "historyLineCount": len(self.lines),
            "historyTail": json.dumps([json.dumps(row) for row in self.history[-1:]]),
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "config": self.fields["config"],
            "tags": self.fields.get("tags", []),
            # W&B resumes a run only if an earlier attempt has set this.
            "wandbConfig": json.dumps({"t": {}}),
        }


@dataclass
class WandbServer:
    """The server's address, the environment that leads W&B to it, and the runs by id."""

    url: str = ""
    runs: dict[str, ReceivedRun] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": API_KEY, "WANDB_ERROR_REPORTING": "false"}

    def answer(self, query: dict[str, Any]) -> dict[str, Any]:
        """Answer a GraphQL query."""
        given = query["variables"]
        if "UpsertBucket" in query["query"]:
            run = self.runs.setdefault(given["name"], ReceivedRun())
            run.fields |= {name: value for name, value in given.items() if value is not None}
            project = {
                "id": "p",
                "name": run.fields["project"],
                "entity": {"id": "e", "name": run.fields.get("entity", "me")},
            }
            bucket = {"id": "b", "name": given["name"], "project": project, "historyLineCount": len(run.lines)}
            return {"upsertBucket": {"bucket": bucket, "inserted": not run.lines}}
        if "RunResumeStatus" in query["query"]:
            resumed = self.runs.get(given["name"])
            return {"model": {"id": "m", "name": given["project"], "bucket": resumed and resumed.resume_status}}
        if "CreateRunFiles" in query["query"]:
            files = [{"name": name, "uploadUrl": f"{self.url}/storage/{name}"} for name in given["files"]]
            return {"createRunFiles": {"runID": "b", "uploadHeaders": [], "files": files}}
        return {}

    def receive(self, run_id: str, streamed: dict[str, Any]) -> None:
        """Keep a part of a run's files."""
        run = self.runs.setdefault(run_id, ReceivedRun())
        for name, part in streamed.get("files", {}).items():
            lines = [json.loads(line) for line in part["content"]]
            if name == "wandb-history.jsonl":
                run.lines |= {part["offset"] + place: line for place, line in enumerate(lines)}
            elif name == "wandb-summary.json":
                run.summary = lines[-1]


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """Run a server inside the block."""
    state = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            content = json.loads(gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body)
            if self.path == "/graphql":
                self.reply({"data": state.answer(content)})
            else:
                # /files/ENTITY/PROJECT/RUN/file_stream
                state.receive(self.path.split("/")[-2], content)
                self.reply({})

        def do_PUT(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.reply({})

        def reply(self, content: dict[str, Any]) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(content).encode())

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
