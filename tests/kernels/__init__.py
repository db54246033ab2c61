"""Run the tests on this machine's kernel and on others, in virtual machines (see tests/run)."""
