"""Upstream's own tracker class in a plain loop, in upstream's interpreter: what the bridge must agree with.

    python direct.py checkpoint CASE.json     save seeded random weights as a checkpoint of upstream's own format
    python direct.py track CASE.json          boxes of every clip, as JSON on the last line

Nothing here comes from the worker, so that a fault of the worker cannot hide in both: the clone is copied, its two
`local.py` files and the changes of its yaml are written into the copy as its users write them, packages that are
missing are mocked, and CUDA is kept away by a mode of torch's own. How the tracker is found, built and called is
written out here, one function per dialect, from each repository's own test code.
"""

import importlib
import importlib.machinery
import importlib.util
import json
import os
import shutil
import sys
from pathlib import Path
from unittest.mock import MagicMock

CASE = json.load(open(sys.argv[2]))
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
CLONE = Path(CASE["scratch"], "clone")
shutil.copytree(CASE["repo"], CLONE, ignore=shutil.ignore_patterns(".git", "*.pyc"))
os.chdir(CLONE)
sys.path[0] = str(CLONE)
sys.dont_write_bytecode = True

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
import torchvision  # noqa: E402
import torchvision.ops.misc  # noqa: E402
import yaml as yaml_format  # noqa: E402
from torch.overrides import TorchFunctionMode  # noqa: E402

torch.set_num_threads(1)

LOCAL = """
class {name}:
    def __init__(self):
        self.prj_dir, self.save_dir = {prj_dir!r}, {save_dir!r}

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return ""

{alias}
"""


def write_local_files():
    """What each user of upstream writes for his own machine."""
    places = {"prj_dir": str(CLONE), "save_dir": CASE["save_dir"]}
    for path, name, alias in (
        ("lib/test/evaluation/local.py", "Settings", "local_env_settings = Settings"),
        ("lib/train/admin/local.py", "EnvironmentSettings", ""),
    ):
        Path(path).write_text(LOCAL.format(name=name, alias=alias, **places))


def change_yaml(tracker, name):
    """The case's settings, in the copy's own yaml."""
    (path,) = [
        p for p in Path("experiments").glob(f"{tracker}*/{name}.yaml") if p.parent.name in (tracker, f"{tracker}-Base")
    ]
    table = yaml_format.safe_load(path.read_text())
    for key, value in CASE.get("cfg", {}).items():
        *folders, last = key.split(".")
        part = table
        for folder in folders:
            part = part.setdefault(folder, {})
        part[last] = value
    path.write_text(yaml_format.safe_dump(table))


class OnCpu(TorchFunctionMode):
    """Whatever is asked to go to a GPU stays."""

    def __torch_function__(self, function, types, args=(), kwargs=None):
        if function in (torch.Tensor.cuda, torch.Tensor.pin_memory):
            return args[0]
        kwargs = {key: self.near(value) for key, value in (kwargs or {}).items()}
        return function(*map(self.near, args), **kwargs)

    @staticmethod
    def near(value):
        is_gpu = isinstance(value, (str, torch.device)) and str(value).split(":")[0] == "cuda"
        return torch.device("cpu") if is_gpu else value


def stand_in():
    """Names that newer libraries lack and packages that are not installed; tracking calls none of them."""
    for name in ("torch._six", "visdom", "visdom.server", "jpeg4py", "tensorboardX", "wandb", "ipdb", "tikzplotlib",
                 "seaborn", "lmdb", "sentry_sdk", "sentry_sdk.profiler"):  # fmt: skip
        try:
            importlib.import_module(name)
        except ImportError:
            sys.modules[name] = MagicMock(__spec__=importlib.machinery.ModuleSpec(name, None))
    torchvision.ops._new_empty_tensor = torchvision.ops.misc._output_size = MagicMock()
    for kind in ("float", "int", "bool", "object"):
        if kind not in vars(np):
            setattr(np, kind, vars(__builtins__)[kind])


def simple(name, yaml):
    return importlib.import_module("lib.test.parameter." + name).parameters(yaml)


def with_model(name, yaml):
    return importlib.import_module("lib.test.parameter." + name).parameters(yaml, model="m.pth.tar")


def sutrack_params(name, yaml):
    params = simple(name, yaml)
    params.cfg.TEST.USE_NLP.TNLLT = True
    return params


def uvl_params(mode):
    def build(name, yaml):
        from easydict import EasyDict

        module = importlib.import_module("lib.test.parameter." + name)
        return module.parameters(yaml, extra_cfg=EasyDict({"TEST": {"MODE": mode}}))

    return build


def romtrack_params(name, yaml):
    params = with_model(name, yaml)
    params.vis_attn = 0
    return params


def plain(tracker, text):
    return (lambda image, box: tracker.initialize(image, {"init_bbox": box})), (lambda image: tracker.track(image, {}))


def keyed(key):
    def dialect(tracker, text):
        start = lambda image, box: tracker.initialize(image, {"init_bbox": box, key: text})  # noqa: E731
        return start, (lambda image: tracker.track(image, {}))

    return dialect


def on_every_frame(tracker, text):
    start = lambda image, box: tracker.initialize(image, {"init_bbox": box, "class": text})  # noqa: E731
    return start, (lambda image: tracker.track(image, {"class": text}))


def positional(tracker, text):
    start = lambda image, box: tracker.initialize(image, text, {"init_bbox": box})  # noqa: E731
    return start, (lambda image: tracker.track(image, text, {}))


def network(module, builder, **arguments):
    return lambda cfg: getattr(importlib.import_module("lib.models." + module), builder)(cfg, **arguments)


UVL = network("uvltrack.uvltrack", "build_model")
VITB = "vitb_256_mae_ce_32x4_ep300"
#: upstream's tracker, yaml, parameters, constructor (params, dataset, lasot, yaml), call dialect, network
CASES = {
    "ostrack": ("ostrack", VITB, simple, "pd", plain, network("ostrack", "build_ostrack", training=False)),
    "grm": ("grm", "vitb_256_ep300", simple, "pd", plain, network("grm", "build_grm", training=False)),
    "romtrack": ("ROMTrack", "baseline_stage2", romtrack_params, "pyd", plain, network("ROMTrack", "build_vit_base")),
    "odtrack": ("odtrack", "baseline", simple, "p", plain, network("odtrack", "build_odtrack", training=False)),
    "evptrack": (
        "evptrack",
        "EVPTrack-full-224",
        simple,
        "pd",
        plain,
        network("evptrack", "build_evptrack", training=False),
    ),
    "aqatrack": (
        "aqatrack",
        "AQATrack-ep150-full-256",
        simple,
        "pd",
        plain,
        network("aqatrack", "build_aqatrack", training=False),
    ),
    "mixformer": (
        "mixformer_vit",
        "baseline",
        with_model,
        "pl",
        plain,
        network("mixformer_vit", "build_mixformer_vit", train=False),
    ),
    "sutrack": (
        "sutrack",
        "sutrack_b224",
        sutrack_params,
        "pd",
        keyed("init_nlp"),
        network("sutrack", "build_sutrack"),
    ),
    "uvltrackNL": ("uvltrack", "baseline_base", uvl_params("NL"), "pd", keyed("language"), UVL),
    "uvltrackBB": ("uvltrack", "baseline_base", uvl_params("BBOX"), "pd", keyed("language"), UVL),
    "uvltrackNLBB": ("uvltrack", "baseline_base", uvl_params("NLBBOX"), "pd", keyed("language"), UVL),
    "allinone": ("ostrack", VITB, simple, "pd", positional, network("ostrack", "build_ostrack", training=False)),
    "dutrack": (
        "dutrack",
        "dutrack_256_full",
        simple,
        "p",
        on_every_frame,
        network("dutrack", "build_dutrack", training=False),
    ),
    "seqtrack": ("seqtrack", "seqtrack_b256", simple, "pd", plain, network("seqtrack", "build_seqtrack")),
    "mcitrack": ("mcitrack", "mcitrack_b224", simple, "pd", plain, network("mcitrack", "build_mcitrack")),
    "artrack": (
        "artrack_seq",
        "artrack_seq_256_full",
        simple,
        "pd",
        plain,
        network("artrack_seq", "build_artrack_seq", training=False),
    ),
    "artrackV2": (
        "artrackv2_seq",
        "artrackv2_seq_256_full",
        simple,
        "pd",
        plain,
        network("artrackv2_seq", "build_artrackv2_seq", training=False),
    ),
    "lantrack": (
        "lantrack",
        "lantrack_256_tnllt_struct_onlyv2_token_reweight_concept_target_span_topk8",
        simple,
        "p",
        keyed("text_description"),
        network("dutrack", "build_dutrack", training=False),
    ),
    "aiatrack": ("aiatrack", "baseline", simple, "pd", plain, network("aiatrack", "build_aiatrack")),
}


def parameters():
    name, yaml, build = CASES[CASE["name"]][:3]
    params = build(name, yaml)
    params.debug = 0
    return params


#: Trackers whose tokens are coordinates: a seed under which the box has a size.
SEEDS = {"artrack": 7, "artrackV2": 7}


def randomise(net, seed):
    """Random weights under which the box keeps a target's size and moves with every frame."""
    if seed is not None:
        torch.manual_seed(seed)
    with torch.no_grad():
        for tensor in net.parameters():
            if tensor.dim() > 1:
                tensor.copy_(torch.randn_like(tensor) * 0.02)
        for name, module in net.named_modules():
            if getattr(module, "out_channels", 0) == 2 and ("size" in name or "bbox" in name):
                module.bias.fill_(-1.1)  # a quarter of the search region: else the box soon fills the image
        for name, tensor in net.named_parameters():
            if name.endswith("output_bias"):  # of tokens: half a search region each side of it, then two marks
                middle = (len(tensor) - 2) / 2
                tensor.copy_((torch.arange(len(tensor)) - middle).abs().gt(0.15 * middle) * -100.0)


def save_checkpoint():
    torch.manual_seed(7)
    net = CASES[CASE["name"]][5](parameters().cfg)
    randomise(net, SEEDS.get(CASE["name"]))
    settings = importlib.import_module("lib.train.admin.local").EnvironmentSettings()
    state = {"epoch": 1, "actor_type": "A", "net_type": type(net).__name__, "settings": settings}
    state["net"] = net.state_dict()
    torch.save(state, CASE["checkpoint"])
    print(sum(p.numel() for p in net.parameters()))


def track():
    name, yaml, _, constructor, dialect, _ = CASES[CASE["name"]]
    module = importlib.import_module("lib.test.tracker." + name)
    boxes = {}
    for clip in CASE["clips"]:
        params = parameters()
        params.checkpoint = CASE["checkpoint"]
        arguments = {"p": params, "d": "tnllt", "l": "lasot", "y": yaml}
        tracker = module.get_tracker_class()(*[arguments[letter] for letter in constructor])
        start, step = dialect(tracker, clip["text"])
        rows = []
        for index, path in enumerate(clip["frames"]):
            image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
            if index == 0:
                start(image, list(np.array(clip["box"], dtype=np.float64)))
                rows.append([float(v) for v in (clip["box"] if CASE["name"] != "uvltrackNL" else tracker.state)])
            else:
                rows.append([float(v) for v in step(image)["target_bbox"]])
        boxes[clip["name"]] = rows
    print("\n" + json.dumps(boxes))


def dam4sam_checkpoint():
    """Random weights under which a few pixels make the mask, others in every frame."""
    from sam2.build_sam import build_sam2_video_predictor

    torch.manual_seed(7)
    net = build_sam2_video_predictor(CASE["yaml"] + ".yaml", None, device="cpu")
    decoder = net.sam_mask_decoder
    with torch.no_grad():
        decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)  # in view
        decoder.output_upscaling[3].bias[0] = 8.0
        for layers in decoder.output_hypernetworks_mlps:
            layers.layers[-1].weight[0], layers.layers[-1].bias[0] = 0.0, -0.19 / 8.0
    torch.save({"model": net.state_dict()}, CASE["checkpoint"])
    print(sum(p.numel() for p in net.parameters()))


def dam4sam_track():
    """As run_bbox_example.py starts it and run_on_box_dataset.py goes on: images by PIL, boxes by its own mask2box."""
    from PIL import Image

    Path(CASE["place"]).symlink_to(CASE["checkpoint"])
    module, mask2box = importlib.import_module("dam4sam_tracker"), importlib.import_module("utils.mask_utils").mask2box
    boxes = {}
    for clip in CASE["clips"]:
        tracker = module.DAM4SAMTracker(CASE["size"])
        first, *others = (Image.open(path).convert("RGB") for path in clip["frames"])
        tracker.initialize(first, None, bbox=clip["box"])
        rows = [clip["box"], *(mask2box(tracker.track(image)["pred_mask"]) for image in others)]
        boxes[clip["name"]] = [row if row is None else [float(v) for v in row] for row in rows]
    print("\n" + json.dumps(boxes))


actions = {"checkpoint": save_checkpoint, "track": track}
if CASE["name"] == "dam4sam":
    actions = {"checkpoint": dam4sam_checkpoint, "track": dam4sam_track}
else:
    write_local_files()
    change_yaml(*CASES[CASE["name"]][:2])
stand_in()
with OnCpu():
    actions[sys.argv[1]]()
