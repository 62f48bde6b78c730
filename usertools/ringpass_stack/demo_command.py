# SPDX-License-Identifier: BSD-3-Clause
"""What the demos share as commands: options, an ordered end whatever happens, the table and the last line."""

import argparse
import sys

from ringpass_testvm import Supervisor, TestvmError, stopping


def _parser(program, description, transfer_mib):
    parser = argparse.ArgumentParser(prog=program, description=description)
    parser.add_argument("--build-dir", required=True, help="where meson has built Ringpass")
    parser.add_argument("--cache-dir", help="for the guest's initramfs; else a folder of the build directory")
    parser.add_argument("--run-dir", help="an existing directory for logs, which is kept")
    parser.add_argument("--packed", action="store_true", help="the guest's rings are packed, not split")
    parser.add_argument("--transfer-mib", type=int, default=transfer_mib, metavar="MIB", help="each way")
    return parser


def _finish(program, demo, problems):
    """Print table and last line. @return exit status."""
    for line in demo.figures.table():
        print(line)
    for problem in problems:
        print(f"{program}: {problem}", file=sys.stderr, flush=True)
    print(demo.figures.json("failed" if problems else "ok", "; ".join(problems)), flush=True)
    return 1 if problems else 0


def run(program, description, transfer_mib, make_demo, arguments=None):
    """make_demo: of a supervisor and the options; has run() and figures. @return exit status."""
    stopping.install()
    options = _parser(program, description, transfer_mib).parse_args(arguments)
    supervisor = Supervisor(program.replace("ringpass-", ""), options.run_dir)
    demo = make_demo(supervisor, options)
    try:
        stopping.guarded(demo.run, supervisor.close)
    except TestvmError as error:
        return _finish(program, demo, [str(error)])
    except stopping.Stopped as stopped:
        print(f"{program}: {stopped}", file=sys.stderr)
        return 128 + stopped.signum
    return _finish(program, demo, demo.figures.problems())
