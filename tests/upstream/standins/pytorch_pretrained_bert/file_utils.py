WEIGHTS_NAME = "pytorch_model.bin"
CONFIG_NAME = "bert_config.json"


def cached_path(path, cache_dir=None):
    return path
