"""Readouts: scalings that fold into the layer, and classifiers that equal scikit-learn's on the features."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.optim import SGD

from hebbian.rule import probabilities
from trainers import Phase, Recipe, RunOptions, TrainingData, mlp, predict, train_rule
from trainers.readout import Features, fit_scaling, fold_scaling, last_linear, with_dropout

PHASE = Phase(partial(SGD, lr=0.01), 2, 10)


def data(n=60, classes=3):
    g = torch.Generator().manual_seed(1)
    y = torch.randint(0, classes, (n,), generator=g)
    return torch.randn(n, 12, generator=g) + y[:, None], y


def read_out(recipe, model, x, y, classes=3, criterion=F.cross_entropy):
    return train_rule("oja", model, TrainingData(x, y, classes, criterion), recipe)


@pytest.mark.parametrize("classifier", [None, partial(KNeighborsClassifier, 3)])
def test_features_stored_in_fewer_bits_are_the_same_where_they_need_no_more(classifier):
    x, y = data()
    scores = []
    for dtype in (None, torch.bfloat16):
        model = mlp(12, [8], 3)
        for parameter in model.parameters():
            parameter.data.copy_(torch.arange(parameter.numel()).view_as(parameter) % 3 - 1)
        options = RunOptions(feature_dtype=dtype)
        recipe = Recipe(PHASE, readout=PHASE, scale="none", classifier=classifier)
        rule = train_rule("frozen", model, TrainingData(x.round(), y, 3), recipe, options)  # whole numbers
        scores.append(predict(rule, x.round()))
    torch.testing.assert_close(*scores)


@pytest.mark.parametrize("kind", ["none", "mean", "standard"])
def test_folding_keeps_the_scores(kind):
    h = torch.rand(50, 7, dtype=torch.float64) * torch.arange(7)  # the first feature never changes
    readout = nn.Linear(7, 3, dtype=torch.float64)
    scaling = fit_scaling(h, kind)
    expected = readout(scaling(h))
    fold_scaling(scaling, readout)
    torch.testing.assert_close(readout(h), expected, rtol=1e-12, atol=1e-12)


def test_scalings_have_the_statistics_of_their_names():
    h = torch.rand(50, 7, dtype=torch.float64) * 3 + torch.arange(7)
    assert torch.equal(fit_scaling(h, "none")(h), h)
    assert fit_scaling(h, "mean")(h).mean().item() == pytest.approx(1)
    z = fit_scaling(h, "standard")(h)
    np.testing.assert_allclose(z.numpy().mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(z.numpy().std(0), 1)
    assert torch.equal(fit_scaling(h, "standard").apply_(h.clone()), z)
    with pytest.raises(ValueError, match="needs a positive one; use 'standard'"):
        fit_scaling(-h, "mean")


def test_features_are_what_the_last_linear_gets():
    model, (x, _) = mlp(12, [8, 7], 3), data()
    torch.testing.assert_close(Features(model, last_linear(model))(x), model[:-1](x))


def test_a_model_without_a_linear_readout_is_refused():
    with pytest.raises(TypeError, match="needs a Linear with a bias"):
        last_linear(nn.Sequential(nn.Linear(3, 3), nn.Conv1d(3, 3, 1)))
    model = nn.Sequential(nn.Linear(12, 5), nn.Linear(5, 3), nn.Tanh())
    with pytest.raises(TypeError, match="move the layers after it"):
        Features(model, last_linear(model))(data()[0])


def test_the_readout_learns_with_the_dropout_before_it():
    """If everything is dropped only the biases learn; elsewhere in the model dropout has no effect."""
    model = nn.Sequential(nn.Linear(12, 8), nn.Dropout(0.9), nn.Sequential(nn.Dropout(1.0), nn.Linear(8, 3)))
    readout = model[2][1]
    before = readout.weight.clone()
    read_out(Recipe(PHASE, readout=PHASE, scale="none"), model, *data())
    assert torch.equal(readout.weight, before)
    assert isinstance(with_dropout(model, readout)[0], nn.Dropout)
    assert with_dropout(model[:1], model[0]) is model[0]


@pytest.mark.parametrize(
    "make",
    [
        partial(KNeighborsClassifier, 5),
        partial(LogisticRegression, C=0.1, tol=1e-6, max_iter=1000),
        RidgeClassifier,
    ],
    ids=["k-NN", "logistic", "ridge"],
)
@pytest.mark.parametrize("classes", [2, 3])
def test_a_classifier_reads_what_scikit_learn_would(make, classes):
    """Written out: standardise the features by scikit-learn, fit there, compare."""
    (x, y), (x_new, _) = data(classes=classes), data(40, classes)
    model = mlp(12, [8, 7], classes, centred=True)
    rule = read_out(Recipe(PHASE, classifier=make), model, x, y, classes)
    body = model[:-1].eval()
    with torch.no_grad():
        peer = make_pipeline(StandardScaler(), make()).fit(body(x).double().numpy(), y.numpy())
        h = body(x_new).double().numpy()
    scores = predict(rule, x_new)
    assert scores.shape == (40, classes)
    assert scores.isfinite().all()
    assert (scores.argmax(1).numpy() == peer.predict(h)).mean() >= 0.95  # ties and rounding aside
    if hasattr(peer, "predict_proba"):
        found = probabilities(scores).numpy()
        # The solver stops where single precision, that of the rule's features, ends.
        assert np.quantile(abs(found - peer.predict_proba(h)).max(1), 0.95) < 1e-3
    else:
        decision = peer.decision_function(h)
        got = scores.numpy() if classes > 2 else (scores[:, 1] - scores[:, 0]).numpy()
        np.testing.assert_allclose(got, decision, atol=1e-3)


def test_the_nearest_neighbour_of_a_training_sample_is_itself():
    x, y = data()
    rule = read_out(Recipe(PHASE, classifier=partial(KNeighborsClassifier, 1)), mlp(12, [8], 3), x, y)
    assert torch.equal(predict(rule, x).argmax(1), y)


def test_a_classifier_of_one_logit():
    x, y = data(classes=2)
    model, recipe = mlp(12, [8], 1), Recipe(PHASE, classifier=partial(KNeighborsClassifier, 4))
    rule = read_out(recipe, model, x, y.float()[:, None], 1, F.binary_cross_entropy_with_logits)
    scores = predict(rule, x)
    share = rule.classifier.predict_proba(rule.scaling(model[:-1](x).detach()).numpy())[:, 1]
    assert scores.shape == (60, 1)
    np.testing.assert_allclose(probabilities(scores)[:, 1], share, atol=1e-6)


def test_a_class_without_samples_is_refused():
    x, y = data()
    recipe = Recipe(PHASE, classifier=partial(KNeighborsClassifier, 1))
    with pytest.raises(ValueError, match=r"have classes \[.*0.*2.*\]; a classifier needs samples of all 3"):
        read_out(recipe, mlp(12, [8], 3), x, y * 0 + 2 * (y > 0))


def test_a_classifier_cannot_be_fine_tuned():
    with pytest.raises(ValueError, match="cannot be fine-tuned"):
        Recipe(PHASE, classifier=RidgeClassifier, finetune=PHASE)
