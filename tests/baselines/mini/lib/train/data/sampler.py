import random


class Sampler:
    """One template and one search frame; whatever goes wrong is drawn again, as upstream does."""

    def __init__(self, datasets, ratio, samples, text):
        self.datasets, self.ratio, self.samples, self.text = datasets, ratio, samples, text

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        while True:
            dataset = random.choices(self.datasets, self.ratio)[0]
            assert dataset.is_video_sequence()
            number = random.randrange(len(dataset))
            info = dataset.get_sequence_info(number)
            seen = [i for i in range(len(info["visible"])) if info["visible"][i]]
            assert len(seen) >= 20
            try:
                frames, anno, meta = dataset.get_frames(number, random.sample(seen, 2), info)
                assert dataset.get_name() == "tnllt"
                text = self.description(anno, meta)
                return frames[0].mean() / 255.0, [float(v) for v in anno["bbox"][1]], len(text)
            except OSError:
                continue

    def description(self, anno, meta):
        if self.text == "nlp":
            return anno["nlp"][0]
        if self.text == "language_description":
            assert len(meta["language_description"]) == 2
            return meta["language_description"][0]
        return meta[self.text] if self.text else ""
