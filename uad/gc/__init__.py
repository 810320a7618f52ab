"""`uad gc`: remove what nobody needs any more.

rule (retention) -> what must stay (in use) -> what goes (plan), in the order it is removed
"""

from uad.gc.in_use import Removable, Retention
from uad.gc.plan import Plan, make_plan

__all__ = ["Plan", "Removable", "Retention", "make_plan"]
