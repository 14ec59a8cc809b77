"""How something is run: one caller at a time, fairly timed, in a process of its own, with which settings.

turns.py          one caller at a time, in the process that began
rotation.py       who is timed next, and for how long
children.py       a module of ours in a process of its own
onnx_session.py   the options that ONNX Runtime's sessions are opened with
"""
