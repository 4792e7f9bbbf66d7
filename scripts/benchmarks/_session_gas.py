"""Gas of a service: opening it and a tab, statements over many accounts, what ends it."""

from __future__ import annotations

from dataclasses import replace

from msgspec import structs

from scripts.benchmarks._gas_accounts import ETHER, Party
from scripts.benchmarks._gas_world import Job, World
from sealmarket.chain.sessions import KIND
from sealmarket.protocol.decisions import Outcome
from sealmarket_enclave.protocol.codec import ZERO_ADDRESS, HexBytes, Uint64, Wei
from sealmarket_enclave.protocol.numbers import U8, U32, JobId
from sealmarket_enclave.protocol.session import Entry, Royalty, SessionTerms, SignedStatement, Statement

ACCOUNTS = 100
BUCKET, SERVED = 1_000, 37_000
"""Units of a statement are multiples of a bucket; what each account was served by one."""
UNIT_PRICE, PER_UNIT = Wei(12_345_678_901_234), Wei(123_456_789_012)
LEASE = Uint64(ACCOUNTS * SERVED)
LEASE_SECONDS, WINDOW, SERVES, MARGIN = 600, 3_600, 100_000, 60


class SessionWorld(World):
    """A market with one service of many accounts. Every tab is new, and every statement's first is its tab's first."""

    def figures(self) -> dict[str, int]:
        """Every figure of services."""
        job, terms = self._accepted_service()
        spec, enclave = self._spec(job), self._enclave(job)
        figures = {"open_service": self._send(self.sessions.open_service(spec, enclave, terms))}
        job_id = self._job_id(job)
        bond = Wei(LEASE * PER_UNIT)
        self._send(self.sessions.bond(ZERO_ADDRESS, job_id, Wei(bond)), job.provider)
        accounts = [self._consumer() for _ in range(ACCOUNTS)]
        for account in accounts:
            call = self.sessions.fund_tab(spec, terms, account.address, Wei(ETHER))
            figures["open_tab"] = self._send(call, account)
        self._redeem(job, job_id, accounts[:1], 1)
        for count in (16, 100):
            rise = self._served + SERVED
            figures[f"statement_{count}"] = self._redeem(job, job_id, accounts[:count], rise) // count
        figures["pay_royalties"] = self._send(self.sessions.pay_royalties(spec, terms))
        figures["request_close"] = self._send(self.sessions.request_close(job_id), accounts[0])
        self.pass_time(SERVES + WINDOW + MARGIN)
        figures["close_tab"] = self._send(self.sessions.close_tab(job_id, accounts[0].address))
        return figures

    _served, _total = 0, 0

    def _redeem(self, job: Job, job_id: JobId, accounts: list[Party], units: int) -> int:
        """Redeem a statement in which each of these accounts was served ``units`` in all; the gas of it."""
        self._served = units
        self._total += units * len(accounts)
        entries = tuple(Entry(account=one.address, units=Uint64(units), last=False) for one in accounts)
        statement = Statement(job_id=job_id, total=Uint64(self._total), last=False, entries=entries)
        signature = HexBytes(self._sign(job.enclave, statement))
        return self._send(self.sessions.redeem(SignedStatement(statement=statement, signature=signature)))

    def _accepted_service(self) -> tuple[Job, SessionTerms]:
        job = self.job(assets=1)
        (limit,) = job.request.assets
        terms = SessionTerms(
            sessions=self.sessions.address,
            lease=LEASE,
            lease_seconds=LEASE_SECONDS,
            redemption_window=WINDOW,
            end=self._time() + SERVES,
            bucket=Uint64(BUCKET),
            unit_price=UNIT_PRICE,
            least_tab=Wei(ETHER // 10),
            renewal_fee=Wei(10**12),
            royalties=(Royalty(asset_id=limit.asset_id, per_unit=PER_UNIT),),
        )
        request = structs.replace(
            job.request,
            kind=U8(KIND),
            extension_hash=terms.struct_hash(),
            consumer=job.provider.address,
            payer=job.provider.address,
            max_units=U32(0),
        )
        compute = structs.replace(job.compute, kind=U8(KIND), price=Wei(0), unit_price=Wei(0))
        service = replace(job, consumer=job.provider, request=request, compute=compute)
        self.match(service)
        self.quote(service)
        self.decide(service, Outcome.ACCEPTED)
        return service, terms
