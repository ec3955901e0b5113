import torch

from lib.train.data.sampler import Sampler


def names2datasets(name_list, settings, image_loader):
    for name in name_list:
        assert name in ["ELSEWHERE"], name
        assert settings.env.elsewhere_dir, "no folder for ELSEWHERE"
    return [settings.env.elsewhere_dir] * len(name_list)


def build_dataloaders(cfg, settings):
    loaders = []
    for name in ("TRAIN", "VAL"):
        part = cfg.DATA[name]
        datasets = names2datasets(part.DATASETS_NAME, settings, None)
        print(name, "sequences:", [d if isinstance(d, str) else d.sequence_list for d in datasets])
        sampler = Sampler([d for d in datasets if not isinstance(d, str)], [1], part.SAMPLE_PER_EPOCH, cfg.TRAIN.TEXT)
        loader = torch.utils.data.DataLoader(
            sampler, cfg.TRAIN.BATCH_SIZE, num_workers=cfg.TRAIN.NUM_WORKER, collate_fn=list
        )
        loader.name, loader.training = name.lower(), name == "TRAIN"
        loaders.append(loader)
    return loaders
