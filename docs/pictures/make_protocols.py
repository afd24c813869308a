"""Draw `protocols/NAME.png` for every shipped protocol: its timeline on the traces of the virtual rig.

python docs/pictures/make_protocols.py [NAME ...]
"""

from __future__ import annotations

import sys
from pathlib import Path

from protocols.load import find_protocol, load_protocol, shipped_protocols
from rt_engine.interfaces.rig_config import load_rig
from rt_engine.interfaces.shipped import find_rig
from rt_engine.services.dry_look import dry_look
from rt_engine.services.dry_look_view import figures_of, save_picture, sentences

SECONDS = {"closed_vs_yoked": 260.0, "influence_mapping": 60.0, "excitability_map": 60.0, "activity_clamp": 40.0}
DEFAULT_S = 30.0


def main() -> None:
    """Run and draw each."""
    folder = Path(__file__).with_name("protocols")
    folder.mkdir(exist_ok=True)
    rig = load_rig(find_rig("virtual_rig"))
    for name in sys.argv[1:] or shipped_protocols():
        config = load_protocol(find_protocol(name))
        look = dry_look(config, rig, SECONDS.get(name, DEFAULT_S))
        words = sentences(figures_of(look, config))
        print(name, *words, sep="\n  ")
        save_picture(look, config, words, folder / f"{name}.png")


if __name__ == "__main__":
    main()
