"""`tnllt-data paraphrase`."""

from __future__ import annotations

from pathlib import Path

import click

from tnllt.cli.dataclass_options import PATH, config_options
from tnllt.config import DatasetConfig
from tnllt.datasets.dataset import open_configured
from tnllt.errors import UsageError
from tnllt.files import write_atomic
from tnllt.text import printable


@click.command()
@config_options(DatasetConfig)
@click.option("--url", required=True, help="OpenAI-compatible server, such as http://localhost:8000/v1.")
@click.option("--model", help="Its name there.  [default: the first that the server lists]")
@click.option("--count", default=3, type=click.IntRange(1, 50), show_default=True, help="Prompts for each sequence.")
@click.option("--out", "-o", type=PATH, required=True, help="TOML file to write.")
def paraphrase(config: DatasetConfig, url: str, model: str | None, count: int, out: Path) -> None:
    """Have a language model write other prompts for each sequence's target, for `tnllt-run --text FILE`.

    Answers are cached. The key is read from OPENAI_API_KEY. The file names the model, and is refused by --text until
    somebody has read it and set `reviewed` to true in it.
    """
    from tnllt.reasoningtrack.paraphrase import paraphrases, prompt_file
    from tnllt.reasoningtrack.reasoners.server import ServerReasoner

    if out.exists():
        raise UsageError(f"{out} is there already, and may be reviewed; move it away or give another --out")
    texts = {s.name: s.language for s in open_configured(config) if s.language}
    if not texts:
        raise UsageError("no sequence of the dataset has a language description")
    server = ServerReasoner(url, model=model, max_tokens=100 * count)
    prompts = paraphrases(texts, server, count)
    write_atomic(out, prompt_file(prompts, str(server.info()["model"] or "not named by the server"), count))
    click.echo(printable(f"{count} prompts for each of {len(prompts)} sequences in {out}; read them before use"))
