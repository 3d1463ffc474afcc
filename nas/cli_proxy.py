"""`nas proxy audit` on the command line."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Any

import typer

from nas import options
from nas.show import Format, print_json, print_rows, print_table

proxy = typer.Typer(
    name="proxy", help="The brief training that candidates are judged by.", no_args_is_help=True, rich_markup_mode=None
)

_Networks = typer.Option(min=3, help="Networks, spread evenly over the space's multiply-adds.")
_ReferenceEpochs = typer.Option(min=1, help="Epochs of the longer training. Default: ten times the proxy's.")
_Seeds = typer.Option(min=1, help="Trainings of each network by the proxy; two tell how noisy it is.")
_ReferenceSeeds = typer.Option(min=1, help="Trainings of each network by the reference, which are averaged.")
_Cheaper = typer.Option(help="Cheaper proxies to try: of image, epochs, data, width, or none.")
_Threshold = typer.Option(help="The least Kendall tau of accuracies that a cheaper proxy must keep.")
_Out = typer.Option("--out", "-o", help="Folder of the audit; one that was interrupted is gone on with.")


@proxy.callback()
def _main() -> None:
    """The brief training that candidates are judged by."""


@proxy.command()
def audit(
    out: Annotated[Path, _Out],
    networks: Annotated[int, _Networks] = 20,
    reference_epochs: Annotated[int | None, _ReferenceEpochs] = None,
    seeds: Annotated[int, _Seeds] = 2,
    reference_seeds: Annotated[int, _ReferenceSeeds] = 1,
    cheaper: Annotated[str, _Cheaper] = "image,epochs,data,width",
    threshold: Annotated[float, _Threshold] = 0.5,
    space: Annotated[str, options.Space] = "small",
    data: Annotated[str, options.DataOption] = "mnist5k",
    image_size: Annotated[int | None, options.ImageSize] = None,
    epochs: Annotated[int | None, options.Epochs] = None,
    batch_size: Annotated[int | None, options.BatchSize] = None,
    augment: Annotated[str, options.Augment] = "none",
    minival: Annotated[int | None, options.Minival] = None,
    train_share: Annotated[float, options.TrainShare] = 1.0,
    width: Annotated[float, options.Width] = 1.0,
    device: Annotated[str, options.Device] = "auto",
    seed: Annotated[int, typer.Option(help="Of the networks drawn and of their training.")] = 0,
    workers: options.WorkersOption = None,
    gpus_per_trial: options.GpusPerTrial = None,
    trial_timeout: options.Timeout = None,
    format: options.FormatOption = Format.table,
    quiet: options.Quiet = False,
) -> None:
    """Say whether the proxy ranks networks as a longer training does, and which cheaper proxy still would.

    Stratified networks are trained by the proxy, by a reference that trains longer, and by cheaper proxies. Each is a
    run in the audit's folder (`nas trials OUT/proxy`); an interrupted audit goes on when it is asked for again.
    """
    from nas.audit import Audit, Conduct, conduct_audit
    from nas.conduct import INTERRUPTED, check_workers
    from nas.config import SearchConfig
    from nas.runs import RunSettings
    from results.audit import report, write_report

    config = SearchConfig(
        space=space,
        data=data,
        image_size=image_size,
        epochs=epochs,
        batch_size=batch_size,
        augment=augment,
        minival=minival,
        train_share=train_share,
        width=width,
        device=device,
        seed=seed,
    )
    audited = Audit(
        config=config,
        networks=networks,
        reference_epochs=reference_epochs,
        seeds=seeds,
        reference_seeds=reference_seeds,
        cheaper=[name.strip() for name in cheaper.split(",") if name.strip() not in ("", "none")],
        threshold=threshold,
    )
    settings = RunSettings(budget=networks, workers=workers, gpus_per_trial=gpus_per_trial)
    conduct = Conduct(check_workers(settings, config.evaluator), trial_timeout, _say, quiet)
    try:
        with redirect_stdout(sys.stderr):
            ways = conduct_audit(audited, out, conduct)
    except KeyboardInterrupt:
        ways = None
    if ways is None:
        _say(f"interrupted; nothing trained is lost: ask for the same audit with --out {out} to go on")
        raise typer.Exit(INTERRUPTED)
    found = report(out, ways, threshold=threshold)
    written = write_report(out, found)
    _print(found, format)
    _say("written: " + ", ".join(map(str, written)))


def _say(text: str) -> None:
    typer.echo(text, err=True)


def _print(found: dict[str, Any], format: Format) -> None:
    rows = [*found["ways"], *found["noise"]]
    if format is Format.json:
        print_json(found)
        return
    if format is Format.csv:
        print_rows(rows, format, columns=(), all_columns=list(rows[0]))
        return
    print_table(("way", "cost", *(f"{of} {name}" for of in ("accuracy", "reward") for name in _SHOWN)), [
        {"way": row["way"], "cost": f"{row['cost']:.3f}" if "cost" in row else "-"} | _cells(row) for row in rows
    ])  # fmt: skip
    print(f"cost is over the reference's, {found['reference']['cost_s']:.1f} s a network; intervals are 95 %")
    pooled = [(way["way"], way["trainings"]) for way in found["ways"] if way["trainings"] > 1]
    for name, count in pooled:
        print(f"{name}: means over {count} trainings of each network with other seeds, each compared alone")
    if found["reference"]["trainings"] > 1:
        print(f"reference: the mean accuracy and reward of {found['reference']['trainings']} trainings of each network")
    if found["cheapest"] is None:
        print(f"no way keeps a tau of accuracies of {found['threshold']:g}: train longer, or on more pictures")
    else:
        print(f"the cheapest that keeps a tau of accuracies of {found['threshold']:g}: {found['cheapest']}")
    for name, count in found["failed"].items():
        print(f"{name}: {count} networks failed and are left out")


_SHOWN = ("tau", "Spearman", "best found")


def _cells(row: dict[str, Any]) -> dict[str, str]:
    cells = {}
    for of in ("accuracy", "reward"):
        for name, key in (("tau", "tau"), ("Spearman", "spearman")):
            low, high = row[f"{of}_{key}_low"], row[f"{of}_{key}_high"]
            cells[f"{of} {name}"] = f"{row[f'{of}_{key}']:.2f} ({low:.2f} to {high:.2f})"
        top = row[f"{of}_top"]
        cells[f"{of} best found"] = f"{round(row[f'{of}_recall'] * top, 1):g} of {top}"
    return cells
