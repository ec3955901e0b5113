import importlib


class Settings:
    def __init__(self):
        self.env = importlib.import_module("lib.train.admin.local").EnvironmentSettings()
        self.use_gpu = True
