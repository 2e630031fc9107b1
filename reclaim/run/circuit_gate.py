"""Owns a run's dealings with the circuit: whether it lets the run go on, and what the run reports to it."""

import logging

from reclaim.errors import describe
from reclaim.retry import Retries
from reclaim.run.decisions import Judged, failures
from reclaim.run.limits import Halt, Limits
from reclaim.run.tally import Tally
from reclaim.state.ask import Ask
from reclaim.state.circuit import PROBE_ENTRIES, Admission, Change, Circuit, Effect
from reclaim.state.connection import Server
from reclaim.state.lease import Lease

logger = logging.getLogger("reclaim")

_STOPS = frozenset({Effect.OPENED, Effect.REOPENED, Effect.IS_OPEN, Effect.NOT_PROBING})


class CircuitGate:
    """One run and the circuit. No run fails because its reports do not reach the circuit.

    Attributes:
        probing: whether the run is the one that probes.
    """

    def __init__(
        self,
        *,
        circuit: Circuit,
        server: Server,
        lease: Lease,
        halt: Halt,
        tally: Tally,
        retries: Retries,
        limits: Limits,
    ) -> None:
        self._circuit = circuit
        self._server = server
        self._lease = lease
        self._halt = halt
        self._tally = tally
        self._retries = retries
        self._limits = limits
        self.probing = False

    def enter(self) -> Ask[Admission]:
        """Whether the run may work; the answer goes to `entered`. It is asked after the lease was asked for."""
        return self._circuit.enter(self._lease.token)

    def entered(self, admission: Admission) -> None:
        """Note whether the run may work."""
        self.probing = admission.probing
        if admission.why:
            self._halt.circuit_is_open(admission.why)
        if admission.opening is not None and not admission.go:
            self._tally.circuit_changed(admission.opening)  # told once, however many runs it stops

    def at_most(self, count: int) -> int:
        """How many entries a page may have: `count`, or fewer if the run probes."""
        return min(count, PROBE_ENTRIES) if self.probing else count

    def is_open(self) -> Ask[bool]:
        """Whether the circuit is open now, asked along with an acknowledgement; the answer goes to `note`."""
        return self._circuit.is_open()

    def note(self, *, is_open: bool) -> None:
        """Note whether the circuit was opened elsewhere."""
        if not self.probing and is_open:
            self._halt.circuit_is_open("the circuit was opened while the run was under way")

    async def tell(self, judged: Judged) -> None:
        """Count a page's failures, or say what came of a probe (G4)."""
        failed = failures(judged.decisions)
        if self.probing:
            if failed or judged.done:
                await self.end_probe(failed=failed > 0)
        elif failed:
            await self._change(self._circuit.record(failed, self._tally.run_id))

    async def end_probe(self, *, failed: bool) -> None:
        """Say what came of our probe, if we are the one to probe: it failed, went well, or found nothing."""
        if not self.probing:
            return
        self.probing = False
        if failed:
            await self._change(self._circuit.probe_failed(self._lease.token))
        elif self._tally.counts.acknowledged:
            await self._change(self._circuit.probe_succeeded(self._lease.token, self._tally.run_id))
        else:
            await self._change(self._circuit.probe_withdrawn(self._lease.token))

    async def _change(self, ask: Ask[Change]) -> None:
        try:
            (change,) = await self._retries.call(self._limits.settle, lambda: self._server.ask(ask))
        except Exception as exc:  # noqa: BLE001  # whatever it is: entries are settled already, and the run may go on
            logger.warning("reclaim %s: the circuit could not be told: %s", self._tally.target, describe(exc))
            return
        if change.effect.changes:
            self._tally.circuit_changed(change)
        if change.effect in _STOPS:
            self._halt.circuit_is_open(f"the circuit is open ({change.why})")
