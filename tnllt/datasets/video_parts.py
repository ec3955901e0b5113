"""Sequences that are parts of longer videos: frame numbers as the OTB and UAV123 releases define them."""

from __future__ import annotations

from collections.abc import Mapping

from tnllt.datasets.layout import VideoPart

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
