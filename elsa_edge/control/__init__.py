"""The controller: which level to run next, from the latency budget, the free memory and what was observed.

Pure: no clock, no files, no numpy. The caller measures and reads; the controller decides.

    policy = Policy.from_qos(profile.qos)
    facts = level_facts(manifest.ladder, profile.measured, memory_bytes=[adapter.memory().at(k) for k in ...])
    plan = make_plan(facts, policy)           # plan.notes: sentences for people (levels left out, and why)
    controller = Controller(plan, now_ms=clock(), available_bytes=probes.read().available_bytes)
    while running:
        level = controller.level
        began = clock()                        # monotonic, in ms
        outputs = adapter.run(inputs, level)   # without queueing or pre-processing
        decision = controller.observe(Observation(
            now_ms=clock(), level=level, latency_ms=clock() - began,      # leave level and latency_ms out when
            available_bytes=..., pressure_percent=..., temperature_c=...  # only the memory is to be checked
        ))                                     # decision.level, .reason, .feasible, .predicted_ms, .miss_rate

`elsa_edge.control.history` keeps what happened, `elsa_edge.control.record` writes it down as a trace or a log.
`elsa_edge.control.probes` reads memory, pressure and temperature: `Probes.from_settings(profile.probes).read()`.
Underneath is one pure function, `step(state, observation, plan) -> (state, decision, reason)`; the replay of
recorded or made-up traces (`elsa_edge.control.replay`) drives the same one.
"""

from __future__ import annotations

from elsa_edge.control.begin import start
from elsa_edge.control.controller import Controller
from elsa_edge.control.decide import step
from elsa_edge.control.plan import LevelFacts, Plan, level_facts, make_plan
from elsa_edge.control.policy import Policy
from elsa_edge.control.state import Decision, Observation, Reason, State

__all__ = [
    "Controller",
    "Decision",
    "LevelFacts",
    "Observation",
    "Plan",
    "Policy",
    "Reason",
    "State",
    "level_facts",
    "make_plan",
    "start",
    "step",
]
