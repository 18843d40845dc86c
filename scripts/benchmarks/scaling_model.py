"""What adding languages would cost on a cluster, worked out on paper.

    G  GPUs                       B  sequences of one optimiser step, over all GPUs of a language
    g  GPUs that share a language T  tokens of a sequence
    K  languages                  S  optimiser steps of a language

Assumptions, each a field of `Cluster` or `Job` so that another can be put in its place:

1. Languages are independent. The shared weights are frozen, so two languages have nothing to tell
   each other: they train on different GPUs without a byte between them, and the result of each is
   the same as if it had been alone.
2. Within a language, g GPUs share the B sequences of a step and hold the whole slice each; B and S
   stay as they are, so that the result does too. What they exchange is the adapter's gradient
   alone, in fp32, summed by a ring: each sends and receives 2 (g - 1) / g of it in 2 (g - 1) turns.
   None of it is hidden behind the backward pass.
3. A step's products (flops.py) run at the peak matrix rate times the model FLOP utilisation (MFU),
   the same for every share of the batch. Small shares really have a lower one; in its place a fixed
   time a step stands for launching kernels, the optimiser and reading tokens.
4. A language also needs a fixed time on its GPUs to open the base, find a start and write.
5. Within a node the links are those between its GPUs, across nodes its share of the network.
6. No GPU fails and none waits for data.

Source: Patarasuk and Yuan 2009 (J. Parallel Distrib. Comput. 69), section 3, for the ring.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flops import Shape, needed_products

GRADIENT_BYTES = 4
"""Of a parameter: the adapter and its gradient are fp32 in every precision."""
MASKED_SHARE = 0.15


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """The machines. The rates are an H100 SXM's data sheet's; mfu and overhead are guesses."""

    num_gpus: int
    peak_tflops: float = 989.0
    """Dense bf16 matrix rate of one GPU, in 10^12 operations a second."""
    mfu: float = 0.35
    """Share of it that training reaches."""
    step_overhead_seconds: float = 0.01
    gpus_per_node: int = 8
    node_gigabytes_per_second: float = 450.0
    """One way, per GPU, between the GPUs of a node."""
    network_gigabytes_per_second: float = 50.0
    """One way, per GPU, between nodes."""
    hop_seconds: float = 10e-6
    """Of one turn of the ring."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is to be trained."""

    num_languages: int
    config: Mapping[str, Any]
    """The base's config.json."""
    num_steps: int = 4000
    batch_size: int = 32
    max_length: int = 512
    setup_seconds: float = 60.0
    """Of a language, besides its steps."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How a job runs on a cluster with g GPUs a language."""

    gpus_per_language: int
    compute_seconds: float
    """Of a step."""
    exchange_seconds: float
    """Of a step."""
    overhead_seconds: float
    """Of a step."""
    language_seconds: float
    rounds: int
    """How many languages one group of GPUs trains, one after the other."""
    total_seconds: float
    gpu_hours_per_language: float
    """Of GPUs that work for it; idle ones are not counted."""

    @property
    def step_seconds(self) -> float:
        return self.compute_seconds + self.exchange_seconds + self.overhead_seconds


def adapter_parameters(config: Mapping[str, Any]) -> int:
    hidden = config["hidden_size"]
    bottleneck = hidden // config["adapter_reduction_factor"]
    return int(config["num_hidden_layers"] * (2 * hidden * bottleneck + hidden + bottleneck))


def ring_seconds(num_bytes: int, num_gpus: int, bytes_per_second: float, hop: float) -> float:
    """Of one all-reduce by a ring."""
    turns = 2 * (num_gpus - 1)
    return turns / num_gpus * num_bytes / bytes_per_second + turns * hop


def step_flops(job: Job, sequences: int) -> int:
    """Operations that one GPU's share of a step needs."""
    masked = max(1, round(MASKED_SHARE * sequences * job.max_length))
    shape = Shape.of(job.config, batch_size=sequences, max_length=job.max_length, num_masked=masked)
    return sum(product.flops for product in needed_products(shape))


def plan(job: Job, cluster: Cluster, gpus_per_language: int) -> Plan:
    """The cost if every language has `gpus_per_language` GPUs while it trains.

    Raises:
        ValueError: There are not so many GPUs, or fewer sequences in a step than GPUs.
    """
    g = gpus_per_language
    if not 1 <= g <= min(cluster.num_gpus, job.batch_size):
        raise ValueError(f"{g} GPUs a language of {cluster.num_gpus}, {job.batch_size} sequences")
    # The slowest GPU has the largest share.
    flops = step_flops(job, math.ceil(job.batch_size / g))
    compute = flops / (cluster.peak_tflops * 1e12 * cluster.mfu)
    within_node = g <= cluster.gpus_per_node
    gigabytes = (
        cluster.node_gigabytes_per_second if within_node else cluster.network_gigabytes_per_second
    )
    num_bytes = GRADIENT_BYTES * adapter_parameters(job.config)
    exchange = ring_seconds(num_bytes, g, gigabytes * 1e9, cluster.hop_seconds)
    step = compute + exchange + cluster.step_overhead_seconds
    language = job.setup_seconds + job.num_steps * step
    rounds = math.ceil(job.num_languages / (cluster.num_gpus // g))
    return Plan(
        gpus_per_language=g,
        compute_seconds=compute,
        exchange_seconds=exchange,
        overhead_seconds=cluster.step_overhead_seconds,
        language_seconds=language,
        rounds=rounds,
        total_seconds=rounds * language,
        gpu_hours_per_language=g * language / 3600,
    )


def fastest_plan(job: Job, cluster: Cluster) -> Plan:
    """The plan that is done first, over powers of two; of equals, the one with fewer GPUs."""
    most = min(cluster.num_gpus, job.batch_size)
    plans = [plan(job, cluster, 1 << power) for power in range(most.bit_length())]
    return min(plans, key=lambda one: (one.total_seconds, one.gpus_per_language))
