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
    advice = "Take fewer players (a coarser mask), or sample them with FactorisedShapleyTaylor."
    if 2**n_players > most:
        raise ValueError(f"Expected n_samples of at least 2**{n_players} = {2**n_players} for all players {owner}, got {most}. {advice}")
    refuse_beyond_memory(8 * n_players * 2**n_players, f"all 2**{n_players} coalitions of the {n_players} players {owner}", advice)


def refuse_small_budget(n_samples: int, least: int, subject: str) -> None:
    """Refuse a budget that is too small.

    Args:
        n_samples: the budget.
        least: the smallest budget.
        subject: the players, for the error message.

    Raises:
        ValueError: the budget is below `least`.
    """
    if n_samples < least:
        raise ValueError(f"Expected n_samples of at least {least} for {subject}, got {n_samples}. Raise n_samples, or take fewer players.")
