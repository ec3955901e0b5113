import importlib


def env_settings():
    return importlib.import_module("lib.test.evaluation.local").local_env_settings()
