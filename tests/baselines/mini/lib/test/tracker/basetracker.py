import ctypes
import os
import random
import subprocess
import sys
import tempfile
import time

import cv2
import numpy


class BaseTracker:
    """Moves the box right by STEP, the last text's length and a wider search; down by the image's mean."""

    made = 0

    def __init__(self, params):
        BaseTracker.made += 1
        self.params = params
        self.fault = params.cfg.TEST.FAULT
        self.text = None
        self.frame_id = None
        if self.fault == "constructor":
            raise RuntimeError("the constructor broke")
        if self.fault == "rebuild" and BaseTracker.made == 2:
            raise RuntimeError("the second one broke")
        if self.fault == "cuda":
            raise AssertionError("Torch not compiled with CUDA enabled")
        if self.fault == "exit":
            sys.exit("upstream has left")
        assert params.debug == 0
        assert params.search_size == params.cfg.DATA.SEARCH.SIZE, "the network is built for another size"
        print(open(params.checkpoint, "rb").read(8))

    def begin(self, image, info, text):
        box = info["init_bbox"]
        assert isinstance(box, list) and len(box) == 4
        assert image.dtype.name == "uint8" and image.flags.writeable
        if self.fault == "initialize":
            raise KeyError("init_mask")
        self.state = list(box)
        self.text = text
        self.frame_id = 0

    def step(self, image, text):
        self.frame_id += 1
        if self.frame_id == 3:
            self.break_down()
        shift = self.params.cfg.TEST.STEP + len(text or "") + self.params.search_factor - 4.0
        if self.fault == "random":
            shift += random.random() + numpy.random.rand()
        if self.fault == "threads":
            self.state[2] = float(cv2.getNumThreads())
        self.state = [self.state[0] + shift, self.state[1] + float(image.mean()), self.state[2], self.state[3]]
        return {"target_bbox": self.state}

    def break_down(self):
        if self.fault == "track":
            raise ValueError("lost at frame %d" % self.frame_id)
        if self.fault == "long":
            raise ValueError("x" * 30000000)
        if self.fault == "crash":
            print("about to crash", flush=True)
            os.abort()
        if self.fault == "segfault":
            ctypes.string_at(0)
        if self.fault == "hang":
            print("going to sleep", flush=True)
            tempfile.mkdtemp()
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
            time.sleep(1000)
        if self.fault == "endless":
            while True:
                print("la" * 1000)
        if self.fault == "chatter":
            os.write(1, b"TNLT" * 100000)
            os.write(2, b"\xff\x00" * 100000)
            ctypes.CDLL(None).puts(b"from C")
            sys.stdout.write("more\n")
        if self.fault == "numbers":
            self.state = [1.0, 2.0, 3.0, 4.0]
            self.step = lambda image, text: {"target_bbox": [1.0, 2.0, 3.0, 4.0, 5.0]}
        if self.fault == "close":
            os.closerange(3, 100)
