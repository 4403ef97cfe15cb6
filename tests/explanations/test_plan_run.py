"""Gradients are kept where they predict the similarity; else the parts are sampled, and the explanation says so."""

import pytest
import torch
from conftest import images, seeded, tiny_encoder
from torch import nn

import captum_pairwise as cp
from captum_pairwise.explanations.options import Options
from captum_pairwise.explanations.plan import make_plan
from captum_pairwise.explanations.plan_run import run_plan
from captum_pairwise.games.context import ForwardContext

N_PLACES = 66  # more than are sampled without a try of gradients
PAIR = tuple(side[:, :, :6, :11] for side in images(1))


class _Smooth(nn.Module):
    """A map with 66 places, and a smooth function of them."""

    def __init__(self, sharpness=0.5):
        super().__init__()
        torch.manual_seed(0)
        self.features = nn.Conv2d(3, 4, 1)
        self.mix = nn.Linear(4 * N_PLACES, 6)
        self.sharpness = sharpness
        self.n_runs = 0

    def forward(self, inputs):
        self.n_runs += len(inputs)
        return torch.tanh(self.sharpness * self.mix(self.features(inputs).flatten(1))) + 0.5


def make_model(sharpness=0.5):
    return cp.SimilarityWrapper(_Smooth(sharpness).double().eval())


def run(model, **options):
    plan = make_plan(model, PAIR, Options(layer="features", **options))
    return run_plan(model, plan, PAIR, seeded(0))


def test_gradients_are_kept_for_a_smooth_network():
    result = run(make_model())
    assert type(result.plan.method) is cp.LayerIntegratedHessians
    assert result.is_checked and result.pairs[0].r2 is not None
    assert "tried first" not in " ".join(result.plan.choices)


def test_their_pairs_and_maps_are_those_of_samples():
    path, sampled = (run(make_model(), method=method).pairs[0] for method in ("path", "factorised"))
    assert torch.corrcoef(torch.stack([path.between.flatten(), sampled.between.flatten()]))[0, 1] > 0.99
    assert torch.corrcoef(torch.stack([path.given_other.flatten(), sampled.given_other.flatten()]))[0, 1] > 0.99


def test_their_constant_is_that_of_coalitions():
    """Half present places have another similarity than random halves of the places."""
    model = make_model(1.0)
    plan = make_plan(model, PAIR, Options(layer="features", method="path"))
    kept = run_plan(model, plan, PAIR, seeded(0)).pairs[0]
    bare = plan.method.interactions(PAIR, **plan.arguments)
    rows = torch.rand(4000, 2 * N_PLACES, generator=seeded(5)) < 0.5
    (game,) = plan.build(ForwardContext()).games()
    mean = game.values(rows).mean()
    errors = [(result.predict(rows).mean() - mean).abs().item() for result in (kept, bare)]
    assert errors[0] < 0.2 * errors[1]


def test_wrong_pairs_of_a_named_path_are_kept_and_known_to_be_wrong():
    assert run(make_model(), method="path").is_checked
    assert not run(make_model(60.0), method="path").is_checked
    assert not run(make_model(), method="factorised").is_checked


@pytest.mark.parametrize("sharpness", [0.5, 60.0])
def test_only_pairs_that_predict_can_be_reliable(sharpness):
    images = (PAIR[0][0].float(), PAIR[1][0].float())
    why = cp.explain(cp.SimilarityWrapper(_Smooth(sharpness).eval()), *images, layer="features", method="path")
    unknown = [sentence for sentence in why.verdict.trust.evidence if "no standard error" in sentence]
    assert bool(unknown) == (sharpness == 60.0)


def test_a_result_without_changes_does_not_decide_for_a_ranking():
    """Its share is unknown, and rounding is no change."""
    model, plain = make_model(60.0), torch.full_like(PAIR[1], 0.5)
    for order in ([PAIR[1], plain], [plain, PAIR[1]]):
        inputs = PAIR[0].expand(2, -1, -1, -1), torch.cat(order)
        result = run_plan(model, make_plan(model, inputs, Options(layer="features")), inputs, seeded(0))
        assert type(result.plan.method) is cp.LayerFactorisedInteractions


class _NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, inputs):
        return inputs * 1.0


def test_an_operation_without_a_derivative_is_sampled():
    class Custom(_Smooth):
        def forward(self, inputs):
            return _NoBackward.apply(super().forward(inputs))

    assert type(run(cp.SimilarityWrapper(Custom().double().eval())).plan.method) is cp.LayerFactorisedInteractions


def test_a_stochastic_encoder_with_many_places_is_explained():
    model = cp.SimilarityWrapper(_Smooth().double().eval(), stochastic=True)
    assert run(model, n_samples=2 * N_PLACES).pairs[0].between.shape == (1, N_PLACES, N_PLACES)


def test_a_rough_network_is_sampled_and_the_choices_say_so():
    result = run(make_model(60.0))
    assert type(result.plan.method) is cp.LayerFactorisedInteractions
    assert result.plan.choices[-1].startswith("LayerIntegratedHessians was tried first, but its pairs predict ")


def test_a_network_without_gradients_is_sampled():
    class Rounded(_Smooth):
        def forward(self, inputs):
            with torch.no_grad():
                return super().forward(inputs)

    model = cp.SimilarityWrapper(Rounded().double().eval())
    result = run(model)
    assert type(result.plan.method) is cp.LayerFactorisedInteractions
    assert result.plan.choices[-1] == "LayerIntegratedHessians was tried first, but the network has no gradients."


def test_an_error_without_another_plan_is_raised():
    with pytest.raises(ValueError, match="Expected"):
        run(make_model(), n_samples=3)


@pytest.mark.parametrize("is_tied", [True, False])
@pytest.mark.parametrize("method", ["path", "factorised"])
def test_no_image_runs_again_through_the_network_for_the_measure(method, is_tied):
    pair = images(1)
    model = cp.SimilarityWrapper(tiny_encoder(), *([] if is_tied else [tiny_encoder(1)]))
    plan = make_plan(model, pair, Options(layer="4", method=method))
    n_runs = []
    for encoder in {model.query_encoder, model.retrieved_encoder}:
        encoder[0].register_forward_hook(lambda _module, inputs, _output: n_runs.append(len(inputs[0])))

    def count(call):
        n_runs.clear()
        call()
        return sum(n_runs)

    count(lambda: plan.method.interactions(pair, **plan.arguments))  # the first call also proves the tail
    alone = count(lambda: plan.method.interactions(pair, **plan.arguments))
    assert alone == count(lambda: run_plan(model, plan, pair, seeded(0))) > 0
    assert alone == count(lambda: plan.build(ForwardContext()))  # of which both are sums of the games alone
