"""Names that listings need without importing torch."""

BACKBONES: dict[str, str] = {
    "cnn_small": "three 3×3 convolutions (24, 48, 96 channels), for images of 8 px and more on a CPU",
    "cnn9": "co-teaching's 9-layer CNN (Han et al. 2018), for images of 28 px and more",
    "resnet18": "ResNet-18 with the CIFAR stem (3×3, stride 1, no pooling)",
    "resnet34": "ResNet-34 with the CIFAR stem",
    "preact_resnet18": "pre-activation ResNet-18 (He et al. 2016b) with the CIFAR stem",
    "linear": "a linear classifier on frozen features",
    "mlp": "one hidden layer of 256 units on frozen features",
    "timm:<name>": "any model of timm, e.g. timm:resnet34; protocol.pretrained=true starts from its published weights",
}
"""Backbone → one line about it."""

UNET = "unet:timm:"

MASK_BACKBONES: dict[str, str] = {
    "vnet2d": "the two-dimensional V-Net of Zhang et al. (2020), 1.15 million parameters",
    "vnet_small": "the same with 6 instead of 16 channels at full size, for a CPU",
    "unet:timm:<name>": "a light decoder on any timm model that gives feature maps, e.g. unet:timm:resnet18",
}
"""Segmentation network → one line about it."""

BAG_BACKBONES: dict[str, str] = {
    "auto": "tile_cnn_small for pixels, identity for features",
    "tile_cnn_small": "four 3×3 convolutions with instance norm (16 to 128 channels), for tiles of 16 px and more",
    "tile_cnn": "the same with 32 to 256 channels",
    "identity": "features as they are",
    "projection": "one residual block on features, which can be fine-tuned",
}
"""Encoder of tiles → one line about it."""

FEATURE_BACKBONES = ("linear", "mlp")
"""The backbones for data whose samples are frozen features; all others need pixels."""

AUGMENTATIONS: dict[str, str] = {
    "crop": "shift by up to an eighth of the side, edges mirrored",
    "flip": "mirror left and right, half of the images",
    "rot90": "turn by 0, 90, 180 or 270 degrees",
    "color": "brightness, contrast and saturation by up to 10 %",
}
"""Augmentation → one line about it."""

RUNS_PER_GPU = "BENCHMARK_RUNS_PER_GPU"
"""Environment variable: how many processes of the local engine share this process's GPU."""
