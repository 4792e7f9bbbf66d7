"""The worker's configuration as `sealmarket worker init` writes it: every key, its default, and what it means.

A test holds that the template names each key of :mod:`sealmarket_worker.config`, and that its defaults are those.
"""

from __future__ import annotations

from collections.abc import Mapping

TEMPLATE = """\
# The configuration of `sealmarket worker run`. Paths are relative to this file. A key that is not known is refused.
# `sealmarket worker doctor --config THIS FILE` says what is missing on this machine.

# --- what has to be named -----------------------------------------------------------------------------------------

rpc = {rpc}
# A node of the chain; more nodes after commas. Or a TOML file of [[endpoint]] tables, where a node takes a key.

book = {book}
# The market's address book, from its operator.

key = {key}
# The provider's account, mode 0600: a keystore, or 32 bytes of hex.

state = {state}
# Journal, image, installed environments, ciphertext. One worker at a time; a second one is refused.

device = {device}
# How the driver reaches the TEE. `virtual`: the device's control socket. `guest`: /dev/kvm. `gramine`: the folder with
# the signed manifest.

wheels = {wheels}
# Wheels from which the environments of workloads are installed; `sealmarket worker prepare` says which are missing.

# --- what may be named --------------------------------------------------------------------------------------------

passphrase_file = {passphrase_file}
# A file with the keystore's passphrase, mode 0600. Empty: the file that the variable SEALMARKET_PASSPHRASE_FILE names,
# or the passphrase in SEALMARKET_PASSPHRASE.

driver = {driver}
# How enclaves are launched: `guest` (TDX, SEV-SNP or CCA guests), `gramine` (SGX), or `virtual` of sealmarket-devices,
# whose evidence is SIMULATED.

tee = {tee}
# The kind of TEE: tdx, snp, cca, sgx or nitro, as far as the driver has it.

image = ""
# The enclave image. Empty: it is assembled from the installed release. `guest`: the folder of the guest image.

capability = ""
# What this host promises in its orders: a JSON file. Empty: what it has.

kind = {kind}
# The kind of job that this host takes: "batch", or "session" for services. An account that has both runs two workers.

listen = {listen}
# Of kind session: where users reach this host, such as "127.0.0.1:8600". Put a proxy with TLS before it.

url = {url}
# Of kind session: the address that the market lists for your services, such as "https://models.example.org". Empty:
# none, and users have to know it.

environments = "any"
# "any": any workload's environment is promised; a job whose wheels are missing is declined. "prepared": only those
# that `sealmarket worker prepare` has installed are promised, and a request for another is the request's fault.

kept_environments = 32
# Installed environments of workloads and steps that are kept; the least recently used one beyond is removed, unless a
# job needs it or the promise names it. It is installed again from the wheels.

max_jobs = 2
# Jobs at once, 1 to 64. Each takes an enclave; a further job waits for a place.

store = ""
# The store of ciphertext and results. Empty: the address book's.

settle_patience_seconds = 20.0
# How long the backend may take to settle a job before this host pays the gas itself.

drain_seconds = 600.0
# After SIGTERM, how long jobs that are quoted may take to end; no other job is begun. 0: every job is left at once.

outbox = {outbox}
# Where sent transactions are remembered. Empty: in `state`. Several workers of one account name one folder.

max_fee = ""
# Most for one gas, tip included: "30gwei", or wei. Empty: 1000gwei.

priority_fee = ""
# The tip. Empty: what recent blocks paid.

development_chain = {development_chain}
# true only where this machine started the chain: allows publicly known keys.

# A job beyond these limits is quoted and declined, at no cost to this provider.
[limits]
min_settle_window = 0
# Least seconds from acceptance to the result.

max_input_bytes = 0
# All containers of a job together. 0: half of this machine's memory.

# Most of the stake that one job may lock, by token, in its smallest unit. Without a token here, no limit.
[limits.max_stake]
# "0x0000000000000000000000000000000000000000" = "500000000000000000"

# Several workers for one account: worker `worker`, from 0, of `workers`. Stop all of them before you change the number.
# Any one may get all of an offer's jobs: offer no more at once than the smallest max_jobs, or give each an account.
[share]
workers = 1
worker = 0
"""

DEFAULTS: Mapping[str, object] = {
    "rpc": "http://127.0.0.1:8545",
    "book": "market.json",
    "key": "account.json",
    "state": "worker",
    "device": "tdx.sock",
    "wheels": "wheels",
    "passphrase_file": "",
    "driver": "virtual",
    "tee": "tdx",
    "development_chain": False,
    "kind": "batch",
    "outbox": "",
    "listen": "",
    "url": "",
}
"""What `init` takes as options, and what it writes without them."""


def written(**values: object) -> str:
    """The template with these values. Raises ``KeyError`` for one that is not in :data:`DEFAULTS`."""
    for name in values:
        DEFAULTS[name]
    return TEMPLATE.format(**{name: _toml(values.get(name, default)) for name, default in DEFAULTS.items()})


def _toml(value: object) -> str:
    """A string or a truth value in TOML. A basic string escapes the quote, the backslash and control characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value)
    escaped = "".join(_escaped(character) for character in text)
    return f'"{escaped}"'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    return f"\\u{ord(character):04X}" if ord(character) < 0x20 or ord(character) == 0x7F else character
