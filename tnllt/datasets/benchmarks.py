"""The benchmarks' layouts, as data. `tnllt.datasets.reader` follows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from tnllt.datasets.layout import FlagFile, Layout, VideoPart

# Sequences that are parts of longer videos: frame numbers as the OTB and UAV123 releases define them.
#: Where the annotation of an OTB video starts later than its images. Tiger1's first five boxes are never used.
OTB_PARTS: Mapping[str, VideoPart] = {
    "BlurCar1": VideoPart("BlurCar1", 247, 988),
    "BlurCar3": VideoPart("BlurCar3", 3, 359),
    "BlurCar4": VideoPart("BlurCar4", 18, 397),
    "David": VideoPart("David", 300, 770),
    "Tiger1": VideoPart("Tiger1", 6, 354, skip=5),
}

# First and last frame of each part of a UAV123 video; neighbours share their border frame.
_UAV123_RANGES: Mapping[str, tuple[tuple[int, int], ...]] = {
    "bird1": ((1, 253), (775, 1477), (1573, 2437)),
    "car1": ((1, 751), (751, 1627), (1627, 2629)),
    "car16": ((1, 415), (415, 1993)),
    "car6": ((1, 487), (487, 1807), (1807, 2953), (2953, 3925), (3925, 4861)),
    "car8": ((1, 1357), (1357, 2575)),
    "group1": ((1, 1333), (1333, 2515), (2515, 3925), (3925, 4873)),
    "group2": ((1, 907), (907, 1771), (1771, 2683)),
    "group3": ((1, 1567), (1567, 2827), (2827, 4369), (4369, 5527)),
    "person12": ((1, 601), (601, 1621)),
    "person14": ((1, 847), (847, 1813), (1813, 2923)),
    "person17": ((1, 1501), (1501, 2347)),
    "person19": ((1, 1243), (1243, 2791), (2791, 4357)),
    "person2": ((1, 1189), (1189, 2623)),
    "person4": ((1, 1501), (1501, 2743)),
    "person5": ((1, 877), (877, 2101)),
    "person7": ((1, 1249), (1249, 2065)),
    "person8": ((1, 1075), (1075, 1525)),
    "truck4": ((1, 577), (577, 1261)),
    "uav1": ((1, 1555), (1555, 2377), (2473, 3469)),
}

UAV123_PARTS: Mapping[str, VideoPart] = {
    f"{video}_{part}": VideoPart(video, first, last)
    for video, parts in _UAV123_RANGES.items()
    for part, (first, last) in enumerate(parts, start=1)
}


TNLLT_ATTRIBUTES = ("CM", "ROT", "DEF", "FOC", "IV", "OV", "POC", "VC", "SV", "BC", "MB", "ARC", "LR", "FM", "AS")
LASOT_ATTRIBUTES = ("IV", "POC", "DEF", "MB", "CM", "ROT", "BC", "VC", "SV", "FOC", "FM", "OV", "LR", "ARC")
OTB_ATTRIBUTES = ("IV", "SV", "OCC", "DEF", "MB", "FM", "IPR", "OPR", "OV", "BC", "LR")
UAV_ATTRIBUTES = ("SV", "ARC", "LR", "FM", "FOC", "POC", "OV", "BC", "IV", "VC", "CM", "SO")

#: What the abbreviations stand for, over all benchmarks.
ATTRIBUTE_TITLES: Mapping[str, str] = {
    "ARC": "aspect ratio change",
    "AS": "adversarial sample",
    "BC": "background clutter",
    "CM": "camera motion",
    "DEF": "deformation",
    "FM": "fast motion",
    "FOC": "full occlusion",
    "IPR": "in-plane rotation",
    "IV": "illumination variation",
    "LR": "low resolution",
    "MB": "motion blur",
    "MS": "modality switch",
    "OCC": "occlusion",
    "OPR": "out-of-plane rotation",
    "OV": "out-of-view",
    "POC": "partial occlusion",
    "ROT": "rotation",
    "SO": "similar object",
    "SV": "scale variation",
    "TC": "thermal crossover",
    "VC": "viewpoint change",
}

# The evaluation toolkits of TNLLT and LaSOT keep annotations in one folder; theirs are the files that scores rest on,
# so that they come before the ones beside the images.
_TOOLKIT_BOXES = "{annos}/{name}.txt"
_TOOLKIT_ABSENT = "{annos}/absent/{name}.txt"
_TOOLKIT_ATTRIBUTES = "{annos}/att/{name}.txt"

_LASOT = Layout(
    name="lasot",
    title="LaSOT",
    sequences=("*/*", "*"),
    images=("img",),
    boxes=(_TOOLKIT_BOXES, "{folder}/groundtruth.txt"),
    absent=(
        (FlagFile(_TOOLKIT_ABSENT, present=0),),
        (FlagFile("{folder}/full_occlusion.txt", present=0), FlagFile("{folder}/out_of_view.txt", present=0)),
    ),
    language=("{folder}/nlp.txt", "{annos}/nlp/{name}.txt"),
    attributes=(_TOOLKIT_ATTRIBUTES,),
    attribute_names=LASOT_ATTRIBUTES,
    split_lists={"train": ("training_set.txt",), "test": ("testing_set.txt",)},
    signature=("img", "full_occlusion.txt"),
)

_RECORDS = (
    Layout(
        name="tnllt",
        title="TNLLT",
        sequences=("*", "{split}/*"),
        images=("imgs", "img"),
        boxes=(_TOOLKIT_BOXES, "{folder}/groundtruth.txt"),
        absent=((FlagFile(_TOOLKIT_ABSENT, present=1),), (FlagFile("{folder}/absent_label.txt", present=1),)),
        language=("{folder}/language.txt", "{annos}/language/{name}.txt"),
        attributes=(_TOOLKIT_ATTRIBUTES, "{folder}/attributes.txt"),
        attribute_names=TNLLT_ATTRIBUTES,
        descriptions=("{folder}/descriptions.txt",),
        split_folders={"train": ("train", "TNLLT_train*"), "test": ("test", "TNLLT_test*")},
        signature=("imgs", "absent_label.txt"),
    ),
    Layout(
        name="tnl2k",
        title="TNL2K",
        sequences=("{split}/*", "{split}/*/*", "*"),
        images=("imgs", "img"),
        boxes=("{annos}/gt_rect/{name}.txt", "{folder}/groundtruth.txt"),
        absent=((FlagFile(_TOOLKIT_ABSENT, present=0),),),
        language=("{folder}/language.txt",),
        attributes=("{annos}/att/{name}_attribute.txt",),
        attribute_names=(*TNLLT_ATTRIBUTES, "TC", "MS"),
        split_folders={"train": ("train", "TNL2K_train*"), "test": ("test", "TNL2K_test*")},
        signature=("imgs", "language.txt"),
    ),
    _LASOT,
    replace(_LASOT, name="lasot_ext", title="LaSOT_ext", split_lists={}, signature=()),
    Layout(
        name="otb99_lang",
        title="OTB99-Lang",
        sequences=("OTB_videos/*", "OTB_video/*", "*"),
        boxes=("{folder}/groundtruth_rect.txt", "{annos}/{name}.txt"),
        language=("{root}/OTB_query_test/{name}.txt", "{root}/OTB_query_train/{name}.txt"),
        split_lists={"train": ("OTB_query_train/*.txt",), "test": ("OTB_query_test/*.txt",)},
        targets="groundtruth_rect.*.txt",
        parts=OTB_PARTS,
    ),
    Layout(
        name="otb100",
        title="OTB100",
        images=("img",),
        boxes=("{folder}/groundtruth_rect.txt", "{annos}/{name}.txt"),
        attributes=("{folder}/attrs.txt",),
        attribute_names=OTB_ATTRIBUTES,
        targets="groundtruth_rect.*.txt",
        parts=OTB_PARTS,
        signature=("img", "groundtruth_rect*.txt"),
    ),
    Layout(
        name="uav123",
        title="UAV123",
        sequences=("data_seq/UAV123/*", "UAV123/data_seq/UAV123/*"),
        images=(".",),
        boxes=("{root}/anno/UAV123/{name}.txt", "{root}/UAV123/anno/UAV123/{name}.txt", "{annos}/{name}.txt"),
        attributes=("{root}/anno/UAV123/att/{name}.txt", "{annos}/att/{name}.txt"),
        attribute_names=UAV_ATTRIBUTES,
        parts=UAV123_PARTS,
    ),
    Layout(
        name="nfs",
        title="NfS (30 frames a second)",
        images=("30/{video}", "."),
        boxes=("{folder}/30/{video}.txt", "{annos}/{name}.txt", "{root}/anno/nfs_{name}.txt"),
        box_format="vatic",
        box_stride=8,
        signature=("30",),
    ),
    Layout(
        name="trackingnet",
        title="TrackingNet",
        sequences=("{split}/frames/*",),
        images=(".",),
        boxes=("{root}/{split}/anno/{name}.txt", "{annos}/{name}.txt"),
        split_folders={"train": ("TRAIN_*",), "test": ("TEST",)},
        first_box_only=("test",),
    ),
    Layout(
        name="got10k",
        title="GOT-10k",
        sequences=("{split}/*", "{split}_data/*", "full_data/{split}/*", "full_data/{split}_data/*"),
        images=(".",),
        # By cover.label, the visible eighths of the target, the authors' toolkit decides which frames count.
        absent=(
            (FlagFile("{folder}/cover.label", present=1, highest=8),),
            (FlagFile("{folder}/absence.label", present=0),),
        ),
        split_folders={"train": ("train",), "val": ("val",), "test": ("test",)},
        first_box_only=("test",),
        metadata=("{folder}/meta_info.ini",),
        signature=("meta_info.ini",),
    ),
    Layout(
        name="mgit",
        title="MGIT",
        sequences=("data/{split}/*",),
        images=("frame_{name}",),
        boxes=("{root}/attribute/groundtruth/{name}.txt",),
        absent=((FlagFile("{root}/attribute/absent/{name}.txt", present=0),),),
        language=("{root}/mgit_nlp/{name}.xlsx", "{root}/attribute/nlp/{name}.xlsx"),
        descriptions=("{root}/mgit_nlp/{name}.xlsx", "{root}/attribute/nlp/{name}.xlsx"),
        split_folders={"train": ("train",), "val": ("val",), "test": ("test",)},
        signature=("frame_*",),
    ),
)

LAYOUTS: Mapping[str, Layout] = {
    record.name: replace(record, presence_required=bool(record.absent)) for record in _RECORDS
}
_SPELLINGS = {"otb": "otb100", "otb2015": "otb100", "otb99": "otb99_lang", "otblang": "otb99_lang", "nfs30": "nfs"}


def find_layout(name: str) -> Layout | None:
    """The record of a benchmark, however it is spelled (`LaSOT`, `got-10k`, `OTB99-Lang`); None for a path."""
    plain = "" if "/" in name else "".join(c for c in name.lower() if c.isalnum())
    plain = _SPELLINGS.get(plain, plain)
    return LAYOUTS.get(plain) or next((v for k, v in LAYOUTS.items() if k.replace("_", "") == plain), None)
