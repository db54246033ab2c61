"""Many cgroups, again and again: :class:`Sampler`, and what went on between two samples."""

from __future__ import annotations

from cgroupkit.sampling.rates import Rates, rates
from cgroupkit.sampling.sampler import Sampler

__all__ = ["Rates", "Sampler", "rates"]
