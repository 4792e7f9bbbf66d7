"""A release that is made of what is installed, and made again: the same measurements, or which part is another."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from sealmarket.releases.errors import ReleaseDisagrees
from sealmarket.releases.folder import CheckedRelease
from sealmarket_enclave.protocol.codec import Bytes32
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_worker.image import base_interpreter
from sealmarket_worker.release import Target, measured_here, require_reproduced


@pytest.fixture(scope="module")
def checked() -> CheckedRelease:
    """What this machine makes, as if a publisher had made it."""
    measured, components = measured_here([Target("batch", Tee.TDX, "virtual")], base_interpreter())
    return CheckedRelease(measured, components, "")


def test_what_is_made_again_is_the_same(checked: CheckedRelease) -> None:
    require_reproduced(checked, base_interpreter())
    [enclave] = checked.measured.enclaves
    assert (enclave.kind, enclave.tee, enclave.grade) == ("batch", "tdx", "simulated")
    assert {"msgspec", "cryptography"} <= {one.name for one in checked.components}


@pytest.mark.parametrize("what", ["files of msgspec", "measurement of batch", "interpreter", "release of Sealmarket"])
def test_what_is_not_the_same_here_is_named(
    what: str, checked: CheckedRelease, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured, components = checked.measured, checked.components
    monkeypatch.setattr("sealmarket_worker.release.measured_here", lambda *_: (checked.measured, checked.components))
    if what == "files of msgspec":
        components = tuple(replace(o, files=Bytes32(bytes(32))) if o.name == "msgspec" else o for o in components)
    elif what == "measurement of batch":
        measured = replace(measured, enclaves=(replace(measured.enclaves[0], image=Bytes32(bytes(32))),))
    else:
        measured = replace(measured, **{"interpreter" if what == "interpreter" else "release": "9.9.9"})
    with pytest.raises(ReleaseDisagrees, match=what):
        require_reproduced(CheckedRelease(measured, components, ""), Path("unused"))
