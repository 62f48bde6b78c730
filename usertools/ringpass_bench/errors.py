# SPDX-License-Identifier: BSD-3-Clause
class BenchError(Exception):
    """What a user is told in one line."""
