"""`wsi-lpd encoders`: pathology foundation encoders and their licences, or the details of one encoder."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ._console import print_json, user_errors
from ._options import JsonOption

if TYPE_CHECKING:
    from wsi_lpd.models.encoders.catalogue import CatalogueEntry
    from wsi_lpd.models.encoders.info import EncoderInfo


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
    from wsi_lpd.models.encoders.catalogue import CATALOGUE
    from wsi_lpd.models.encoders.hub import WEIGHT_FILES, cached_file

    rows = [
        {
            "name": entry.name,
            "architecture": entry.architecture,
            "patch_px": entry.patch_px,
            "input_px": entry.input_px,
            "mpp": entry.mpp,
            "licence": entry.licence,
            "gated": entry.gated,
            "local": _text(cached_file(entry.repository, WEIGHT_FILES)),
        }
        for entry in CATALOGUE
    ]
    if as_json:
        print_json({"encoders": rows})
        return
    table = [("model.encoder", "network", "token, input px", "um/px", "licence", "gated", "local")]
    for entry, row in zip(CATALOGUE, rows, strict=True):
        sizes = f"{entry.patch_px}, {entry.input_px}"
        here = "yes" if row["local"] else "no"
        table.append((entry.name, entry.architecture, sizes, entry.mpp, entry.licence, _gate(entry.gated), here))
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    for line in table:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
    typer.echo(
        "\nLicences, gates and resolutions are as stated on the model cards; read the card before you use one.\n"
        "Every timm network with feature maps is an encoder too: wsi-lpd encoders NAME shows its details."
    )


def _show(name: str, as_json: bool) -> None:
    from wsi_lpd.models.encoders.catalogue import catalogue_entry
    from wsi_lpd.models.encoders.info import encoder_info

    entry = catalogue_entry(name)
    details = encoder_info(name)
    if as_json:
        card = {"mpp": None if entry is None else entry.mpp, "gated": None if entry is None else entry.gated}
        print_json({"name": name, **dataclasses.asdict(details), "local": _text(details.local), **card})
        return
    typer.echo("\n".join([name, *(f"  {key:<13}{value}" for key, value in _rows(name, details, entry))]))


def _rows(name: str, details: EncoderInfo, entry: CatalogueEntry | None) -> list[tuple[str, str]]:
    used = ", ".join(map(str, details.scales))
    height, width = details.input_px
    rows = [
        ("network", f"{details.architecture}, {details.n_parameters / 1e6:,.1f} million parameters"),
        ("stages", _stages(details)),
        ("model.scales", f"[{used}] by default"),
        (
            "input",
            f"trained at {width} x {height} px, takes {'any size' if details.takes_any_size else 'only this size'}",
        ),
        ("mean, std", f"{_numbers(details.mean)}; {_numbers(details.std)} (RGB)"),
    ]
    if entry is not None:
        rows.append(("um/px", entry.mpp))
    rows.append(("licence", details.licence or "not stated"))
    if entry is not None:
        rows.append(("gated", _gate(entry.gated)))
    return [*rows, ("weights", _whereabouts(name, details, entry))]


def _stages(details: EncoderInfo) -> str:
    first = details.stages[0]
    if len(details.stages) > 1 and len({(s.channels, s.stride_px) for s in details.stages}) == 1:
        return f"0 to {details.stages[-1].index}: {first.channels} channels, stride {first.stride_px} px"
    return ", ".join(f"{s.index}: {s.channels} channels, stride {s.stride_px} px" for s in details.stages)


def _whereabouts(name: str, details: EncoderInfo, entry: CatalogueEntry | None) -> str:
    if details.local is not None:
        return str(details.local)
    if details.hub is None:
        return "none published: random, unless model.weights names a file"
    folder = details.hub.rpartition("/")[2]
    gate = ""
    if entry is not None and entry.gated is not False:
        gate = f"Accept the terms at https://huggingface.co/{details.hub} and `hf auth login`; then "
    choice = "timm" if entry is None and not name.startswith("hf") else name
    return (
        f"not on this machine. {gate}--set model.weights={choice} downloads them; offline: `hf download {details.hub} "
        f"--local-dir {folder}` elsewhere, then --set model.encoder={name} --set model.weights={folder}"
    )


def _gate(gated: bool | None) -> str:
    return "see card" if gated is None else "yes" if gated else "no"


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:.4g}" for value in values)


def _text(path: Any) -> str | None:
    return None if path is None else str(path)
