import torch

from lib.test.tracker.basetracker import BaseTracker


class Mini(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.move = torch.nn.Linear(4, 4)


class Network(BaseTracker):
    """With real weights; state of one sequence stays in the object, as upstream's sometimes does."""

    def __init__(self, params, dataset_name):
        super().__init__(params)
        network = Mini()
        checkpoint = torch.load(params.checkpoint, map_location="cpu")
        network.load_state_dict(checkpoint["net"], strict=False)
        self.network = network.cuda()
        self.network.eval()
        self.memory = 0

    def initialize(self, image, info):
        self.begin(image, info, None)
        open("left_behind.txt", "w").write("upstream writes to its working folder")

    def track(self, image, info=None):
        self.memory += 1
        with torch.no_grad():
            moved = self.network.move(torch.tensor(self.state, device="cuda:0").float().to("cuda"))
        self.state = [float(v) + self.memory for v in moved.tolist()]
        return {"target_bbox": self.state}


def get_tracker_class():
    return Network
