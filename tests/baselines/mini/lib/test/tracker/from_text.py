from lib.test.tracker.basetracker import BaseTracker


class FromText(BaseTracker):
    """Finds the target by itself: its first box is not the one that it is given."""

    def __init__(self, params, dataset_name):
        super().__init__(params)

    def initialize(self, image, info):
        self.begin(image, info, info["init_nlp"])
        self.state = [10.0, 20.0, 30.0, 40.0]

    def track(self, image, info=None):
        return self.step(image, self.text)


def get_tracker_class():
    return FromText
