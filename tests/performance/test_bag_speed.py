"""An epoch of DSMIL over many bags at once, against one bag a step: on ready tensors, and as released programs do it.

The released way (ItS2CLR, HNM-WSI): a bag is a list of vectors that are shuffled, stacked and copied to the device for each step; tiles
are sorted to find the largest; the loss is read at each step; and when tiles are scored, each score is fetched by itself.

On a machine that is shared, set OMP_WAIT_POLICY=passive: two threads that wait for each other at full speed measure the others' work.
"""

from __future__ import annotations

import statistics
import time

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.bags.losses import bag_cross_entropy, two_stream_loss
from benchmark.bags.networks import build_bag_network
from benchmark.bags.segments import take_bags

pytestmark = [pytest.mark.perf, pytest.mark.timeout(3600)]
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
BAGS, TILES, FEATURES = 270, 1000, 512
TOGETHER = 8
"""Bags a step; between 4 and 16 make no difference on a processor, where the products of matrices take most of the time."""
ROUNDS = 3


@pytest.fixture(autouse=True)
def _two_threads():
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def bags():
    """(N, D) float32 features, (n + 1,) offsets and (n,) labels, on the CPU."""
    features = torch.randn(BAGS * TILES, FEATURES, generator=torch.Generator().manual_seed(0))
    return features, torch.arange(BAGS + 1) * TILES, (torch.arange(BAGS) < 111).long()


class Textbook(nn.Module):
    """The same network as its program has it, with the weights of ours: values of all tiles before attention, sort for the largest."""

    def __init__(self, ours) -> None:
        super().__init__()
        self.ours = ours

    def forward(self, bag):
        ours = self.ours
        instances = ours.instance(bag)
        embedded = F.relu(ours.embedding(bag))
        values = bag if ours.light else ours.value(embedded)
        queries = torch.tanh(ours.query(embedded))
        _, order = torch.sort(instances, 0, descending=True)
        critical = torch.tanh(ours.query(embedded.index_select(0, order[0])))
        attention = F.softmax(queries @ critical.T / queries.shape[1] ** 0.5, 0)
        return instances, ours.bag(attention.T @ values).view(-1)


def fresh(name, **options):
    torch.manual_seed(0)
    network = build_bag_network(name, FEATURES, **options).to(DEVICE)
    return network, torch.optim.Adam(network.parameters(), lr=2e-4, weight_decay=1e-4)


def timed(work) -> tuple[float, float]:
    """Seconds of wall time until the device is done, and of the processor, which other programs disturb less."""
    wall, used = time.perf_counter(), time.process_time()
    work()
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - wall, time.process_time() - used


def together(name, bags, count=BAGS, size=TOGETHER, **options):
    """Ours: an epoch over the first ``count`` bags, several a step."""
    features, offsets, labels = bags
    features, labels = features.to(DEVICE), labels.to(DEVICE)
    network, optimiser = fresh(name, **options)

    def epoch():
        for chosen in torch.randperm(count).split(size):
            tiles, cut = take_bags(features, offsets, chosen)
            loss = two_stream_loss(network(tiles, cut), cut, labels[chosen.to(DEVICE)])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    def score():
        return network.scores(features[: count * TILES]).sigmoid().tolist()

    return epoch, torch.no_grad()(score)


def one_by_one(name, bags, count=BAGS):
    """A loop over bags that lie on the device."""
    features, offsets, labels = bags
    features, labels, ends = features.to(DEVICE), labels.to(DEVICE), offsets.tolist()
    network, optimiser = fresh(name)
    textbook = Textbook(network)

    def epoch():
        for i in torch.randperm(count).tolist():
            instances, logit = textbook(features[ends[i] : ends[i + 1]])
            loss = 0.5 * bag_cross_entropy(logit, labels[i : i + 1]) + 0.5 * bag_cross_entropy(instances.max(0).values, labels[i : i + 1])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return epoch


def released(name, bags, count=BAGS):
    """A loop over bags as lists of vectors."""
    features, _, labels = bags
    arrays = [part.numpy() for part in features[: count * TILES].split(TILES)]
    generator = np.random.default_rng(0)
    network, optimiser = fresh(name)
    textbook, criterion = Textbook(network), nn.BCEWithLogitsLoss()

    def epoch():
        total = 0.0
        for i in generator.permutation(count):
            vectors = list(arrays[i][generator.permutation(TILES)])
            bag = torch.from_numpy(np.stack(vectors)).float().to(DEVICE)
            label = torch.from_numpy(np.array(int(labels[i]))).float().to(DEVICE).view(1)
            optimiser.zero_grad()
            instances, logit = textbook(bag)
            largest, _ = torch.max(instances, 0)
            loss = (0.5 * criterion(logit, label) + 0.5 * criterion(largest, label)).mean()
            loss.backward()
            optimiser.step()
            total += loss.item()

    def score():
        scores = []
        for array in arrays:
            predicted = torch.sigmoid(textbook(torch.from_numpy(np.stack(list(array))).float().to(DEVICE))[0])
            scores += [float(predicted[i].cpu().squeeze().numpy()) for i in range(TILES)]
        return scores

    return epoch, torch.no_grad()(score)


@pytest.mark.parametrize("name", ["dsmil", "dsmil_light"])
def test_epoch(name, bags, report):
    with torch.no_grad():  # they compute the same
        network, _ = fresh(name)
        features, offsets, _ = bags
        output = network(features[: 3 * TILES].to(DEVICE), offsets[:4].to(DEVICE))
        for i in range(3):
            instances, logit = Textbook(network)(features[i * TILES : (i + 1) * TILES].to(DEVICE))
            torch.testing.assert_close(output.bag_logits[i : i + 1], logit, atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(output.instance_logits[i * TILES : (i + 1) * TILES], instances[:, 0], atol=1e-4, rtol=1e-4)
    ours, our_scores = together(name, bags)
    program, program_scores = released(name, bags)
    works = {
        "ours": ours,
        "ours, bfloat16": together(name, bags, bf16=True)[0],
        "bags one by one": one_by_one(name, bags),
        "released way": program,
        "ours, scores": our_scores,
        "released way, scores": program_scores,
    }
    together(name, bags, count=2 * TOGETHER)[0]()  # warm up
    one_by_one(name, bags, count=8)()
    seconds: dict[str, list[tuple[float, float]]] = {key: [] for key in works}
    for number in range(ROUNDS):
        order = list(works.items())
        for key, work in order if number % 2 == 0 else reversed(order):
            seconds[key].append(timed(work))
    report(f"{name}: {BAGS} bags × {TILES} tiles × {FEATURES} features on {DEVICE.type}, {torch.get_num_threads()} threads; one epoch:")
    for key, times in seconds.items():
        against = seconds["ours, scores" if key.endswith("scores") else "ours"]
        wall, used = (statistics.median(pair[i] for pair in times) for i in (0, 1))
        ratios = [statistics.median(a[i] / b[i] for a, b in zip(times, against, strict=True)) for i in (0, 1)]
        report(f"  {key:20s} {wall:7.2f} s ({used:.2f} of the processor), {ratios[0]:.2f} ({ratios[1]:.2f}) × ours")
