"""Random mutations of the files that strangers bring: recordings, tables and models.

``python -m tests.fuzz --seconds 60`` mutates valid files until the time is over.  Each file must be read
correctly or be refused by one clear line, within limits of time and memory; a mutation that keeps the signal
must keep the score.  Whatever breaks this is written to a folder, and becomes a case of ``tests/fuzz/cases``
once it is understood, which `tests.test_fuzz` reads again.
"""
