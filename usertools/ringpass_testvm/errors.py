# SPDX-License-Identifier: BSD-3-Clause
"""The one base of the errors that users of this package may catch."""


class TestvmError(Exception):
    """Something outside this program went wrong; the text is for a person."""

    __test__ = False  # the name looks like a test class to pytest
