"""Find good images that look different from the others, without training.

ranking = find_suspects(dataset, load_teacher("embedded"), InputSpec())
ranking.suspects        # most unlike first: show them to a person
"""

from uad.training.suspects.find import Ranking, Suspicion, find_suspects, leave_out_suspects

__all__ = ["Ranking", "Suspicion", "find_suspects", "leave_out_suspects"]
