# SPDX-License-Identifier: BSD-3-Clause
"""ringpass-bench: runs the scenarios one by one, gathers their rows, and makes the table and the plots."""
