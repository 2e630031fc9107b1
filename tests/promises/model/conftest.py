"""Has pytest explain the assertions of the judge and the machine."""

import pytest

pytest.register_assert_rewrite("tests.promises.model.judge", "tests.promises.model.machine")
