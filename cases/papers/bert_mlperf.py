"""BERT in MLPerf without its flag: each shard is clipped by itself, as in BERT's own code."""

from dataclasses import replace

from cases.papers.bert_2018 import STEP as BERT
from suite.replication import updates
from suite.replication.optimizer import STAND_IN

STEP = replace(
    BERT,
    paper="bert-mlperf",
    optimizer=updates.by_hand(
        updates.adam_uncorrected(STAND_IN, weight_decay=0.01), vectors=updates.adam_uncorrected(STAND_IN)
    ),
)
