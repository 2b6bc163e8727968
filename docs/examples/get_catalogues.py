"""Put the gettext catalogues of some sixty Debian packages into a folder: translations that people made of programs.

    python docs/examples/get_catalogues.py --language de --out catalogues

On Debian or a system made from it, without root: `apt-get download` gets the packages, `dpkg-deb` opens them, nothing
is installed. Some 250 MB are fetched and thrown away again; what is left lies in CATALOGUES/LANGUAGE/LC_MESSAGES, a
file for each program, under the licence of that program.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

PACKAGES = """
anjuta-common aptitude-common ardour-data audacity-data bluefish-data brasero-common claws-mail-i18n darktable
dia-common digikam-data dolphin dpkg easytag epiphany-browser-data evolution-common evolution-data-server-common
filezilla-common flatpak fontforge-common geany-common gedit-common gimp-data git gnome-builder gnome-calculator
gnome-control-center-data gnome-disk-utility gnome-software-common gnucash-common gnumeric-common gnupg-l10n gramps
grisbi-common gthumb-data hexchat-common homebank-data inkscape k3b-data kate5-data kmail kmymoney-common konsole
korganizer krita-l10n ktorrent-data libgphoto2-l10n libgtk-3-common libvirt-l10n lyx-common mutt nautilus-data
network-manager-gnome orca pidgin-data rhythmbox-data shotwell-common sylpheed-i18n system-config-printer-common
thunar-data util-linux-locales vlc-l10n
"""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--language", default="de", help="as in /usr/share/locale: de, fr, es, pt_BR, …")
    parser.add_argument("--out", type=Path, default=Path("catalogues"), help="the folder to put them into")
    parser.add_argument("packages", nargs="*", default=PACKAGES.split(), help="other packages than those listed here")
    said = parser.parse_args()
    for tool in ("apt-get", "apt-cache", "dpkg-deb"):
        if shutil.which(tool) is None:
            print(f"{tool} is not there: this needs Debian, or a system made from it", file=sys.stderr)
            return 1
    target = said.out / said.language / "LC_MESSAGES"
    with tempfile.TemporaryDirectory() as folder:
        known = _known(said.packages)
        for name in sorted({*said.packages} - {*known}):
            print(f"no package {name} here: left out", file=sys.stderr)
        if not known or subprocess.run(["apt-get", "download", *known], cwd=folder).returncode:
            print("nothing was got; `apt-get update` brings the list of packages up to date", file=sys.stderr)
            return 1
        target.mkdir(parents=True, exist_ok=True)
        for package in sorted(Path(folder).glob("*.deb")):
            for name, data in _catalogues(package, said.language):
                (target / name).write_bytes(data)
    print(f"{len(list(target.glob('*.mo')))} catalogues in {target}")
    return 0


def _known(packages: list[str]) -> list[str]:
    """Those of the packages that there are."""
    shown = subprocess.run(["apt-cache", "show", "--no-all-versions", *packages], capture_output=True, text=True).stdout
    found = {line.removeprefix("Package: ") for line in shown.splitlines() if line.startswith("Package: ")}
    return [name for name in packages if name in found]


def _catalogues(package: Path, language: str) -> Iterator[tuple[str, bytes]]:
    """(file name, content) of every catalogue of a language in a package."""
    with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE) as made:
        assert made.stdout is not None
        with tarfile.open(fileobj=made.stdout, mode="r|") as archive:
            for member in archive:
                path = Path(member.name)
                if member.isfile() and path.suffix == ".mo" and path.parts[-3:-1] == (language, "LC_MESSAGES"):
                    file = archive.extractfile(member)
                    assert file is not None
                    yield path.name, file.read()


if __name__ == "__main__":
    sys.exit(main())
