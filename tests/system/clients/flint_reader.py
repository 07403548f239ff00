"""Runs in Flint's own environment: infos of scans on stdin, and what Flint's parser makes of them on stdout, as JSON."""

import io
import json
import logging
import sys

log = io.StringIO()
logging.basicConfig(stream=log, level=logging.WARNING)

from bliss.flint.scan_info_parser.plots import create_plot_model  # noqa: E402 - bliss configures the log itself
from bliss.flint.scan_info_parser.scans import create_scan_model  # noqa: E402

CHANNELS = ("xChannel", "yChannel", "valueChannel", "imageChannel", "mcaChannel")
MEMBERS = ("start", "stop", "min", "max", "points", "axisId", "axisPoints", "axisKind", "group", "decimals")


def read(info):
    scan = create_scan_model(info)
    plots = create_plot_model(info, scan)
    return {
        "plots": [[type(plot).__name__, *map(item_of, plot.items())] for plot in plots],
        "channels": {channel.name(): channel_of(channel) for device in scan.devices() for channel in device.channels()},
        "scatter": next(
            (scatter_of(found) for found in map(scan.getScatterDataByChannel, scan.channels()) if found), None
        ),
    }


def item_of(item):
    named = {name: getattr(item, name)() for name in CHANNELS if hasattr(item, name)}
    # the index of a spectrum has no name
    return {
        name.removesuffix("Channel"): channel.name() for name, channel in named.items() if channel and channel.name()
    }


def channel_of(channel):
    known = {name: getattr(channel.metadata(), name) for name in MEMBERS}
    plain = {name: getattr(value, "value", value) for name, value in known.items() if value is not None}
    return {"type": channel.type().name, "unit": channel.unit(), "name": channel.displayName(), **plain}


def scatter_of(scatter):
    return {
        "axes": [[channel.name() for channel in scatter.channelsAt(axis)] for axis in range(scatter.maxDim())],
        "shape": scatter.shape(),
        "counters": [channel.name() for channel in scatter.counterChannels()],
    }


infos = json.load(sys.stdin)
found = {name: read(info) for name, info in infos.items()}
json.dump({"scans": found, "log": log.getvalue()}, sys.stdout)
