"""Figures: ranked legends that cover nothing, sizes of a paper, one look per tracker, a CSV that says the same."""

from __future__ import annotations

import csv
import os
import re
import subprocess
import sys
from io import BytesIO

import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.image import imread
from matplotlib.ticker import AutoLocator
from matplotlib.transforms import Bbox

from tnllt.errors import UsageError
from tnllt.eval import evaluate
from tnllt.eval.drawing import Sheet, draw, paper_style
from tnllt.eval.figures import curve_panel, draw_curves
from tnllt.eval.metrics import CURVE_METRICS, METRICS
from tnllt.eval.style import Style, TrackerStyle
from tnllt.sequence import Annotation, Sequence


def many(trackers: int, worst: float = 1.0):
    rng = np.random.default_rng(5)
    truth = np.abs(np.cumsum(rng.normal(0, 3, (50, 4)), axis=0) + np.array([100, 80, 50, 40])) + 1
    flags = {"ARC": True, "B": True, "C": True, "D": False}
    sequences = [Sequence(name, Annotation(truth, None, None, flags), dataset="tnllt") for name in ("s0", "s1")]
    results = {
        f"t{k:03d}": {s.name: truth + rng.normal(0, 1 + worst * k, (50, 4)) for s in sequences} for k in range(trackers)
    }
    return evaluate(sequences, results)


@pytest.mark.parametrize("trackers", [3, 40])
def test_legends_are_ranked_and_carry_scores(trackers):
    scores = many(trackers)
    for metric in CURVE_METRICS:
        axes = Figure().subplots()
        draw_curves(axes, scores, metric)
        labels = [text.get_text() for text in axes.get_legend().get_texts()]
        values = scores.score(metric)
        assert labels == [f"[{values[k]:.3f}] {scores.trackers[k]}" for k in scores.ranking(metric)]
        assert len(axes.lines) == trackers and axes.get_xlabel() == metric.figure.x


def drawn(scores, metric="success", style=None, members=None, attribute=""):
    style = style or Style()
    with paper_style(style):
        panel = curve_panel(scores, METRICS[metric], style, members, attribute)
        figure, _ = draw(Sheet(None, (panel,), ("protocol tnllt",), style))
        FigureCanvasAgg(figure).draw()
    return figure


@pytest.mark.parametrize(
    ("trackers", "metric", "size"),
    [
        (3, "success", "column"),
        (6, "precision", "column"),
        (21, "normalized_precision", "column"),
        (21, "success", "page"),
    ],
)
def test_a_legend_covers_no_curve_and_lies_inside_the_figure(trackers, metric, size):
    figure = drawn(many(trackers, worst=8.0), metric, Style(size=size))
    (axes,) = figure.axes
    keys = axes.collections[-1]
    ends = Bbox.null()
    ends.update_from_data_xy(keys.get_transform().transform(np.concatenate(keys.get_segments())))
    legend = Bbox.union([ends, *(artist.get_window_extent() for artist in (*axes.texts, *axes.patches))])
    for line in axes.lines:
        assert not line.get_path().transformed(line.get_transform()).intersects_bbox(legend, filled=False)
    whole = figure.bbox
    assert legend.x0 >= whole.x0 and legend.x1 <= whole.x1 and legend.y0 >= whole.y0 and legend.y1 <= whole.y1
    foot = figure.texts[0].get_window_extent()
    assert foot.y1 <= legend.y0 and foot.y0 >= 0
    assert min(text.get_fontsize() for text in axes.texts) >= 7
    looks = [(line.get_color(), line.get_linewidth()) for line in axes.lines]
    assert looks == [(to_hex(c), w) for c, w in zip(keys.get_colors(), keys.get_linewidths(), strict=True)]


def test_a_legend_keeps_its_place_where_the_footer_is_cut_off():
    figure = drawn(many(21, worst=8.0), "success")
    width, height = figure.get_size_inches()
    pictures = []
    for cut in (0.0, 0.5):
        with BytesIO() as file:
            figure.savefig(file, dpi=100, bbox_inches=Bbox.from_extents(0, cut, width, height))
            pictures.append(imread(BytesIO(file.getvalue())))
    np.testing.assert_array_equal(pictures[0][: len(pictures[1]) - 1], pictures[1][:-1])


def test_ticks_and_their_labels_are_where_matplotlib_puts_them():
    scores = many(3)
    with paper_style(Style()):
        figure, _ = draw(Sheet(None, (curve_panel(scores, METRICS["precision"], Style()),), (), Style()))
        own = FigureCanvasAgg(figure)
        (axes,) = figure.axes
        labels = {text.get_text(): text.get_window_extent(own.get_renderer()) for text in figure.artists}
        axes.xaxis.set_major_locator(AutoLocator())
        FigureCanvasAgg(figure).draw()
        theirs = [tick.label1 for tick in axes.xaxis.get_major_ticks()]
        assert {text.get_text() for text in theirs} <= set(labels)
        for text in theirs:
            np.testing.assert_allclose(labels[text.get_text()].bounds, text.get_window_extent().bounds, atol=1.5)


def test_a_look_stays_across_metrics_and_attributes():
    scores = many(9)
    found = []
    for metric in ("success", "precision"):
        for members in (None, scores.attributes["B"]):
            (axes,) = drawn(scores, metric, members=members).axes
            names = [text.get_text().split()[1] for text in axes.texts]
            found.append(
                {n: (line.get_color(), line._unscaled_dash_pattern) for n, line in zip(names, axes.lines, strict=True)}
            )
    assert all(one == found[0] for one in found) and len(set(map(str, found[0].values()))) == 9


def test_style_gives_names_order_title_and_legend():
    style = Style(
        order=("t002",), title="{metric} on {benchmark}: {attribute}", legend="name",
        trackers={"t001": TrackerStyle(name="Ours", colour="#123456", dash=(3, 1))},
    )  # fmt: skip
    scores = many(3)
    (axes,) = drawn(scores, style=style, attribute="Aspect ratio change (2)").axes
    assert [text.get_text() for text in axes.texts] == ["t002", "t000", "Ours"]
    assert axes.get_title() == "Success on TNLLT: Aspect ratio change (2)"
    assert axes.lines[2].get_color() == "#123456"
    assert not drawn(scores, style=Style(legend="none", title="")).axes[0].texts


@pytest.mark.parametrize("more", ["", " Ωμέγα 中"])  # letters that the copy gets, one that the font lacks
def test_a_small_copy_of_the_font_draws_the_same(more):
    texts = f"AV To fi ffl [0.573] über{more}"  # kerning, ligatures
    pictures = []
    for copied in ("", texts):
        with paper_style(Style(), copied):
            assert ("tnllt" in rcParams["font.family"][0]) == bool(copied)
            figure = Figure()
            figure.text(0.1, 0.5, texts)
            canvas = FigureCanvasAgg(figure)
            canvas.draw()
            pictures.append(np.asarray(canvas.buffer_rgba()))
    np.testing.assert_array_equal(*pictures)


def test_attributes_are_titled_with_benchmark_and_full_name(tmp_path):
    many(3).plot(tmp_path, "success", attributes=True, style=Style(formats=("svg",)))
    title = re.search(r"<dc:title>(.*?)</dc:title>", (tmp_path / "success_ARC.svg").read_text())[1]
    assert title == "Success plots of OPE on TNLLT – Aspect ratio change (2)"


def test_sizes_in_inches_and_the_footer_of_pdf(tmp_path):
    scores = many(3)
    scores.plot(tmp_path, "success", style=Style(formats=("pdf", "svg")))
    pdf = (tmp_path / "success.pdf").read_bytes()
    width = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", pdf)[1]) / 72
    wide = float(re.search(rb"/MediaBox \[ ?0 0 ([\d.]+) ", (tmp_path / "curves.pdf").read_bytes())[1]) / 72
    assert (width, wide) == (pytest.approx(3.25, abs=0.01), pytest.approx(6.875, abs=0.01))
    assert b"/Subject (protocol tnllt, 2 sequences" in pdf
    tall = float(re.search(r'height="([\d.]+)pt"', (tmp_path / "success.svg").read_text())[1])
    assert tall > float(re.search(rb"/MediaBox \[ ?0 0 [\d.]+ ([\d.]+)", pdf)[1]) + 5  # the SVG has the footer, too
    scores.plot(tmp_path / "own", "success", style=Style(size=(5, 4), formats=("pdf",), footer=True))
    assert b"/MediaBox [ 0 0 360 288 ]" in (tmp_path / "own" / "success.pdf").read_bytes()


def test_a_font_or_height_that_will_not_do_is_refused(tmp_path):
    with pytest.raises(UsageError, match="no font 'Nowhere Sans' is installed"):
        many(1).plot(tmp_path / "a", style=Style(font="Nowhere Sans"))
    with pytest.raises(UsageError, match=r"height of at least [\d.]+ inches"):
        many(21, 8.0).plot(tmp_path / "b", "success", style=Style(size=(3, 2)))


def test_files_and_their_csv(tmp_path):
    scores = many(3)
    written = scores.plot(tmp_path, "success", attributes=True, style=Style(formats=("svg",)))
    names = {path.name for path in written}
    stems = {"success", "curves", "success_ARC", "success_B", "success_C", "success_radar"}
    assert names == {f"{stem}.{ending}" for stem in stems for ending in ("svg", "csv")}
    rows = list(csv.DictReader((tmp_path / "success.csv").open()))
    assert [float(r["threshold"]) for r in rows] == scores.protocol.thresholds("success").tolist()
    assert [float(r["t001"]) for r in rows] == scores.mean_curve("success")[1].tolist()
    assert [float(r["ceiling"]) for r in rows] == scores.reference_curve("success")["ceiling"].tolist()
    radar = list(csv.reader((tmp_path / "success_radar.csv").open()))
    assert radar[0] == ["tracker", "ARC", "B", "C"] and float(radar[1][1]) == scores.per_attribute()["ARC"][0]


@pytest.mark.slow
def test_several_processes_draw_the_same_files(tmp_path):
    scores = many(3)
    for workers in (1, 2):
        scores.plot(tmp_path / str(workers), attributes=True, workers=workers)
    one = {path.name: path.read_bytes() for path in (tmp_path / "1").iterdir()}
    assert len(one) > 40 and one == {path.name: path.read_bytes() for path in (tmp_path / "2").iterdir()}


@pytest.mark.slow
def test_forks_leave_no_files_behind(tmp_path):
    code = """
import sys
from pathlib import Path
from tests.eval.test_figures import many
from tnllt.processes import can_fork

assert can_fork()
for _ in range(2):  # the second time in forks of a process that drew
    many(3).plot(Path(sys.argv[1]), attributes=True, workers=2)
    many(1).plot(Path(sys.argv[1]), workers=1)
"""
    (tmp_path / "temporary").mkdir()
    environment = os.environ | {"TMPDIR": str(tmp_path / "temporary"), "OPENBLAS_NUM_THREADS": "1"}
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "figures")], env=environment, check=True)
    assert list((tmp_path / "figures").iterdir()) and not list((tmp_path / "temporary").iterdir())


def test_frames_of_tables_agree_with_scores():
    scores = many(4)
    overall, by = scores.to_frame(), scores.to_frame("success", by="attribute")
    assert overall.index.tolist() == [scores.trackers[k] for k in scores.ranking()]
    assert overall.loc["t002", "op50"] == scores.score("op50")[2]
    assert by.loc[("t003", "B"), "success"] == scores.per_attribute()["B"][3]
    assert (
        scores.to_frame("precision", by="sequence").loc[("t001", "s1"), "precision"]
        == scores.per_sequence("precision")[1, 1]
    )
    assert "D" in scores.skipped_attributes
