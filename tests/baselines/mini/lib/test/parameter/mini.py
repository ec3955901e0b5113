import os

from lib.config.mini.config import cfg, update_config_from_file
from lib.test.evaluation.environment import env_settings


class Parameters:
    pass


def parameters(yaml_name, model=None):
    params = Parameters()
    settings = env_settings()
    update_config_from_file(os.path.join(settings.prj_dir, "experiments/mini/%s.yaml" % yaml_name))
    params.cfg = cfg
    params.search_factor, params.search_size = cfg.TEST.SEARCH_FACTOR, cfg.TEST.SEARCH_SIZE
    params.checkpoint = os.path.join(settings.save_dir, "checkpoints/train/mini/%s/Mini_ep0002.pth.tar" % yaml_name)
    params.model = model
    params.other_path = settings.lasot_path
    print("test config:", cfg)
    return params
