from lib.test.tracker.basetracker import BaseTracker


class OnlyParams(BaseTracker):
    def __init__(self, params):
        super().__init__(params)

    def initialize(self, image, info):
        self.begin(image, info, info["init_text_description"])

    def track(self, image, info=None):
        assert info == {}
        return self.step(image, self.text)


def get_tracker_class():
    return OnlyParams
