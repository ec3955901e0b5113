from lib.test.tracker.basetracker import BaseTracker


class WithDataset(BaseTracker):
    """Heeds the text under one of two keys, and only where the dataset's name is known to use one; has a score."""

    def __init__(self, params, dataset_name):
        super().__init__(params)
        self.heed = params.cfg.TEST.USE_NLP.get(dataset_name.upper(), params.cfg.TEST.USE_NLP.DEFAULT)

    def initialize(self, image, info):
        self.begin(image, info, (info.get("init_nlp") or info.get("language")) if self.heed else None)

    def track(self, image, info=None):
        return dict(self.step(image, self.text), best_score=1.0 / self.frame_id)


def get_tracker_class():
    return WithDataset
