#!/usr/bin/python3
"""Builds and runs every suite and sums them up; scripts/test.sh is its front.

Each suite yields Result(passed, failed, skipped). What went wrong is printed at once, and the complete output of every
step is kept in build-asan/results/. Tests of programs wait more than they compute, so the suites go in lanes side by
side (LANES), and what computes only (compilers, fuzzers) makes way for them.
"""
import concurrent.futures
import dataclasses
import glob
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PYTHON = "/usr/bin/python3"
RESULTS = os.path.join(ROOT, "build-asan", "results")
JOBS = str(os.cpu_count() or 2)
FUZZ_SECONDS = os.environ.get("FUZZ_SECONDS", "4")
MAKE_WAY = ["nice", "-n", "10"]
CACHED = "ccache " if shutil.which("ccache") else ""  # meson does not look for it when it is told the compiler
BUILDING = threading.Lock()
built = {}  # by directory and targets: whether that went well
# How many processes a folder of tests is spread over, a file of tests in one of them; the longest folders come first.
SPREAD = {"api": 3, "chaos": 2, "conformance": 2, "e2e": 2}
# Rooms with threads of their own, or that feed them.
THREADED = ("base", "loop", "store", "store-postgres", "service", "hub", "control-plane")
SANITIZE = ["-Db_sanitize=address,undefined", "-Db_lundef=false"]
RACES = ["-Db_sanitize=thread", "-Db_lundef=false"]
ENVIRONMENT = {
    "ASAN_OPTIONS": "halt_on_error=1:abort_on_error=1:detect_leaks=1:strict_string_checks=1:"
                    "detect_stack_use_after_return=1",
    "UBSAN_OPTIONS": "halt_on_error=1:abort_on_error=1:print_stacktrace=1",
    "TSAN_OPTIONS": "halt_on_error=1:second_deadlock_stack=1",
    # What one clone of the project has compiled serves the next, wherever it lies.
    "CCACHE_BASEDIR": ROOT,
    "CCACHE_NOHASHDIR": "1",
}


@dataclasses.dataclass
class Result:
    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def add(self, other):
        self.passed += other.passed
        self.failed += other.failed
        self.skipped += other.skipped


def run(name, command, timeout, directory=ROOT, **environment):
    """Runs one step with its output in a file. Returns (exit status, path of the output)."""
    log = os.path.join(RESULTS, name + ".log")
    with open(log, "w", encoding="utf-8") as out:
        try:
            step = subprocess.run(command, cwd=directory, stdin=subprocess.DEVNULL, stdout=out,
                                  stderr=subprocess.STDOUT, timeout=timeout,
                                  env={**os.environ, **ENVIRONMENT, **environment})
            return step.returncode, log
        except subprocess.TimeoutExpired:
            out.write(f"\nended after {timeout} s\n")
            return 124, log
        except OSError as e:
            out.write(f"{e}\n")
            return 127, log


def complain(what, log=None, lines=60):
    text = f"FAILED {what}\n"
    if log:
        with open(log, encoding="utf-8", errors="replace") as f:
            text += "".join("    " + line for line in f.readlines()[-lines:]) + "\n"
    print(text, end="", flush=True)  # at once: others print, too


def skip(name, log):
    """Its last line says why."""
    with open(log, encoding="utf-8", errors="replace") as f:
        print(f"skipped {name}: {(f.read().strip().splitlines() or ['?'])[-1]}")
    return Result(skipped=1)


def one(name, command, timeout=120, **environment):
    """A step that is one test: 77 means skipped, as in meson."""
    status, log = run(name, command, timeout, **environment)
    if status == 77:
        return skip(name, log)
    if status:
        complain(name, log)
        return Result(failed=1)
    return Result(passed=1)


def build(directory, options, compiler="gcc", targets=()):
    """Sets up and builds. False, after saying why, when that fails. One at a time, as each takes all cores, and once:
    nothing is linked anew under a test that runs."""
    with BUILDING:
        if (directory, *targets) not in built:
            built[directory, *targets] = build_now(directory, options, compiler, targets)
        return built[directory, *targets]


def build_now(directory, options, compiler, targets):
    steps = [["ninja", "--quiet", "-k", "0", "-C", directory, "-j", JOBS, *targets]]
    if not os.path.exists(os.path.join(ROOT, directory, "build.ninja")):
        steps.insert(0, ["meson", "setup", directory, *options])
    for number, step in enumerate(steps):
        status, log = run(f"build-{directory}-{number}", MAKE_WAY + step, 1800, CC=CACHED + compiler)
        if status:
            complain(f"build of {directory}", log)
            return False
    return True


def introspect(what, directory):
    listed = subprocess.run(["meson", "introspect", what, directory], cwd=ROOT, stdin=subprocess.DEVNULL,
                            capture_output=True, text=True, check=True).stdout
    return json.loads(listed)


def introspect_tests(directory):
    return [t for t in introspect("--tests", directory) if not any(s.endswith("lint") for s in t["suite"])]


def programs_of(tests, directory):
    """What ninja must build for these tests: their programs, and the programs that those start."""
    files = {t["id"]: t["filename"] for t in introspect("--targets", directory)}
    needed = {path for t in tests for target in t["depends"] for path in files[target]}
    return sorted(os.path.relpath(path, os.path.join(ROOT, directory)) for path in needed)


def count_cases(folder, name):
    """Sums cmocka's reports of one program and prints the failures."""
    result = Result()
    for report in glob.glob(os.path.join(folder, "*.xml")):
        try:
            cases = ElementTree.parse(report).getroot().iter("testcase")
        except ElementTree.ParseError:  # the program ended in the middle
            continue
        for case in cases:
            failures = case.findall("failure") + case.findall("error")
            if failures:
                result.failed += 1
                print(f"FAILED {name}: {case.get('name')}: {(failures[0].text or failures[0].get('message')).strip()}")
            elif case.find("skipped") is not None:
                result.skipped += 1
                print(f"skipped {name}: {case.get('name')}")
            else:
                result.passed += 1
    return result


def run_unit(test, label):
    """One test program, started where meson starts it. One that dies counts as a failure more than its reports say."""
    name = f"{label}-{test['name']}"
    folder = os.path.join(RESULTS, name)
    os.makedirs(folder)
    environment = {"CMOCKA_MESSAGE_OUTPUT": "XML", "CMOCKA_XML_FILE": os.path.join(folder, "%g.xml")}
    status, log = run(name, test["cmd"], (test["timeout"] or 30) * 4, f"{ROOT}/build-{label}",
                      **{**test["env"], **environment})
    result = count_cases(folder, name)
    if status == 77:
        result.skipped += 1
    elif status and not result.failed:
        complain(f"{name}: exit status {status}", log)
        result.failed += 1
    elif not status and not result.passed:
        result.passed += 1  # not a cmocka program
    return result


def run_units(tests, label):
    total = Result()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for result in pool.map(lambda t: run_unit(t, label), tests):
            total.add(result)
    return total


def suite_plain():
    return Result(passed=1) if build("build", []) and link("build") else Result(failed=1)


def link(directory):
    status, log = run(f"link-{directory}", ["scripts/link-programs.sh", directory], 60)
    if status:
        complain(f"link of {directory}", log)
    return not status


def suite_lint():
    total = Result()
    total.add(one("layers", [PYTHON, "tests/layers.py"]))
    total.add(one("check", [PYTHON, "tests/check.py"]))
    total.add(one("format", ["scripts/format.sh", "--check"]))
    if not build("build-asan", SANITIZE):
        return Result(total.passed, total.failed + 1, total.skipped)
    for compiler in ("gcc", "clang"):
        total.add(one(f"headers-{compiler}", [PYTHON, "tests/headers.py", "build-asan", compiler]))
    return total


def suite_asan():
    if not build("build-asan", SANITIZE):
        return Result(failed=1)
    return run_units(introspect_tests("build-asan"), "asan")


def suite_clang():
    """-Werror is on in optimised builds."""
    return Result(passed=1) if build("build-clang", ["-Ddebug=false"], "clang") else Result(failed=1)


def suite_tsan():
    if not build("build-tsan", RACES, targets=["build.ninja"]):
        return Result(failed=1)
    tests = [t for t in introspect_tests("build-tsan") if t["name"] in THREADED]
    if not build("build-tsan", RACES, targets=programs_of(tests, "build-tsan")):
        return Result(failed=1)
    return run_units(tests, "tsan")


def fuzz_one(target):
    name = os.path.basename(target).removeprefix("fuzz-")
    found = os.path.join(ROOT, "build-fuzz", "corpus", name)
    seeds = os.path.join(ROOT, "tests", "fuzz", "corpus", name)
    os.makedirs(found, exist_ok=True)
    return one(f"fuzz-{name}", [*MAKE_WAY, target, f"-max_total_time={FUZZ_SECONDS}", "-timeout=60",
                                "-rss_limit_mb=2048", "-error_exitcode=1",
                                f"-artifact_prefix={RESULTS}/fuzz-{name}-", found] +
               ([seeds] if os.path.isdir(seeds) else []), 600 + int(FUZZ_SECONDS))


def suite_fuzz():
    if not build("build-fuzz", ["-Dfuzz=true", "-Dtests=false"], "clang"):
        return Result(failed=1)
    targets = [p for p in sorted(glob.glob(f"{ROOT}/build-fuzz/src/**/fuzz-*", recursive=True))
               if os.path.isfile(p) and os.access(p, os.X_OK)]
    total = Result()
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        for result in pool.map(fuzz_one, targets):
            total.add(result)
    return total


def count_pytest(report):
    total = Result()
    for suite in ElementTree.parse(report).getroot().iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        skipped = int(suite.get("skipped"))
        total.add(Result(int(suite.get("tests")) - bad - skipped, bad, skipped))
    return total


def run_group(group, reports, within=()):
    """One folder of tests: a process of its own, as every folder has its conftest.py. `within` starts it."""
    report = os.path.join(RESULTS, f"pytest-{group}.xml")
    command = [*within, PYTHON, "-m", "pytest", f"tests/{group}", "-q", "-ra", "--timeout=600", "-p",
               "no:cacheprovider", f"--junitxml={report}", f"-n{SPREAD.get(group, 0)}", "--dist=loadfile"]
    status, log = run(f"pytest-{group}", command, 1800,
                      MESON_BUILD_ROOT=os.path.join(ROOT, "build-asan"), PYTHONDONTWRITEBYTECODE="1",
                      ASAN_OPTIONS=ENVIRONMENT["ASAN_OPTIONS"] + f":log_path={reports}",
                      UBSAN_OPTIONS=ENVIRONMENT["UBSAN_OPTIONS"] + f":log_path={reports}")
    if status == 77 and within:
        return skip(group, log)
    if status not in (0, 1) or not os.path.exists(report):
        complain(f"pytest {group}: exit status {status}", log)
        return Result(failed=1)
    result = count_pytest(report)
    if result.failed:
        complain(f"pytest {group}", log, 200)
    with open(log, encoding="utf-8", errors="replace") as f:
        print("".join(line.replace("SKIPPED", "skipped", 1) for line in f if line.startswith("SKIPPED")), end="")
    return result


def suite_pytest():
    """The programs of the ASan build, seen from outside. A sanitizer report fails even when no test noticed."""
    if not build("build-asan", SANITIZE) or not link("build-asan"):
        return Result(failed=1)
    total, reports = Result(), os.path.join(RESULTS, "sanitizer")
    groups = {os.path.basename(os.path.dirname(p)) for p in glob.glob(f"{ROOT}/tests/*/test_*.py")} - {"kube", "pods"}
    groups = sorted(groups, key=lambda group: (-SPREAD.get(group, 0), group))
    with concurrent.futures.ThreadPoolExecutor(2) as pool:  # they share nothing: own ports, own directories
        for result in pool.map(lambda group: run_group(group, reports), groups):
            total.add(result)
    for path in glob.glob(reports + ".*"):
        complain("a program under test", path)
        total.failed += 1
    return total


def run_with_kubernetes(group, options, within=()):
    """Where what they need cannot be had, or not in a bearable time, the tests are skipped."""
    status, log = run(f"{group}-deps", ["scripts/test-kube-deps.sh", *options], 1200)
    if status in (77, 124):
        return skip(group, log)
    if status or not build("build-asan", SANITIZE) or not link("build-asan"):
        complain(group, log)
        return Result(failed=1)
    reports = os.path.join(RESULTS, f"sanitizer-{group}")
    total = run_group(group, reports, within)
    for path in glob.glob(reports + ".*"):
        complain("a program under test", path)
        total.failed += 1
    return total


def suite_kube():
    """The same against a real etcd and kube-apiserver, which are built once and kept (scripts/test-kube-deps.sh)."""
    return run_with_kubernetes("kube", [])


def suite_pods():
    """With a kubelet and containerd beside, in namespaces of their own, and images of the programs that ship."""
    if not build("build", []) or not link("build"):
        return Result(failed=1)
    return run_with_kubernetes("pods", ["--node"], ["tests/pods/in-node.sh"])


SUITES = {"lint": suite_lint, "plain": suite_plain, "asan": suite_asan, "clang": suite_clang, "tsan": suite_tsan,
          "pytest": suite_pytest, "kube": suite_kube, "pods": suite_pods, "fuzz": suite_fuzz}


# Suites of a lane run one after the other, lanes side by side, after the builds that most of them need.
FIRST = ("plain",)
LANES = (("asan", "pytest"), ("kube", "pods"), ("lint", "tsan", "clang", "fuzz"))


def run_suite(name):
    start = time.monotonic()
    result = SUITES[name]()
    skipped = f", {result.skipped} skipped" if result.skipped else ""
    seconds = time.monotonic() - start
    print(f"{name}: {result.passed} ok, {result.failed} not ok{skipped} ({seconds:.0f} s)\n", end="", flush=True)
    return result


def main():
    wanted = sys.argv[1:] or list(SUITES)
    unknown = [name for name in wanted if name not in SUITES]
    if unknown:
        sys.exit(f"test: no suite {', '.join(unknown)}; there are {', '.join(SUITES)}")
    shutil.rmtree(RESULTS, ignore_errors=True)
    os.makedirs(RESULTS)
    total = Result()
    for lanes in ((FIRST,), LANES):
        with concurrent.futures.ThreadPoolExecutor(len(lanes)) as pool:
            for results in pool.map(lambda lane: [run_suite(name) for name in lane if name in wanted], lanes):
                for result in results:
                    total.add(result)
    skipped = f", {total.skipped} skipped" if total.skipped else ""
    print(f"{total.passed} passed, {total.failed} failed{skipped}")
    return 1 if total.failed else 0


if __name__ == "__main__":
    sys.exit(main())
