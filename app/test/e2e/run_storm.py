# SPDX-License-Identifier: BSD-3-Clause
"""A run of app/test/e2e/storm.py by hand, as long as one wants: run_storm.py --moves 10000 --pairs 2 [--packed] ..."""

import argparse
import dataclasses
import glob
import json
import os
import pathlib
import shutil
import sys

TOP = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(TOP / "usertools"))

from ringpass_stack.programs import Build  # noqa: E402
from ringpass_testvm import Supervisor, netns, stopping  # noqa: E402
from storm import Options, Rig  # noqa: E402


def parse():
    parser = argparse.ArgumentParser()
    for field in dataclasses.fields(Options):
        name = f"--{field.name.replace('_', '-')}"
        if field.type is bool:
            parser.add_argument(name, action=argparse.BooleanOptionalAction, default=field.default)
        elif field.type in (int, str):
            parser.add_argument(name, type=field.type, default=field.default)
    parser.add_argument("--json", action="store_true", help="print all there is")
    parser.add_argument("--keep", help="copy the logs there")
    return vars(parser.parse_args())


def run(options, keep):
    build = Build(os.environ.get("RINGPASS_BUILD_DIR") or TOP / "build")
    with Supervisor("storm") as supervisor:
        rig = Rig(supervisor, build, options)
        rig.start()
        try:
            return rig.run()
        finally:
            if keep:
                os.makedirs(keep, exist_ok=True)
                for log in glob.glob(supervisor.path("*.log")):
                    shutil.copy(log, keep)
            rig.stop()


def main():
    stopping.install()
    arguments = parse()
    as_json, keep = arguments.pop("json"), arguments.pop("keep")
    netns.enter_private()
    books = run(Options(**arguments), keep)
    if as_json:
        print(json.dumps(books.storm, indent=1), books.accelerator, books.switch)
    print(books.line())
    faults = books.faults()
    print("\n".join(faults) or "the books balance")
    return bool(faults)


if __name__ == "__main__":
    sys.exit(main())
