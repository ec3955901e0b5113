from lib.test.tracker.basetracker import BaseTracker


class WithYaml(BaseTracker):
    """Built with three arguments; wants the text in every frame."""

    def __init__(self, params, parameter_name, dataset_name):
        super().__init__(params)
        assert (parameter_name, dataset_name) == ("base", "lasot"), (parameter_name, dataset_name)
        assert params.model == "mini.pth" and params.vis_attn == 0

    def initialize(self, image, info):
        self.begin(image, info, info["class"])

    def track(self, image, info=None):
        return self.step(image, info["class"])


def get_tracker_class():
    return WithYaml
