"""The groups of tests that run in one process, where tests run in several."""

from __future__ import annotations

import os

import pytest


@pytest.mark.skipif("PYTEST_XDIST_WORKER" not in os.environ, reason="all tests run in one process")
def test_tests_of_a_file_stay_together(request):
    """pytest-xdist writes the group into a test's id; where it cannot, files that start Ray meet over its ports."""
    assert request.node.nodeid.endswith(f"@{request.node.path}")
