"""The signature structure of an SGX enclave, as `gramine-sgx-sign` writes it (Intel SDM vol. 3D, 38.13).

It names what the quotes of the enclave will say, so that no hardware is asked. The signature is not verified: a
processor does that at launch, and an owner compares the quote.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from sealmarket.attestation.core.model import Bytes4, Bytes16
from sealmarket.attestation.intel.measurement import SgxMeasurement
from sealmarket.files import read_file
from sealmarket_enclave.protocol.codec import Bytes32, Bytes64
from sealmarket_worker.errors import ConfigInvalid

SIZE = 1808
_HEADER = bytes.fromhex("06000000e10000000000010000000000")
_HEADER2 = bytes.fromhex("01010000600000006000000001000000")
_INIT = 1
"""The flag that the processor sets when it has launched an enclave."""


def read_sigstruct(path: Path) -> SgxMeasurement:
    """What quotes of the enclave will say. Raises :class:`ConfigInvalid` for another file."""
    remedy = "name the folder in which `gramine-sgx-sign` wrote it"
    try:
        raw = read_file(path, SIZE)
    except OSError as error:
        raise ConfigInvalid(path, str(error), remedy) from error
    if len(raw) != SIZE or raw[:16] != _HEADER or raw[24:40] != _HEADER2:
        raise ConfigInvalid(path, f"a signature structure of {SIZE} bytes, found {len(raw)} of another kind", remedy)
    flags = int.from_bytes(raw[928:936], "little") | _INIT
    return SgxMeasurement(
        mr_enclave=Bytes32(raw[960:992]),
        mr_signer=Bytes32(hashlib.sha256(raw[128:512]).digest()),
        isv_prod_id=int.from_bytes(raw[1024:1026], "little"),
        isv_svn=int.from_bytes(raw[1026:1028], "little"),
        misc_select=Bytes4(raw[900:904]),
        attributes=Bytes16(flags.to_bytes(8, "little") + raw[936:944]),
        config_id=Bytes64(bytes(64)),
        config_svn=0,
    )
