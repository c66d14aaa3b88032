"""What optimizers are called elsewhere: by trainers, in papers, by their parts."""

from collections.abc import Mapping

MEANT: Mapping[str, str] = {
    "momentum": "SGD",
    "nesterov": "SGD",
    "sgdm": "SGD",
    "amsgrad": "Adam",
    "adam-l2": "Adam",
    "adamw-torch": "AdamW",
    "adamw-torch-fused": "AdamW",
    "adamw-hf": "AdamW",
    "adam-8bit": "bitsandbytes:Adam8bit",
    "adamw-8bit": "bitsandbytes:AdamW8bit",
    "adamw-bnb-8bit": "bitsandbytes:AdamW8bit",
    "paged-adamw-8bit": "bitsandbytes:AdamW8bit",
    "lion-32bit": "lion_pytorch:Lion",
    "sophia": "sophia:SophiaG",
    "schedule-free": "schedulefree:AdamWScheduleFree",
    "schedule-free-adamw": "schedulefree:AdamWScheduleFree",
    "schedule-free-sgd": "schedulefree:SGDScheduleFree",
    "schedulefree": "schedulefree:AdamWScheduleFree",
    "fused-lamb": "apex:FusedLAMB",
    "fused-adam": "apex:FusedAdam",
}
"""What others call an optimizer that has a law here, in the spelling of `suite.errors.spelling`."""
