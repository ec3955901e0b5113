"""PrRoI pooling is compiled with CUDA at first use; here torchvision's RoIAlign stands in for it."""

import sys
import types


class _Pool(types.ModuleType):
    def __getattr__(self, name):
        if name != "PrRoIPool2D":
            raise AttributeError(name)
        import torch
        import torchvision

        class PrRoIPool2D(torch.nn.Module):
            def __init__(self, pooled_height, pooled_width, spatial_scale):
                super().__init__()
                self.size, self.scale = (pooled_height, pooled_width), spatial_scale

            def forward(self, features, boxes):
                if torchvision.extension._has_ops():
                    return torchvision.ops.roi_align(features, boxes, self.size, self.scale)
                from torchvision.ops.roi_align import _roi_align  # the same in Python, which newer ones compile

                return getattr(_roi_align, "__wrapped__", _roi_align)(
                    features, boxes, self.scale, *self.size, -1, False
                )

        return PrRoIPool2D


_NAME = "external.PreciseRoIPooling.pytorch.prroi_pool"
sys.modules[_NAME] = _Pool(_NAME)
