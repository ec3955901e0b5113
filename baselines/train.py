"""Trains one upstream tracker by its own training script, on sequences that upstream does not know.

Python 3.7 syntax. Started by `tnllt-train baseline` in the baseline's interpreter, once for each GPU by torchrun:

    python train.py JOB.json

Upstream's `names2datasets` answers "TNLLT" with the sequences of the job's index, its two `local` files are stood in
for, its configuration is a copy of its yaml with the job's changes; then its `run(settings)` is called. Checkpoints,
logs and resuming are upstream's own, below the job's output folder.
"""

import importlib
import json
import math
import os
import random
import shutil
import sys
import traceback

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import worker  # noqa: E402

#: Names of the two parts of the sequences in upstream's configuration.
NAMES = {"TNLLT": "train", "TNLLT_VAL": "val"}


def main():
    with open(sys.argv[1]) as file:
        job = json.load(file)
    rank = int(os.environ.get("LOCAL_RANK", -1))
    worker.leave_when(orphaned(job["launcher"]), lambda: shutil.rmtree(job["scratch"], ignore_errors=True))
    spec = dict(job["spec"], scratch=os.path.join(job["scratch"], str(rank)))
    os.mkdir(spec["scratch"])
    worker.prepare(spec)
    join_group(rank, spec["device"])
    seed_everything(job["seed"] + max(rank, 0))
    settings = upstream_settings(job, rank)
    offer_datasets(job)
    keep_metrics(os.path.join(job["output"], "metrics.jsonl"), rank)
    os.environ.setdefault("LOCAL_RANK", str(rank))
    try:
        importlib.import_module(job["script"]).run(settings)
    except FileNotFoundError as error:
        traceback.print_exc()
        stop(
            7,
            "upstream reads %s, which does not exist: `tnllt-run doctor` names the files that training starts from; "
            'without them, set upstream\'s own switch, such as --set cfg=MODEL.PRETRAIN_FILE=""' % error.filename,
        )
    if rank <= 0:
        check_result(settings, job["epochs"])


def orphaned(launcher):
    """Whether `tnllt-train` is gone: a second run with the same output must not meet the first."""
    if os.getppid() == launcher:
        return lambda: os.getppid() != launcher

    def gone():  # torchrun stands between
        try:
            os.kill(launcher, 0)
        except ProcessLookupError:
            return True
        return False

    return gone


def join_group(rank, device):
    """Join the other processes that torchrun started, as upstream's own entry point does."""
    import torch

    if rank < 0:
        if device != "cpu":
            torch.cuda.set_device(0)
        return
    if device != "cpu":
        torch.cuda.set_device(rank)
    torch.distributed.init_process_group(backend="gloo" if device == "cpu" else "nccl")
    if device == "cpu":
        leave_out_devices(torch.nn.parallel.DistributedDataParallel)


def leave_out_devices(parallel):
    """Have the wrapper ignore the GPUs that upstream names: with a network on the CPU it refuses any."""
    original = parallel.__init__

    def init(self, module, *args, **kwargs):
        kwargs.pop("device_ids", None)
        original(self, module, *args, **kwargs)

    parallel.__init__ = init


def seed_everything(seed):
    import cv2
    import numpy
    import torch

    cv2.setNumThreads(0)
    random.seed(seed)
    numpy.random.seed(seed)
    torch.manual_seed(seed)


def upstream_settings(job, rank):
    """Upstream's settings object, filled as its own entry point fills it."""
    settings = importlib.import_module("lib.train.admin.settings").Settings()
    settings.script_name, settings.config_name = job["script_name"], job["config_name"]
    settings.project_path = "train/%s/%s" % (job["script_name"], job["config_name"])
    settings.local_rank, settings.save_dir = rank, job["output"]
    settings.cfg_file = configuration(job, rank)
    settings.use_lmdb, settings.use_wandb, settings.stage1_model = False, False, None
    settings.save_every_epoch = job["save_every_epoch"]
    for key, value in job["settings"].items():
        setattr(settings, key, value)
    return settings


def configuration(job, rank):
    """The job's copy of upstream's yaml: our datasets, the job's changes. Returns its path."""
    import yaml

    known = importlib.import_module("lib.config.%s.config" % job["script_name"])
    known.update_config_from_file(job["yaml"])
    try:
        worker.apply_settings(known.cfg, job["config"])
    except worker.WorkerError as error:
        stop(8, str(error))
    with open(job["yaml"], encoding="utf-8") as file:
        config = yaml.safe_load(file)
    for name, part in config["DATA"].items():
        if isinstance(part, dict) and "DATASETS_NAME" in part:
            chosen = job["datasets"] if name == "TRAIN" else {"TNLLT_VAL": 1}
            part["DATASETS_NAME"] = list(chosen)
            if "DATASETS_RATIO" in part:
                part["DATASETS_RATIO"] = list(chosen.values())
            if "SAMPLE_PER_EPOCH" in part and job["samples"]:
                part["SAMPLE_PER_EPOCH"] = job["samples"]
    for key, value in job["config"].items():
        folders = key.split(".")
        part = config
        for folder in folders[:-1]:
            part = part.setdefault(folder, {})
        part[folders[-1]] = value
    job["epochs"] = config["TRAIN"]["EPOCH"]
    path = os.path.join(job["scratch"], "%d" % rank, job["config_name"] + ".yaml")
    for target in [path] + ([os.path.join(job["output"], job["config_name"] + ".yaml")] if rank <= 0 else []):
        with open(target, "w", encoding="utf-8") as file:
            yaml.safe_dump(config, file)
    return path


def stop(code, text):
    """End this process with a message, whatever exceptions upstream swallows."""
    sys.stderr.write(text + "\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


# ------------------------------------------------------------------- the data


def offer_datasets(job):
    """Have upstream's `names2datasets` answer our names itself, and the others as before."""
    functions = importlib.import_module("lib.train.base_functions")
    upstream = functions.names2datasets
    with open(job["index"]) as file:
        index = json.load(file)

    def names2datasets(name_list, *args, **kwargs):
        datasets = []
        for name in name_list:
            if name in NAMES:
                datasets.append(make_dataset(index[NAMES[name]], job))
            else:
                datasets.extend(upstream([name], *args, **kwargs))
        return datasets

    functions.names2datasets = names2datasets


def make_dataset(sequences, job):
    """A dataset in upstream's protocol over the index's sequences."""
    import cv2
    import numpy
    import torch

    base = importlib.import_module("lib.train.dataset.base_video_dataset").BaseVideoDataset

    class Sequences(base):
        def __init__(self):
            base.__init__(self, job["dataset_name"], "", None)
            self.sequence_list = [sequence["name"] for sequence in sequences]

        def get_name(self):
            return job["dataset_name"]

        def get_num_sequences(self):
            return len(sequences)

        def has_class_info(self):
            return False

        def has_occlusion_info(self):
            return True

        def is_tracking_sequence(self):
            return True

        def is_grounding_sequence(self):
            return job["text"] != "none"

        is_vl_sequence = is_grounding_sequence

        def get_path(self, seq_id, frame_id=0):
            return sequences[seq_id]["frames"][frame_id]

        def get_sequence_info(self, seq_id):
            boxes = torch.tensor(sequences[seq_id]["boxes"], dtype=torch.float32)
            valid = (boxes[:, 2] > 0) & (boxes[:, 3] > 0)
            visible = torch.tensor(sequences[seq_id]["present"], dtype=torch.bool) & valid
            return {"bbox": boxes, "valid": valid, "visible": visible.byte()}

        def get_frames(self, seq_id, frame_ids, anno=None):
            sequence, anno = sequences[seq_id], anno or self.get_sequence_info(seq_id)
            frames = [read(sequence["frames"][i]) for i in frame_ids]
            rows = {key: [value[i, ...].clone() for i in frame_ids] for key, value in anno.items()}
            meta = dict.fromkeys(("object_class_name", "motion_class", "major_class", "root_class", "motion_adverb"))
            add_text(job["text"], sequence["text"], len(frame_ids), rows, meta)
            return frames, rows, meta

    def read(path):
        image = cv2.imread(path)
        if image is None:
            # Upstream's samplers swallow exceptions and draw again, for ever; a bad file must stop the run instead.
            stop(4, "cannot read the image %s" % path)
        image = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
        return numpy.concatenate([image] * (job["channels"] // 3), axis=2)

    return Sequences()


def add_text(place, text, count, rows, meta):
    """Put the description where this upstream's samplers read it."""
    if place == "nlp":
        rows["nlp"] = [text] * count
    elif place == "language_description":
        meta["language_description"] = [text] * count
    elif place != "none":
        meta[place] = text
        meta["subject_mask_infor"] = [0]


# ------------------------------------------------------------------- watching


def keep_metrics(path, rank):
    """Append each step's figures to a file, and stop at a loss that is not finite."""
    trainer = importlib.import_module("lib.train.trainers.ltr_trainer").LTRTrainer
    original = trainer._update_stats

    def update_stats(self, new_stats, batch_size, loader):
        figures = {k: float(v) for k, v in new_stats.items() if not hasattr(v, "numel") or v.numel() == 1}
        losses = [key for key in figures if "Loss" in key or key.startswith("Ls/")]
        broken = [key for key in losses if not math.isfinite(figures[key])]
        if rank <= 0:
            with open(path, "a") as file:
                file.write(json.dumps(dict(figures, epoch=self.epoch, loader=loader.name)) + "\n")
        if broken:
            stop(5, "epoch %d: %s is not finite" % (self.epoch, ", ".join(broken)))
        return original(self, new_stats, batch_size, loader)

    trainer._update_stats = update_stats


def check_result(settings, epochs):
    """Upstream's trainer swallows crashes; what counts is the last epoch's checkpoint."""
    folder = os.path.join(settings.save_dir, "checkpoints", settings.project_path)
    wanted = "_ep%04d.pth.tar" % epochs
    if not any(name.endswith(wanted) for name in (os.listdir(folder) if os.path.isdir(folder) else [])):
        stop(6, "training ended without %s*%s; upstream's own message is above" % (folder + os.sep, wanted))


if __name__ == "__main__":
    main()
