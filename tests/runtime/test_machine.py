"""What the system tells of processor and GPUs."""

from pathlib import Path

from polyexport.runtime.machine import cpu_identity, cpu_name, gpu_names


def test_the_processor_has_a_name() -> None:
    assert cpu_name()
    if Path("/proc/cpuinfo").exists():
        assert "lags" in cpu_identity() or "Features" in cpu_identity()
        assert cpu_identity() == cpu_identity()


def test_gpus_and_their_driver(tmp_path: Path) -> None:
    assert gpu_names(tmp_path) == ""
    (tmp_path / "gpus" / "0000:01:00.0").mkdir(parents=True)
    (tmp_path / "gpus" / "0000:01:00.0" / "information").write_text("Model: \t\t NVIDIA H200\nIRQ: 1\n")
    (tmp_path / "version").write_text("NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.95.05  Tue Sep\nGCC\n")
    assert gpu_names(tmp_path) == "NVIDIA H200; driver 580.95.05"
