"""The page of help in the live view."""

from __future__ import annotations

HELP = """\
cgroupkit top                                                        any key goes back

  c m w i p s n    sort by CPU, memory, swap, I/O, pids, pressure, name
  r                the other way round
  t                tree, or a list of all
  /                filter as you type: Enter keeps it, Esc clears it; with a / paths are searched
  ↑ ↓ PgUp PgDn    select; the last line shows the whole path and the limits
  Home End         the first, which follows the order; the last
  ← → Enter        fold and unfold what is below
  + -              longer, shorter interval
  space            pause
  q Ctrl-C         quit                  Ctrl-Z  stop; fg goes on

  CPU%             100 is one CPU; red: throttled, or all that it may use
  THROT%           share of the periods in which the CPU limit stopped it
  MEMORY           in use, page cache included
  LIMIT MEM%       its own limit, and the share of that or else of the machine's memory
  READ/s WRITE/s   bytes read from and written to disks
  PIDS             processes and threads
  PSI-CPU -MEM -IO share of the time in which a task waited for CPU, memory, I/O

Cgroups below are counted in. - is not known."""
