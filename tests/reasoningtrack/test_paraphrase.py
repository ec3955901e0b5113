"""`tnllt-data paraphrase`: prompts from a server, cached, and refused until somebody has read them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from click.testing import CliRunner

from tnllt.cli.data import cli
from tnllt.datasets import open_dataset
from tnllt.errors import DataError, UsageError
from tnllt.tracking.texts import texts_of

ANSWER = '1. A {word} thing\n2) "{word} object"\n- {text}\n\n3. It is {word}\n4. one too many'


@pytest.fixture
def server() -> Iterator[ThreadingHTTPServer]:
    """Answers every description with a list in the untidy form that models write; counts what it is asked."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer({"data": [{"id": "tiny-writer"}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][0]["content"].rpartition("\n\n")[2]
            self.server.asked.append(text)
            content = self.server.form.format(word=text.split()[1], text=text)
            message = {"role": "assistant", "content": content}
            self.answer(
                {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "model": "tiny-writer"}
            )

        def answer(self, table: object) -> None:
            data = json.dumps(table).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as made:
        made.asked, made.form = [], ANSWER
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


def test_prompts_are_written_cached_and_reviewed(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    url = f"http://127.0.0.1:{server.server_port}/v1"
    words = ["paraphrase", "-d", "demo", "--url", url, "--count", "3", "--out"]
    done = CliRunner().invoke(cli, [*words, str(tmp_path / "p.toml")], catch_exceptions=False)
    demo = list(open_dataset("demo"))
    assert "3 prompts for each of 8 sequences" in done.output and len(server.asked) == len(demo)
    with pytest.raises(DataError, match="written by tiny-writer: read the texts"):
        texts_of(str(tmp_path / "p.toml"), demo)
    text = (tmp_path / "p.toml").read_text()
    (tmp_path / "p.toml").write_text(text.replace("reviewed = false", "reviewed = true"))
    first, second, third = texts_of(str(tmp_path / "p.toml"), demo)
    name, word = demo[0].name, str(demo[0].language).split()[1]
    assert first.sequences[name] == [[0, f"A {word} thing"]] and second.sequences[name] == [[0, f"{word} object"]]
    assert third.sequences[name] == [[0, f"It is {word}"]]
    again = CliRunner().invoke(cli, [*words, str(tmp_path / "q.toml")], catch_exceptions=False)
    assert again.exit_code == 0 and len(server.asked) == len(demo), "answered from the cache"
    refused = CliRunner().invoke(cli, [*words, str(tmp_path / "p.toml")])
    assert isinstance(refused.exception, UsageError) and "may be reviewed" in str(refused.exception)


def test_too_few_prompts_are_an_error(
    server: ThreadingHTTPServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TNLLT_CACHE", str(tmp_path / "cache"))
    server.form = "Sure!"
    words = [
        "paraphrase",
        "-d",
        "demo",
        "--url",
        f"http://127.0.0.1:{server.server_port}",
        "--out",
        tmp_path / "p.toml",
    ]
    refused = CliRunner().invoke(cli, [*map(str, words)])
    assert isinstance(refused.exception, DataError) and "wrote 1 of 3 prompts" in str(refused.exception)
    assert not (tmp_path / "p.toml").exists()
