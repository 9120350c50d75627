"""Occlusion on stretches agrees with occlusion of whole windows, whatever the layers."""

import pytest
import torch
from captum.attr import Occlusion
from hypothesis import given, strategies as st
from torch import Tensor, nn

from eeg.explanation.attribution import Contrast, Montage, attribute
from eeg.explanation.occlusion import occluded_scores
from eeg.models.registry import build_model

CHANNELS, TIMES = 3, 50


def plain(scores: nn.Module, x: Tensor, baseline: Tensor, starts: list[int], size: int) -> list[Tensor]:
    """The scores of whole windows, stretch by stretch."""
    found = []
    for start in starts:
        removed = x.clone()
        removed[..., start : start + size] = baseline[..., start : start + size]
        found.append(scores(removed))
    return found


@st.composite
def networks(draw: st.DrawFn) -> nn.Module:
    """A chain of local layers, with a readout behind it or a layer that is not local in between.

    Windows stay sequences, or become images of one row or of one row per channel.
    """
    shape = draw(st.sampled_from([None, (CHANNELS, 1), (1, CHANNELS)]))
    layers: list[nn.Module] = [nn.Unflatten(1, shape)] if shape else []
    convolve, norms = (nn.Conv2d, nn.BatchNorm2d) if shape else (nn.Conv1d, nn.BatchNorm1d)
    maximum, mean = (nn.MaxPool2d, nn.AvgPool2d) if shape else (nn.MaxPool1d, nn.AvgPool1d)
    channels, rows, length = (*shape, TIMES) if shape else (CHANNELS, 1, TIMES)

    def over_time(value: int, others: int) -> int | tuple[int, int]:
        return (others, value) if shape else value

    for _ in range(draw(st.integers(0, 4))):
        kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 12))
        kind = draw(st.sampled_from(["convolution", "maximum", "mean"]))
        if length < 14:
            break
        if kind == "convolution":
            padding, dilation, height = (draw(st.integers(low, 3)) for low in (0, 1, 1))
            height, margin = min(height, rows), draw(st.integers(0, 1))
            layer: nn.Module = convolve(
                channels,
                4,
                over_time(kernel, height),
                over_time(stride, 1),
                over_time(padding, margin),
                over_time(dilation, 1),
            )
            channels, extent, rows = 4, dilation * (kernel - 1) + 1, rows + 2 * margin - height + 1
        else:
            layer = (maximum if kind == "maximum" else mean)(over_time(kernel, 1), over_time(stride, 1))
            padding, extent = 0, kernel
        length = (length + 2 * padding - extent) // stride + 1
        norm = norms(channels)
        norm.running_mean = torch.randn(channels)
        more = [norm, nn.ReLU(inplace=True), nn.ELU(inplace=True), nn.Dropout(), nn.Softmax(-1)]
        layers += [layer, *draw(st.lists(st.sampled_from(more), max_size=2, unique=True))]
    return nn.Sequential(nn.Sequential(*layers), nn.Flatten(), nn.LazyLinear(2))


@given(
    network=networks(),
    starts=st.lists(st.integers(0, TIMES - 1), min_size=1, max_size=6),
    size=st.integers(1, TIMES + 5),
    batch=st.integers(1, 8),
    windows=st.integers(1, 3),
    seed=st.integers(0, 99),
)
def test_scores_of_stretches_are_those_of_whole_windows(
    network: nn.Module, starts: list[int], size: int, batch: int, windows: int, seed: int
) -> None:
    torch.manual_seed(seed)
    x, baseline = torch.randn(2, windows, CHANNELS, TIMES)
    network(x)  # which the lazy layer waits for
    network.eval()
    before = x.clone()
    with torch.no_grad():
        found = list(occluded_scores(network, x, baseline, starts, size, batch))
        expected = plain(network, x, baseline, starts, size)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(x, before, atol=0, rtol=0)


@pytest.mark.parametrize("hook", [False, True])
def test_a_layer_with_a_hook_runs_on_whole_windows(hook: bool) -> None:
    layer = nn.Conv1d(CHANNELS, 4, 3, padding=1)
    lengths = []
    if hook:
        layer.register_forward_hook(lambda _, args, out: lengths.append(args[0].shape[2]))
    network = nn.Sequential(layer, nn.ReLU(), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(4, 1)).eval()
    x = torch.randn(2, CHANNELS, TIMES)
    with torch.no_grad():
        found = list(occluded_scores(network, x, torch.zeros_like(x), [3, 20], 5, 64))
        torch.testing.assert_close(found, plain(network, x, torch.zeros_like(x), [3, 20], 5))
    assert set(lengths) == ({TIMES} if hook else set())


class OwnCall(nn.Sequential):
    def __call__(self, x: Tensor) -> Tensor:
        return super().__call__(x - x.mean(-1, keepdim=True))


class OwnUnflatten(nn.Unflatten):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.cumsum(-1))


def convolutions(first: nn.Module | None = None, kind: type[nn.Sequential] = nn.Sequential) -> nn.Sequential:
    """Layers which occlusion runs on stretches only; the first two are a nested sequence."""
    torch.manual_seed(0)
    return nn.Sequential(
        kind(first or nn.Conv1d(CHANNELS, 4, 5), nn.ReLU()),
        nn.Conv1d(4, 8, 3),
        nn.AdaptiveAvgPool1d(1),
        nn.Flatten(),
        nn.Linear(8, 1),
    ).eval()


def assert_evidence_is_of_whole_windows(network: nn.Module) -> None:
    x, baseline = torch.randn(2, 2, CHANNELS, TIMES)
    with torch.no_grad():
        found = list(occluded_scores(network, x, baseline, [3, 20], 5, 64))
        torch.testing.assert_close(found, plain(network, x, baseline, [3, 20], 5))


@pytest.mark.parametrize(
    ("path", "name"),
    [*((path, "forward") for path in ("", "0", "0.0", "0.1", "1")), ("0.0", "_conv_forward")],
)
def test_a_module_with_a_forward_of_its_own_runs_on_whole_windows(path: str, name: str) -> None:
    network = convolutions()
    module = network.get_submodule(path)
    forward = getattr(module, name)
    setattr(module, name, lambda x, *more: forward(x - x.mean(-1, keepdim=True), *more))
    assert_evidence_is_of_whole_windows(network)


def test_a_subclass_with_a_call_of_its_own_runs_on_whole_windows() -> None:
    assert_evidence_is_of_whole_windows(convolutions(kind=OwnCall))
    rows = nn.Sequential(
        OwnUnflatten(1, (1, CHANNELS)), nn.Conv2d(1, 4, (1, 3)), nn.Flatten(), nn.LazyLinear(1)
    )
    rows(torch.randn(1, CHANNELS, TIMES))
    assert_evidence_is_of_whole_windows(rows.eval())


@pytest.mark.parametrize("before", [True, False])
def test_with_a_global_hook_all_layers_run_on_whole_windows(before: bool) -> None:
    def centred(module: nn.Module, args: tuple[Tensor, ...], *out: Tensor) -> Tensor:
        x = out[0] if out else args[0]
        return x - x.mean(-1, keepdim=True) if isinstance(module, nn.Conv1d) else x

    where = nn.modules.module
    register = where.register_module_forward_pre_hook if before else where.register_module_forward_hook
    hook = register(centred)
    try:
        assert_evidence_is_of_whole_windows(convolutions())
    finally:
        hook.remove()


@pytest.mark.parametrize("model", ["tvgg-gap", "tvgg", "eegnet"])
@pytest.mark.parametrize("times", [256, 250])
def test_evidence_is_that_of_captum(model: str, times: int) -> None:
    torch.manual_seed(0)
    network = build_model(model, 5, times).eval()
    x, baseline = torch.randn(2, 3, 5, times)
    found = attribute(network, x, baseline, Montage("abcde", 128.0), batch=16)
    lost = Occlusion(Contrast(network)).attribute(
        x, sliding_window_shapes=(5, 32), strides=(5, 8), baselines=baseline, target=0
    )
    torch.testing.assert_close(found, lost[:, :1] / 32, atol=1e-7, rtol=1e-4)
