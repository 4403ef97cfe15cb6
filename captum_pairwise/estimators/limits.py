"""Checks that a computation is within its budget and fits into memory."""

import torch

from captum_pairwise.network.batching import get_memory_bytes

CPU = torch.device("cpu")


def refuse_beyond_memory(n_bytes: int, subject: str, advice: str, device: torch.device = CPU) -> None:
    """Refuse tables that do not fit into memory.

    Args:
        n_bytes: size of the tables.
        subject: description of the tables in the error message.
        advice: last sentence of the error message.
        device: device that holds the tables.

    Raises:
        ValueError: the tables are larger than the memory.
    """
    available = get_memory_bytes(device)
    if n_bytes > available:
        raise ValueError(
            f"Expected fewer players: {subject} need {n_bytes / 2**30:.0f} GiB, and there are {available / 2**30:.0f} GiB. {advice}"
        )


def refuse_too_many(n_players: int, most: int, owner: str) -> None:
    """Refuse to enumerate more than `most` coalitions, or more than fit into memory.

    Args:
        n_players: number of players.
        most: maximum number of coalitions.
        owner: the images of the players, for the error message.

    Raises:
        ValueError: there are more coalitions.
    """
    if 2**n_players > most:
        raise ValueError(
            f"Expected n_samples of at least 2**{n_players} = {2**n_players} to enumerate all coalitions of the {n_players} players "
            f"{owner}, got {most}. Raise n_samples, take fewer players (a coarser mask), or sample them with FactorisedShapleyTaylor."
        )
    if 8 * n_players * 2**n_players > get_memory_bytes(CPU):
        raise ValueError(
            f"Expected coalitions that fit into memory, got all 2**{n_players} of the {n_players} players {owner}. Take fewer players (a "
            "coarser mask), or sample them with FactorisedShapleyTaylor."
        )


def refuse_small_budget(n_samples: int, n_players: int) -> None:
    """Refuse a budget for one tower that leaves few coalitions beside the single players.

    Raises:
        ValueError: the budget is below twice the number of players, minus the two ends.
    """
    least = max(0, 2 * n_players - 2)
    if n_samples < least:
        raise ValueError(
            f"Expected n_samples of at least {least} for {n_players} players in one image (each alone, and about as many others), got "
            f"{n_samples}. Raise n_samples, or take fewer players."
        )
