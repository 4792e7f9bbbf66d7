"""A whole market on this machine, each party a process of its own: for the demo, for tests, for trying things.

    with Supervisor(logs=folder / "logs") as programs:
        market = LocalMarket.start(programs, folder, chain=chains.anvil(programs))
        market.book, market.rpc                      # what every tool needs
        hospital = market.purse("hospital_a")        # an account of its own, with coin for gas and prices

Started in this order: three oracle nodes make their keys; the contracts are deployed, naming them; the backend, the
nodes and the virtual TEE device start. A worker is started by :meth:`LocalMarket.start_worker`. Every account is
fresh; the bank that fills their purses is the chain's own development account, or the key that the caller names.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import ClassVar

from sealmarket.chain import Chain, Sender
from sealmarket.chain.deploy import FINAL_SECONDS, Deployed, Settings, deploy, timing, write_book
from sealmarket.client.accounts import create_account, load_account
from sealmarket.eth import Account, LocalAccount
from sealmarket.private_files import write_private
from sealmarket.protocol.book import AddressBook, Committee, FinalityRule, Member, Timing
from sealmarket.protocol.members import SignedMember
from sealmarket.protocol.timing import minimum_windows
from sealmarket_devices.client import VirtualDevice
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, Address, Wei, decode
from sealmarket_enclave.protocol.numbers import Tee
from sealmarket_localnet.chains import gives_proofs
from sealmarket_localnet.processes import LOOPBACK, Process, Ready, Supervisor, answers, free_port, says

ETHER = 10**18
NODES = 3
THRESHOLD = 2
DEVELOPMENT_BANK = "0xac0974bec39a17e36ba4a6b4d238ff944bacb478cbed5efcae784d7bf4f2ff80"
"""The first account of the well-known development mnemonic: rich on every local chain, and nowhere else."""

STEP_SECONDS = 1
CHALLENGE_SECONDS = 5
TRANSFER_SECONDS = 1
"""What parties on one machine need beside waiting for blocks: short, so that tests may ask for short windows."""

FINAL_SECONDS_HERE = 2
"""Until a block is final on a chain with a block a second."""

SIGNATURE_FEE = Wei(ETHER // 100)
"""What one oracle signature costs here: enough to be seen in a table of balances."""

PURSE = 100 * ETHER
PLAY_MONEY = MappingProxyType({"SEALMARKET_KEEPER_GAS_GWEI_PER_DAY": str(2**52)})
"""A local market's keeper gives whatever gas it takes."""
READY_SECONDS = 180
"""For one program to start; a machine with much other work takes this long."""


@dataclass(frozen=True, slots=True)
class Purse:
    """A party's account, and what it sends with."""

    name: str
    account: LocalAccount
    sender: Sender
    key_file: Path

    @property
    def address(self) -> Address:
        """The account's address."""
        return self.sender.address


@dataclass(slots=True)
class LocalMarket:
    """Everything that runs. Made by :meth:`start`."""

    programs: Supervisor
    folder: Path
    rpc: str
    book: AddressBook
    book_file: Path
    chain: Chain
    bank: Sender
    parties: dict[str, Process] = field(default_factory=dict)
    """``backend``, ``device``, ``oracle-0`` to ``oracle-2``, ``worker``: what runs under which name."""
    purses: dict[str, Purse] = field(default_factory=dict)
    allowance: int = PURSE
    """What a purse holds to begin with, in wei."""
    gpus: int = 0
    """How many virtual GPUs the device's machine has."""
    tee: ClassVar[Tee] = Tee.TDX
    """The kind of the virtual device and of the worker."""

    @classmethod
    def start(
        cls,
        programs: Supervisor,
        folder: Path,
        rpc: str,
        *,
        finality: FinalityRule,
        final_seconds: int = FINAL_SECONDS_HERE,
        bank_key: str | None = None,
        purse: int = PURSE,
        signature_fee: Wei = SIGNATURE_FEE,
        patience: float = 0.0,
        deployed: Callable[[Deployed], None] = lambda _part: None,
        said: Callable[[str], None] = lambda _step: None,
        gpus: int = 0,
    ) -> LocalMarket:
        """Bring a market up on a chain that runs. Without ``bank_key`` the chain must be one that we started.

        ``final_seconds``: how long a block takes to become final, for the shortest windows of the market.
        ``gpus``: how many virtual GPUs the device's machine has.
        ``patience``: seconds that final blocks may take longer than on a chain of our own.
        """
        folder.mkdir(parents=True, exist_ok=True)
        development = bank_key is None
        account: LocalAccount = Account.from_key(bank_key or DEVELOPMENT_BANK)
        said("three oracle nodes make their keys")
        settings = _settings(_make_nodes(folder), finality, final_seconds, signature_fee)
        said("the contracts are deployed")
        wait = FINAL_SECONDS + patience
        book = deploy(rpc, account, settings, development=development, report=deployed, final_within=wait)
        book_file = folder / "market.json"
        write_book(book_file, book)
        chain = Chain(book, rpc)
        market = cls(
            programs=programs,
            folder=folder,
            rpc=rpc,
            book=book,
            book_file=book_file,
            chain=chain,
            bank=Sender(chain, account, development=development),
            allowance=purse,
            gpus=gpus,
        )
        said("backend, oracle nodes and virtual TEE device start")
        market.start_parties()
        return market

    @classmethod
    def resume(cls, programs: Supervisor, folder: Path, rpc: str) -> LocalMarket:
        """A market that :meth:`start` made in this folder, on its chain and with its keys. Starts no party."""
        book_file = folder / "market.json"
        book = decode(AddressBook, book_file.read_bytes())
        chain = Chain(book, rpc)
        bank = Sender(chain, Account.from_key(DEVELOPMENT_BANK), development=True)
        return cls(programs=programs, folder=folder, rpc=rpc, book=book, book_file=book_file, chain=chain, bank=bank)

    def start_parties(self) -> None:
        """Start all but the worker, side by side where one does not need another."""
        keeper = self.purse("keeper")
        with ThreadPoolExecutor() as side_by_side:
            backend = side_by_side.submit(self.start_backend, keeper)
            self.start_device()  # the nodes need its root
            list(side_by_side.map(self.start_node, range(NODES)))
            backend.result()
        self.programs.require_running()

    @property
    def device_socket(self) -> Path:
        """The virtual device's Unix socket. A short path, since socket paths may have 107 bytes only."""
        return self.folder / f"{self.tee.slug}.sock"

    def purse(self, name: str) -> Purse:
        """A fresh account with coin, made on first use; one whose key is in the folder already is taken from there."""
        if name in self.purses:
            return self.purses[name]
        key_file = self.folder / f"{name}.key"
        account = load_account(key_file) if key_file.exists() else create_account(key_file)
        sender = Sender(self.chain, account)
        if not self.chain.balance(sender.address, self.chain.head()):
            self.bank.transfer(sender.address, self.allowance)
        self.purses[name] = Purse(name, account, sender, key_file)
        return self.purses[name]

    def start_backend(self, keeper: Purse) -> Process:
        """Start the backend on the port that the address book names."""
        port = self.book.backend.rsplit(":", 1)[1]
        return self._party(
            "backend",
            ["-m", "sealmarket_backend", "run", "--book", self.book_file, "--rpc", self.rpc,
             "--state", self.folder / "backend", "--key-file", keeper.key_file, "--port", port],
            answers(f"{self.book.backend}/healthz"),
        )  # fmt: skip

    def start_node(self, index: int) -> Process:
        """Start one oracle node of the committee."""
        folder = self.folder / f"oracle-{index}"
        config = folder / "node.toml"
        url = self.book.committees[0].members[index].url
        if not config.exists():
            settings = {
                "rpc": self.rpc,
                "book": str(self.book_file),
                "state": str(folder),
                "passphrase_file": str(_passphrase_of(folder)),
                "port": int(url.rsplit(":", 1)[1]),
                "profile": "development",
                "max_head_ahead_seconds": 10**9,  # who tries a local market out moves its chain's clock
                "proofs": "required" if gives_proofs(self.rpc, self.book.market) else "none",
                "development_roots": [str(path) for path in self.root_files],
            }
            config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        return self._party(
            f"oracle-{index}", ["-m", "sealmarket_oracle", "run", "--config", config], answers(f"{url}/v1/node")
        )

    def start_device(self) -> Process:
        """Start the virtual device, and keep its development root where nodes find it."""
        process = self._party(
            "device",
            ["-m", f"sealmarket_devices.{self.tee.slug}", "--state", self.folder / "device",
             "--socket", self.device_socket, "--gpus", str(self.gpus)],
            says("Ready"),
        )  # fmt: skip
        with VirtualDevice(self.device_socket) as device:
            for path, der in zip(self.root_files, device.roots(), strict=True):
                path.write_bytes(der)
        return process

    def start_worker(
        self, provider: Purse, wheels: Path, *, name: str = "worker", image: Path | None = None, listen: str = ""
    ) -> Process:
        """Start a worker that runs its provider's jobs on the virtual device, in its own image or a given one.

        ``listen``: an address and a port at which users reach its services, which the market lists; without it the
        worker takes batch jobs.
        """
        config = self.folder / f"{name}.toml"
        settings = {
            "rpc": self.rpc,
            "book": str(self.book_file),
            "key": str(provider.key_file),
            "state": str(self.folder / name),
            "image": str(image or ""),
            "driver": "virtual",
            "tee": self.tee.slug,
            "device": str(self.device_socket),
            "wheels": str(wheels),
            "drain_seconds": 0.0,
            "kind": "session" if listen else "batch",
            "listen": listen,
            "url": f"http://{listen}" if listen else "",
        }
        config.write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items()))
        arguments: list[str | Path] = ["-m", "sealmarket_worker", "run", "--config", config]
        return self._party(name, arguments, says("Ready"))

    @property
    def root_file(self) -> Path:
        """The device's development root certificate (DER)."""
        return self.folder / "development-root.der"

    @property
    def root_files(self) -> tuple[Path, ...]:
        """The development roots that nodes trust: the device's, and those of its GPUs and of their manifests."""
        names = ("development-root-gpus.der", "development-root-manifests.der") if self.gpus else ()
        return (self.root_file, *(self.folder / name for name in names))

    def _party(self, name: str, arguments: list[str | Path], ready: Ready) -> Process:
        command: list[str | os.PathLike[str]] = [sys.executable, *arguments]
        env = {**_environment(), **PLAY_MONEY}
        self.parties[name] = self.programs.start(name, command, ready=ready, timeout=READY_SECONDS, env=env)
        return self.parties[name]


def _environment() -> Mapping[str, str]:
    """What a party's process sees of ours: no keys, no settings of other tools."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ} | {"PYTHONUNBUFFERED": "1"}


def _timing(final_seconds: int) -> Timing:
    windows = minimum_windows(final_seconds, TRANSFER_SECONDS, step=STEP_SECONDS, challenge=CHALLENGE_SECONDS)
    return timing(final_seconds, transfer_allowance=TRANSFER_SECONDS, windows=windows)


def _settings(committee: Committee, finality: FinalityRule, final_seconds: int, signature_fee: Wei) -> Settings:
    """A deployment with windows for a chain that is watched, and a backend of its own on this machine."""
    backend_url = f"http://{LOOPBACK}:{free_port()}"
    return Settings(
        finality=finality,
        committee=committee,
        store=backend_url,
        backend=backend_url,
        timing=_timing(final_seconds),
        unbonding_delay=10,
        committee_delay=10,
        tokens={ZERO_ADDRESS: signature_fee},
    )


def _make_nodes(folder: Path) -> Committee:
    """Let each oracle node make its keys."""
    ports = [free_port() for _ in range(NODES)]
    with ThreadPoolExecutor() as side_by_side:
        made = side_by_side.map(lambda n: _node_keys(folder / f"oracle-{n}", ports[n]), range(NODES))
        return Committee(epoch=1, threshold=THRESHOLD, members=tuple(made))


def _node_keys(folder: Path, port: int) -> Member:
    url = f"http://{LOOPBACK}:{port}"
    passphrase = _passphrase_of(folder)
    write_private(passphrase, f"{secrets.token_urlsafe(32)}\n".encode())
    made = subprocess.run(
        [sys.executable, "-m", "sealmarket_oracle", "init", str(folder), "--url", url, "--light",
         "--backup", str(folder.with_suffix(".backup")), "--passphrase-file", str(passphrase)],
        capture_output=True,
        check=True,
        env=dict(_environment()),
    )  # fmt: skip
    return decode(SignedMember, made.stdout.strip()).member


def _passphrase_of(folder: Path) -> Path:
    """Where the passphrase of a node's keys is; it is random, so cheap scrypt protects it as well."""
    return folder.with_suffix(".passphrase")


def coin(amount: int) -> str:
    """An amount of wei for people: whole coins and up to six digits, exactly or with a leading ``~``."""
    whole, rest = divmod(int(Wei(amount)), ETHER)
    digits = f"{rest:018d}"
    shown = f"{whole}.{digits[:6]}".rstrip("0").rstrip(".")
    return shown if not digits[6:].strip("0") else f"~{shown}"
