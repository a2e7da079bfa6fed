"""Any classifier of torchvision, from scratch or pre-trained, with a new head."""

import torch
from torch import Tensor, nn

from hemony.errors import InputError, UsageError, did_you_mean

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchvisionClassifier(nn.Module):
    """Normalised images (N, channels, S, S) to logits (N, classes). Grey images are seen as three equal channels."""

    def __init__(self, name: str, channels: int, classes: int, small_stem: bool) -> None:
        super().__init__()
        from torchvision import models

        if name not in models.list_models(models):
            hint = did_you_mean(name, models.list_models(models), "; see torchvision.models.list_models()")
            raise UsageError(f"model.name={name} is not a classifier of torchvision{hint}")
        self.name = name
        self.channels = channels
        self.loaded: frozenset[str] = frozenset()  # parameters that `load_pretrained` has set; the others are fresh
        # the auxiliary classifiers of 2014 need large images and train nothing that batch norm does not
        old = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
        self.net = models.get_model(name, weights=None, num_classes=classes, **old)
        if small_stem:
            self._shrink_stem()

    def _shrink_stem(self) -> None:
        """For images of 64 pixels and less: a ResNet's first convolution at full resolution, no pooling after it (He et al. 2016, 4.2)."""
        if not hasattr(self.net, "maxpool") or not isinstance(getattr(self.net, "conv1", None), nn.Conv2d):
            raise UsageError(f"model.small_stem=true is for ResNets, not for model.name={self.name}")
        self.net.conv1 = nn.Conv2d(3, self.net.conv1.out_channels, 3, padding=1, bias=False)
        self.net.maxpool = nn.Identity()

    def forward(self, images: Tensor) -> Tensor:
        if self.channels == 1:
            images = images.expand(-1, 3, -1, -1)
        logits: Tensor = self.net(images)
        return logits

    def check_size(self, size_px: int) -> None:
        """Raise UsageError where the network does not take images of this size: some need their own, deep ones a least one."""
        was_training = self.training
        try:
            with torch.inference_mode():
                self.eval()(torch.zeros(1, 3, size_px, size_px))
        except (AssertionError, RuntimeError, ValueError) as error:
            line = " ".join(str(error).split())[:120]
            raise UsageError(
                f"model.name={self.name} does not take images of {size_px} pixels ({line}); try data.size_px=224"
            ) from None
        self.train(was_training)

    def pretrained_parameters(self) -> list[nn.Parameter]:
        return [parameter for name, parameter in self.net.named_parameters() if name in self.loaded]

    def load_pretrained(self, weights: str) -> None:
        """Load torchvision's weights into all layers whose shapes fit; the head is left fresh.

        Raises UsageError for weights that torchvision does not have, InputError where they cannot be downloaded.
        """
        from torchvision import models

        choices = models.get_model_weights(self.name)
        names = [*choices.__members__, "DEFAULT"]
        if weights not in names:
            raise UsageError(f"model.weights={weights} is unknown for {self.name}; expected one of: {', '.join(names)}")
        try:
            loaded = choices[weights].get_state_dict(progress=False, check_hash=True, weights_only=True)
        except Exception as error:  # urllib, sockets, a wrong checksum: the remedy is the same
            raise InputError(
                f"model.weights={weights} of {self.name} cannot be downloaded ({' '.join(str(error).split())[:120]}): put the file "
                f"{choices[weights].url.rpartition('/')[2]} into torch's hub folder ($TORCH_HOME/hub/checkpoints), or train from "
                f"scratch with model.weights=null"
            ) from None
        own = self.net.state_dict()
        fitting = {key: value for key, value in loaded.items() if key in own and own[key].shape == value.shape}
        self.net.load_state_dict(fitting, strict=False)
        self.loaded = frozenset(fitting)
