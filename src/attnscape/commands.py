"""What the commands of the command line do, apart from reading their arguments."""

from __future__ import annotations

import ast
import dataclasses
import functools
import os
import platform
import shlex
import sys
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text
from scipy import stats

from attnscape import effort, native, objective, optimizers, results
from attnscape.bench import BASELINES, DEFAULT, SUITE
from attnscape.choosing import chosen
from attnscape.contracts import (
    Finding,
    check_law,
    check_model,
    check_optimizer,
    check_response,
    check_task,
)
from attnscape.errors import UsageError
from attnscape.experiment import Experiment
from attnscape.loading import is_reference, load_object, telling
from attnscape.measures import EvaluationLoss, Schedule, TrainingLoss
from attnscape.models import LinearTransformer, ModelFactory, as_model
from attnscape.paper.artifacts import ARTIFACTS
from attnscape.paper.catalog import ARTIFACTS as CATALOG
from attnscape.paper.catalog import BENCH
from attnscape.paper.settings import FULL, QUICK, Plan
from attnscape.paper.verdict import Verdict
from attnscape.progress import ProgressBar
from attnscape.report import pipeline
from attnscape.report.cost import Cost
from attnscape.report.manifest import read_all
from attnscape.report.members import Budget, Members
from attnscape.report.page import NAME as PAGE
from attnscape.report.page import write_page
from attnscape.report.ranking import rank
from attnscape.summary import summary
from attnscape.tasks import (
    Gaussian,
    Linear,
    Radial,
    RegressionTask,
    ReluNetwork,
    Sphere,
    Task,
    as_task,
    table_task,
)
from attnscape.tasks.covariates import radius_table

if TYPE_CHECKING:
    from attnscape.cli import Bench, Check, Report, Reproduce, Train


def reproduce(options: Reproduce) -> None:
    """Makes the artifacts that `options` name, or all, then judges the claims they allow to judge.

    Raises:
        UsageError: If an option or the folder cannot be used, or, after all others were made, an
            artifact could not be.
    """
    plan = dataclasses.replace(
        QUICK if options.quick else FULL,
        recipe=options.recipe,
        tune=options.tune,
        all_steps=options.all_steps,
    )
    if options.seeds is not None:
        plan = dataclasses.replace(plan, seeds=options.seeds)
    plan = _with_own_parts(plan, options)
    artifacts = []
    for name in dict.fromkeys(options.artifacts or CATALOG):
        obstacle = ARTIFACTS[name].obstacle(plan)
        if obstacle and options.artifacts:
            raise UsageError(obstacle)
        if obstacle:
            print(f"Left out: {obstacle}", flush=True)
        else:
            artifacts.append(ARTIFACTS[name])
    with telling():
        reproduced = pipeline.reproduce(
            artifacts,
            options.out,
            plan,
            functools.partial(command_line, options),
            # Each line is seen when it is said, also through a pipe.
            functools.partial(print, flush=True),
        )
    if reproduced.verdicts:
        Console().print(_verdict_table(reproduced.verdicts))
    print(reproduced.page)
    if reproduced.failed:
        failed = ", ".join(reproduced.failed)
        raise UsageError(f"These could not be made, for the reasons given above: {failed}.")


def _with_own_parts(plan: Plan, options: Reproduce) -> Plan:
    """The plan with the user's parts; a folder holds the artifacts of one choice of parts."""
    given = {"task": options.task, "model": options.model}
    own = " and ".join(f"{kind} {text}" for kind, text in given.items() if text is not None)
    for name, manifest in read_all(options.out).items():
        if name == BENCH or not manifest.was_made:
            continue
        if (before := manifest.plan.get("own", "")) != own:
            raise UsageError(
                f"{name} in {options.out} was made of {before or 'the paper'!r}, not of "
                f"{own or 'the paper'!r}; choose another folder with --out."
            )
    with telling():
        return dataclasses.replace(
            plan,
            own=own,
            task=None if options.task is None else as_task(load_object(options.task)),
            model=None if options.model is None else as_model(load_object(options.model)),
        )


def command_line(options: Reproduce | Bench, *things: str) -> str:
    """The command line that makes these things in the way that `options` ask for."""
    words = ["attnscape", type(options).__name__.lower(), *things]
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name not in ("artifacts", "optimizers") and value != field.default:
            words += [f"--{field.name.replace('_', '-')}"]
            if value is not True:
                words += map(str, value) if isinstance(value, tuple) else [str(value)]
    return shlex.join(words)


def _verdict_table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("", "claim", "verdict", "numbers")
    for verdict in verdicts:
        table.add_row(str(verdict.number), verdict.sentence, verdict.verdict, verdict.numbers)
    return table


def bench(options: Bench) -> None:
    """Ranks the optimizers that `options` name, prints how they did, and refreshes the page.

    Raises:
        UsageError: If an option cannot be used, or, after all others were ranked, an optimizer
            could not be.
    """
    unknown = [name for name in options.settings if name not in (*SUITE, "all")]
    if unknown:
        raise UsageError(
            f"There is no setting {unknown[0]!r} in the suite; there are {', '.join(SUITE)}, all."
        )
    options = _as_before(options)
    for name in ("seeds", "steps"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name} is {getattr(options, name)}; it must be at least 1.")
    named = optimizers.NAMED if options.all else ()
    references = dict.fromkeys((*BASELINES, *named, *options.optimizers))
    ranked = rank(
        list(references),
        [SUITE[name] for name in options.settings],
        options.out,
        Plan(recipe=options.recipe or "code", seeds=options.seeds, steps=options.steps),
        functools.partial(_bench_again, options),
        functools.partial(print, flush=True),
        options.remove,
    )
    console = Console()
    for sentence, frame in ranked.made.tables.items():
        for table in narrow_tables(sentence, frame):
            console.print(table)
    for note in ranked.notes:
        print(note)
    print(options.out / PAGE)
    if ranked.failures:
        raise UsageError(" ".join(ranked.failures))


def _as_before(options: Bench) -> Bench:
    """The options with what was not given taken from the folder's bench, or from the defaults."""
    before = Members.read(options.out)
    budget = before.budget or Budget(seeds=6, steps=2_000, recipe="code")
    settings = options.settings or before.settings or DEFAULT
    return dataclasses.replace(
        options,
        settings=tuple(SUITE) if "all" in settings else tuple(dict.fromkeys(settings)),
        seeds=budget.seeds if options.seeds is None else options.seeds,
        steps=budget.steps if options.steps is None else options.steps,
        recipe=options.recipe or budget.recipe,
    )


def _bench_again(options: Bench, references: Sequence[str]) -> str:
    """The command line that makes a bench of these optimizers in an empty folder."""
    return command_line(dataclasses.replace(options, all=False, remove=()), *references)


def narrow_tables(title: str, frame: pd.DataFrame) -> list[Table]:
    """The frame as tables that fit into 80 columns: one a setting if it has settings.

    Cells are folded and never cut.
    """
    if "setting" in frame:
        return [
            table
            for setting, rows in frame.groupby("setting", sort=False)
            for table in narrow_tables(f"{setting}: {title}", rows.drop(columns="setting"))
        ]
    table = Table(title=title, title_justify="left", box=box.HORIZONTALS, pad_edge=False)
    for name in frame.columns:
        table.add_column(str(name), overflow="fold")
    for row in frame.itertuples(index=False, name=None):
        # The interval below its estimate: columns become narrow, numbers stay whole.
        table.add_row(*(str(cell).replace(" [", "\n[").replace(" (n", "\n(n") for cell in row))
    return [table]


def report(options: Report) -> None:
    """Rebuilds the page of the folder that `options` name and says where it is.

    Raises:
        UsageError: If nothing was made there.
    """
    if not read_all(options.out):
        raise UsageError(
            f"The folder {options.out} holds nothing that `attnscape reproduce` made; choose "
            "another with --out."
        )
    print(write_page(results.writable_directory(options.out)))


def train(options: Train) -> None:
    """Trains what `options` say, writes the result and prints a summary.

    Raises:
        UsageError: If an option cannot be used, or a part of the user's own fails.
    """
    with telling():
        _train(options)


def _train(options: Train) -> None:
    if not options.clip >= 0:
        raise UsageError(f"--clip is {options.clip}; it must be positive, or 0 for no clipping.")
    last = (options.steps,) if options.steps % options.measure_every else ()
    schedule = Schedule(every=options.measure_every, steps=last)
    task = _task(options)
    experiment = Experiment(
        name=options.name,
        task=task,
        model=_model(options, task.dim),
        optimizers=(factories := chosen(options.optimizers)),
        learning_rates=learning_rates(options.learning_rates, tuple(factories)),
        seeds=tuple(range(options.seeds)),
        steps=options.steps,
        batch=options.batch,
        clip=options.clip or None,
        measures=(EvaluationLoss(schedule), TrainingLoss(schedule)),
        evaluation_batch=options.evaluation_batch,
        evaluation_seeds=options.evaluation_seed,
        precision=options.precision,
    )

    def say(words: str) -> None:  # the output is the table
        print(f"attnscape: {options.name} {words}", file=sys.stderr, flush=True)

    if (expected := effort.announced(experiment)) and not results.find(experiment, options.out):
        say(f"is running{expected}")
    cost = Cost(say)
    with ProgressBar(options.name) as bar:

        def progress(done: int, total: int) -> None:
            bar(done, total)
            cost(done, total)

        dataset = results.obtain(experiment, options.out, progress)
    table = Table("optimizer", "learning rate", "median final loss", "95 % interval", "runs")
    for row in summary(dataset).to_dict("records"):
        count = round(row["diverged"] * row["runs"])
        ends = f"{row['low']:.4g} to {row['high']:.4g}" if np.isfinite(row["low"]) else ""
        table.add_row(
            row["optimizer"],
            f"{row['learning_rate']:g}",
            f"{row['loss']:.4g}",
            ends,
            f"{row['runs']}" + (f", {count} diverged" if count else ""),
        )
    Console().print(table)
    print(results.find(experiment, options.out))


def _task(options: Train) -> Task:
    if options.task is not None:
        return as_task(load_object(options.task))
    fields: dict[str, Any] = {"context": options.context, "noise": options.noise}
    if options.target is None:
        fields["weights"] = _law("--weights", options.weights, options)
        fields["response"] = _part("--response", options.response, _RESPONSES)
    if options.table is not None:
        return table_task(options.table, options.target, **fields)
    covariates = _law("--covariates", options.covariates, options)
    return RegressionTask(dim=options.dim, covariates=covariates, **fields)


def _model(options: Train, dim: int) -> ModelFactory:
    if options.model is not None:
        return as_model(load_object(options.model))
    return functools.partial(
        LinearTransformer.init,
        layers=options.layers,
        dim=dim,
        form=options.form,
        scale=options.scale,
    )


_RESPONSES: Mapping[str, Callable[[], Any]] = {"linear": Linear, "relu-network": ReluNetwork}


def _law(option: str, text: str, options: Train) -> Any:
    def radial() -> Radial:
        law = Radial(scipy_law(options.squared_radius))
        radius_table(law.squared_radius)  # slow laws are refused before anything else is done
        return law

    return _part(option, text, {"gaussian": Gaussian, "sphere": Sphere, "radial": radial})


def _part(option: str, text: str, named: Mapping[str, Callable[[], Any]]) -> Any:
    """A part by its name among `named`, or a user's own by reference."""
    if is_reference(text):
        return load_object(text)
    if text not in named:
        raise UsageError(
            f"{option} is {text!r}; it must be {', '.join(named)}, or your own as my_file.py:thing."
        )
    return named[text]()


def scipy_law(text: str) -> Any:
    """The frozen distribution that a text such as `gamma(0.1, scale=10)` names.

    Raises:
        UsageError: If it is not a call of a scipy.stats distribution with plain numbers.
    """
    try:
        call = ast.parse(text.strip(), mode="eval").body
        if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
            raise ValueError("it is not a call")
        law = getattr(stats, call.func.id, None)
        if not isinstance(law, stats.rv_continuous | stats.rv_discrete):
            raise ValueError(f"scipy.stats has no distribution {call.func.id!r}")
        arguments = [_number(argument) for argument in call.args]
        keywords = {str(k.arg): _number(k.value) for k in call.keywords}
        return law(*arguments, **keywords)
    except (SyntaxError, ValueError, TypeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else str(error)
        reason = reason.removeprefix("_parse_args() ")  # scipy's name for what people call
        raise UsageError(
            f"The law {text!r} cannot be read ({reason}); write it as scipy.stats does, for "
            "example 'gamma(0.1, scale=10)'."
        ) from None


def _number(node: ast.expr) -> float:
    try:
        value = ast.literal_eval(node)
    except ValueError:
        value = node
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise ValueError(f"{ast.unparse(node)} is not a plain number")
    return value


def learning_rates(texts: tuple[str, ...], names: tuple[str, ...]) -> dict[str, tuple[float, ...]]:
    """Rates of each optimizer from texts such as `0.02` (for all) or `sgdm=0.02,0.05`.

    Raises:
        UsageError: If a text cannot be read or names an optimizer that is not among `names`.
    """
    rates: dict[str, list[float]] = {name: [] for name in names}
    for text in texts:
        name, equals, numbers = text.rpartition("=")
        if equals and name not in rates:
            raise UsageError(
                f"{text!r} gives rates for {name!r}, but the optimizers are {', '.join(names)}."
            )
        for number in numbers.split(","):
            try:
                rate = optimizers.check_learning_rate(float(number))
            except ValueError as error:
                if isinstance(error, UsageError):
                    raise
                raise UsageError(
                    f"The learning rate {number!r} is not a number; write 0.02 or sgdm=0.02,0.05."
                ) from None
            for owner in [name] if equals else names:
                rates[owner].append(rate)
    for name, given in rates.items():
        if not given:
            raise UsageError(f"No learning rate was given for {name}; add {name}=0.02.")
    return {name: tuple(given) for name, given in rates.items()}


def check(options: Check) -> None:
    """Prints what the contract of its kind finds about a user's own part.

    Raises:
        UsageError: If the part cannot be loaded, or does not keep the contract.
    """
    if options.reference.startswith("torch:"):
        raise UsageError(
            f"{options.reference} is PyTorch's; the contract is that of optax's transformations: "
            "try it with train or bench instead."
        )
    if options.task is not None and options.kind != "model":
        raise UsageError("--task says whose prompts a model is checked on; leave it out here.")
    thing = load_object(options.reference)
    if options.kind == "model" and options.task is not None:
        with telling():
            findings = check_model(thing, load_object(options.task))
    else:
        findings = _CHECKS[options.kind](thing)
    table = Table("check", "", "finding")
    for finding in findings:
        table.add_row(finding.check, "ok" if finding.ok else "FAILS", Text(finding.sentence))
    Console().print(table)
    failed = [finding.check for finding in findings if not finding.ok]
    if failed:
        article = "an" if options.kind == "optimizer" else "a"
        raise UsageError(
            f"{options.reference} does not keep the contract of {article} {options.kind}: "
            f"{', '.join(failed)}."
        )


_CHECKS: Mapping[str, Callable[[Any], list[Finding]]] = {
    "optimizer": check_optimizer,
    "model": check_model,
    "task": check_task,
    "law": check_law,
    "response": check_response,
}


def doctor() -> None:
    """Prints versions, the path in use, and the kernels' speed against the machine's peak."""
    warnings.simplefilter("ignore", native.MissingKernelsWarning)  # it is said below
    console = Console()
    about = Table("what", "is", show_header=False, box=None)
    about.add_row("Python", platform.python_version())
    for package in ("attnscape", "jax", "jaxlib", "optax", "equinox", "xarray"):
        about.add_row(package, version(package))
    about.add_row("backend", jax.default_backend())
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    about.add_row("threads", str(threads))
    missing = native.why_unavailable()
    about.add_row("path", "XLA" if missing else f"native kernels, {native.register_bits()} bits")
    console.print(about)
    if missing:
        console.print(f"{missing} The XLA path takes {_slowdown_words()} a gradient.")
        return
    table = Table("kernel", "GFLOP/s", "FMA peak", "share", title="Loss and gradient, L = 3, d = 5")
    for form in native.FORMS:
        for dtype in ("float32", "float64"):
            rate = gradient_rate(form, dtype, path="native")
            peak = native.peak(dtype, threads or 1)
            table.add_row(
                f"{form} {dtype}", f"{rate / 1e9:.0f}", f"{peak / 1e9:.0f}", f"{rate / peak:.0%}"
            )
    console.print(table)


def _slowdown_words() -> str:
    return f"{1e6 * _seconds_a_gradient('block', 'float32', 'reduced'):.0f} us for 1,000 prompts"


def gradient_rate(form: str, dtype: str, path: objective.Path) -> float:
    """Floating-point operations a second of the gradient of 1,000 prompts, L = 3, d = 5."""
    operations = 1000 * native.gradient_operations(form, layers=3, dim=5)
    return operations / _seconds_a_gradient(form, dtype, path)


def _seconds_a_gradient(form, dtype, path, runs: int = 24) -> float:
    """The best of a few timings of `runs` gradients at once, for one of them."""
    with jax.enable_x64(dtype == "float64"):
        moments = RegressionTask().sample_moments(jax.random.key(0), 1000, dtype)
        init = functools.partial(LinearTransformer.init, form=form, dtype=jnp.dtype(dtype))
        models = jax.vmap(init)(jax.random.split(jax.random.key(1), runs))

        @jax.jit
        def gradients(models):
            return jax.vmap(lambda model: objective.value_and_gradient(model, moments, path=path))(
                models
            )

        jax.block_until_ready(gradients(models))
        timings = []
        for _ in range(50):
            start = time.perf_counter()
            jax.block_until_ready(gradients(models))
            timings.append(time.perf_counter() - start)
    return min(timings) / runs
