class BaseVideoDataset:
    def __init__(self, name, root, image_loader):
        self.name, self.root, self.image_loader = name, root, image_loader
        self.sequence_list = []

    def __len__(self):
        return self.get_num_sequences()

    def is_video_sequence(self):
        return True
