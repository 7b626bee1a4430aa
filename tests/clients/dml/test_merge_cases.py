"""The cases of `cases_merge.py`, both formats and both ways to write."""

import pytest

from case import check, every_layout
from cases_merge import CASES


@every_layout
@pytest.mark.parametrize("case", CASES, ids=[case.identifier for case in CASES])
def test_case(server, duck, layout, case):
    check(case, server, duck, layout)
