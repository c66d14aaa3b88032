"""RetinaNet in torchvision: the paper's step is written from it."""

from dataclasses import replace

from cases.papers.retinanet_2017 import STEP as PAPER

STEP = replace(PAPER, paper="retinanet-2017:torchvision")
