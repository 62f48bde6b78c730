# SPDX-License-Identifier: BSD-3-Clause
import argparse
import contextlib
import json
import os
import sys
import time

from ringpass_testvm import stopping

from . import merge, plots, scenarios, table
from .context import Context
from .errors import BenchError

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
RESULTS = "results.jsonl"
BEGIN, END = "<!-- bench: usertools/ringpass-bench --markdown writes this -->", "<!-- end of bench -->"


def parse(arguments):
    parser = argparse.ArgumentParser(prog="ringpass-bench", description="Scenarios and rows: doc/guides/bench.md.")
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--build-dir", default=os.path.join(TOP, "build"))
    parser.add_argument("--quick", action="store_true", help="two minutes instead of fifteen")
    parser.add_argument("--once", action="store_true", help="one pair of each: whether it works, not how fast")
    parser.add_argument("--list", action="store_true", help="what there is, one JSON object a line")
    parser.add_argument("--output", metavar="DIRECTORY", help="default: bench in the build directory")
    parser.add_argument("--markdown", metavar="FILE", nargs="*",
                        help="run nothing; print a table in Markdown from files of results, one for each run")
    parser.add_argument("--into", metavar="FILE", help="with --markdown: put the table in there, where its marks are")
    return parser.parse_args(arguments)


def choose(known, wanted, quick):
    by_name = {scenario.name: scenario for scenario in known}
    for name in wanted:
        if name not in by_name:
            raise BenchError(f"'{name}', expected one of: {', '.join(by_name)}")
    return [by_name[name] for name in wanted] if wanted else [one for one in known if one.quick_s or not quick]


def run_one(scenario, context):
    """Its lines; each row knows its scenario."""
    context.seconds = scenario.quick_s if context.quick else scenario.whole_s
    lines = scenarios.run_module(scenario, context) if scenario.module else context.run_program(scenario.name)
    with contextlib.closing(lines):
        for line in lines:
            if "facts" in line:
                if not context.facts:
                    context.facts = line["facts"]
                    yield line
                continue
            yield {**line, "scenario": scenario.name}


def run_all(chosen, context, output):
    """Prints and keeps each line as it comes. @return rows, names of scenarios that failed."""
    rows, failed = [], []
    with open(os.path.join(output, RESULTS), "w", encoding="utf-8") as file:
        for scenario in chosen:
            started = time.monotonic()
            try:
                # Closed here when we are asked to end: it has a process that works.
                with contextlib.closing(run_one(scenario, context)) as lines:
                    for line in lines:
                        text = json.dumps(line)
                        print(text, flush=True)
                        file.write(text + "\n")
                        if "facts" not in line:
                            rows.append(line)
            except (BenchError, OSError, ValueError) as error:
                print(f"ringpass-bench: {scenario.name}: {error}", file=sys.stderr)
                failed.append(scenario.name)
            print(f"ringpass-bench: {scenario.name}: {time.monotonic() - started:.1f} s", file=sys.stderr, flush=True)
    return rows, failed


def read_results(path):
    with open(path, encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    return next((line["facts"] for line in lines if "facts" in line), {}), [line for line in lines if "bench" in line]


def markdown(paths):
    """@return lines."""
    facts, runs = zip(*map(read_results, paths))
    rows = runs[0] if len(runs) == 1 else merge.merge(runs)
    return list(table.for_readme(merge.facts_of(facts), rows, len(runs)))


def put_into(path, lines):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    before, mark, behind = text.partition(BEGIN)
    _old, end, behind = behind.partition(END)
    if not mark or not end:
        raise BenchError(f"{path}: no lines '{BEGIN}' and '{END}', expected the table to go between them")
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join([before + mark, "", *lines, "", end + behind]))


def measure(arguments):
    context = Context(os.path.abspath(arguments.build_dir), arguments.quick or arguments.once, arguments.once)
    output = arguments.output or os.path.join(context.build_dir, "bench")
    if arguments.markdown is not None:
        lines = markdown(arguments.markdown or [os.path.join(output, RESULTS)])
        if arguments.into:
            put_into(arguments.into, lines)
        else:
            print(*lines, sep="\n")
        return 0
    if not os.access(context.program, os.X_OK):
        raise BenchError(f"{context.program}: not there; is {context.build_dir} a finished build with DPDK?")
    known = scenarios.known(context.program)
    if arguments.list:
        for one in known:
            print(json.dumps({"scenario": one.name, "quick_s": one.quick_s, "whole_s": one.whole_s,
                              "benches": one.benches}))
        return 0
    chosen = choose(known, arguments.scenarios, context.quick)
    os.makedirs(output, exist_ok=True)
    rows, failed = run_all(chosen, context, output)
    print()
    for text in table.for_terminal(rows):
        print(text)
    for path in plots.write(rows, output):
        print(f"drawn: {os.path.relpath(path)}", file=sys.stderr)
    if failed:
        print(f"ringpass-bench: failed: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def main(arguments=None):
    stopping.install()
    try:
        return measure(parse(arguments))
    except (BenchError, OSError) as error:
        print(f"ringpass-bench: {error}", file=sys.stderr)
        return 2
    except stopping.Stopped as stopped:
        return 128 + stopped.signum
