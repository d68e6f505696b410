"""Networks that a denoiser is made around."""

from noiseworth.networks.backbone import Backbone as Backbone
from noiseworth.networks.backbone import count_parameters as count_parameters
from noiseworth.networks.diffusers_unet import Preset as Preset
from noiseworth.networks.presets import PRESETS as PRESETS
from noiseworth.networks.presets import WIDTHS as WIDTHS
from noiseworth.networks.presets import choose_preset as choose_preset
from noiseworth.networks.presets import make_backbone as make_backbone
