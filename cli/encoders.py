"""`wsi-lpd encoders`: pathology foundation encoders and their licences, or the details of one encoder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._console import print_json, user_errors
from ._options import JsonOption

if TYPE_CHECKING:
    from wsi_lpd.models.encoders.catalogue import KnownEncoder
    from wsi_lpd.models.encoders.info import EncoderFacts


def encoders(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="NAME",
            help="A timm name, hf-hub:owner/name, or a folder in the hub's layout.  [default: list all]",
            show_default=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List pathology foundation encoders, or describe one.

    The list has licence, access and resolution of each encoder.
    """
    with user_errors():
        if name is None:
            _list(as_json)
        else:
            _show(name, as_json)


def _list(as_json: bool) -> None:
    from wsi_lpd.models.encoders.catalogue import KNOWN
    from wsi_lpd.models.encoders.hub import WEIGHT_FILES, cached_file

    rows = [
        {
            "name": known.name,
            "architecture": known.architecture,
            "patch_px": known.patch_px,
            "input_px": known.input_px,
            "mpp": known.mpp,
            "licence": known.licence,
            "gated": known.gated,
            "local": _text(cached_file(known.repository, WEIGHT_FILES)),
        }
        for known in KNOWN
    ]
    if as_json:
        print_json({"encoders": rows})
        return
    table = [("model.encoder", "network", "token, input px", "um/px", "licence", "gated", "local")]
    for known, row in zip(KNOWN, rows, strict=True):
        sizes = f"{known.patch_px}, {known.input_px}"
        here = "yes" if row["local"] else "no"
        table.append((known.name, known.architecture, sizes, known.mpp, known.licence, _gate(known.gated), here))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    typer.echo(
        "\nLicences, gates and resolutions are as stated on the model cards; read the card before you use one.\n"
        "Every timm network with feature maps is an encoder too: wsi-lpd encoders NAME shows its details."
    )


def _show(name: str, as_json: bool) -> None:
    from wsi_lpd.models.encoders.catalogue import known_encoder
    from wsi_lpd.models.encoders.info import encoder_facts

    known = known_encoder(name)
    facts = encoder_facts(name)
    if as_json:
        card = {"mpp": None if known is None else known.mpp, "gated": None if known is None else known.gated}
        print_json({"name": name, **dataclasses.asdict(facts), "local": _text(facts.local), **card})
        return
    typer.echo("\n".join([name, *(f"  {key:<13}{value}" for key, value in _rows(name, facts, known))]))


def _rows(name: str, facts: EncoderFacts, known: KnownEncoder | None) -> list[tuple[str, str]]:
    used = ", ".join(map(str, facts.scales))
    height, width = facts.input_px
    rows = [
        ("network", f"{facts.architecture}, {facts.n_parameters / 1e6:,.1f} million parameters"),
        ("stages", _stages(facts)),
        ("model.scales", f"[{used}] by default"),
        (
            "input",
            f"trained at {width} x {height} px, takes {'any size' if facts.takes_any_size else 'only this size'}",
        ),
        ("mean, std", f"{_numbers(facts.mean)}; {_numbers(facts.std)} (RGB)"),
    ]
    if known is not None:
        rows.append(("um/px", known.mpp))
    rows.append(("licence", facts.licence or "not stated"))
    if known is not None:
        rows.append(("gated", _gate(known.gated)))
    return [*rows, ("weights", _whereabouts(name, facts, known))]


def _stages(facts: EncoderFacts) -> str:
    first = facts.stages[0]
    if len(facts.stages) > 1 and len({(s.channels, s.stride_px) for s in facts.stages}) == 1:
        return f"0 to {facts.stages[-1].index}: {first.channels} channels, stride {first.stride_px} px"
    return ", ".join(f"{s.index}: {s.channels} channels, stride {s.stride_px} px" for s in facts.stages)


def _whereabouts(name: str, facts: EncoderFacts, known: KnownEncoder | None) -> str:
    if facts.local is not None:
        return str(facts.local)
    if facts.hub is None:
        return "none published: random, unless model.weights names a file"
    folder = facts.hub.rpartition("/")[2]
    gate = ""
    if known is not None and known.gated is not False:
        gate = f"Accept the terms at https://huggingface.co/{facts.hub} and `hf auth login`; then "
    choice = "timm" if known is None and not name.startswith("hf") else name
    return (
        f"not on this machine. {gate}--set model.weights={choice} downloads them; offline: `hf download {facts.hub} "
        f"--local-dir {folder}` elsewhere, then --set model.encoder={name} --set model.weights={folder}"
    )


def _gate(gated: bool | None) -> str:
    return "see card" if gated is None else "yes" if gated else "no"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
