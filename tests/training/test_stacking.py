"""Joint passes against the networks one after the other: logits, gradients, running statistics and steps must be the same."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmark.spec import protocol
from benchmark.training import joint_choice
from benchmark.training.backbones import Network, build_network
from benchmark.training.joint_pass import JointPass, collecting, joint_backward, shared_images
from benchmark.training.joint_steps import Stacks, steppable
from benchmark.training.networks import Networks
from benchmark.training.stacking import Stack, architecture, joint_key

SHAPES = {
    "cnn_small": (3, 8, 8),
    "resnet18": (3, 8, 8),
    "preact_resnet18": (3, 8, 8),
    "linear": (20,),
    "mlp": (20,),
}


def networks_of(name: str, count: int) -> list[Network]:
    """Networks with weights of their own."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    return [build_network(name, channels=shape[0], size=shape[-1], num_classes=4) for _ in range(count)]


def batches(name: str, count: int) -> list[torch.Tensor]:
    torch.manual_seed(1)
    return [torch.randn(6, *SHAPES[name]) for _ in range(count)]


def same(ours: list[Network], theirs: list[Network]) -> None:
    for one, other in zip(ours, theirs, strict=True):
        for (name, mine), (_, alone) in zip(one.named_parameters(), other.named_parameters(), strict=True):
            torch.testing.assert_close(mine.grad, alone.grad, atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
            torch.testing.assert_close(mine, alone, atol=1e-6, rtol=1e-5)
        for (name, mine), (_, alone) in zip(one.named_buffers(), other.named_buffers(), strict=True):
            torch.testing.assert_close(mine, alone, atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("inputs", ["own images", "the same images", "pairs share images"])
@pytest.mark.parametrize("name", SHAPES)
def test_a_pass_is_that_of_each(name: str, inputs: str) -> None:
    ours, images = networks_of(name, 4), batches(name, 4)
    theirs = copy.deepcopy(ours)
    if inputs == "the same images":
        images = [images[0]] * 4
    elif inputs == "pairs share images":
        images = [images[0], images[0], images[1], images[1]]
    logits = JointPass(Stack(ours), shared_images(images)).logits()
    alone = [network(one) for network, one in zip(theirs, images, strict=True)]
    torch.testing.assert_close(logits, alone, atol=1e-5, rtol=1e-5)
    weights = torch.arange(1.0, 5.0)
    with collecting() as passes:
        for one in logits:
            (one.softmax(dim=1) @ weights).square().sum().backward()
    joint_backward(passes)
    for one in alone:
        (one.softmax(dim=1) @ weights).square().sum().backward()
    same(ours, theirs)


def test_statistics_stay_in_evaluation_mode() -> None:
    ours, images = networks_of("cnn_small", 2), batches("cnn_small", 2)
    for network in ours:
        network(images[0]).sum().backward()  # statistics that are not those of a fresh network
        network.eval()
    before = copy.deepcopy(ours[1].state_dict())
    with torch.no_grad():
        logits = JointPass(Stack(ours), images).logits()
        torch.testing.assert_close(logits, [network(one) for network, one in zip(ours, images, strict=True)], atol=1e-5, rtol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in ours[1].state_dict().items())


def test_bf16() -> None:
    ours, images = networks_of("cnn_small", 2), batches("cnn_small", 2)
    for network in ours:
        network.bf16 = True
    theirs = copy.deepcopy(ours)
    logits = JointPass(Stack(ours), images).logits()
    assert logits[0].dtype == torch.float32
    torch.testing.assert_close(logits, [network(one) for network, one in zip(theirs, images, strict=True)], atol=0.02, rtol=0.02)


def test_one_run_may_go_on_alone() -> None:
    """The first takes its gradients at once and steps; the others take theirs from the same pass later."""
    ours, images = networks_of("cnn_small", 3), batches("cnn_small", 3)
    theirs = copy.deepcopy(ours)
    logits = JointPass(Stack(ours), images).logits()
    for position in (1, 0, 2):
        network, alone = ours[position], theirs[position]
        if position == 1:
            logits[position].square().sum().backward()  # outside of collecting, as a method may
        else:
            with collecting() as passes:
                logits[position].square().sum().backward()
            joint_backward(passes)
        alone(images[position]).square().sum().backward()
        same([network], [alone])
        for mine, other in zip(network.parameters(), alone.parameters(), strict=True):
            mine.data -= 0.1 * mine.grad
            other.data -= 0.1 * other.grad
    assert all(p.grad is not None for network in ours for p in network.parameters())


def test_others_get_no_gradient() -> None:
    """Adam would move a weight whose gradient is zero rather than absent."""
    ours, images = networks_of("mlp", 2), batches("mlp", 2)
    logits = JointPass(Stack(ours), images).logits()
    with collecting() as passes:
        logits[0].sum().backward()
    joint_backward(passes)
    assert all(p.grad is None for p in ours[1].parameters())


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_a_step_is_that_of_each(optimizer: str) -> None:
    settings = protocol("quick", {"optimizer": optimizer, "lr": 0.01, "weight_decay": 0.01})
    ours, stacks = Networks(networks_of("mlp", 3), settings), Stacks()
    theirs = Networks(copy.deepcopy(list(ours)), settings)
    for step in range(6):
        if step == 3:  # a checkpoint that is read back gives the optimisers other states
            ours.load_state_dict(copy.deepcopy(ours.state_dict()))
        if step == 4:
            for networks in (ours, theirs):
                networks.set_epoch(1, 2)
        for networks in (ours, theirs):
            for network, images in zip(networks, batches("mlp", 3), strict=True):
                network.zero_grad()
                network(images).square().sum().backward()
        stacks.step(ours.optimizers)
        for one in theirs.optimizers:
            one.step()
        same(list(ours), list(theirs))
    for mine, alone in zip(ours.state_dict()["optimizers"], theirs.state_dict()["optimizers"], strict=True):
        assert mine["param_groups"] == alone["param_groups"]
        for number, values in alone["state"].items():
            torch.testing.assert_close(mine["state"][number], values, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", ["cnn_small", "preact_resnet18"])
def test_training_in_float64(name: str) -> None:
    """Without float32's rounding, which deep networks on small batches multiply from step to step, nothing is left of the difference."""
    settings, stacks = protocol("quick", {"optimizer": "sgd", "lr": 0.01}), Stacks()
    ours = Networks([network.double() for network in networks_of(name, 3)], settings)
    theirs = Networks(copy.deepcopy(list(ours)), settings)
    for step in range(4):
        images = [one.double() + step for one in batches(name, 3)]
        stack = stacks.stack(list(ours))
        features = stack._each(stack._run(torch.cat(images, dim=1), 3))
        joint = [network.head(one) for network, one in zip(ours, features, strict=True)]
        alone = [network.head(network.trunk(one)) for network, one in zip(theirs, images, strict=True)]
        torch.testing.assert_close(joint, alone, atol=1e-9, rtol=1e-9)
        for networks, logits in ((ours, joint), (theirs, alone)):
            networks.step([F.cross_entropy(one, torch.arange(6) % 4) for one in logits])


def test_optimisers_that_differ_step_alone() -> None:
    first, second = (Networks(networks_of("linear", 1), protocol("quick", {"lr": lr})) for lr in (0.1, 0.2))
    assert not steppable([*first.optimizers, *second.optimizers])
    assert steppable([*first.optimizers, *first.optimizers])


@pytest.mark.parametrize(
    ("trunk", "reason"),
    [
        (nn.Sequential(nn.Flatten(), nn.Linear(192, 5), nn.Dropout(0.1)), "Dropout"),
        (nn.Sequential(nn.Flatten(), nn.LayerNorm(192), nn.Linear(192, 5)), "LayerNorm"),
        (nn.Sequential(nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), nn.Flatten()), "circular"),
        (nn.Sequential(nn.Flatten(), nn.BatchNorm1d(192, track_running_stats=False)), "running statistics"),
    ],
)
def test_what_cannot_be_stacked_says_why(trunk: nn.Module, reason: str) -> None:
    network = Network(trunk, 5, 4)
    assert reason in str(architecture(network))
    assert joint_key([network], torch.zeros(2, 3, 8, 8)) is None


def test_trunks_with_code_between_their_layers() -> None:
    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.mean(dim=(1, 2, 3)).unsqueeze(1)

    class Branch(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x if x.sum() > 0 else -x

    assert isinstance(architecture(Network(Mean(), 1, 2)), str)
    assert "traced" in str(architecture(Network(Branch(), 1, 2)))


def test_only_like_passes_share_a_key() -> None:
    first, second, third = networks_of("cnn_small", 3)
    images = batches("cnn_small", 1)[0]
    assert joint_key([first], images) == joint_key([second], images)
    third.eval()
    assert joint_key([third], images) != joint_key([first], images)
    assert joint_key([first], images[:3]) != joint_key([first], images)
    assert joint_key([first], images.clone().requires_grad_()) is None
    with torch.no_grad():
        without = joint_key([first], images)
    assert without != joint_key([first], images)
    second.head.register_forward_pre_hook(lambda *_: None)
    assert joint_key([second], images) is None


def test_two_networks_on_the_same_images(monkeypatch: pytest.MonkeyPatch) -> None:
    settings, images = protocol("quick", {}), batches("cnn_small", 1)[0]
    ours = Networks(networks_of("cnn_small", 2), settings)
    theirs = Networks(copy.deepcopy(list(ours)), settings)
    for networks, joint in ((ours, True), (theirs, False)):
        monkeypatch.setattr(joint_choice, "forced", joint)
        first, second = networks.logits(images)
        networks.step(F.cross_entropy(first, torch.arange(6) % 4) + second.logsumexp(dim=1).mean())
    torch.testing.assert_close([network.last_logits for network in ours], [network.last_logits for network in theirs], atol=1e-5, rtol=1e-5)
    for one, other in zip(ours, theirs, strict=True):  # Adam's first step is the sign of a gradient, where rounding decides at zero
        for mine, alone in zip(one.parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(mine.grad, alone.grad, atol=1e-5, rtol=1e-4)
        for mine, alone in zip(one.buffers(), other.buffers(), strict=True):
            torch.testing.assert_close(mine, alone, atol=1e-5, rtol=1e-5)


def test_the_choice_is_measured_once_and_touches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter([(2.0, 1.0), (1.0, 2.0)])
    measured = []

    def compare(*arguments: object) -> tuple[float, float]:
        measured.append(arguments)
        return next(answers)

    monkeypatch.setattr(joint_choice, "compare", compare)
    monkeypatch.setattr(joint_choice, "_measured", {})
    networks, images = networks_of("linear", 2), batches("linear", 2)
    assert joint_choice.worth_it(networks, images)
    assert joint_choice.worth_it(networks, [one[:4] for one in images])  # the last batch of a pass goes by the others
    with torch.no_grad():
        assert not joint_choice.worth_it(networks, images)
    assert len(measured) == 2


def test_measuring_leaves_networks_and_generators_alone() -> None:
    networks, images = networks_of("cnn_small", 2), batches("cnn_small", 2)
    networks[0](images[0])  # logits with a graph behind them
    before, state = copy.deepcopy([network.state_dict() for network in networks]), torch.get_rng_state()
    apart, together = joint_choice.compare(networks, images, rounds=1)
    assert apart > 0 and together > 0
    assert torch.equal(torch.get_rng_state(), state)
    assert all(p.grad is None for network in networks for p in network.parameters())
    for network, saved in zip(networks, before, strict=True):
        assert all(torch.equal(value, saved[name]) for name, value in network.state_dict().items())
