"""Fuzz one target with atheris: `python tools/fuzz/run.py TARGET FOLDER [MINUTES]`.

The folder keeps what was tried with new effect (`corpus`) and what failed (`findings`, each with
its traceback); fuzzing goes on after a finding. A case that takes more than 20 seconds or 2 GiB
ends it. Install atheris with `pip install 'marrowscope[fuzz]'`.
"""

import sys
import time
import traceback
from hashlib import sha256
from pathlib import Path

import atheris

INSTRUMENTED = ["marrowscope", "PIL", "tifffile", "zipfile", "tarfile", "tomllib", "csv", "json"]
INSTRUMENTED += ["numpy.lib", "targets"]
MOST_BYTES = 8192
"""Longest case, in bytes; seeds that are longer are cut by nobody, only not grown."""

with atheris.instrument_imports(include=INSTRUMENTED):
    from seeds import seeds
    from targets import survives


class Run:
    """One target, the findings so far and the number of cases tried."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target = target
        self.corpus, self.findings = folder / "corpus", folder / "findings"
        self.started, self.tried = time.monotonic(), 0
        self.count = folder / "executions.txt"
        for each in (self.corpus, self.findings):
            each.mkdir(parents=True, exist_ok=True)
        for content in seeds(target):
            (self.corpus / f"seed-{sha256(content).hexdigest()[:12]}").write_bytes(content)

    def __call__(self, content: bytes) -> None:
        """Try one case; keep it if it fails in a way that is new."""
        self.tried += 1
        if self.tried % 1000 == 0:
            self.count.write_text(f"{self.tried} {time.monotonic() - self.started:.0f}\n")
        try:
            survives(self.target, content)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            self._keep(content, error)

    def _keep(self, content: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        ours = [
            f"{Path(f.filename).name}:{f.lineno}" for f in frames if "marrowscope" in f.filename
        ]
        name = f"{type(error).__name__}-{(ours or ['?'])[-1]}".replace(":", "-")
        file = self.findings / name
        if not file.exists() or len(content) < file.stat().st_size:
            file.write_bytes(content)
            text = "".join(traceback.format_exception(error))
            file.with_name(f"{name}.traceback").write_text(text)


def main() -> None:
    """Fuzz until the time is over."""
    target, folder, minutes = sys.argv[1], Path(sys.argv[2]), float((*sys.argv[3:], "8")[0])
    run = Run(target, folder)
    longest = max(MOST_BYTES, *(file.stat().st_size for file in run.corpus.iterdir()))
    options = [f"-max_total_time={60 * minutes:.0f}", f"-max_len={longest}", "-timeout=20"]
    options += ["-rss_limit_mb=2048", "-print_final_stats=1", f"-artifact_prefix={folder}/"]
    atheris.Setup([sys.argv[0], *options, str(run.corpus)], run)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
