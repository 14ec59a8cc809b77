"""The figures of a session in the words of monitoring systems, through their own libraries. Nothing is sent from here.

    from elsa_edge.telemetry.prometheus import SessionCollector      # pip install elsa-edge[prometheus]
    from elsa_edge.telemetry.opentelemetry import observe_session    # pip install elsa-edge[otel]

Each module only reads `AdaptiveSession.stats`; whether and where anything is exposed is for the application to say.
Names and units follow the Prometheus conventions: base units (seconds, bytes), `_total` for counters.
"""
