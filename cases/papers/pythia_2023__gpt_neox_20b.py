"""GPT-NeoX-20B: Pythia's step, with another rate and decay."""

from dataclasses import replace

import torch

from cases.papers import problems
from cases.papers.pythia_2023 import STEP as PYTHIA
from suite.replication import updates

STEP = replace(
    PYTHIA,
    paper="pythia-2023:gpt-neox-20b",
    optimizer=updates.of_torch(
        torch.optim.AdamW, problems.NO_DECAY, lr=0.97e-4, betas=(0.9, 0.95), weight_decay=0.01
    ),
)
