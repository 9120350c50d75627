from pathlib import Path

import pytest
import torch
from hypothesis import given, settings, strategies as st

from eeg.models.registry import MODELS, build_model, register_model
from eeg.models.tvgg import MIN_TIMES, TVGG
from hebbian.synapse import weight_layers


@pytest.mark.parametrize(("gap", "published"), [(False, 33_425), (True, 12_945)])
def test_parameters_are_those_of_the_paper(gap: bool, published: int) -> None:
    assert sum(p.numel() for p in TVGG(gap=gap).parameters()) == published


@pytest.mark.parametrize(("gap", "published"), [(False, 33_425), (True, 12_945)])
@given(channels=st.integers(1, 70), times=st.integers(MIN_TIMES, 4000), outputs=st.integers(1, 3))
@settings(max_examples=20)
def test_parameters_of_other_shapes_by_arithmetic(
    gap: bool, published: int, channels: int, times: int, outputs: int
) -> None:
    first = 3 * 16 * (channels - 19)  # the first convolution's kernels alone see the channels
    inner = 32 if gap else 16
    dense = 0 if gap else 16 * 32 * (times // 64 - 2560 // 64)
    expected = published + first + dense + (outputs - 1) * (inner + 1)
    found = sum(p.numel() for p in TVGG(channels, times, outputs, gap=gap).parameters())
    assert found == expected


@given(
    name=st.sampled_from(sorted(MODELS)),
    channels=st.integers(1, 40),
    times=st.integers(76, 700),  # Deep4 needs most
    outputs=st.integers(1, 3),
)
@settings(max_examples=25)
def test_any_channels_and_lengths(name: str, channels: int, times: int, outputs: int) -> None:
    network = build_model(name, channels, times, outputs)
    assert network(torch.zeros(2, channels, times)).shape == (2, outputs)


@pytest.mark.parametrize("times", [0, 1, 63])
def test_too_short_windows_are_refused(times: int) -> None:
    with pytest.raises(ValueError, match=f"at least 64 samples, got {times}"):
        TVGG(19, times)


@pytest.mark.parametrize(("channels", "outputs"), [(0, 1), (19, 0), (-1, 1)])
def test_counts_must_be_positive(channels: int, outputs: int) -> None:
    with pytest.raises(ValueError, match=f"got {channels} and {outputs}"):
        TVGG(channels, 64, n_outputs=outputs)


@pytest.mark.parametrize("name", sorted(MODELS))
def test_a_block_has_one_weight_layer_at_most_and_the_last_block_one(name: str) -> None:
    network = build_model(name, 4, 128)
    in_block = [len(weight_layers(block)) for block in network]
    assert in_block == [1] * len(network)


def test_unknown_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean 'tvgg-gap'"):
        build_model("tvgg_gap", 4, 128)


def test_a_name_is_registered_once() -> None:
    with pytest.raises(ValueError, match="two models are named 'tvgg'"):
        register_model("tvgg")(lambda channels, times, outputs: None)


def test_user_code_is_imported_and_is_one_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine_for_test.py").write_text(
        "from torch import nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, c, t, k):\n"
        "        super().__init__()\n"
        "        self.readout = nn.Linear(c * t, k)\n"
        "    def forward(self, x):\n"
        "        return self.readout(x.flatten(1))\n"
        "def chain(c, t, k):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(c * t, k))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name, blocks in (("mine_for_test:Net", 1), ("mine_for_test:chain", 2)):
        network = build_model(name, 3, 64, 2)
        assert len(network) == blocks
        assert network(torch.zeros(5, 3, 64)).shape == (5, 2)


@pytest.mark.parametrize(
    "name", ["no_such_module_here:net", "eeg.models.registry:no_such_function", ":", "eeg:"]
)
def test_missing_code_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"import the model .{name}.*expected package\.module:function"
    ) as why:
        build_model(name, 4, 128)
    assert ("install the module or set PYTHONPATH" in str(why.value)) == name.startswith("no_such")


@pytest.mark.parametrize("gap", [False, True])
def test_grad_cam_has_cells_of_sixteen_samples(gap: bool) -> None:
    network = TVGG(3, 640, gap=gap).eval()
    seen: list[torch.Tensor] = []
    network.last_convolution.register_forward_hook(lambda m, i, out: seen.append(out))
    network(torch.zeros(1, 3, 640))
    assert seen[0].shape == (1, 32, 1, 640 // 16)


def test_gap_is_invariant_to_shifts_in_time() -> None:
    """Shifted by whole pooling cells, far from the borders, a pattern has the same mean over time."""
    torch.manual_seed(0)
    network = TVGG(2, 1024, gap=True).eval()
    x = torch.zeros(1, 2, 1024)
    x[..., 400:420] = torch.randn(2, 20)
    torch.testing.assert_close(network(x), network(x.roll(128, -1)))
