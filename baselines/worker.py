"""Runs one upstream tracker in its own interpreter and its own clone, and answers over a pair of pipes.

Python 3.7 syntax; the standard library, numpy and OpenCV until upstream code is imported. Started by the bridge in
`tnllt.tracking.baselines`; nothing in here imports tnllt.

A message is an 8-byte head (b"TNLT" and the length, big endian) and a JSON object in UTF-8; no pickle. Requests carry
"op": start, initialize, track, finish, close. Each is answered by one object with "ok": true, or by "ok": false with
the error's text and upstream's traceback. A frame's pixels lie in a memory-mapped file that the other side writes
before it sends the request; the request that first uses a file names it, and it is unlinked as soon as it is mapped.
Answers go through a private copy of the standard output that is taken before anything else happens, so whatever
upstream prints, even from C, reaches the log and never the protocol.
"""

import collections
import collections.abc
import contextlib
import difflib
import importlib
import importlib.machinery
import importlib.util
import inspect
import json
import mmap
import os
import pickle
import random
import shutil
import signal
import struct
import sys
import threading
import time
import traceback
import types

PROTOCOL = 1
#: Longest error and traceback that are passed on, in characters: upstream may put a whole network into them.
LONGEST = 20000
HEAD = struct.Struct(">4sI")
MAGIC = b"TNLT"

#: Packages that draw or log: where one is missing, calls to it may be swallowed.
LOGGERS = ("wandb", "visdom", "visdom.server", "tensorboardX", "sentry_sdk", "sentry_sdk.profiler")
#: Packages that upstream files import at their top but that tracking never calls.
UNUSED = (*LOGGERS, "jpeg4py", "ipdb", "lmdb", "tikzplotlib", "seaborn")


class WorkerError(Exception):
    """Something this script itself found wrong; its text is meant for the user."""


# ---------------------------------------------------------------- the protocol


class Channel(object):
    """Framed messages over two binary files."""

    def __init__(self, source, sink):
        self.source, self.sink = source, sink

    def send(self, message):
        text = json.dumps(message).encode("utf-8")
        self.sink.write(HEAD.pack(MAGIC, len(text)) + text)
        self.sink.flush()

    def receive(self):
        """The next message, or None where the other side has hung up."""
        head = self.source.read(HEAD.size)
        if len(head) < HEAD.size:
            return None
        magic, length = HEAD.unpack(head)
        if magic != MAGIC:
            raise WorkerError("not a message of this protocol: %r" % magic)
        text = self.source.read(length)
        return json.loads(text.decode("utf-8")) if len(text) == length else None


def take_pipes():
    """Private copies of stdin and stdout; the public ones become the null device and a copy of stderr."""
    requests, answers = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    os.dup2(2, 1)
    return Channel(os.fdopen(requests, "rb"), os.fdopen(answers, "wb"))


# ------------------------------------------- before upstream code is imported


def prepare(spec):
    """Working folder, import path, `local` modules, what newer libraries dropped, the device."""
    sys.dont_write_bytecode = True
    enter_scratch(spec["scratch"], spec["repo"])
    own = os.path.dirname(os.path.abspath(__file__))
    sys.path[:] = [p for p in sys.path if os.path.abspath(p or ".") != own]
    sys.path[:0] = [spec["repo"]] + [os.path.join(spec["repo"], folder) for folder in spec.get("paths", [])]
    inject_local_modules(spec)
    fill_gaps()
    place_on(spec.get("device", "cuda"))


def enter_scratch(scratch, repo):
    """Go to an empty folder and fill it with links to the clone's entries.

    Paths relative to the clone are found, and what upstream writes to its working folder stays out of the clone.
    """
    for name in os.listdir(repo):
        if name != ".git":
            os.symlink(os.path.join(repo, name), os.path.join(scratch, name))
    os.chdir(scratch)


def inject_local_modules(spec):
    """Stand-ins for the two files with machine paths that each upstream user writes for himself."""
    given = {"prj_dir": spec["repo"], "save_dir": spec["save_dir"], "workspace_dir": spec["save_dir"]}
    given["tensorboard_dir"] = os.path.join(spec["save_dir"], "tensorboard")
    given.update(spec.get("env", {}))

    class EnvironmentSettings(object):
        def __init__(self):
            self.__dict__.update(given)

        def __getattr__(self, name):
            if name.startswith("__"):
                raise AttributeError(name)
            return ""

    # Checkpoints hold this object, so it must be found again under this name.
    EnvironmentSettings.__module__ = "lib.train.admin.local"
    EnvironmentSettings.__qualname__ = "EnvironmentSettings"
    train = types.ModuleType("lib.train.admin.local")
    train.EnvironmentSettings = EnvironmentSettings
    test = types.ModuleType("lib.test.evaluation.local")
    test.local_env_settings = EnvironmentSettings
    sys.modules[train.__name__] = train
    sys.modules[test.__name__] = test


class Unused(object):
    """Stands for anything of a package that is not installed and not needed."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        return Unused(self._name + "." + name)

    def __call__(self, *args, **kwargs):
        package = self._name.split(".")[0]
        if package in LOGGERS:
            return Unused(self._name)
        raise WorkerError("upstream calls %s, which this interpreter lacks: pip install %s" % (self._name, package))


def fill_gaps():
    """Where missing: what newer Python, numpy and torch dropped, and packages imported but never used."""
    lacking = [name for name in UNUSED if importlib.util.find_spec(name.split(".")[0]) is None]
    for name in lacking:
        sys.modules[name] = stub_module(name)
    import warnings

    import numpy

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in collections.abc.__all__:
            if not hasattr(collections, name):
                setattr(collections, name, getattr(collections.abc, name))
        for name, kind in (("float", float), ("int", int), ("bool", bool), ("object", object)):
            if not hasattr(numpy, name):
                setattr(numpy, name, kind)
    if importlib.util.find_spec("torch") is not None:
        fill_torch_gaps()


def stub_module(name):
    module = types.ModuleType(name)
    module.__path__ = []
    module.__spec__ = importlib.machinery.ModuleSpec(name, None)  # for libraries that ask whether it is installed
    module.__getattr__ = lambda attribute: getattr(Unused(name), attribute)
    return module


def fill_torch_gaps():
    import math

    import torch

    if importlib.util.find_spec("torch._six") is None:
        six = types.ModuleType("torch._six")
        six.string_classes, six.int_classes = (str, bytes), int
        six.container_abcs, six.inf = collections.abc, math.inf
        sys.modules["torch._six"] = torch._six = six
    if "weights_only" in inspect.signature(torch.load).parameters:
        original = torch.load

        # Upstream checkpoints are pickles with settings objects. The bridge loads only files that the user named.
        def load(*args, **kwargs):
            kwargs.setdefault("weights_only", False)
            return original(*args, **kwargs)

        torch.load = load
    if importlib.util.find_spec("torchvision") is not None:
        fill_torchvision_gaps(math.floor)


def fill_torchvision_gaps(floor):
    """Upstream asks for these two wherever it takes torchvision 0.1x for 0.1."""
    import torchvision.ops
    import torchvision.ops.misc

    def output_size(dim, image, size, scale_factor):
        if size is not None:
            return list(size) if isinstance(size, (tuple, list)) else [size] * dim
        factors = scale_factor if isinstance(scale_factor, (tuple, list)) else [scale_factor] * dim
        return [int(floor(image.size(i + 2) * factors[i])) for i in range(dim)]

    if not hasattr(torchvision.ops, "_new_empty_tensor"):
        torchvision.ops._new_empty_tensor = lambda tensor, shape: tensor.new_empty(shape)
    if not hasattr(torchvision.ops.misc, "_output_size"):
        torchvision.ops.misc._output_size = output_size


# ------------------------------------------------------------------ the device


def place_on(device):
    """Refuse a missing GPU with a remedy; on "cpu" keep what upstream sends to CUDA where it is."""
    if importlib.util.find_spec("torch") is None:
        if device != "cpu":
            raise WorkerError("torch is not installed in this interpreter (%s)" % sys.executable)
        return
    import torch

    if device == "cpu":
        stay_on_cpu(torch)
    elif not torch.cuda.is_available():
        raise WorkerError(
            "no CUDA device is visible to this interpreter (torch %s): give device=cpu, or a torch built for your "
            "driver" % torch.__version__
        )


def stay_on_cpu(torch):
    def local(value):
        if isinstance(value, str) and value.split(":")[0] == "cuda":
            return "cpu"
        if isinstance(value, torch.device) and value.type == "cuda":
            return torch.device("cpu")
        return value

    def moved(function, convert_position):
        def wrapper(*args, **kwargs):
            if "device" in kwargs:
                kwargs["device"] = local(kwargs["device"])
                if isinstance(kwargs["device"], int) and not isinstance(kwargs["device"], bool):
                    kwargs["device"] = "cpu"
            if convert_position:
                args = args[:1] + tuple(local(a) for a in args[1:])
            return function(*args, **kwargs)

        return wrapper

    def same(value, *args, **kwargs):
        return value

    torch.Tensor.cuda = torch.nn.Module.cuda = torch.Tensor.pin_memory = same
    torch.Tensor.to = moved(torch.Tensor.to, True)
    torch.nn.Module.to = moved(torch.nn.Module.to, True)
    makers = "tensor as_tensor zeros ones empty full arange linspace eye rand randn randint zeros_like ones_like"
    for name in makers.split():
        original = getattr(torch, name)
        setattr(torch, name, moved(original, False))
        operator = torch.jit._builtins._find_builtin(original)
        if operator:  # code that upstream compiles by torch.jit.script means the operator
            torch.jit._builtins._register_builtin(getattr(torch, name), operator)
    for name in ("set_device", "synchronize", "empty_cache", "reset_peak_memory_stats"):
        setattr(torch.cuda, name, lambda *args, **kwargs: None)
    torch.cuda.current_device = lambda: 0


# ------------------------------------------------- threads and random numbers


def hold_threads():
    """OpenCV and torch take as many threads as OMP_NUM_THREADS says, which the runner sets from --threads."""
    threads = os.environ.get("OMP_NUM_THREADS", "").split(",")[0]
    if threads.isdigit() and int(threads) > 0:
        for name, function in (("cv2", "setNumThreads"), ("torch", "set_num_threads")):
            if importlib.util.find_spec(name) is not None:
                getattr(importlib.import_module(name), function)(int(threads))


def seed_everything(seed):
    """Python's, NumPy's, OpenCV's and torch's random numbers; torch's on every device."""
    import numpy

    random.seed(seed)
    numpy.random.seed(seed % 2**32)
    if importlib.util.find_spec("cv2") is not None:
        importlib.import_module("cv2").setRNGSeed(seed % 2**31)
    if importlib.util.find_spec("torch") is not None:
        importlib.import_module("torch").manual_seed(seed)


# ---------------------------------------------------------- the configuration


def override_configuration(spec, parameters):
    """Have `parameters()` read the user's yaml, where there is one, and apply the settings before it copies them.

    Returns a list that is not empty once that has happened.
    """
    applied = []
    if not spec.get("config") and not spec.get("yaml_file"):
        return [True]
    home = sys.modules[parameters.__module__]
    if not hasattr(home, "update_config_from_file") or not hasattr(home, "cfg"):
        raise WorkerError("%s has no cfg and update_config_from_file: leave cfg and yaml out" % home.__name__)
    original = home.update_config_from_file

    def update_config_from_file(filename, *args, **kwargs):
        original(spec.get("yaml_file") or filename, *args, **kwargs)
        apply_settings(home.cfg, spec.get("config", {}))
        applied.append(True)

    home.update_config_from_file = update_config_from_file
    return applied


#: The crop's size in the loop, and the size that the network is built for.
SIZES = (("TEST.SEARCH_SIZE", "DATA.SEARCH.SIZE"), ("TEST.TEMPLATE_SIZE", "DATA.TEMPLATE.SIZE"))


def apply_settings(config, settings):
    """Change settings by dotted name. WorkerError where one does not exist, has another type or contradicts another."""
    for key, value in settings.items():
        *folders, last = key.split(".")
        part = config
        for depth, name in enumerate(folders):
            if not isinstance(part, dict) or name not in part:
                raise unknown_setting(config, key, folders[:depth], part)
            part = part[name]
        # Tables with an entry DEFAULT are keyed by the dataset's name, and a new name is as good as another.
        if not isinstance(part, dict) or (last not in part and "DEFAULT" not in part):
            raise unknown_setting(config, key, folders, part)
        wanted = kind_of(part[last] if last in part else part["DEFAULT"])
        if wanted and wanted != kind_of(value):
            raise WorkerError("cfg: %s must be %s, not %r" % (key, wanted, value))
        part[last] = value
    for ours, networks in SIZES:
        pair = [setting(config, key) for key in (ours, networks)]
        if (ours in settings or networks in settings) and None not in pair and pair[0] != pair[1]:
            raise WorkerError(
                "cfg: %s=%s contradicts %s=%s, the size that the network is built for: give both, with weights of that "
                "size, or set yaml to a configuration of that size" % (ours, pair[0], networks, pair[1])
            )


def unknown_setting(config, key, folders, part):
    known = [".".join([*folders, name]) for name in part] if isinstance(part, dict) else []
    near = difflib.get_close_matches(key, list(dotted(config)), 1) or difflib.get_close_matches(key, known, 1)
    hint = "did you mean %s?" % near[0] if near else "there are: %s" % (", ".join(known) or "none below it")
    return WorkerError("cfg: upstream's configuration has no %s; %s" % (key, hint))


def dotted(config, prefix=""):
    for name, value in config.items():
        if isinstance(value, dict):
            yield from dotted(value, "%s%s." % (prefix, name))
        else:
            yield prefix + str(name)


def setting(config, key):
    for name in key.split("."):
        config = config.get(name) if isinstance(config, dict) else None
    return config


def kind_of(value):
    """Numbers, lists and tables are replaced by their like; flags, texts and nothing, which upstream mixes, by any."""
    if not isinstance(value, bool):
        for kind, words in (((int, float), "a number"), ((list, tuple), "a list"), (dict, "a table of settings")):
            if isinstance(value, kind):
                return words
    return ""


# ---------------------------------------------------------------- the tracker


class WeightsWatch(object):
    """Notes, for each file whose tensors go into a network, how many fitted, were missing or were unexpected."""

    def __init__(self):
        self.reports, self.files, self.kept = [], {}, []

    def install(self, checkpoint, name=""):
        """Watches torch's loading; a file that upstream opens as `name` is the checkpoint."""
        if importlib.util.find_spec("torch") is None:
            return
        import torch

        load, load_state_dict = torch.load, torch.nn.Module.load_state_dict

        def noting_load(file, *args, **kwargs):
            if name and isinstance(file, (str, os.PathLike)) and os.path.basename(str(file)) == name:
                file = checkpoint
            loaded = load(file, *args, **kwargs)
            if isinstance(file, (str, os.PathLike)) and isinstance(loaded, dict):
                self.kept.append(loaded)  # else an id could come back for another tensor
                for part in [loaded] + [value for value in loaded.values() if isinstance(value, dict)]:
                    self.files.update((id(tensor), str(file)) for tensor in part.values())
            return loaded

        def noting_load_state_dict(module, state_dict, *args, **kwargs):
            file = next((self.files[id(v)] for v in state_dict.values() if id(v) in self.files), None)
            if file is None:
                return load_state_dict(module, state_dict, *args, **kwargs)
            known = module.state_dict()
            report = {
                "file": os.path.basename(file),
                "checkpoint": file == checkpoint,
                "module": type(module).__name__,
                "fitted": sum(1 for key in state_dict if key in known),
                "missing": [key for key in known if key not in state_dict],
                "unexpected": [key for key in state_dict if key not in known],
            }
            self.reports.append(report)
            if report["checkpoint"] and not report["fitted"]:
                raise WorkerError(
                    "no tensor of the checkpoint fits %s (the network has %s ..., the file has %s ...): give the "
                    "tracker's own weights" % (report["module"], report["missing"][:2], report["unexpected"][:2])
                )
            try:
                return load_state_dict(module, state_dict, *args, **kwargs)
            except RuntimeError as error:
                raise WorkerError(misfit(report, error)) from None

        torch.load, torch.nn.Module.load_state_dict = noting_load, noting_load_state_dict

    def take(self):
        """Reports since the last call."""
        reports, self.reports, self.files, self.kept = self.reports, [], {}, []
        return reports


def misfit(report, error):
    """What torch says of weights that do not fit, with the first names of a kind in place of hundreds."""
    text = "%(file)s does not fit %(module)s: %(fitted)d tensors fit" % report
    for kind in ("missing", "unexpected"):
        if report[kind]:
            text += ", %d %s (%s, ...)" % (len(report[kind]), kind, ", ".join(report[kind][:3]))
    shapes = [line.strip() for line in str(error).splitlines() if "size mismatch" in line]
    if shapes:
        text += ", %d of another shape (%s)" % (len(shapes), shapes[0])
    return text + ": give the weights of this configuration, or the configuration (yaml, cfg) of these weights"


class Host(object):
    """Builds the upstream tracker and calls it in the dialect that its record states."""

    def __init__(self):
        self.spec, self.tracker, self.text, self.used, self.pixels = {}, None, None, False, None
        self.parameters, self.applied, self.last = None, [], None
        self.weights = WeightsWatch()

    def start(self, message):
        self.spec = message["spec"]
        if not os.path.isfile(self.spec["checkpoint"]):
            raise WorkerError("no weights at %s" % self.spec["checkpoint"])
        # What upstream and its libraries put there goes with the scratch folder, even if this process is killed.
        os.environ["TMPDIR"] = os.path.join(self.spec["scratch"], ".temporary")
        os.mkdir(os.environ["TMPDIR"])
        prepare(self.spec)
        hold_threads()
        if not self.spec["cls"]:
            module = importlib.import_module("lib.test.parameter." + self.spec["parameter"])
            self.parameters = module.parameters
            self.applied = override_configuration(self.spec, self.parameters)
        self.weights.install(self.spec["checkpoint"], self.spec["weights_name"])
        self.build()
        return {"weights": self.weights.take(), "versions": versions()}

    def build(self):
        spec = self.spec
        seed_everything(0)  # what the weights leave to chance is the same in every object
        if spec["cls"]:
            self.tracker = getattr(importlib.import_module(spec["module"]), spec["cls"])(**spec["keywords"])
        else:
            params = self.upstream_parameters()
            module = importlib.import_module(spec["module"])
            values = {"params": params, "yaml": spec["yaml"], "dataset": spec["dataset"]}
            self.tracker = module.get_tracker_class()(*[values[name] for name in spec["constructor"]])
        self.used = False

    def upstream_parameters(self):
        """The parameter object of upstream, with the record's checkpoint and attributes."""
        arguments = dict(self.spec.get("arguments", {}))
        if "extra_cfg" in arguments:
            from easydict import EasyDict

            arguments["extra_cfg"] = EasyDict(arguments["extra_cfg"])
        params = self.parameters(self.spec["yaml"], **arguments)
        if not self.applied:
            raise WorkerError("upstream reads its configuration by another way: leave cfg and yaml out")
        params.checkpoint = self.spec["checkpoint"]
        for key, value in self.spec.get("params", {}).items():
            setattr(params, key, value)
        return params

    def initialize(self, message):
        image = self.frame(message)  # first: whatever breaks below, the file is mapped, and its name is gone
        if self.used and not self.spec.get("reuse"):
            self.build()
            self.weights.take()
        self.used = True
        import numpy

        box = message.get("box") or self.spec.get("placeholder_box")
        info = dict(self.spec.get("info", {}))
        if box is not None:
            info["init_bbox"] = list(numpy.array(box, dtype=numpy.float64))
        answer = self.take_text(message.get("text"))
        if self.spec["text"].get("key"):
            info[self.spec["text"]["key"]] = self.text
        seed_everything(message.get("seed", 0))
        self.last = info.get("init_bbox")
        self.call("initialize", image, info)
        if not message.get("box"):
            answer["box"] = [float(v) for v in self.tracker.state]
        return answer

    def track(self, message):
        info = {}
        answer = self.take_text(message["text"]) if "text" in message else {}
        text = self.spec["text"]
        if text.get("every_frame"):
            info[text["key"]] = self.text
        image = self.frame(message)
        if message.get("count"):
            output, answer["costs"] = counted(lambda: self.call("track", image, info))
        else:
            output = self.call("track", image, info)
        box = output[self.spec["answer"]]
        if getattr(box, "ndim", 1) == 2:
            box, answer["absent"] = box_of_mask(box), False
            if box is None:
                box, answer["absent"] = self.last, True
        answer["box"] = self.last = [float(v) for v in (box.tolist() if hasattr(box, "tolist") else box)]
        score = output.get(self.spec.get("score") or "best_score")
        if score is not None:
            answer["confidence"] = float(score)
        return answer

    def take_text(self, given):
        """The description from now on, cut where upstream takes no longer one; what was cut, as part of an answer."""
        self.text, cut, text = given, "", self.spec["text"]
        if given is not None and text.get("max_tokens"):
            self.text, cut = shorten(given, getattr(self.tracker, text["tokenizer"]), text["max_tokens"])
        return {"text_cut": cut} if cut else {}

    def call(self, name, image, info):
        method = getattr(self.tracker, name)
        if self.spec["text"].get("positional"):
            return method(image, self.text, info)
        given = {"image": image, "info": info, "box": info.get("init_bbox"), "none": None}
        if "pil" in self.spec[name]:
            from PIL import Image

            given["pil"] = Image.fromarray(image)
        with mixed_precision(self.spec["autocast"] and self.spec["device"] != "cpu"):
            return method(*[given[word] for word in self.spec[name]])

    def finish(self, message):
        return {}

    def tidy(self):
        """Remove the scratch folder, which the other side does too unless it was killed. Links are not followed."""
        if self.spec.get("scratch"):
            shutil.rmtree(self.spec["scratch"], ignore_errors=True)

    def frame(self, message):
        """The frame that lies in the mapped file: upstream's own copy, which it may keep and change."""
        import numpy

        if message.get("file"):
            with open(message["file"], "rb") as file:
                self.pixels = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            os.unlink(message["file"])
        height, width, channels = message["shape"]
        flat = numpy.frombuffer(self.pixels, dtype=numpy.uint8, count=height * width * channels)
        return flat.reshape(height, width, channels).copy()


def mixed_precision(wanted):
    if not wanted:
        return contextlib.nullcontext()
    import torch

    return torch.autocast("cuda")


def box_of_mask(mask):
    """x, y, w, h around all pixels of a mask; None around none."""
    rows, columns = mask.any(axis=1).nonzero()[0], mask.any(axis=0).nonzero()[0]
    if not len(rows):
        return None
    return [columns[0], rows[0], columns[-1] + 1 - columns[0], rows[-1] + 1 - rows[0]]


def shorten(text, tokenizer, limit):
    """Words dropped from the end until text plus two marks has at most `limit` tokens: (text, what was cut)."""
    words = text.split(" ")
    keep = len(words)
    while keep > 1 and len(tokenizer.tokenize(" ".join(words[:keep]))) + 2 > limit:
        keep -= 1
    return (text, "") if keep == len(words) else (" ".join(words[:keep]), " ".join(words[keep:]))


def versions():
    found = {"python": "%d.%d.%d" % sys.version_info[:3]}
    for name in ("torch", "torchvision", "timm", "numpy", "transformers", "cv2"):
        version = getattr(sys.modules.get(name), "__version__", None)
        if isinstance(version, str):
            found[name] = str(version)
    return found


# -------------------------------------------------------------------- serving


def counted(function):
    """What a function gives, and what torch knows of {"parameters", "flops"}; as tnllt.tracking.costs counts."""
    import gc

    import torch

    try:
        from torch.nn.attention import SDPBackend, sdpa_kernel
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:  # an older torch
        return function(), {}
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        result = function()
    found = [item for item in gc.get_objects() if isinstance(item, torch.nn.Parameter) and item.numel()]
    numbers = {item.data_ptr(): item.numel() for item in found}
    return result, {"parameters": sum(numbers.values()), "flops": int(counter.get_total_flops())}


def serve(channel, host):
    """Answer requests until the other side says close (True) or hangs up (False)."""
    channel.send({"protocol": PROTOCOL, "python": sys.version.split()[0]})
    operations = {"start": host.start, "initialize": host.initialize, "track": host.track, "finish": host.finish}
    while True:
        message = channel.receive()
        if message is None or message.get("op") == "close":
            return message is not None
        try:
            answer = operations[message["op"]](message)
            answer["ok"] = True
        except BaseException as error:  # upstream calls sys.exit, too
            answer = failure(error)
        channel.send(answer)


def failure(error):
    text = "%s: %s" % (type(error).__name__, error)
    if isinstance(error, WorkerError):
        text = str(error)
    elif isinstance(error, pickle.UnpicklingError) or "PytorchStreamReader" in text:
        text += " (the weights file is cut off, or not a checkpoint)"
    if len(text) > LONGEST:
        text = text[:LONGEST] + " ..."
    trace = "" if isinstance(error, WorkerError) else traceback.format_exc()
    if len(str(error)) > 200:  # at the traceback's end it would stand a second time
        trace = trace.replace(str(error), str(error)[:200] + " ...")
    return {"ok": False, "error": text, "traceback": trace if len(trace) <= LONGEST else "... " + trace[-LONGEST:]}


def leave_when(orphaned, tidy):
    """End this process soon after its master has died, even in the middle of a frame: it may hold a GPU."""

    def watch():
        while not orphaned():
            time.sleep(1)
        leave(tidy)

    threading.Thread(target=watch, daemon=True).start()


def leave(tidy):
    tidy()
    if os.getpgrp() == os.getpid():
        os.killpg(0, signal.SIGKILL)  # with whatever upstream started
    os._exit(1)


def main():
    parent, host = os.getppid(), Host()

    def orphaned():
        return os.getppid() != parent

    leave_when(orphaned, host.tidy)
    if not serve(take_pipes(), host):
        leave(host.tidy)  # a dying process's pipes close before it counts as dead, so `orphaned` may not say so yet


if __name__ == "__main__":
    main()
