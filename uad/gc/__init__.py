"""Free the disk of what nobody needs any more: `uad gc`.

rule -> what must stay (kept) -> what goes (plan), in the order it is removed
"""

from uad.gc.plan import Plan, make_plan
from uad.gc.retention import Item, Rule

__all__ = ["Item", "Plan", "Rule", "make_plan"]
