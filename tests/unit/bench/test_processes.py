import os
import time

from bench.scale import processes


def test_the_cpu_time_is_that_which_the_process_counts_itself() -> None:
    end = time.process_time() + 0.1
    while time.process_time() < end:
        pass
    assert abs(processes.cpu_seconds(os.getpid()) - time.process_time()) < 0.05


def test_the_most_memory_is_no_less_than_the_memory_now() -> None:
    now = processes.memory_mib(os.getpid())
    assert 1 < now <= processes.memory_mib(os.getpid(), "VmHWM")
