"""What is written is read back with TensorBoard's own reader; pictures are checked pixel by pixel."""

import math
import shutil
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from sklearn.metrics import confusion_matrix
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
from tensorboard.summary.writer import event_file_writer
from torch import nn

from hebbian import Backprop, FeedbackAlignment, Hebbian, NodePerturbation, oja
from trainers import Batches, Checkpoint, Phase, Recipe, RunOptions, Trainer, TrainingData, train_rule
from trainers.errors import DivergenceError
from visualizers import TensorBoard, confusion, receptive_fields
from visualizers.events import Record, open_writer
from visualizers.weights import weight_images


def read(folder):
    everything = {"images": 0, "histograms": 0, "scalars": 0, "tensors": 0}
    events = EventAccumulator(str(folder), size_guidance=everything)
    events.Reload()
    return events


def data(n=8):
    g = torch.Generator().manual_seed(0)
    return torch.randn(n, 6, generator=g), torch.randint(0, 2, (n,), generator=g)


def fit(rule, folder, epochs, phase, held=None, image=None, share=math.inf, **options):
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.25)
    with TensorBoard(folder, image, share=share, **options) as board:
        Trainer(rule, optimizer, [board], phase).fit(Batches(*data(), 4), epochs, held)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 2))


def steps(events):
    return [event.step for event in events]


def last(events, tag):
    return events.Scalars(tag)[-1].value


def test_curves_of_a_supervised_phase(tmp_path):
    model, held = net(), data(4)
    fit(Backprop(model, F.cross_entropy), tmp_path, 5, "train", held)
    events = read(tmp_path)
    every_epoch = {"objective", "accuracy", "learning_rate/0", "relative_update/0", "relative_update/2"}
    now_and_then = {f"{name}/{layer}" for name in ("dead_units", "selectivity") for layer in (0, 2)}
    assert set(events.Tags()["scalars"]) == {f"train/{name}" for name in every_epoch | now_and_then}
    for name in every_epoch:
        assert steps(events.Scalars(f"train/{name}")) == [1, 2, 3, 4, 5]
    for name in now_and_then:
        assert steps(events.Scalars(f"train/{name}")) == [1, 2, 4, 5]
    assert {e.value for e in events.Scalars("train/learning_rate/0")} == {0.25}
    right = (model(held[0]).argmax(1) == held[1]).double().mean().item()
    assert last(events, "train/accuracy") == pytest.approx(right)
    dead = (model[:2](held[0]) == 0).all(0).double().mean().item()
    assert last(events, "train/dead_units/0") == pytest.approx(dead)


def test_the_objective_is_the_mean_over_the_epoch(tmp_path):
    model, (x, y) = net(), data()
    with TensorBoard(tmp_path, share=math.inf) as board:
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        Trainer(Backprop(model, F.cross_entropy), still, [board]).fit(Batches(x, y, 4), 2)
    expected = F.cross_entropy(model(x), y).item()
    values = [e.value for e in read(tmp_path).Scalars("train/objective")]
    assert values == [pytest.approx(expected), pytest.approx(expected)]
    assert [e.value for e in read(tmp_path).Scalars("train/relative_update/0")] == [0, 0]


def test_weights_and_activity_at_doubling_intervals_and_at_the_end(tmp_path):
    model, held = net(), data(4)
    fit(Backprop(model, F.cross_entropy), tmp_path, 5, "train", held, image=(2, 3))
    events = read(tmp_path)
    histograms = {f"train/{name}/{layer}" for name in ("weights", "activity") for layer in (0, 2)}
    assert set(events.Tags()["histograms"]) == histograms
    for tag in histograms:
        assert steps(events.Histograms(tag)) == [1, 2, 4, 5]
    weights = events.Histograms("train/weights/0")[-1].histogram_value
    assert (weights.num, weights.max) == (30, pytest.approx(model[0].weight.max().item()))
    activity = events.Histograms("train/activity/0")[-1].histogram_value
    assert (activity.num, activity.max) == (20, pytest.approx(model[:2](held[0]).max().item()))
    assert steps(events.Images("train/receptive_fields/0")) == [1, 2, 4, 5]
    assert steps(events.Images("train/receptive_fields/2")) == [1, 2, 4, 5]
    assert steps(events.Images("train/confusion")) == [5]


def test_a_rule_without_labels_has_neither_objective_nor_accuracy(tmp_path):
    model = net()
    fit(Hebbian(model, {"0": oja}), tmp_path, 1, "features", held=(data()[0], None), alignment=True)
    events = read(tmp_path)
    assert {tag.split("/")[1] for tag in events.Tags()["scalars"]} == {
        *("learning_rate", "relative_update", "norm_error", "dead_units", "selectivity")
    }
    norms = model[0].weight.detach().norm(dim=1)
    assert last(events, "features/norm_error/0") == pytest.approx((norms - 1).abs().mean().item())
    assert "features/norm_error/2" not in events.Tags()["scalars"]  # no plasticity acts there
    assert events.Tags()["images"] == []


def test_the_angle_to_backprop(tmp_path):
    held = data(4)
    fit(Backprop(net(), F.cross_entropy), tmp_path / "itself", 2, "train", held, alignment=True)
    events = read(tmp_path / "itself")
    for layer in (0, 2):
        assert [e.value for e in events.Scalars(f"train/angle_to_backprop/{layer}")] == pytest.approx(
            [0, 0], abs=0.01
        )
    rule = FeedbackAlignment(net(), F.cross_entropy)
    rule.feedback[rule.names[rule.model[2]]].data.copy_(-rule.model[2].weight)
    with TensorBoard(tmp_path / "turned", alignment=True) as board:
        still = torch.optim.SGD(rule.parameters(), lr=0.0)
        Trainer(rule, still, [board]).fit(Batches(*data(), 4), 1, held)
    assert last(read(tmp_path / "turned"), "train/angle_to_backprop/0") == pytest.approx(180, abs=0.01)


@pytest.mark.parametrize("make", [Backprop, NodePerturbation])
def test_whoever_looks_changes_nothing(tmp_path, make):
    def train(*callbacks):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2))
        rule = make(model, F.cross_entropy)
        batches = Batches(*data(), 4, torch.Generator().manual_seed(0))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        Trainer(rule, optimizer, callbacks).fit(batches, 4, data(4))
        return model.state_dict()

    alone = train()
    with TensorBoard(tmp_path, (2, 3), settings={"seed": 0}, alignment=True) as board:
        watched = train(board)
    assert all(torch.equal(alone[key], watched[key]) for key in alone)


def test_a_large_held_out_set_is_evaluated_whole_at_the_end_of_a_phase_only(tmp_path):
    model = net()
    x, _ = data(2002)
    y = model(x).argmax(1)
    y[1::2] = 1 - y[1::2]  # every second one is wrong, the others right
    with TensorBoard(tmp_path, settings={"seed": 0}) as board:
        still = torch.optim.SGD(model.parameters(), lr=0.0)
        Trainer(Backprop(model, F.cross_entropy), still, [board]).fit(
            Batches(*data(), 4), 1, (x[:2000], y[:2000])
        )
    assert last(read(tmp_path), "train/accuracy") == 1.0
    assert last(read(tmp_path), "final/accuracy") == 0.5


@pytest.mark.parametrize("one_logit", [False, True])
def test_confusion_counts_true_classes_by_row(tmp_path, monkeypatch, one_logit):
    drawn = []
    monkeypatch.setattr("visualizers.tensorboard.confusion", lambda n: drawn.append(n) or confusion(n))
    x, y = data(50)
    model = nn.Linear(6, 1 if one_logit else 4)
    criterion = F.binary_cross_entropy_with_logits if one_logit else F.cross_entropy
    targets = y[:, None].float() if one_logit else y
    with TensorBoard(tmp_path) as board:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        Trainer(Backprop(model, criterion), optimizer, [board]).fit(
            Batches(x, targets, 25), 1, held_out=(x, targets)
        )
    scores = model(x).detach()
    predicted = (scores[:, 0] > 0).long() if one_logit else scores.argmax(1)
    classes = range(2 if one_logit else 4)
    np.testing.assert_array_equal(drawn[0], confusion_matrix(y, predicted, labels=list(classes)))


def pixels(image):
    return np.asarray(image.convert("RGB")).astype(int)


def trimmed(mask):
    rows, columns = mask.any(1).nonzero()[0], mask.any(0).nonzero()[0]
    return mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def written(text):
    image = Image.new("1", (60, 30))
    ImageDraw.Draw(image).text((5, 5), text, fill=1, font=ImageFont.load_default(12))
    return trimmed(np.asarray(image))


def test_a_confusion_matrix_shows_its_counts():
    counts = np.array([[5, 1, 0], [0, 7, 70], [17, 0, 283]])
    page = pixels(confusion(counts))
    assert page.shape[1] == 350  # which TensorBoard does not scale
    side = (page.shape[0] - 32) // 3  # two lines of text at the left and below
    for (row, column), count in np.ndenumerate(counts):
        cell = page[row * side : (row + 1) * side, 32 + column * side :][:, :side]
        ink = trimmed((cell != cell[0, 0]).any(2))
        for digit in (str(count)[0], str(count)[-1]):
            glyph = written(digit)
            edge = ink[:, : glyph.shape[1]] if digit == str(count)[0] else ink[:, -glyph.shape[1] :]
            np.testing.assert_array_equal(edge, glyph)
        fraction = count / counts[row].sum()
        np.testing.assert_allclose(cell[0, 0], 255 + fraction * (np.array([8, 64, 129]) - 255), atol=3)
        assert cell[(cell != cell[0, 0]).any(2)].mean() > 200 if fraction > 0.5 else 50  # light on dark
    for i in range(3):
        np.testing.assert_array_equal(
            trimmed((page[i * side : (i + 1) * side, 16:32] < 255).any(2)), written(f"{i}")
        )


def test_many_classes_have_no_numbers_and_a_class_without_samples_is_white():
    page = pixels(confusion(np.diag([*range(1, 30), 0])))
    matrix = page[:-32, 32:][:, : len(page) - 32]
    assert set(map(tuple, matrix.reshape(-1, 3))) == {(255, 255, 255), (8, 64, 129)}
    side = len(matrix) // 30
    np.testing.assert_array_equal((matrix[::side, ::side] < 255).any(2), np.diag([*[True] * 29, False]))


def test_a_histogram_counts_the_finite_values_of_thirty_equal_intervals(tmp_path):
    values = torch.randn(1000, generator=torch.Generator().manual_seed(0))
    record = Record("a/")
    record.add_histogram("all", values)
    record.add_histogram("finite", torch.cat([values, torch.tensor([math.nan, math.inf])]))
    record.add_histogram("one", torch.full((5,), 3.0))
    record.add_histogram("none", torch.tensor([math.nan]))
    with open_writer(tmp_path) as writer:
        record.write(writer, 7)
    events = read(tmp_path)
    assert set(events.Tags()["histograms"]) == {"a/all", "a/finite", "a/one"}
    expected, edges = np.histogram(values.double(), 30)
    for tag in ("a/all", "a/finite"):
        (event,) = events.Histograms(tag)
        assert event.step == 7
        shown = event.histogram_value
        assert shown.bucket == expected.tolist()
        np.testing.assert_allclose(shown.bucket_limit, edges[1:])
        assert (shown.num, shown.min, shown.max) == (1000, edges[0], edges[-1])
        assert shown.sum == pytest.approx(values.sum().item(), rel=1e-4)
        assert shown.sum_squares == pytest.approx((values**2).sum().item(), rel=1e-4)
    shown = events.Histograms("a/one")[0].histogram_value
    assert (shown.bucket, shown.bucket_limit, shown.num) == ([5], [3], 5)


def test_a_histogram_of_numbers_whose_range_overflows_has_thirty_equal_intervals():
    values = torch.linspace(-1, 1, 100, dtype=torch.float64) ** 3
    expected, edges = np.histogram(values, 30)
    record = Record("a/")
    record.add_histogram("large", values * torch.finfo(torch.float64).max)
    shown = record._summary.value[0].histo  # what TensorBoard derives from it on reading does overflow
    assert list(shown.bucket) == expected.tolist()
    limits = np.array(shown.bucket_limit) / torch.finfo(torch.float64).max
    np.testing.assert_allclose(limits, edges[1:], atol=1e-12)


@pytest.mark.parametrize(("share", "watched"), [(0.0, [1]), (math.inf, [1, 2, 3, 4, 5])])
def test_the_first_and_the_last_epoch_are_written_at_any_share(tmp_path, share, watched):
    fit(Backprop(net(), F.cross_entropy), tmp_path, 5, "train", data(4), share=share)
    events = read(tmp_path)
    for name in ("objective", "relative_update/0"):  # which need the epoch from its beginning
        assert steps(events.Scalars(f"train/{name}")) == watched
    for name in ("accuracy", "learning_rate/0"):
        assert steps(events.Scalars(f"train/{name}")) == sorted({*watched, 5})
    assert steps(events.Histograms("train/weights/0"))[-1] == 5


def test_the_next_writing_waits_until_the_last_ones_are_no_more_than_their_share(tmp_path, monkeypatch):
    """By a clock on which a step takes 2 s and the writing of an epoch 1 s."""
    now, written = [0.0], []

    class Clock:
        perf_counter = staticmethod(lambda: now[0])

        def on_step(self, trainer):
            now[0] += 2

    class Slow(Trainer):
        def evaluate(self, most=None):
            now[0] += 1
            written.append(self.epoch)
            return {}

    monkeypatch.setattr("visualizers.tensorboard.time", Clock)
    rule = Backprop(net(), F.cross_entropy)
    with TensorBoard(tmp_path, share=0.1) as board:
        optimizer = torch.optim.SGD(rule.parameters(), lr=0.25)
        Slow(rule, optimizer, [Clock(), board]).fit(Batches(*data(), 8), 20)
    # With 1 s reserved for the end: 20 s have passed after epoch 10, so that 11 is logged; 30 s after 14.
    assert written == [1, 11, 15, 20]
    assert len(written) <= 0.1 * now[0]


class Interrupt:
    def __init__(self, after):
        self.after = after

    def on_step(self, trainer):
        self.after -= 1
        if not self.after:
            raise KeyboardInterrupt


@pytest.mark.parametrize(  # written each step, or at the end of a phase only
    ("after", "every"), [([3, 6], 0), ([7, 2, 8], math.inf), ([7, 2, 8], 0), ([20, 3], 0), ([13], math.inf)]
)
def test_a_resumed_training_writes_the_same_as_an_uninterrupted_one(tmp_path, after, every, monkeypatch):
    # TensorBoard reads the files of one second and process by the text of their number: all of one length.
    monkeypatch.setattr(event_file_writer, "_global_uid", event_file_writer.AtomicCounter(1000))

    def fit(folder, *riders, checkpoint=None):
        x, y = data(40)
        model = net()
        phase = Phase(partial(torch.optim.SGD, lr=0.1), 3, 10)
        with TensorBoard(folder, (2, 3), settings={"seed": 0}, share=math.inf) as board:
            train_rule(
                "softhebb",
                model,
                TrainingData(x, y, classes=2, held_out=(x, y)),
                Recipe(phase, readout=phase),
                RunOptions(0, [board, *riders], checkpoint),
            )

    def written(folder):
        events = read(folder)
        scalars = {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}
        others = {
            tag: steps(getattr(events, kind.title())(tag))
            for kind in ("images", "histograms", "tensors")
            for tag in events.Tags()[kind]
        }
        return scalars, others

    fit(tmp_path / "whole")
    path = tmp_path / "a.pt"
    for steps_made in after:
        if not path.exists():
            shutil.rmtree(tmp_path / "cut", ignore_errors=True)
        with pytest.raises(KeyboardInterrupt):
            fit(tmp_path / "cut", Interrupt(steps_made), checkpoint=Checkpoint(path, every=every))
    if not path.exists():
        shutil.rmtree(tmp_path / "cut")
    for _ in range(2):  # the second time from the checkpoint at the very end
        fit(tmp_path / "cut", checkpoint=Checkpoint(path, every=every))
    assert written(tmp_path / "cut") == written(tmp_path / "whole")


def hyperparameters(events, tag):
    content = events.PluginTagToContent("hparams")[f"_hparams_/{tag}"]
    return HParamsPluginData.FromString(content)


def test_settings_and_their_outcome_are_hyperparameters_of_the_same_run(tmp_path):
    settings = {"rule": "backprop", "rate": 0.25, "seed": 3}
    fit(Backprop(net(), F.cross_entropy), tmp_path, 2, "train", data(), settings=settings)
    assert len(list(tmp_path.rglob("*"))) == 1  # add_hparams would have opened a folder
    events = read(tmp_path)
    start = hyperparameters(events, "session_start_info").session_start_info.hparams
    assert start["rule"].string_value == "backprop"
    assert (start["rate"].number_value, start["seed"].number_value) == (0.25, 3)
    metrics = hyperparameters(events, "experiment").experiment.metric_infos
    assert [metric.name.tag for metric in metrics] == ["final/accuracy"]
    assert last(events, "final/accuracy") == pytest.approx(last(events, "train/accuracy"))


def test_a_run_that_failed_has_no_final_metric(tmp_path):
    with pytest.raises(RuntimeError, match="stop"), TensorBoard(tmp_path, settings={"seed": 0}):
        raise RuntimeError("stop")
    events = read(tmp_path)
    assert events.PluginTagToContent is not None
    assert events.Tags()["tensors"] == []
    assert events.Tags()["scalars"] == []


def test_the_card_reports_the_model_the_rule_and_the_settings(tmp_path):
    rule = Backprop(net(), F.cross_entropy)
    fit(rule, tmp_path, 1, "train", settings={"rule": "backprop", "data": "noise", "seed": 3})
    (event,) = read(tmp_path).Tensors("train/card/text_summary")
    card = event.tensor_proto.string_val[0].decode()
    assert "Research use only" in card
    for row in ("| data | noise |", "| seed | 3 |", "| rule | backprop |", "| trainable parameters | 47 |"):
        assert row in card.splitlines()
    assert "Linear(in_features=6, out_features=5, bias=True)" in card
    assert "lr: 0.25" in card


def test_nothing_written_names_a_place_on_the_machine(tmp_path):
    fit(Backprop(net(), F.cross_entropy), tmp_path, 1, "train", data(), (2, 3), settings={"seed": 3})
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    assert b"train/accuracy" in content
    for place in (tmp_path, "/home", "/root", "/work", "/tmp", "site-packages"):
        assert str(place).encode() not in content


def test_weights_that_have_diverged_are_logged_as_far_as_they_can_be(tmp_path):
    class Diverge:
        def on_epoch(self, trainer):  # after the last step, which is checked
            with torch.no_grad():
                trainer.rule.model[0].weight[0] = math.nan
                trainer.rule.model[2].weight[:] = math.inf

    rule = Backprop(net(), F.cross_entropy)
    optimizer = torch.optim.SGD(rule.parameters(), lr=0.25)
    with TensorBoard(tmp_path, (2, 3)) as board, pytest.raises(DivergenceError):
        Trainer(rule, optimizer, [Diverge(), board]).fit(Batches(*data(), 4), 1, data())
    assert "train/weights/2" not in read(tmp_path).Tags()["histograms"]
    assert "train/weights/0" in read(tmp_path).Tags()["histograms"]


@pytest.mark.parametrize(
    ("criterion", "y"),
    [
        (F.cross_entropy, torch.eye(2)[torch.arange(8) % 2]),
        (F.binary_cross_entropy_with_logits, torch.ones(8, 2)),
        (F.mse_loss, torch.linspace(-1, 1, 16).view(8, 2)),
        (F.mse_loss, (torch.arange(8) % 2.0)[:, None]),
    ],
    ids=["one-hot", "multi-label", "regression", "regression to 0 and 1"],
)
def test_targets_that_are_not_classes_have_no_accuracy(tmp_path, criterion, y):
    rule = Backprop(nn.Sequential(nn.Linear(6, 5), nn.Linear(5, y.shape[1])), criterion)
    x, _ = data()
    with TensorBoard(tmp_path) as board:
        trainer = Trainer(rule, torch.optim.SGD(rule.parameters(), lr=0.25), [board])
        trainer.fit(Batches(x, y, 4), 1, (x, y))
    tags = read(tmp_path).Tags()
    assert "train/objective" in tags["scalars"]
    assert "train/accuracy" not in tags["scalars"]
    assert "train/confusion" not in tags["images"]


def test_a_readout_alone_has_no_picture_and_a_plain_tag(tmp_path):
    fit(Backprop(nn.Linear(6, 2), F.cross_entropy), tmp_path, 1, "readout", image=(28, 28))
    assert read(tmp_path).Tags()["histograms"] == ["readout/weights"]
    assert read(tmp_path).Tags()["images"] == []


def test_ten_pictures_hold_a_run_of_512_epochs():
    # epochs 1, 2, 4 ... 512 are ten; TensorBoard keeps no more a tag
    assert sum(epoch.bit_count() == 1 for epoch in range(1, 513)) == 10


def test_kernels_of_a_first_convolution_are_shown(tmp_path):
    model = nn.Sequential(nn.Unflatten(1, (2, 3)), nn.Conv1d(2, 4, 3), nn.Flatten(), nn.Linear(4, 2))
    fit(Backprop(model, F.cross_entropy), tmp_path, 1, "train")
    (image,) = read(tmp_path).Images("train/receptive_fields/1")
    assert (image.height, image.width) == (2 * 2 + 1, 2 * 3 + 1)  # 4 kernels of 2 channels x 3 samples


def test_deeper_units_are_shown_where_they_look():
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3), nn.Flatten(), nn.Linear(64, 2))
    x = torch.randn(5, 1, 8, 8)
    found = weight_images(model, x, None, most=2)
    assert {path: w.shape for path, w in found.items()} == {
        "0": (3, 1, 3, 3),  # its kernels
        "2": (2, 1, 5, 5),  # a kernel of kernels, cut out
        "4": (2, 1, 8, 8),
    }
    assert set(weight_images(model, None, None, most=2)) == {"0"}
    dense = nn.Sequential(nn.Linear(64, 3), nn.Linear(3, 2))
    assert set(weight_images(dense, x.flatten(1), None, most=2)) == set()
    shown = weight_images(dense, x.flatten(1), (8, 8), most=9)
    product = (dense[1].weight @ dense[0].weight).detach().numpy() * x.flatten(1).numpy().std(0)
    np.testing.assert_allclose(shown["1"], product.reshape(2, 8, 8), rtol=1e-4, atol=1e-6)
    assert weight_images(nn.ReLU(), x, None, most=2) == {}


def test_receptive_fields_are_red_for_positive_and_blue_for_negative():
    w = np.array([[[4.0, -4.0, 2.0]], [[0.0, -1.0, 0.5]], [[0.0, 0.0, 0.0]]])
    page = receptive_fields(w)
    assert page.shape == (3, 3, 7)
    red, blue, white, pink = [1, 0, 0], [0, 0, 1], [1, 1, 1], [1, 0.5, 0.5]
    expected = [
        [red, blue, pink, white, white, blue, pink],
        [white] * 7,
        [white] * 7,
    ]
    np.testing.assert_allclose(page.transpose(1, 2, 0), expected)


def test_receptive_fields_show_the_first_units_only():
    assert receptive_fields(np.ones((100, 2, 2)), most=9).shape == (3, 8, 8)
    with pytest.raises(ValueError, match=r"must be \(units, height, width\) .*, got \(3, 4\)"):
        receptive_fields(np.ones((3, 4)))


def test_three_channels_are_colours_and_others_are_stacked():
    w = np.zeros((1, 3, 1, 2))
    w[0, :, 0, 0] = [2.0, -2.0, 0.0]
    np.testing.assert_allclose(receptive_fields(w), [[[1, 0.5]], [[0, 0.5]], [[0.5, 0.5]]])
    assert receptive_fields(np.ones((1, 2, 4, 5))).shape == (3, 8, 5)
