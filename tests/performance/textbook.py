"""HSA-NRL as a textbook writes it: images opened and transformed one by one by loader workers, history kept sample by sample.

The stages, the network, the optimiser, the batch and the counts of passes are those of ``methods/hsa``; how the work is done is that of
the programs that papers release: a ``Dataset`` that opens a file, ``DataLoader`` workers, tensors in (N, C, H, W) order, Python loops
over the samples of a batch. ``python -m tests.performance.textbook JOB.json`` trains, and prints one line of JSON.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from benchmark.training.backbones import build_network

WORKERS = 2
HARD_RATIO, FORGET_RATE, GAMMA = 1.5, 0.01, 2.0
DECAY_START, TAIL_BETA1 = 0.375, 0.1


class Tiles(Dataset):
    """One file a sample; each item is (image, label, index).

    Args:
        samples: (path, label, index) of each.
    """

    def __init__(self, samples, transform):
        self.samples, self.transform = samples, transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, position):
        path, label, index = self.samples[position]
        return self.transform(Image.open(path).convert("RGB")), label, index


class Program:
    """The settings of a job, and counts of what was done.

    Attributes:
        counts: samples that went through a forward and a backward pass, a forward pass of the teacher, one of evaluation.
        seconds: wall seconds of each stage.
    """

    def __init__(self, job):
        self.epochs, self.batch_size, self.size, self.classes = job["epochs"], job["batch_size"], job["size"], job["classes"]
        self.rate, self.lr, self.n = job["rate"], job["lr"], len(job["train"])
        self.device = torch.device(job["device"])
        normalize = transforms.Normalize(job["mean"], job["std"])
        augment = [transforms.RandomCrop(self.size, padding=self.size // 8), transforms.RandomHorizontalFlip()]
        self.training = transforms.Compose([*augment, transforms.ToTensor(), normalize])
        self.testing = transforms.Compose([transforms.ToTensor(), normalize])
        self.counts = {"trained": 0, "teacher": 0, "evaluated": 0}
        self.seconds = {}

    def network(self):
        """The same architecture and initial weights as the harness builds, with weights in the usual order."""
        built = build_network("cnn_small", channels=3, size=self.size, num_classes=self.classes)
        return nn.Sequential(built.trunk, built.head).to(memory_format=torch.contiguous_format).to(self.device)

    def loader(self, samples, *, train):
        """Shuffled and augmented, or in order and as they are."""
        tiles = Tiles(samples, self.training if train else self.testing)
        return DataLoader(tiles, batch_size=self.batch_size, shuffle=train, num_workers=WORKERS, pin_memory=self.device.type == "cuda")

    def adjust(self, optimizer, lr, epoch):
        """The learning rate is constant and then falls linearly, with a low first beta of Adam."""
        start = DECAY_START * self.epochs
        for group in optimizer.param_groups:
            if epoch >= start:
                group["lr"], group["betas"] = lr * (self.epochs - epoch) / (self.epochs - start), (TAIL_BETA1, 0.999)

    def cross_entropy(self, stage, samples):
        """Train a fresh network; returns it and the (n, T) history, zero where a sample was not seen."""
        started = time.perf_counter()
        network, lr = self.network(), self.lr / 2
        optimizer = torch.optim.Adam(network.parameters(), lr=lr)
        loader, history = self.loader(samples, train=True), np.zeros((self.n, self.epochs))
        for epoch in range(self.epochs):
            network.train()
            self.adjust(optimizer, lr, epoch)
            total = 0.0
            for pictures, given, index in loader:
                images, labels = pictures.to(self.device), given.to(self.device)
                logits = network(images)
                loss = F.cross_entropy(logits, labels)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                total += loss.item()
                self.counts["trained"] += len(labels)
                prob = F.softmax(logits, dim=1)
                for i, idx in enumerate(index):
                    history[idx, epoch] = prob[i, labels[i]].item()
        self.seconds[stage] = time.perf_counter() - started
        return network, history

    def predict(self, network, samples):
        """(m, K) probabilities in evaluation mode."""
        network.eval()
        found = []
        with torch.no_grad():
            for images, labels, _ in self.loader(samples, train=False):
                found.append(F.softmax(network(images.to(self.device)), dim=1).cpu())
                self.counts["evaluated"] += len(labels)
        return torch.cat(found) if found else torch.zeros(0, self.classes)

    def accuracy(self, network, samples):
        """Share of the samples whose label is the most probable class."""
        said = self.predict(network, samples).argmax(dim=1)
        return float((said == torch.tensor([label for _, label, _ in samples])).float().mean())


def fit_detector(histories, wrong):
    """The multilayer perceptron that reads a history, 500 full-batch steps; None where the pool has one kind alone."""
    kept = torch.randperm(len(wrong))[len(wrong) // 5 :]
    histories, wrong = torch.tensor(histories[kept], dtype=torch.float32), torch.tensor(wrong[kept], dtype=torch.long)
    if len(wrong.unique()) < 2:
        return None
    network = nn.Sequential(nn.Linear(histories.shape[1], 200), nn.ReLU(), nn.Linear(200, 2))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.02)
    for _ in range(500):
        loss = F.cross_entropy(network(histories), wrong)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network


def detect_and_correct(program, samples):
    """Stage 1: history, easy or not, a detector taught by injected wrong labels, a network that corrects; returns what is almost clean."""
    skip = int(program.epochs / 8)
    _, history = program.cross_entropy("history", samples)
    mean = history[:, skip:].mean(axis=1)
    order = np.argsort(mean)
    count = round(HARD_RATIO * program.rate * len(samples))
    unsure, easy = order[:count], order[count:]
    limit = mean[unsure].max() if count else -1.0

    rng = np.random.default_rng(0)
    injected, answers = [], np.zeros(program.n, dtype=bool)
    chosen = set(rng.choice(easy, round(program.rate * len(easy)), replace=False).tolist())
    for index in easy.tolist():
        path, label, _ = samples[index]
        if index in chosen:
            label, answers[index] = (label + int(rng.integers(1, program.classes))) % program.classes, True
        injected.append((path, label, index))
    _, taught = program.cross_entropy("injected", injected)
    pool = np.array([index for index in easy if taught[index, skip:].mean() <= limit], dtype=int)
    detector = fit_detector(taught[pool], answers[pool])
    wrong = np.full(len(unsure), round(answers[pool].mean()) if len(pool) else 1, dtype=bool)
    if detector is not None:
        with torch.no_grad():
            wrong = detector(torch.tensor(history[unsure], dtype=torch.float32)).argmax(dim=1).numpy().astype(bool)

    trusted = [samples[index] for index in easy] + [samples[index] for index, bad in zip(unsure, wrong, strict=True) if not bad]
    corrector, _ = program.cross_entropy("correction", trusted)
    said = program.predict(corrector, [samples[index] for index in unsure]).argmax(dim=1)
    clean = [samples[index] for index in easy]
    for index, bad, label in zip(unsure, wrong, said.tolist(), strict=True):
        path, given, _ = samples[index]
        if bad == (label != given):
            clean.append((path, label, int(index)))
    return clean


def train_two_networks(program, clean, val, test):
    """Stage 2: a network and its moving average; what the average doubts is left out, what is hard weighs more."""
    started = time.perf_counter()
    network = program.network()
    average = copy.deepcopy(network)
    optimizer, loader = torch.optim.Adam(network.parameters(), lr=program.lr), program.loader(clean, train=True)
    momentum = max(0.0, min(0.999, 1 - 10 / (program.epochs * len(loader))))
    recorded = {name: np.zeros((program.n, program.epochs)) for name in ("network", "average")}
    indices, warmup, accuracy = np.array([index for _, _, index in clean]), min(10, max(1, program.epochs // 8)), {}
    for epoch in range(program.epochs):
        network.train()
        average.train()
        program.adjust(optimizer, program.lr, epoch)
        last = recorded["average"][:, epoch - 1] if epoch else np.ones(program.n)
        forgotten = set(indices[np.argsort(last[indices])[: int(FORGET_RATE * len(indices))]].tolist()) if epoch else set()
        total = 0.0
        for pictures, given, index in loader:
            images, labels = pictures.to(program.device), given.to(program.device)
            kept = torch.tensor([float(int(idx) not in forgotten) for idx in index], device=program.device)
            logits = network(images)
            losses = F.cross_entropy(logits, labels, reduction="none")
            if epoch >= warmup:
                weights = (1 - torch.tensor(last[index.numpy()], dtype=torch.float32, device=program.device)) ** GAMMA
                losses = losses * weights / weights.mean().clamp(min=1e-12)
            loss = (losses * kept).sum() / kept.sum().clamp(min=1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item()
            for slow, fast in zip(average.parameters(), network.parameters(), strict=True):
                slow.data.mul_(momentum).add_(fast.data, alpha=1 - momentum)
            with torch.no_grad():
                prob = {"network": F.softmax(logits, dim=1), "average": F.softmax(average(images), dim=1)}
            program.counts["trained"] += len(labels)
            program.counts["teacher"] += len(labels)
            for name, values in prob.items():
                for i, idx in enumerate(index):
                    recorded[name][idx, epoch] = values[i, labels[i]].item()
        for part, part_samples in (("val", val), ("test", test)):
            accuracy[part] = program.accuracy(average, part_samples)
            accuracy[f"{part}_network"] = program.accuracy(network, part_samples)
    program.seconds["train"] = time.perf_counter() - started
    return accuracy


def main(path):
    """Train as the job says and return what there is to report."""
    job = json.loads(Path(path).read_text(encoding="utf-8"))
    torch.manual_seed(job["seed"])
    program = Program(job)
    train, val, test = ([(name, label, i) for i, (name, label) in enumerate(job[part])] for part in ("train", "val", "test"))
    clean = detect_and_correct(program, train)
    accuracy = train_two_networks(program, clean, val, test)
    return {"accuracy": accuracy, "counts": program.counts, "seconds": program.seconds, "threads": torch.get_num_threads()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1])) + "\n")
