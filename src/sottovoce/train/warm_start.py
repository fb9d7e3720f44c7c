"""A closed-form start for the projector: regress each audio state onto the embedding of the token spoken there.

The alignment of states to tokens starts from the tokens' lengths in letters and is re-estimated by a monotonic
Viterbi pass under the current regression, a few rounds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

RIDGE = 50.0


def fit_projector(
    states: Sequence[torch.Tensor], tokens: Sequence[torch.Tensor], letters: Sequence[torch.Tensor],
    embeddings: torch.Tensor, rounds: int = 5,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """Fits weight and bias of a linear projector.

    Args:
        states: per utterance, the audio tower's states, (num_states, d_model).
        tokens: per utterance, the transcript's token ids, (num_tokens,).
        letters: per utterance, the length of each token in letters, (num_tokens,), at least 1.
        embeddings: the language model's token embeddings, (vocabulary, hidden_size), float32.
        rounds: fits; between two of them the alignment is re-estimated.

    Returns:
        weight (hidden_size, d_model) and bias (hidden_size,), float32.
    """
    alignments = [_by_length(len(state), size) for state, size in zip(states, letters, strict=True)]
    solution = _regress(states, tokens, alignments, embeddings)
    for _ in range(rounds - 1):
        alignments = [
            _viterbi(_apply(solution, state), embeddings[ids]) if len(state) >= len(ids) else alignment
            for state, ids, alignment in zip(states, tokens, alignments, strict=True)
        ]
        solution = _regress(states, tokens, alignments, embeddings)
    return solution[:-1].T.contiguous(), solution[-1]


def _regress(
    states: Sequence[torch.Tensor], tokens: Sequence[torch.Tensor], alignments: Sequence[torch.Tensor],
    embeddings: torch.Tensor,
) -> torch.Tensor:  # fmt: skip
    width = states[0].shape[1] + 1
    gram, cross = torch.zeros(width, width), torch.zeros(width, embeddings.shape[1])
    for state, ids, alignment in zip(states, tokens, alignments, strict=True):
        inputs = _with_one(state)
        gram += inputs.T @ inputs
        cross += inputs.T @ embeddings[ids[alignment]]
    solution: torch.Tensor = torch.linalg.solve(gram + RIDGE * torch.eye(width), cross)
    return solution


def _with_one(state: torch.Tensor) -> torch.Tensor:
    return torch.cat([state.float(), torch.ones(len(state), 1)], dim=1)


def _apply(solution: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
    return _with_one(state) @ solution


def _by_length(num_states: int, letters: torch.Tensor) -> torch.Tensor:
    ends = letters.float().cumsum(0) / letters.sum()
    centres = (torch.arange(num_states) + 0.5) / num_states
    return torch.searchsorted(ends, centres).clamp(max=len(letters) - 1)


def _viterbi(predicted: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The cheapest path from the first to the last token that stays or moves on by one at each state."""
    cost = torch.cdist(predicted, targets)
    num_states, num_tokens = cost.shape
    total = torch.full((num_tokens,), torch.inf)
    total[0] = cost[0, 0]
    advanced = torch.zeros(num_states, num_tokens, dtype=torch.bool)
    for step in range(1, num_states):
        moved = torch.cat([total.new_tensor([torch.inf]), total[:-1]])
        advanced[step] = moved < total
        total = torch.minimum(total, moved) + cost[step]
    path, token = torch.zeros(num_states, dtype=torch.long), num_tokens - 1
    for step in range(num_states - 1, -1, -1):
        path[step] = token
        token -= int(advanced[step, token])
    return path
