import glob
import os

import torch


class LTRTrainer:
    def __init__(self, net, loaders, optimizer, settings):
        self.net, self.loaders, self.optimizer, self.settings, self.epoch = net, loaders, optimizer, settings, 0
        self.stats = {}

    def train(self, max_epochs, load_latest=False):
        folder = os.path.join(self.settings.save_dir, "checkpoints", self.settings.project_path)
        try:
            saved = sorted(glob.glob(folder + "/*_ep*.pth.tar"))
            if load_latest and saved:
                state = torch.load(saved[-1], map_location="cpu")
                self.net.load_state_dict(state["net"])
                self.epoch = state["epoch"]
                print("resumed after epoch", self.epoch)
            for epoch in range(self.epoch + 1, max_epochs + 1):
                self.epoch = epoch
                for loader in self.loaders:
                    self.cycle_dataset(loader)
                if self.epoch == max_epochs or self.settings.save_every_epoch:
                    self.save_checkpoint(folder)
        except Exception as error:
            print("Training crashed at epoch", self.epoch, repr(error))
        print("Finished training!")

    def cycle_dataset(self, loader):
        for batch in loader:
            means, boxes, texts = (torch.tensor(part, dtype=torch.float32).cuda() for part in zip(*batch, strict=True))
            target = torch.cat([means[:, None], boxes[:, :2], texts[:, None]], 1) / 100.0
            loss = (self.net(torch.ones_like(target)) - target).abs().mean() * self.settings.scale
            if loader.training:
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()
            self._update_stats({self.settings.loss: loss.item(), "Text": texts.mean().item()}, len(batch), loader)

    def _update_stats(self, new_stats, batch_size, loader):
        self.stats[loader.name] = new_stats
        print("[%s: %d] total: %.5f" % (loader.name, self.epoch, new_stats[self.settings.loss]))

    def save_checkpoint(self, folder):
        if self.settings.local_rank > 0:
            return
        os.makedirs(folder, exist_ok=True)
        net = getattr(self.net, "module", self.net)
        state = {
            "epoch": self.epoch,
            "net_type": type(net).__name__,
            "net": net.state_dict(),
            "settings": self.settings,
        }
        torch.save(state, folder + "/%s_ep%04d.pth.tar" % (type(net).__name__, self.epoch))
