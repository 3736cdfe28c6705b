"""Probes: what a trained model is asked beside its losses, each an idea of its own.

One file a probe; each is registered (`deepsight.plug_ins.probes`), and `--plugin` adds more. `deepsight evaluate` asks
them, or a run itself at its end (`runtime.probes`); what they find lies in the run's folder.
"""
