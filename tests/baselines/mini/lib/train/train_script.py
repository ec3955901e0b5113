import importlib
import os
import time

import torch

from lib.test.tracker.network import Mini

from .base_functions import *  # noqa: F403
from .base_functions import build_dataloaders
from .trainers.ltr_trainer import LTRTrainer


def run(settings):
    config_module = importlib.import_module("lib.config.%s.config" % settings.script_name)
    cfg = config_module.cfg
    config_module.update_config_from_file(settings.cfg_file)
    assert not settings.use_lmdb and not settings.use_wandb and os.environ["LOCAL_RANK"]
    if cfg.TRAIN.FAULT == "no encoder":
        torch.load("pretrained_models/mae.pth")
    if cfg.TRAIN.FAULT == "crash":
        raise RuntimeError("training broke")
    if cfg.TRAIN.FAULT == "kill":
        os.kill(os.getpid(), 9)
    if cfg.TRAIN.FAULT == "hang":
        # One write: print gives its parts one by one, and two processes' parts would mix.
        os.write(1, b"hanging %d\n" % os.getpid())
        time.sleep(1000)
    settings.scale = float("nan") if cfg.TRAIN.FAULT.startswith("nan") else 1.0
    settings.loss = "Ls/total" if cfg.TRAIN.FAULT == "nan as Ls" else "Loss/total"
    loaders = build_dataloaders(cfg, settings)
    net = Mini().cuda()
    net.forward = net.move.forward
    if settings.local_rank != -1:
        total = torch.tensor([1.0])
        torch.distributed.all_reduce(total)
        print("processes: %d" % total.item())  # one part, for the same reason
        net = torch.nn.parallel.DistributedDataParallel(net, device_ids=[settings.local_rank])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    if cfg.TRAIN.FAULT == "swallowed":
        loaders[0].collate_fn = None
    LTRTrainer(net, loaders, optimizer, settings).train(cfg.TRAIN.EPOCH, load_latest=True)
