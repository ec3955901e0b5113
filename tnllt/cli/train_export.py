"""`tnllt-train export`: data and settings for other trainers."""

from __future__ import annotations

import click

from tnllt.cli.dataclass_options import config_options
from tnllt.cli.train_options import show_log
from tnllt.training.vlm.options import ExportOptions, RecordSources


@click.command()
@config_options(ExportOptions, "options", without=("tracker_batch", "tracker_device"))
@config_options(RecordSources, "sources")
def export(options: ExportOptions, sources: RecordSources) -> None:
    """Write records and settings for LLaMA-Factory (fine-tuning) or EasyR1 (GRPO, with the rewards of `grpo`).

    \b
    tnllt-train export --to llamafactory --records sft/ --images /data/pairs --out factory
    llamafactory-cli train factory/sft.yaml
    tnllt-train export --to easyr1 --samples RLsamples/ --tracker-weights DUTrack.pth.tar --out easyr1
    python3 -m verl.trainer.main config=easyr1/grpo.yaml
    """
    from tnllt.training.vlm.export import export_easyr1, export_llamafactory
    from tnllt.training.vlm.gather import gather

    show_log()
    records = gather(sources, options.out, options.seed)
    if options.to == "llamafactory":
        written = export_llamafactory(records, options.out, options.model)
    else:
        written = export_easyr1(records, options)
    click.echo(f"{len(records)} records: " + ", ".join(str(path) for path in written))
