"""The cases of `cases_merge.py`, on both formats and both ways to write."""

from case import check, spread
from cases_merge import CASES


@spread(CASES)
def test_case(server, duck, case, layout):
    check(case, server, duck, layout)
