"""A fuzzer for everything lvmfast reads: `make fuzz`, or `python -m tests.fuzz readers --seconds 3600`.

Inputs are grown (`grow.py`) and spoiled (`spoil.py`); `readers.py` reads each in process and compares with a
reference reader (`references.py`); `commands.py` runs whole commands over a folder of lvmfast's own files of
which one was spoiled. `campaign.py` keeps a crash, a hang and a wrong answer apart from the fuzzer itself.
"""
