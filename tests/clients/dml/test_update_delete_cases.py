"""The cases of `cases_update_delete.py`, on both formats and both ways to write."""

from case import check, spread
from cases_update_delete import CASES


@spread(CASES)
def test_case(server, duck, case, layout):
    check(case, server, duck, layout)
