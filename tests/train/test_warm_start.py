from __future__ import annotations

import pytest
import torch

from sottovoce.train.warm_start import _by_length, _viterbi, fit_projector

NUM_TOKENS, WIDTH, HIDDEN = 40, 24, 16


@pytest.fixture(scope="module")
def speech() -> tuple[list[torch.Tensor], list[torch.Tensor], list[torch.Tensor], torch.Tensor, list[torch.Tensor]]:
    """States, tokens, letters, embeddings, and the token that each state was made from.

    A token lasts as many states as it has letters, give or take; a state is a linear map of its token's embedding.
    """
    random = torch.Generator().manual_seed(0)
    embeddings = torch.randn(NUM_TOKENS, HIDDEN, generator=random)
    spoken = torch.randn(HIDDEN, WIDTH, generator=random)
    lengths = torch.randint(1, 13, (NUM_TOKENS,), generator=random)
    states, tokens, letters, truth = [], [], [], []
    for _ in range(10):
        ids = torch.randint(NUM_TOKENS, (9,), generator=random)
        lasting = (lengths[ids] + torch.randint(-1, 3, (9,), generator=random)).clamp(min=1)
        heard = ids.repeat_interleave(lasting)
        noise = 0.5 * torch.randn(len(heard), WIDTH, generator=random)
        states.append(embeddings[heard] @ spoken + 3.0 + noise)
        tokens.append(ids)
        letters.append(lengths[ids])
        truth.append(heard)
    return states, tokens, letters, embeddings, truth


def accuracy(speech, rounds: int, even: bool = False) -> float:  # type: ignore[no-untyped-def]
    """The share of states whose token is recovered; ``even`` tells the fit nothing of the tokens' lengths."""
    states, tokens, letters, embeddings, truth = speech
    letters = [torch.ones_like(sizes) for sizes in letters] if even else letters
    weight, bias = fit_projector(states, tokens, letters, embeddings, rounds)
    assert weight.shape == (HIDDEN, WIDTH) and bias.shape == (HIDDEN,)
    nearest = torch.cdist(torch.cat(states) @ weight.T + bias, embeddings).argmin(-1)
    return float((nearest == torch.cat(truth)).float().mean())


def test_the_embedding_nearest_to_a_projected_state_is_its_token(speech) -> None:  # type: ignore[no-untyped-def]
    assert accuracy(speech, rounds=5) > 0.9


def test_aligning_again_beats_the_alignment_by_length(speech) -> None:  # type: ignore[no-untyped-def]
    assert accuracy(speech, rounds=1, even=True) < accuracy(speech, rounds=5, even=True)


def test_an_utterance_shorter_than_its_transcript_does_no_harm(speech) -> None:  # type: ignore[no-untyped-def]
    states, tokens, letters, embeddings, _ = speech
    short = ([*states, states[0][:4]], [*tokens, tokens[0]], [*letters, letters[0]])
    weight, bias = fit_projector(*short, embeddings)
    assert torch.isfinite(weight).all() and torch.isfinite(bias).all()


@pytest.mark.parametrize(("num_states", "num_tokens"), [(1, 1), (5, 1), (6, 6), (30, 7)])
def test_the_path_goes_from_the_first_to_the_last_token_without_leaps(num_states: int, num_tokens: int) -> None:
    torch.manual_seed(num_states)
    path = _viterbi(torch.randn(num_states, 4), torch.randn(num_tokens, 4))
    assert len(path) == num_states and path[-1] == num_tokens - 1
    assert path[0] == 0
    assert set(path.diff().tolist()) <= {0, 1}


def test_the_path_is_the_cheapest_of_all() -> None:
    torch.manual_seed(0)
    predicted, targets = torch.randn(8, 3), torch.randn(3, 3)
    cost = torch.cdist(predicted, targets)
    paths = [[0] * a + [1] * b + [2] * (8 - a - b) for a in range(1, 7) for b in range(1, 8 - a)]
    cheapest = min(paths, key=lambda path: sum(float(cost[step, token]) for step, token in enumerate(path)))
    assert _viterbi(predicted, targets).tolist() == cheapest


def test_length_shares_the_states_by_letters() -> None:
    assert _by_length(8, torch.tensor([1, 2, 1])).tolist() == [0, 0, 1, 1, 1, 1, 2, 2]
