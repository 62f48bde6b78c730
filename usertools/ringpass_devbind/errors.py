# SPDX-License-Identifier: BSD-3-Clause


class DevbindError(Exception):
    """What to tell the user, in one line: what is in the way, and what to do."""
