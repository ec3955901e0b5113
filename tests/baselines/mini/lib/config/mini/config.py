import json


class Config(dict):
    __getattr__ = dict.__getitem__
    __setattr__ = dict.__setitem__


def _config(value):
    return Config({k: _config(v) for k, v in value.items()}) if isinstance(value, dict) else value


cfg = Config()


def update_config_from_file(filename):
    text = open(filename).read()
    try:
        table = json.loads(text)
    except ValueError:
        import yaml

        table = yaml.safe_load(text)
    cfg.update(_config(table))
