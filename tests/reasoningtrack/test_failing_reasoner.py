"""A run whose reasoner fails does not look like one whose reasoner answers: exit codes, counts, footnotes, retry."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

pytest.importorskip("openai")
pytest.importorskip("torch")
pytestmark = pytest.mark.slow  # six runs, each with a worker of its own

import tnllt  # noqa: E402
from tnllt.cli.run import cli  # noqa: E402
from tnllt.errors import EXIT_INCOMPLETE, EXIT_OK, EXIT_USAGE, UsageError  # noqa: E402
from tnllt.results.store import ResultStore  # noqa: E402
from tnllt.tracking.runner import RunResult  # noqa: E402

SEQUENCE = "synth_0001_pink_robot"
#: A refresh at each tenth frame, and no second try.
OPTIONS = {
    "refresh_interval": 10,
    "refresh_area": 1.01,
    "reasoner_options": "retries=0,breaker=1000,cache=off,timeout=5",
}
ANSWER = "<think>It is as it was.</think><d>no</d><answer></answer>"


class Server:
    """An OpenAI-compatible server that answers `good` questions, and every later one with status 500."""

    def __init__(self, good: int = 10**9, text: str = ANSWER) -> None:
        outer = self
        self.good, self.asked = good, 0

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._send(200, {"object": "list", "data": [{"id": "m", "object": "model"}]})

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                outer.asked += 1
                if outer.asked > outer.good:
                    self._send(500, {"error": {"message": "out of memory"}})
                else:
                    self._send(200, {"choices": [{"message": {"role": "assistant", "content": text}}]})

            def _send(self, status: int, body: dict[str, object]) -> None:
                raw = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None: ...

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"openai:http://127.0.0.1:{self._server.server_address[1]}/v1"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def run(results: Path, url: str, **options: object) -> RunResult:
    settings = {**OPTIONS, "reasoner": url, **options}
    return tnllt.run("ReasoningTrack", "demo", results=results, sequences=(SEQUENCE,), options=settings)


def test_a_dead_server_is_an_error_before_the_first_frame(tmp_path: Path) -> None:
    server = Server()
    server.close()
    with pytest.raises(UsageError, match=r"does not answer.*reasoner_required=no") as caught:
        run(tmp_path, server.url)
    assert caught.value.exit_code == EXIT_USAGE
    assert not list(tmp_path.rglob("*.txt"))
    found = run(tmp_path, server.url, reasoner_required=False)
    assert found.exit_code == EXIT_INCOMPLETE
    assert found.done == [SEQUENCE]
    assert found.unanswered[SEQUENCE][0] == found.unanswered[SEQUENCE][1] > 5


def test_a_server_that_dies_halfway_is_counted_everywhere_and_taken_up_by_retry(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    server = Server(good=3)
    found = run(tmp_path, server.url)
    failed, asked = found.unanswered[SEQUENCE]
    assert (failed, found.exit_code) == (asked - 3, EXIT_INCOMPLETE)
    record = ResultStore(tmp_path).entry("ReasoningTrack", SEQUENCE).record
    assert record is not None and record.unanswered == (failed, asked)

    where = ["--dataset", "demo", "--results", str(tmp_path), "--sequences", SEQUENCE]
    assert cli.main(["status", *where], standalone_mode=False) == EXIT_INCOMPLETE
    assert f"{failed} of {asked} refreshes failed" in capsys.readouterr().out
    scores = tnllt.score("demo", results=tmp_path, sequences=(SEQUENCE,))
    assert f"{failed} of {asked} in {SEQUENCE}" in scores.table("success")
    again = run(tmp_path, server.url)
    assert (again.done, again.before, again.exit_code) == ([], [SEQUENCE], EXIT_INCOMPLETE)

    server.good = 10**9
    assert cli.main(["retry", *where], standalone_mode=False) == EXIT_OK
    capsys.readouterr()
    assert cli.main(["status", *where], standalone_mode=False) == EXIT_OK
    assert "refreshes" not in tnllt.score("demo", results=tmp_path, sequences=(SEQUENCE,)).table("success")
    server.close()


def test_nonsense_keeps_the_description_and_is_not_a_failed_refresh(tmp_path: Path) -> None:
    server = Server(text="I cannot tell.")
    found = run(tmp_path, server.url)
    server.close()
    assert (found.exit_code, found.unanswered) == (EXIT_OK, {})
    record = ResultStore(tmp_path).entry("ReasoningTrack", SEQUENCE).record
    assert record is not None and record.description_changes == []
